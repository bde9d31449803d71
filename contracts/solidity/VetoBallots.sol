// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {IRewards} from "./interfaces/IRewards.sol";
import {IValidatorSet} from "./interfaces/IValidatorSet.sol";

/// @title Votes of validators to drop a root or a redemption
/// @dev Owns epochs, the veto window and the ballots. A ballot is a digest that is never used for another question.
abstract contract VetoBallots is IRewards {
    using SafeCast for uint256;

    /// @dev Votes to drop something, and whether they sufficed.
    struct Ballot {
        uint248 votes;
        bool isPassed;
    }

    /// @dev Longest window.
    uint256 internal constant _MAX_SECONDS = 365 days;

    IValidatorSet internal immutable _validators;
    uint64 internal immutable _epochSeconds;
    uint64 internal immutable _vetoSeconds;

    mapping(bytes32 ballot => Ballot) private _ballots;
    mapping(bytes32 ballot => mapping(address validator => bool)) private _hasVoted;

    constructor(address validators_, uint256 vetoSeconds_) {
        if (validators_ == address(0)) revert ZeroAddress("validators");
        if (vetoSeconds_ == 0 || vetoSeconds_ > _MAX_SECONDS) revert InvalidParameter("vetoSeconds", vetoSeconds_);
        _validators = IValidatorSet(validators_);
        _vetoSeconds = uint64(vetoSeconds_);
        _epochSeconds = IValidatorSet(validators_).epochSeconds().toUint64();
    }

    /// @inheritdoc IRewards
    function validators() external view returns (address) {
        return address(_validators);
    }

    /// @inheritdoc IRewards
    function vetoSeconds() external view returns (uint256) {
        return _vetoSeconds;
    }

    /// @dev Counts the caller's vote. Weights are those of the epoch in which the window began, so that no stake votes
    /// twice under two names.
    function _vote(bytes32 ballotId, uint256 windowEnd)
        internal
        returns (uint256 votes, uint256 totalWeight, bool isPassed)
    {
        uint64 epoch = uint64((windowEnd - _vetoSeconds) / _epochSeconds);
        uint256 weight = _validators.weightOf(msg.sender, epoch);
        if (weight == 0) revert NoVotingWeight(msg.sender);
        if (_hasVoted[ballotId][msg.sender]) revert AlreadyVoted(msg.sender);
        _hasVoted[ballotId][msg.sender] = true;
        totalWeight = _validators.totalWeight(epoch);
        Ballot storage ballot = _ballots[ballotId];
        votes = ballot.votes + weight;
        isPassed = votes * 3 > totalWeight * 2;
        ballot.votes = votes.toUint248();
        ballot.isPassed = isPassed;
    }

    /// @dev Whether more than two thirds voted to drop it.
    function _isPassed(bytes32 ballotId) internal view returns (bool) {
        return _ballots[ballotId].isPassed;
    }

    /// @dev The latest epoch that is over; zero before one is.
    function _lastEpoch() internal view returns (uint256) {
        return Math.saturatingSub(block.timestamp / _epochSeconds, 1);
    }
}
