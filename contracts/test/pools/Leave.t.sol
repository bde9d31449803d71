// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IComputePools} from "../../solidity/interfaces/IComputePools.sol";
import {World} from "../base/World.sol";

abstract contract Joined is World {
    uint64 internal poolId;

    function setUp() public virtual override {
        super.setUp();
        registerNode();
        poolId = startedPool();
        join(poolId, nodeKey);
    }

    function expectGone(IComputePools.MembershipState state) internal view {
        IComputePools.Membership memory membership = pools.membershipOf(poolId, node);
        assertEq(uint256(membership.state), uint256(state), "state");
        assertFalse(membership.active, "active");
        assertEq(membership.joinCounter, 1, "the counter survives");
        assertEq(pools.poolOf(poolId).memberCount, 0, "memberCount");
    }
}

contract LeaveTest is Joined {
    function testFuzz_TheNodeOrItsProviderLeaves(bool byProvider) public {
        vm.expectEmit(true, true, true, true, address(pools));
        emit IComputePools.NodeLeft(poolId, node, 1);
        vm.prank(byProvider ? provider : node);
        pools.leave(poolId, node);
        expectGone(IComputePools.MembershipState.Left);
    }

    function testFuzz_NobodyElse(address caller) public {
        if (caller == node || caller == provider) caller = poolOwner;
        vm.expectRevert(abi.encodeWithSelector(IComputePools.NotNodeOrProvider.selector, node, caller));
        vm.prank(caller);
        pools.leave(poolId, node);
    }

    function test_Trap_AnEndedPoolStillLetsPeopleLeave() public {
        vm.prank(poolOwner);
        pools.endPool(poolId);
        vm.prank(node);
        pools.leave(poolId, node);
        expectGone(IComputePools.MembershipState.Left);
    }

    function test_Trap_ABannedProviderStillLeaves() public {
        vm.prank(poolOwner);
        pools.banProvider(poolId, provider);
        vm.prank(provider);
        pools.leave(poolId, node);
        expectGone(IComputePools.MembershipState.Left);
    }

    function test_OnceOnly() public {
        vm.startPrank(node);
        pools.leave(poolId, node);
        vm.expectRevert(abi.encodeWithSelector(IComputePools.NotMember.selector, poolId, node));
        pools.leave(poolId, node);
        vm.stopPrank();
    }

    function testFuzz_AnybodyClearsALapsedMembership(address caller, bool registeredAnew) public {
        vm.prank(provider);
        registry.removeNode(node);
        if (registeredAnew) addNode(providerKey, nodeKey, 1);
        vm.prank(caller);
        pools.leave(poolId, node);
        expectGone(IComputePools.MembershipState.Left);
    }
}

contract LeaveBySignatureTest is Joined {
    function testFuzz_AnybodySubmitsWhatNodeOrProviderSigned(address sender, bool byProvider) public {
        uint64 deadline = uint64(START + 60);
        bytes memory signature = signLeave(byProvider ? providerKey : nodeKey, poolId, node, 1, deadline);
        vm.expectEmit(true, true, true, true, address(pools));
        emit IComputePools.NodeLeft(poolId, node, 1);
        vm.prank(sender);
        pools.leaveBySignature(poolId, node, 1, deadline, signature);
        expectGone(IComputePools.MembershipState.Left);
    }

    function testFuzz_ForeignSignaturesAreRefused(uint256 key) public {
        key = bound(key, 1, 2 ** 255);
        vm.assume(key != nodeKey && key != providerKey);
        uint64 deadline = uint64(START + 60);
        bytes memory signature = signLeave(key, poolId, node, 1, deadline);
        vm.expectRevert(abi.encodeWithSelector(IComputePools.InvalidLeaveSignature.selector, poolId, node));
        pools.leaveBySignature(poolId, node, 1, deadline, signature);
        bytes memory other = malleated(signLeave(nodeKey, poolId, node, 1, deadline));
        vm.expectRevert(abi.encodeWithSelector(IComputePools.InvalidLeaveSignature.selector, poolId, node));
        pools.leaveBySignature(poolId, node, 1, deadline, other);
    }

    function test_Trap_AUsedLeaveNeverEndsALaterMembership() public {
        uint64 deadline = uint64(START + 1 days);
        bytes memory signature = signLeave(nodeKey, poolId, node, 1, deadline);
        pools.leaveBySignature(poolId, node, 1, deadline, signature);
        vm.expectRevert(abi.encodeWithSelector(IComputePools.NotMember.selector, poolId, node));
        pools.leaveBySignature(poolId, node, 1, deadline, signature);
        join(poolId, nodeKey);
        vm.expectRevert(abi.encodeWithSelector(IComputePools.WrongCounter.selector, poolId, node, 2, 1));
        pools.leaveBySignature(poolId, node, 1, deadline, signature);
        assertTrue(pools.isMember(poolId, node), "still in");
    }

    function test_Trap_ALeaveIsWorthNothingInAnotherPoolOrOnAnotherChain() public {
        uint64 deadline = uint64(START + 1 days);
        bytes memory signature = signLeave(nodeKey, poolId, node, 1, deadline);
        uint64 other = startedPool();
        join(other, nodeKey);
        vm.expectRevert(abi.encodeWithSelector(IComputePools.InvalidLeaveSignature.selector, other, node));
        pools.leaveBySignature(other, node, 1, deadline, signature);
        vm.chainId(block.chainid + 1);
        vm.expectRevert(abi.encodeWithSelector(IComputePools.InvalidLeaveSignature.selector, poolId, node));
        pools.leaveBySignature(poolId, node, 1, deadline, signature);
    }

    function testFuzz_ALeaveExpires(uint256 late) public {
        late = bound(late, 1, 1e6);
        bytes memory signature = signLeave(nodeKey, poolId, node, 1, uint64(START));
        vm.warp(START + late);
        vm.expectRevert(abi.encodeWithSelector(IComputePools.SignatureExpired.selector, START));
        pools.leaveBySignature(poolId, node, 1, uint64(START), signature);
    }
}

contract EjectTest is Joined {
    function testFuzz_OwnerOrOrchestratorEject(bool byOwner, bool ended) public {
        if (ended) {
            vm.prank(poolOwner);
            pools.endPool(poolId);
        }
        vm.expectEmit(true, true, true, true, address(pools));
        emit IComputePools.NodeEjected(poolId, node, 1);
        vm.prank(byOwner ? poolOwner : orchestrator);
        pools.eject(poolId, node);
        expectGone(IComputePools.MembershipState.Ejected);
        vm.expectRevert(abi.encodeWithSelector(IComputePools.NotMember.selector, poolId, node));
        vm.prank(poolOwner);
        pools.eject(poolId, node);
    }

    function testFuzz_NobodyElse(address caller) public {
        if (caller == poolOwner || caller == orchestrator) caller = node;
        vm.expectRevert(abi.encodeWithSelector(IComputePools.NotPoolAuthority.selector, poolId, caller));
        vm.prank(caller);
        pools.eject(poolId, node);
    }
}

contract BanTest is Joined {
    function joinFails(uint256 key, bytes4 reason) internal {
        IComputePools.Join memory item = joinOf(poolId, key);
        vm.expectEmit(true, true, true, true, address(pools));
        emit IComputePools.JoinFailed(poolId, item.node, reason);
        pools.joinBatch(one(item));
    }

    function test_ABannedNodeIsOutAndStaysOut() public {
        vm.expectEmit(true, true, true, true, address(pools));
        emit IComputePools.NodeBanned(poolId, node);
        vm.prank(poolOwner);
        pools.banNode(poolId, node);
        expectGone(IComputePools.MembershipState.Banned);
        joinFails(nodeKey, IComputePools.NodeIsBanned.selector);
        vm.startPrank(poolOwner);
        vm.expectRevert(abi.encodeWithSelector(IComputePools.NodeIsBanned.selector, poolId, node));
        pools.banNode(poolId, node);
        vm.expectEmit(true, true, true, true, address(pools));
        emit IComputePools.NodeUnbanned(poolId, node);
        pools.unbanNode(poolId, node);
        vm.stopPrank();
        expectGone(IComputePools.MembershipState.Ejected);
        join(poolId, nodeKey);
    }

    function test_ANodeIsBannedBeforeItEverJoined() public {
        addNode(providerKey, keyOf("other"), 1);
        address other = vm.addr(keyOf("other"));
        vm.startPrank(poolOwner);
        vm.expectRevert(abi.encodeWithSelector(IComputePools.NotBanned.selector, poolId, other));
        pools.unbanNode(poolId, other);
        pools.banNode(poolId, other);
        vm.stopPrank();
        assertEq(pools.poolOf(poolId).memberCount, 1, "the other member is still counted");
        joinFails(keyOf("other"), IComputePools.NodeIsBanned.selector);
        vm.prank(poolOwner);
        pools.unbanNode(poolId, other);
        assertEq(
            uint256(pools.membershipOf(poolId, other).state), uint256(IComputePools.MembershipState.None), "as before"
        );
    }

    function test_ABannedProvidersNodesDoNotCountAndDoNotJoin() public {
        addNode(providerKey, keyOf("other"), 1);
        vm.startPrank(poolOwner);
        vm.expectEmit(true, true, true, true, address(pools));
        emit IComputePools.ProviderBanned(poolId, provider);
        pools.banProvider(poolId, provider);
        vm.expectRevert(abi.encodeWithSelector(IComputePools.ProviderIsBanned.selector, poolId, provider));
        pools.banProvider(poolId, provider);
        vm.stopPrank();
        assertTrue(pools.isProviderBanned(poolId, provider), "banned");
        assertFalse(pools.isMember(poolId, node), "its member does not count");
        joinFails(keyOf("other"), IComputePools.ProviderIsBanned.selector);
        vm.startPrank(poolOwner);
        vm.expectEmit(true, true, true, true, address(pools));
        emit IComputePools.ProviderUnbanned(poolId, provider);
        pools.unbanProvider(poolId, provider);
        vm.expectRevert(abi.encodeWithSelector(IComputePools.NotBanned.selector, poolId, provider));
        pools.unbanProvider(poolId, provider);
        vm.stopPrank();
        assertTrue(pools.isMember(poolId, node), "counts again");
    }

    function test_ABanHoldsForOnePoolOnly() public {
        uint64 other = startedPool();
        vm.prank(poolOwner);
        pools.banNode(poolId, node);
        join(other, nodeKey);
    }
}
