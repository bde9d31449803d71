// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IComputePools} from "../../solidity/interfaces/IComputePools.sol";
import {World} from "../base/World.sol";

contract CreatePoolTest is World {
    function testFuzz_RecordsEverythingAndTakesNoJoinsYet(address creator, uint32 maxNodes, bytes32 hash) public {
        IComputePools.PoolParameters memory parameters = poolParameters();
        parameters.maxNodes = maxNodes;
        parameters.requirementsHash = hash;
        vm.expectEmit(true, true, true, true, address(pools));
        emit IComputePools.PoolCreated(
            1, creator, orchestrator, address(token), hash, maxNodes, parameters.uri, parameters.endpoints
        );
        vm.prank(creator);
        uint64 poolId = pools.createPool(parameters);
        IComputePools.Pool memory pool = pools.poolOf(poolId);
        assertEq(poolId, 1, "ids count from one");
        assertEq(pool.owner, creator, "owner");
        assertEq(pool.pendingOwner, address(0), "pendingOwner");
        assertEq(pool.orchestrator, orchestrator, "orchestrator");
        assertEq(pool.rewardToken, address(token), "rewardToken");
        assertEq(pool.requirementsHash, hash, "requirementsHash");
        assertEq(uint256(pool.state), uint256(IComputePools.PoolState.Created), "state");
        assertEq(pool.maxNodes, maxNodes, "maxNodes");
        assertEq(pool.memberCount, 0, "memberCount");
        assertEq(pool.createdAt, START, "createdAt");
        assertEq(pool.endpoints, parameters.endpoints, "endpoints");

        registerNode();
        IComputePools.Join memory item = joinOf(poolId, nodeKey);
        vm.expectEmit(true, true, true, true, address(pools));
        emit IComputePools.JoinFailed(poolId, node, IComputePools.PoolNotRunning.selector);
        pools.joinBatch(one(item));
    }

    function test_RefusesNoOrchestratorAndLongTexts() public {
        IComputePools.PoolParameters memory parameters = poolParameters();
        parameters.orchestrator = address(0);
        vm.expectRevert(abi.encodeWithSelector(IComputePools.ZeroAddress.selector, bytes32("orchestrator")));
        pools.createPool(parameters);
        parameters = poolParameters();
        parameters.uri = string(new bytes(513));
        vm.expectRevert(abi.encodeWithSelector(IComputePools.TextTooLong.selector, bytes32("uri"), 513, 512));
        pools.createPool(parameters);
        parameters = poolParameters();
        parameters.endpoints = string(new bytes(1025));
        vm.expectRevert(abi.encodeWithSelector(IComputePools.TextTooLong.selector, bytes32("endpoints"), 1025, 1024));
        pools.createPool(parameters);
    }

    function test_ThereIsNoPoolWithoutARegistry() public {
        vm.expectRevert(abi.encodeWithSelector(IComputePools.ZeroAddress.selector, bytes32("registry")));
        newPools(address(0));
    }

    function test_KnowsItsRegistry() public view {
        assertEq(pools.registry(), address(registry), "registry");
    }

    function test_PoolsAreApart() public {
        vm.prank(poolOwner);
        uint64 first = pools.createPool(poolParameters());
        vm.prank(stranger);
        uint64 second = pools.createPool(poolParameters());
        assertEq(pools.poolCount(), 2, "two");
        assertEq(pools.poolOf(first).owner, poolOwner, "first");
        assertEq(pools.poolOf(second).owner, stranger, "second");
        vm.expectRevert(abi.encodeWithSelector(IComputePools.PoolNotFound.selector, 3));
        pools.poolOf(3);
    }
}

contract PoolStateTest is World {
    function expectState(uint64 poolId, IComputePools.PoolState state) internal view {
        assertEq(uint256(pools.poolOf(poolId).state), uint256(state), "state");
    }

    function test_CreatedThenRunningThenEndedForGood() public {
        vm.startPrank(poolOwner);
        uint64 poolId = pools.createPool(poolParameters());
        vm.expectEmit(true, true, true, true, address(pools));
        emit IComputePools.PoolStarted(poolId);
        pools.startPool(poolId);
        expectState(poolId, IComputePools.PoolState.Running);
        vm.expectRevert(
            abi.encodeWithSelector(
                IComputePools.WrongPoolState.selector,
                poolId,
                IComputePools.PoolState.Created,
                IComputePools.PoolState.Running
            )
        );
        pools.startPool(poolId);
        vm.expectEmit(true, true, true, true, address(pools));
        emit IComputePools.PoolEnded(poolId);
        pools.endPool(poolId);
        expectState(poolId, IComputePools.PoolState.Ended);
        vm.expectPartialRevert(IComputePools.WrongPoolState.selector);
        pools.startPool(poolId);
        vm.expectPartialRevert(IComputePools.WrongPoolState.selector);
        pools.endPool(poolId);
        vm.stopPrank();
    }

    function testFuzz_OnlyTheOwner(address caller) public {
        uint64 poolId = startedPool();
        if (caller == poolOwner) caller = orchestrator;
        bytes memory refusal = abi.encodeWithSelector(IComputePools.NotPoolOwner.selector, poolId, caller);
        vm.startPrank(caller);
        vm.expectRevert(refusal);
        pools.startPool(poolId);
        vm.expectRevert(refusal);
        pools.endPool(poolId);
        vm.expectRevert(refusal);
        pools.setOrchestrator(poolId, caller);
        vm.expectRevert(refusal);
        pools.setRequirements(poolId, 0, "");
        vm.expectRevert(refusal);
        pools.transferPool(poolId, caller);
        vm.expectRevert(refusal);
        pools.banNode(poolId, node);
        vm.expectRevert(refusal);
        pools.unbanNode(poolId, node);
        vm.expectRevert(refusal);
        pools.banProvider(poolId, provider);
        vm.expectRevert(refusal);
        pools.unbanProvider(poolId, provider);
        vm.stopPrank();
    }

    function test_UnknownPoolsHaveAName() public {
        bytes memory refusal = abi.encodeWithSelector(IComputePools.PoolNotFound.selector, 9);
        vm.expectRevert(refusal);
        pools.startPool(9);
        vm.expectRevert(refusal);
        pools.setEndpoints(9, "");
        vm.expectRevert(refusal);
        pools.acceptPool(9);
        vm.expectRevert(refusal);
        pools.eject(9, node);
    }
}

contract PoolSettingsTest is World {
    function test_Trap_AReplacedOrchestratorKeepsNoRole() public {
        uint64 poolId = startedPool();
        registerNode();
        IComputePools.Join memory item = joinOf(poolId, nodeKey);
        uint256 nextKey = keyOf("next orchestrator");
        vm.expectEmit(true, true, true, true, address(pools));
        emit IComputePools.OrchestratorChanged(poolId, orchestrator, vm.addr(nextKey));
        vm.prank(poolOwner);
        pools.setOrchestrator(poolId, vm.addr(nextKey));

        vm.expectEmit(true, true, true, true, address(pools));
        emit IComputePools.JoinFailed(poolId, node, IComputePools.InvalidInviteSignature.selector);
        pools.joinBatch(one(item));
        resign(item, nextKey, nodeKey);
        pools.joinBatch(one(item));
        assertTrue(pools.isMember(poolId, node), "the new key invites");
        bytes memory refusal = abi.encodeWithSelector(IComputePools.NotPoolAuthority.selector, poolId, orchestrator);
        vm.startPrank(orchestrator);
        vm.expectRevert(refusal);
        pools.eject(poolId, node);
        vm.expectRevert(refusal);
        pools.setEndpoints(poolId, "https://stolen.example");
        vm.stopPrank();
    }

    function test_Trap_AReplacedOrchestratorKeyNeverReturns() public {
        uint64 poolId = startedPool();
        vm.startPrank(poolOwner);
        pools.setOrchestrator(poolId, stranger);
        vm.expectRevert(abi.encodeWithSelector(IComputePools.OrchestratorRetired.selector, poolId, orchestrator));
        pools.setOrchestrator(poolId, orchestrator);
        vm.expectRevert(abi.encodeWithSelector(IComputePools.OrchestratorRetired.selector, poolId, stranger));
        pools.setOrchestrator(poolId, stranger);
        vm.expectRevert(abi.encodeWithSelector(IComputePools.ZeroAddress.selector, bytes32("orchestrator")));
        pools.setOrchestrator(poolId, address(0));
        vm.stopPrank();
    }

    function testFuzz_OwnerAndOrchestratorPublishEndpoints(bool byOwner, string calldata endpoints) public {
        vm.assume(bytes(endpoints).length <= 1024);
        uint64 poolId = startedPool();
        vm.expectEmit(true, true, true, true, address(pools));
        emit IComputePools.EndpointsChanged(poolId, endpoints);
        vm.prank(byOwner ? poolOwner : orchestrator);
        pools.setEndpoints(poolId, endpoints);
        assertEq(pools.poolOf(poolId).endpoints, endpoints, "endpoints");
        string memory long = string(new bytes(1025));
        vm.expectRevert(abi.encodeWithSelector(IComputePools.TextTooLong.selector, bytes32("endpoints"), 1025, 1024));
        vm.prank(poolOwner);
        pools.setEndpoints(poolId, long);
    }

    function testFuzz_TheOwnerPublishesRequirements(bytes32 hash) public {
        uint64 poolId = startedPool();
        vm.startPrank(poolOwner);
        vm.expectEmit(true, true, true, true, address(pools));
        emit IComputePools.RequirementsChanged(poolId, hash, "ipfs://requirements");
        pools.setRequirements(poolId, hash, "ipfs://requirements");
        assertEq(pools.poolOf(poolId).requirementsHash, hash, "hash");
        vm.expectRevert(abi.encodeWithSelector(IComputePools.TextTooLong.selector, bytes32("uri"), 513, 512));
        pools.setRequirements(poolId, hash, string(new bytes(513)));
        vm.stopPrank();
    }
}

contract OwnershipTest is World {
    function testFuzz_Trap_AReplacedOwnerKeepsNoRole(address next) public {
        vm.assume(next != poolOwner && next != address(0) && next != orchestrator);
        uint64 poolId = startedPool();
        vm.expectEmit(true, true, true, true, address(pools));
        emit IComputePools.OwnershipTransferStarted(poolId, poolOwner, next);
        vm.prank(poolOwner);
        pools.transferPool(poolId, next);
        assertEq(pools.poolOf(poolId).owner, poolOwner, "not yet");
        assertEq(pools.poolOf(poolId).pendingOwner, next, "offered");
        vm.expectEmit(true, true, true, true, address(pools));
        emit IComputePools.OwnershipTransferred(poolId, poolOwner, next);
        vm.prank(next);
        pools.acceptPool(poolId);
        assertEq(pools.poolOf(poolId).owner, next, "taken");
        assertEq(pools.poolOf(poolId).pendingOwner, address(0), "no offer is left");
        vm.expectRevert(abi.encodeWithSelector(IComputePools.NotPoolOwner.selector, poolId, poolOwner));
        vm.prank(poolOwner);
        pools.endPool(poolId);
        vm.expectRevert(abi.encodeWithSelector(IComputePools.NotPendingOwner.selector, poolId, next));
        vm.prank(next);
        pools.acceptPool(poolId);
    }

    function test_AnOfferCanBeTakenBack() public {
        uint64 poolId = startedPool();
        vm.startPrank(poolOwner);
        pools.transferPool(poolId, stranger);
        pools.transferPool(poolId, address(0));
        vm.stopPrank();
        vm.expectRevert(abi.encodeWithSelector(IComputePools.NotPendingOwner.selector, poolId, stranger));
        vm.prank(stranger);
        pools.acceptPool(poolId);
    }
}
