// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IValidatorSet} from "../../../solidity/interfaces/IValidatorSet.sol";
import {Vm} from "../../base/Vm.sol";

/// @dev Validators' stakes, roots and penalties as events tell them.
abstract contract ValidatorsShadow {
    error SecondRoot(uint64 epoch);
    error SecondBeacon(uint64 epoch);
    error SecondReveal(uint64 epoch, address validator);

    mapping(address validator => uint256) public validatorStakes;
    mapping(uint64 epoch => bytes32) public roots;
    mapping(uint64 epoch => bytes32) public beacons;
    /// @dev Everything that missed reveals have cost.
    uint256 public penalties;
    mapping(uint64 epoch => mapping(address validator => bool)) private _revealed;

    function _followValidators(Vm.Log calldata log) internal {
        bytes32 name = log.topics[0];
        uint64 epoch = uint64(uint256(log.topics[1]));
        if (name == IValidatorSet.RootAccepted.selector) {
            if (roots[epoch] != 0) revert SecondRoot(epoch);
            roots[epoch] = log.topics[2];
        } else if (name == IValidatorSet.BeaconDrawn.selector) {
            if (beacons[epoch] != 0) revert SecondBeacon(epoch);
            beacons[epoch] = abi.decode(log.data, (bytes32));
        } else if (name == IValidatorSet.Revealed.selector) {
            address validator = address(uint160(uint256(log.topics[2])));
            if (_revealed[epoch][validator]) revert SecondReveal(epoch, validator);
            _revealed[epoch][validator] = true;
        } else if (name == IValidatorSet.RevealMissed.selector) {
            (uint256 amount,) = abi.decode(log.data, (uint256, uint256));
            validatorStakes[address(uint160(uint256(log.topics[2])))] -= amount;
            penalties += amount;
        } else {
            _followStake(name, address(uint160(uint256(log.topics[1]))), log);
        }
    }

    function _followStake(bytes32 name, address subject, Vm.Log calldata log) private {
        if (name == IValidatorSet.ValidatorRegistered.selector) {
            (uint256 amount,,) = abi.decode(log.data, (uint256, uint64, string));
            validatorStakes[subject] += amount;
        } else if (name == IValidatorSet.ValidatorStaked.selector) {
            (uint256 amount,,) = abi.decode(log.data, (uint256, uint256, uint64));
            validatorStakes[subject] += amount;
        } else if (name == IValidatorSet.Withdrawn.selector) {
            validatorStakes[subject] -= abi.decode(log.data, (uint256));
        }
    }
}
