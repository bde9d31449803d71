// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IComputePools} from "../../../solidity/interfaces/IComputePools.sol";
import {Shadow} from "../Shadow.sol";
import {Stage} from "./Stage.sol";

abstract contract PoolChecks is Stage {
    function checkMembershipRebuiltFromEventsIsTheOneInStorage() internal view {
        for (uint64 poolId = 1; poolId <= handler.POOLS(); ++poolId) {
            IComputePools.Membership[] memory stored = pools.membershipsOf(poolId, nodes);
            uint256 members;
            for (uint256 i = 0; i < nodes.length; ++i) {
                Shadow.Membership memory told = shadow.membershipOf(poolId, nodes[i]);
                assertEq(uint256(told.state), uint256(stored[i].state), "state");
                assertEq(told.joinCounter, stored[i].joinCounter, "joinCounter");
                assertEq(told.registration, stored[i].registration, "registration");
                assertTrue(stored[i].active == activeByEvents(poolId, nodes[i], told), "active");
                if (stored[i].state == IComputePools.MembershipState.Member) ++members;
            }
            IComputePools.Pool memory pool = pools.poolOf(poolId);
            assertEq(pool.memberCount, members, "memberCount");
            assertEq(shadow.memberCount(poolId), members, "memberCount by events");
            assertTrue(pool.maxNodes == 0 || members <= pool.maxNodes, "no more than allowed");
            assertTrue(shadow.hasEnded(poolId) == (pool.state == IComputePools.PoolState.Ended), "ended by events");
            checkProviderFlags(poolId);
        }
    }

    function checkProviderFlags(uint64 poolId) private view {
        for (uint256 i = 0; i < providers.length; ++i) {
            assertTrue(
                shadow.isApproved(poolId, providers[i]) == pools.isPoolApproved(poolId, providers[i]), "approved"
            );
            assertTrue(shadow.isBanned(poolId, providers[i]) == pools.isProviderBanned(poolId, providers[i]), "banned");
        }
    }

    /// @dev Whether the membership counts, as somebody knows who has only read events (and the minimum stake).
    function activeByEvents(uint64 poolId, address node, Shadow.Membership memory membership)
        private
        view
        returns (bool)
    {
        if (membership.state != IComputePools.MembershipState.Member) return false;
        Shadow.Node memory record = shadow.nodeOf(node);
        return record.provider != address(0) && membership.registration == record.registration
            && !shadow.isBanned(poolId, record.provider) && shadow.isCovered(record.provider, MIN_STAKE_PER_UNIT);
    }
}
