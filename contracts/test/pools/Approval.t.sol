// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IComputePools} from "../../solidity/interfaces/IComputePools.sol";
import {World} from "../base/World.sol";

abstract contract Unapproved is World {
    uint64 internal poolId;

    function setUp() public virtual override {
        super.setUp();
        registerNode();
        vm.startPrank(poolOwner);
        poolId = pools.createPool(poolParameters());
        pools.startPool(poolId);
        vm.stopPrank();
    }

    function refusedJoin(IComputePools.Join memory item) internal {
        vm.expectEmit(true, true, true, true, address(pools));
        emit IComputePools.JoinFailed(item.poolId, item.node, IComputePools.PoolNotApproved.selector);
        pools.joinBatch(one(item));
        assertFalse(pools.isMember(item.poolId, item.node), "no member");
    }
}

contract SetPoolApprovalTest is Unapproved {
    function test_ANodeJoinsOnlyWhereItsProviderLetsIt() public {
        assertFalse(pools.isPoolApproved(poolId, provider), "not at first");
        refusedJoin(joinOf(poolId, nodeKey));
        vm.expectEmit(true, true, true, true, address(pools));
        emit IComputePools.PoolApprovalChanged(poolId, provider, true);
        approve(provider, poolId);
        assertTrue(pools.isPoolApproved(poolId, provider), "approved");
        join(poolId, nodeKey);
    }

    function test_Trap_AStolenNodeKeyCannotTakeTheNodeToAnotherPool() public {
        approve(provider, poolId);
        join(poolId, nodeKey);
        // The thief has the node's key and a pool of its own.
        vm.startPrank(stranger);
        uint64 thiefs = pools.createPool(poolParameters());
        pools.startPool(thiefs);
        vm.stopPrank();
        IComputePools.Join memory item = joinOf(thiefs, nodeKey);
        refusedJoin(item);
        vm.prank(node);
        pools.setPoolApproval(thiefs, true);
        refusedJoin(item);
        assertTrue(pools.isMember(poolId, node), "where it was");
    }

    function test_TakingItBackEndsNoMembership() public {
        approve(provider, poolId);
        join(poolId, nodeKey);
        addNode(providerKey, keyOf("other"), 1);
        vm.expectEmit(true, true, true, true, address(pools));
        emit IComputePools.PoolApprovalChanged(poolId, provider, false);
        vm.prank(provider);
        pools.setPoolApproval(poolId, false);
        assertTrue(pools.isMember(poolId, node), "still a member");
        refusedJoin(joinOf(poolId, keyOf("other")));
        vm.prank(node);
        pools.leave(poolId, node);
        refusedJoin(joinOf(poolId, nodeKey));
    }

    function testFuzz_BanAndApprovalAreApart(bool approved, bool banned) public {
        if (approved) approve(provider, poolId);
        vm.startPrank(poolOwner);
        pools.banProvider(poolId, provider);
        if (!banned) pools.unbanProvider(poolId, provider);
        vm.stopPrank();
        assertTrue(pools.isPoolApproved(poolId, provider) == approved, "approved");
        assertTrue(pools.isProviderBanned(poolId, provider) == banned, "banned");
        vm.prank(provider);
        pools.setPoolApproval(poolId, !approved);
        assertTrue(pools.isProviderBanned(poolId, provider) == banned, "a provider lifts no ban");
    }

    function test_OnePoolOneProvider() public {
        uint64 other = startedPool();
        assertTrue(pools.isPoolApproved(other, provider), "the other pool");
        assertFalse(pools.isPoolApproved(poolId, provider), "not this one");
        assertFalse(pools.isPoolApproved(other, stranger), "not this provider");
    }

    function test_UnknownPoolsHaveAName() public {
        bytes memory refusal = abi.encodeWithSelector(IComputePools.PoolNotFound.selector, 9);
        vm.expectRevert(refusal);
        pools.setPoolApproval(9, true);
        bytes memory signature = signApproval(providerKey, 9, provider, true, 0, uint64(START));
        vm.expectRevert(refusal);
        pools.setPoolApprovalBySignature(9, provider, true, 0, uint64(START), signature);
    }
}

contract SetPoolApprovalBySignatureTest is Unapproved {
    uint64 internal deadline = uint64(START + 600);

    function submit(uint64 pool, address owner, bool approved, uint256 nonce, uint64 until, bytes memory signature)
        internal
    {
        vm.prank(stranger);
        pools.setPoolApprovalBySignature(pool, owner, approved, nonce, until, signature);
    }

    function refused(uint64 pool, bool approved, uint256 nonce, uint64 until, bytes memory signature) internal {
        vm.expectRevert(abi.encodeWithSelector(IComputePools.InvalidApprovalSignature.selector, provider));
        submit(pool, provider, approved, nonce, until, signature);
        assertEq(pools.approvalNonce(provider), nonce, "nothing is used");
    }

    function testFuzz_AnybodySubmitsWhatTheProviderSigned(bool approved) public {
        bytes memory signature = signApproval(providerKey, poolId, provider, approved, 0, deadline);
        vm.expectEmit(true, true, true, true, address(pools));
        emit IComputePools.PoolApprovalChanged(poolId, provider, approved);
        submit(poolId, provider, approved, 0, deadline, signature);
        assertTrue(pools.isPoolApproved(poolId, provider) == approved, "approved");
        assertEq(pools.approvalNonce(provider), 1, "nonce");
        if (approved) join(poolId, nodeKey);
    }

    function testFuzz_ForeignSignaturesAreRefused(uint256 key) public {
        key = bound(key, 1, 2 ** 255);
        vm.assume(key != providerKey);
        refused(poolId, true, 0, deadline, signApproval(key, poolId, provider, true, 0, deadline));
    }

    function test_TheNodesKeyApprovesNothing() public {
        refused(poolId, true, 0, deadline, signApproval(nodeKey, poolId, provider, true, 0, deadline));
    }

    function testFuzz_AnApprovalExpires(uint64 late) public {
        late = uint64(bound(late, 1, 365 days));
        bytes memory signature = signApproval(providerKey, poolId, provider, true, 0, deadline);
        vm.warp(deadline + late);
        vm.expectRevert(abi.encodeWithSelector(IComputePools.SignatureExpired.selector, deadline));
        submit(poolId, provider, true, 0, deadline, signature);
    }

    function testFuzz_EveryFieldIsSigned(uint64 until) public {
        vm.assume(until != deadline && until >= START);
        uint64 other = startedPool();
        bytes memory signature = signApproval(providerKey, poolId, provider, true, 0, deadline);
        refused(other, true, 0, deadline, signature);
        refused(poolId, false, 0, deadline, signature);
        refused(poolId, true, 0, until, signature);
        vm.expectRevert(abi.encodeWithSelector(IComputePools.InvalidApprovalSignature.selector, stranger));
        submit(poolId, stranger, true, 0, deadline, signature);
    }

    function testFuzz_OnlyTheNextNonce(uint256 nonce) public {
        vm.assume(nonce != 0);
        bytes memory signature = signApproval(providerKey, poolId, provider, true, nonce, deadline);
        vm.expectRevert(abi.encodeWithSelector(IComputePools.WrongApprovalNonce.selector, provider, 0, nonce));
        submit(poolId, provider, true, nonce, deadline, signature);
    }

    function test_Trap_AUsedApprovalNeverReplays() public {
        bytes memory signature = signApproval(providerKey, poolId, provider, true, 0, deadline);
        submit(poolId, provider, true, 0, deadline, signature);
        bytes memory back = signApproval(providerKey, poolId, provider, false, 1, deadline);
        submit(poolId, provider, false, 1, deadline, back);
        vm.expectRevert(abi.encodeWithSelector(IComputePools.WrongApprovalNonce.selector, provider, 2, 0));
        submit(poolId, provider, true, 0, deadline, signature);
        assertFalse(pools.isPoolApproved(poolId, provider), "taken back");
    }

    function test_Trap_TakingAnApprovalBackKillsThoseThatWereSigned() public {
        bytes memory signature = signApproval(providerKey, poolId, provider, true, 0, deadline);
        vm.prank(provider);
        pools.setPoolApproval(poolId, false);
        vm.expectRevert(abi.encodeWithSelector(IComputePools.WrongApprovalNonce.selector, provider, 1, 0));
        submit(poolId, provider, true, 0, deadline, signature);
    }

    function test_ApprovingOnChainLeavesSignedApprovalsAlive() public {
        bytes memory signature = signApproval(providerKey, poolId, provider, true, 0, deadline);
        uint64 other = startedPool();
        assertTrue(pools.isPoolApproved(other, provider), "by a call");
        submit(poolId, provider, true, 0, deadline, signature);
        assertTrue(pools.isPoolApproved(poolId, provider), "by signature");
    }

    function test_Trap_TheOtherFormOfASignatureIsRefused() public {
        bytes memory signature = signApproval(providerKey, poolId, provider, true, 0, deadline);
        refused(poolId, true, 0, deadline, malleated(signature));
    }

    function test_Trap_AnApprovalIsWorthNothingOnAnotherChainOrContract() public {
        bytes memory signature = signApproval(providerKey, poolId, provider, true, 0, deadline);
        uint256 chain = block.chainid;
        vm.chainId(chain + 1);
        refused(poolId, true, 0, deadline, signature);
        vm.chainId(chain);
        IComputePools original = pools;
        pools = newPools(address(registry));
        assertEq(startedPool(), poolId, "same id");
        refused(poolId, true, 0, deadline, signature);
        original.setPoolApprovalBySignature(poolId, provider, true, 0, deadline, signature);
        assertTrue(original.isPoolApproved(poolId, provider), "at home it is good");
    }
}

contract TermsOfTest is World {
    function test_WhatSettlementAsks() public {
        uint64 poolId = startedPool();
        (address owner, address key, address rewardToken, IComputePools.PoolState state) = pools.termsOf(poolId);
        assertEq(owner, poolOwner, "owner");
        assertEq(key, orchestrator, "orchestrator");
        assertEq(rewardToken, address(token), "rewardToken");
        assertEq(uint256(state), uint256(IComputePools.PoolState.Running), "state");
    }

    function testFuzz_AllZeroForAnUnknownPool(uint64 poolId) public view {
        (address owner, address key, address rewardToken, IComputePools.PoolState state) = pools.termsOf(poolId);
        assertTrue(owner == address(0) && key == address(0) && rewardToken == address(0), "zero");
        assertEq(uint256(state), uint256(IComputePools.PoolState.None), "state");
    }
}
