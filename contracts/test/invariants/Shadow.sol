// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Vm} from "../base/Vm.sol";
import {PoolsShadow} from "./shadows/PoolsShadow.sol";
import {RegistryShadow} from "./shadows/RegistryShadow.sol";
import {RewardsShadow} from "./shadows/RewardsShadow.sol";
import {SlashingShadow} from "./shadows/SlashingShadow.sol";
import {ValidatorsShadow} from "./shadows/ValidatorsShadow.sol";

/// @dev The state as events alone tell it, kept the way a follower off chain keeps it: it never reads a contract.
/// Reverts on events that contradict each other.
contract Shadow is RegistryShadow, PoolsShadow, ValidatorsShadow, SlashingShadow, RewardsShadow {
    address private immutable _registry;
    address private immutable _pools;
    address private immutable _validators;
    address private immutable _slashing;
    address private immutable _rewards;

    constructor(address registry, address pools, address validators, address slashing, address rewards) {
        _registry = registry;
        _pools = pools;
        _validators = validators;
        _slashing = slashing;
        _rewards = rewards;
    }

    function follow(Vm.Log[] calldata logs) external {
        for (uint256 i = 0; i < logs.length; ++i) {
            address emitter = logs[i].emitter;
            if (emitter == _registry) _followRegistry(logs[i]);
            else if (emitter == _pools) _followPools(logs[i]);
            else if (emitter == _validators) _followValidators(logs[i]);
            else if (emitter == _slashing) _followSlashing(logs[i]);
            else if (emitter == _rewards) _followRewards(logs[i]);
        }
    }
}
