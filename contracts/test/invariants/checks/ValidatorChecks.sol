// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Stage} from "./Stage.sol";

abstract contract ValidatorChecks is Stage {
    function checkValidators() internal view {
        uint64 next = validators.currentEpoch() + 1;
        uint256 held;
        uint256 running;
        uint256 coming;
        for (uint256 i = 0; i < cast.length; ++i) {
            uint256 stake = validators.validatorOf(cast[i]).stake;
            assertEq(shadow.validatorStakes(cast[i]), stake, "stake by events");
            held += stake;
            running += validators.weightOf(cast[i], next - 1);
            uint256 weight = validators.weightOf(cast[i], next);
            assertTrue(weight == 0 || weight == stake, "the next weight is the stake, or none");
            coming += weight;
        }
        assertEq(token.balanceOf(address(validators)), held, "the validators' vault");
        assertEq(validators.totalWeight(next - 1), running, "total weight");
        assertEq(validators.totalWeight(next), coming, "next total weight");
        assertEq(shadow.beacons(next - 1), validators.beaconOf(next - 1), "beacon by events");
        assertEq(shadow.roots(next - 1), validators.rootOf(next - 1), "root by events");
    }
}
