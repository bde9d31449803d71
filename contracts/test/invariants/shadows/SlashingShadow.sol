// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ISlashing} from "../../../solidity/interfaces/ISlashing.sol";
import {Vm} from "../../base/Vm.sol";

/// @dev Accusations and verdicts as events tell them.
abstract contract SlashingShadow {
    error SecondAccusation(uint64 accusationId);
    error SecondAnswer(uint64 accusationId);
    error SecondVote(uint64 accusationId, address validator);
    error SecondVerdict(uint64 accusationId);
    error AccuserVoted(uint64 accusationId);
    error FeeTooLarge(uint64 accusationId, uint256 fee, uint256 slashed);

    struct Charge {
        address accuser;
        address provider;
        address node;
        uint256 amount;
        uint256 bond;
        uint256 guiltyWeight;
        uint256 innocentWeight;
        bool answered;
        bool decided;
    }

    mapping(uint64 accusationId => Charge) private _charges;
    uint64 public chargeCount;
    /// @dev Σ amounts and Σ bonds of what is open.
    mapping(address provider => uint256) public openAmounts;
    uint256 public openBonds;
    uint256 public owedInAll;
    /// @dev Everything that verdicts gave the treasury.
    uint256 public toTreasury;
    mapping(uint64 accusationId => mapping(address validator => bool)) private _voted;

    function chargeOf(uint64 accusationId) external view returns (Charge memory) {
        return _charges[accusationId];
    }

    function _followSlashing(Vm.Log calldata log) internal {
        bytes32 name = log.topics[0];
        if (name == ISlashing.PaymentOwed.selector) {
            (uint256 amount,) = abi.decode(log.data, (uint256, uint256));
            owedInAll += amount;
            return;
        }
        if (name == ISlashing.Collected.selector) {
            owedInAll -= abi.decode(log.data, (uint256));
            return;
        }
        uint64 id = uint64(uint256(log.topics[1]));
        Charge storage charge = _charges[id];
        if (name == ISlashing.Accused.selector) {
            _followAccused(id, charge, log);
        } else if (name == ISlashing.Answered.selector) {
            if (charge.answered) revert SecondAnswer(id);
            charge.answered = true;
        } else if (name == ISlashing.Voted.selector) {
            address validator = address(uint160(uint256(log.topics[2])));
            if (_voted[id][validator]) revert SecondVote(id, validator);
            if (validator == charge.accuser) revert AccuserVoted(id);
            _voted[id][validator] = true;
            (bool guilty, uint256 weight) = abi.decode(log.data, (bool, uint256));
            if (guilty) charge.guiltyWeight += weight;
            else charge.innocentWeight += weight;
        } else {
            if (charge.decided) revert SecondVerdict(id);
            charge.decided = true;
            openAmounts[charge.provider] -= charge.amount;
            openBonds -= charge.bond;
            if (name == ISlashing.FoundGuilty.selector) {
                (uint256 slashed, uint256 fee, uint256 rest) = abi.decode(log.data, (uint256, uint256, uint256));
                if (fee * 10 > slashed || fee + rest != slashed) revert FeeTooLarge(id, fee, slashed);
                toTreasury += rest;
            }
        }
    }

    function _followAccused(uint64 id, Charge storage charge, Vm.Log calldata log) private {
        if (id != chargeCount + 1) revert SecondAccusation(id);
        chargeCount = id;
        charge.provider = address(uint160(uint256(log.topics[2])));
        charge.node = address(uint160(uint256(log.topics[3])));
        (charge.accuser,, charge.amount, charge.bond,,,) =
            abi.decode(log.data, (address, ISlashing.Offence, uint256, uint256, uint64, bytes32, string));
        openAmounts[charge.provider] += charge.amount;
        openBonds += charge.bond;
    }
}
