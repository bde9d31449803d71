// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IComputeRegistry} from "../../../solidity/interfaces/IComputeRegistry.sol";
import {Shadow} from "../Shadow.sol";
import {Stage} from "./Stage.sol";

abstract contract RegistryChecks is Stage {
    function checkProviders() internal view {
        uint256 held;
        for (uint256 i = 0; i < providers.length; ++i) {
            address provider = providers[i];
            IComputeRegistry.Provider memory record = registry.providerOf(provider);
            uint256 all = uint256(record.stake) + record.unbonding;
            held += all;
            assertEq(shadow.stakes(provider), record.stake, "stake by events");
            assertEq(shadow.unbonding(provider), record.unbonding, "unbonding by events");
            assertEq(shadow.locked(provider), record.locked, "locked by events");
            assertEq(shadow.units(provider), record.units, "units by events");
            assertTrue(
                (record.unbonding == 0) == (record.releaseAt == 0), "a delay for what unbonds, and for nothing else"
            );
            assertTrue(record.locked <= all, "no more is locked than there is");
            assertEq(shadow.openAmounts(provider), record.locked, "locked is what open accusations ask for");
            // Only a slash takes stake away from units.
            assertTrue(
                record.stake + shadow.slashed(provider) >= record.units * MIN_STAKE_PER_UNIT, "units are covered"
            );
        }
        assertEq(token.balanceOf(address(registry)), held, "the registry's vault");
    }

    function checkNodes() internal view {
        IComputeRegistry.Node[] memory records = registry.nodesOf(nodes);
        uint256 units;
        for (uint256 i = 0; i < nodes.length; ++i) {
            Shadow.Node memory told = shadow.nodeOf(nodes[i]);
            assertEq(told.provider, records[i].provider, "provider by events");
            assertEq(told.units, records[i].units, "units by events");
            assertEq(told.registration, records[i].registration, "registration by events");
            assertTrue((told.provider == address(0)) == (told.units == 0), "no node without units");
            units += told.units;
        }
        for (uint256 i = 0; i < providers.length; ++i) {
            units -= shadow.units(providers[i]);
        }
        assertEq(units, 0, "providers' units are their nodes'");
    }
}
