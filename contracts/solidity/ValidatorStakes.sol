// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {Checkpoints} from "@openzeppelin/contracts/utils/structs/Checkpoints.sol";
import {StakeVault} from "./StakeVault.sol";
import {IValidatorSet} from "./interfaces/IValidatorSet.sol";

/// @title Validators, their bonds and their weights
/// @dev Invariants: the vault holds Σ stake; weights of an epoch are fixed when it begins (changes are written for the
/// next one), and the total is their sum. Weights are kept as history, so that other contracts can judge by those of a
/// past epoch.
abstract contract ValidatorStakes is IValidatorSet, StakeVault {
    using Checkpoints for Checkpoints.Trace208;
    using SafeCast for uint256;

    struct ValidatorRecord {
        uint128 stake;
        uint64 exitAt;
        string endpoint;
    }

    /// @notice Longest validator endpoint, bytes.
    uint256 public constant MAX_ENDPOINT_BYTES = 512;
    /// @notice Most that a missed reveal can cost, basis points. Less than all, so that a bond never vanishes at once.
    uint256 public constant MAX_MISSED_REVEAL_BASIS_POINTS = 5_000;

    uint256 private constant _BASIS = 10_000;

    uint128 private immutable _minStake;
    uint64 internal immutable _epochSeconds;
    uint64 private immutable _exitDelay;
    address private immutable _treasury;
    uint16 private immutable _missedRevealBasisPoints;

    mapping(address validator => ValidatorRecord) private _validators;
    mapping(address validator => Checkpoints.Trace208) private _weights;
    Checkpoints.Trace208 private _totalWeight;
    Checkpoints.Trace208 private _count;

    constructor(
        address token_,
        uint256 minStake_,
        uint256 epochSeconds_,
        uint256 exitDelay_,
        address treasury_,
        uint256 missedRevealBasisPoints_
    ) StakeVault(token_) {
        if (treasury_ == address(0)) revert ZeroAddress("treasury");
        if (minStake_ == 0 || minStake_ > type(uint128).max) revert InvalidParameter("minStake", minStake_);
        if (epochSeconds_ < 2 || epochSeconds_ % 2 != 0 || epochSeconds_ > 365 days) {
            revert InvalidParameter("epochSeconds", epochSeconds_);
        }
        if (exitDelay_ < 2 * epochSeconds_ || exitDelay_ > 3650 days) revert InvalidParameter("exitDelay", exitDelay_);
        if (missedRevealBasisPoints_ == 0 || missedRevealBasisPoints_ > MAX_MISSED_REVEAL_BASIS_POINTS) {
            revert InvalidParameter("missedRevealBasisPoints", missedRevealBasisPoints_);
        }
        _minStake = uint128(minStake_);
        _epochSeconds = uint64(epochSeconds_);
        _exitDelay = uint64(exitDelay_);
        _treasury = treasury_;
        _missedRevealBasisPoints = uint16(missedRevealBasisPoints_);
    }

    /// @inheritdoc IValidatorSet
    function register(uint256 amount, uint256 deadline, uint8 v, bytes32 r, bytes32 s, string calldata endpoint)
        external
    {
        ValidatorRecord storage record = _validators[msg.sender];
        if (record.stake != 0) revert ValidatorAlreadyRegistered(msg.sender);
        if (amount < _minStake) revert InsufficientStake(amount, _minStake);
        _requireLength(endpoint);
        record.stake = amount.toUint128();
        record.endpoint = endpoint;
        uint64 activeFrom = _setNextWeight(msg.sender, amount);
        emit ValidatorRegistered(msg.sender, amount, activeFrom, endpoint);
        _pullWithPermit(msg.sender, amount, deadline, v, r, s);
    }

    /// @inheritdoc IValidatorSet
    function stake(uint256 amount) external {
        ValidatorRecord storage record = _requireActive(msg.sender);
        if (amount == 0) revert ZeroAmount();
        uint256 total = record.stake + amount;
        record.stake = total.toUint128();
        uint64 activeFrom = _setNextWeight(msg.sender, total);
        emit ValidatorStaked(msg.sender, amount, total, activeFrom);
        _pull(msg.sender, amount);
    }

    /// @inheritdoc IValidatorSet
    function setEndpoint(string calldata endpoint) external {
        ValidatorRecord storage record = _requireActive(msg.sender);
        _requireLength(endpoint);
        record.endpoint = endpoint;
        emit EndpointChanged(msg.sender, endpoint);
    }

    /// @inheritdoc IValidatorSet
    function requestExit() external {
        ValidatorRecord storage record = _requireActive(msg.sender);
        uint256 exitAt = block.timestamp + _exitDelay;
        record.exitAt = uint64(exitAt);
        uint64 inactiveFrom = _setNextWeight(msg.sender, 0);
        emit ExitRequested(msg.sender, inactiveFrom - 1, exitAt);
    }

    /// @inheritdoc IValidatorSet
    function withdraw() external returns (uint256 amount) {
        ValidatorRecord storage record = _validators[msg.sender];
        amount = record.stake;
        uint256 exitAt = record.exitAt;
        if (amount == 0) revert ValidatorNotRegistered(msg.sender);
        if (exitAt == 0) revert NotExiting(msg.sender);
        if (block.timestamp < exitAt) revert StillBonded(exitAt);
        delete _validators[msg.sender];
        emit Withdrawn(msg.sender, amount);
        _pay(msg.sender, amount);
    }

    /// @inheritdoc IValidatorSet
    function treasury() external view returns (address) {
        return _treasury;
    }

    /// @inheritdoc IValidatorSet
    function missedRevealBasisPoints() external view returns (uint256) {
        return _missedRevealBasisPoints;
    }

    /// @inheritdoc IValidatorSet
    function minStake() external view returns (uint256) {
        return _minStake;
    }

    /// @inheritdoc IValidatorSet
    function epochSeconds() external view returns (uint256) {
        return _epochSeconds;
    }

    /// @inheritdoc IValidatorSet
    function exitDelay() external view returns (uint256) {
        return _exitDelay;
    }

    /// @inheritdoc IValidatorSet
    function currentEpoch() public view returns (uint64) {
        return uint64(block.timestamp / _epochSeconds);
    }

    /// @inheritdoc IValidatorSet
    function validatorOf(address validator) external view returns (Validator memory) {
        ValidatorRecord storage record = _validators[validator];
        return Validator({stake: record.stake, exitAt: record.exitAt, endpoint: record.endpoint});
    }

    /// @inheritdoc IValidatorSet
    function weightOf(address validator, uint64 epoch) public view returns (uint256) {
        return _weights[validator].upperLookupRecent(uint256(epoch).toUint48());
    }

    /// @inheritdoc IValidatorSet
    function totalWeight(uint64 epoch) public view returns (uint256) {
        return _totalWeight.upperLookupRecent(uint256(epoch).toUint48());
    }

    /// @dev Writes the validator's weight and the total for the next epoch.
    function _setNextWeight(address validator, uint256 weight) private returns (uint64 from) {
        from = currentEpoch() + 1;
        uint48 key = uint256(from).toUint48();
        (uint208 previous,) = _weights[validator].push(key, weight.toUint208());
        _totalWeight.push(key, (_totalWeight.latest() - previous + weight).toUint208());
        if (previous == 0) _count.push(key, _count.latest() + 1);
        else if (weight == 0) _count.push(key, _count.latest() - 1);
    }

    function _requireActive(address validator) private view returns (ValidatorRecord storage record) {
        record = _validators[validator];
        if (record.stake == 0) revert ValidatorNotRegistered(validator);
        if (record.exitAt != 0) revert ValidatorExiting(validator, record.exitAt);
    }

    function _requireLength(string calldata endpoint) private pure {
        uint256 length = bytes(endpoint).length;
        if (length > MAX_ENDPOINT_BYTES) revert TextTooLong("endpoint", length, MAX_ENDPOINT_BYTES);
    }

    /// @dev How many validators have weight in the epoch.
    function _validatorCount(uint64 epoch) internal view returns (uint256) {
        return _count.upperLookupRecent(uint256(epoch).toUint48());
    }

    /// @dev Takes the configured part of the bond for the treasury. What is left goes on counting from the next epoch.
    function _cut(uint64 epoch, address validator) internal {
        ValidatorRecord storage record = _validators[validator];
        uint256 staked = record.stake;
        if (staked == 0) revert ValidatorNotRegistered(validator);
        uint256 amount = staked * _missedRevealBasisPoints / _BASIS;
        uint256 left = staked - amount;
        record.stake = uint128(left);
        if (record.exitAt == 0) _setNextWeight(validator, left);
        emit RevealMissed(epoch, validator, amount, left);
        _pay(_treasury, amount);
    }
}
