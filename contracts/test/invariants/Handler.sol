// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Cast} from "./Cast.sol";
import {PoolActions} from "./actions/PoolActions.sol";
import {RegistryActions} from "./actions/RegistryActions.sol";
import {RewardsActions} from "./actions/RewardsActions.sol";
import {SlashingActions} from "./actions/SlashingActions.sol";
import {ValidatorActions} from "./actions/ValidatorActions.sol";

/// @dev Does random, often refused, things on behalf of the cast, over all contracts.
contract Handler is RegistryActions, PoolActions, ValidatorActions, SlashingActions, RewardsActions {
    function waitSomeTime(uint256 duration) external acting {
        time += bound(duration, 1, duration % 8 == 0 ? UNBONDING_DELAY : 1 days);
        ++successes["waitSomeTime"];
    }
}
