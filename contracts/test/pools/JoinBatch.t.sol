// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IComputePools} from "../../solidity/interfaces/IComputePools.sol";
import {World} from "../base/World.sol";

/// @dev A registry that knows every node, with a stake that does not suffice (as after a slash).
contract PoorRegistry {
    function standingOf(address node) external pure returns (address, uint48, bool) {
        return (node, 1, false);
    }
}

contract JoinBatchTest is World {
    uint64 internal poolId;

    function setUp() public override {
        super.setUp();
        registerNode();
        poolId = startedPool();
    }

    function refused(IComputePools.Join memory item, bytes4 reason) internal {
        IComputePools.Membership memory before = pools.membershipOf(item.poolId, item.node);
        vm.expectEmit(true, true, true, true, address(pools));
        emit IComputePools.JoinFailed(item.poolId, item.node, reason);
        vm.prank(stranger);
        pools.joinBatch(one(item));
        IComputePools.Membership memory afterwards = pools.membershipOf(item.poolId, item.node);
        assertEq(keccak256(abi.encode(afterwards)), keccak256(abi.encode(before)), "untouched");
    }

    function testFuzz_AnybodySubmitsForANodeWithoutATokenOfItsOwn(address sender) public {
        IComputePools.Join memory item = joinOf(poolId, nodeKey);
        assertEq(node.balance, 0, "no native token");
        vm.expectEmit(true, true, true, true, address(pools));
        emit IComputePools.NodeJoined(poolId, node, provider, 1, 1);
        vm.prank(sender);
        pools.joinBatch(one(item));
        IComputePools.Membership memory membership = pools.membershipOf(poolId, node);
        assertEq(uint256(membership.state), uint256(IComputePools.MembershipState.Member), "state");
        assertTrue(membership.active, "active");
        assertEq(membership.joinCounter, 1, "joinCounter");
        assertEq(membership.joinedAt, START, "joinedAt");
        assertEq(membership.registration, 1, "registration");
        assertEq(membership.provider, provider, "provider");
        assertEq(pools.poolOf(poolId).memberCount, 1, "memberCount");
    }

    function testFuzz_ABadItemDoesNotFailTheBatch(uint256 bad) public {
        bad = bound(bad, 0, 4);
        IComputePools.Join[] memory items = new IComputePools.Join[](5);
        for (uint256 i = 0; i < 5; ++i) {
            uint256 key = keyOf(vm.toString(i));
            addNode(providerKey, key, 1);
            items[i] = joinOf(poolId, key);
        }
        items[bad].consentSignature = items[bad].inviteSignature;
        vm.expectEmit(true, true, true, true, address(pools));
        emit IComputePools.JoinFailed(poolId, items[bad].node, IComputePools.InvalidConsentSignature.selector);
        pools.joinBatch(items);
        for (uint256 i = 0; i < 5; ++i) {
            assertTrue(pools.isMember(poolId, items[i].node) == (i != bad), "all but the bad one");
        }
        assertEq(pools.poolOf(poolId).memberCount, 4, "memberCount");
    }

    function test_AMemberAlreadyIsASuccess() public {
        IComputePools.Join memory item = joinOf(poolId, nodeKey);
        IComputePools.Join[] memory twice = new IComputePools.Join[](2);
        twice[0] = item;
        twice[1] = item;
        vm.expectEmit(true, true, true, true, address(pools));
        emit IComputePools.NodeJoined(poolId, node, provider, 1, 1);
        vm.expectEmit(true, true, true, true, address(pools));
        emit IComputePools.NodeAlreadyMember(poolId, node);
        pools.joinBatch(twice);
        assertEq(pools.membershipOf(poolId, node).joinCounter, 1, "joined once");
        assertEq(pools.poolOf(poolId).memberCount, 1, "counted once");
    }

    function test_Trap_AnOldConsentNeverReplaysAfterLeaving() public {
        IComputePools.Join memory old = joinOf(poolId, nodeKey);
        pools.joinBatch(one(old));
        vm.prank(node);
        pools.leave(poolId, node);
        refused(old, IComputePools.WrongCounter.selector);
        join(poolId, nodeKey);
        assertEq(pools.membershipOf(poolId, node).joinCounter, 2, "a fresh pair joins again");
        vm.prank(orchestrator);
        pools.eject(poolId, node);
        refused(old, IComputePools.WrongCounter.selector);
    }

    function test_Trap_NothingReplaysInAnotherPoolOnAnotherChainOrContract() public {
        IComputePools.Join memory item = joinOf(poolId, nodeKey);
        uint64 home = poolId;
        item.poolId = startedPool();
        refused(item, IComputePools.InvalidInviteSignature.selector);
        item.poolId = home;

        uint256 chain = block.chainid;
        vm.chainId(chain + 1);
        refused(item, IComputePools.InvalidInviteSignature.selector);
        vm.chainId(chain);

        IComputePools original = pools;
        pools = newPools(address(registry));
        assertEq(startedPool(), home, "same id");
        refused(item, IComputePools.InvalidInviteSignature.selector);
        original.joinBatch(one(item));
        assertTrue(original.isMember(home, node), "at home it is good");
    }

    function test_ThePurposesAreApart() public {
        IComputePools.Join memory item = joinOf(poolId, nodeKey);
        // The orchestrator signs the consent's text instead of the invite's, and the other way round.
        item.inviteSignature = signJoin("Consent", orchestratorKey, item, provider);
        refused(item, IComputePools.InvalidInviteSignature.selector);
        item = joinOf(poolId, nodeKey);
        item.consentSignature = signJoin("Invite", nodeKey, item, provider);
        refused(item, IComputePools.InvalidConsentSignature.selector);
    }

    function testFuzz_EveryFieldIsSigned(uint256 which, uint256 noise) public {
        IComputePools.Join memory item = joinOf(poolId, nodeKey);
        which = bound(which, 0, 2);
        if (which == 0) item.deadline = uint64(bound(noise, START, type(uint64).max));
        if (which == 1) item.termsHash = bytes32(noise);
        if (which == 2) {
            // A node of the same provider cannot use another node's invite.
            addNode(providerKey, keyOf("other"), 1);
            item.node = vm.addr(keyOf("other"));
        }
        vm.assume(item.deadline != START + 1 hours || item.termsHash != TERMS || item.node != node);
        refused(item, IComputePools.InvalidInviteSignature.selector);
    }

    function test_AConsentNamesTheProvider() public {
        IComputePools.Join memory item = joinOf(poolId, nodeKey);
        vm.prank(provider);
        registry.removeNode(node);
        registerProvider(keyOf("stranger"), MIN_STAKE_PER_UNIT);
        addNode(keyOf("stranger"), nodeKey, 1);
        approve(stranger, poolId);
        refused(item, IComputePools.InvalidInviteSignature.selector);
    }

    function testFuzz_ForeignSignaturesAreRefused(uint256 key) public {
        key = bound(key, 1, 2 ** 255);
        vm.assume(key != orchestratorKey && key != nodeKey);
        IComputePools.Join memory item = joinOf(poolId, nodeKey);
        item.inviteSignature = signJoin("Invite", key, item, provider);
        refused(item, IComputePools.InvalidInviteSignature.selector);
        item = joinOf(poolId, nodeKey);
        item.consentSignature = signJoin("Consent", key, item, provider);
        refused(item, IComputePools.InvalidConsentSignature.selector);
    }

    function test_Trap_TheOtherFormOfASignatureIsRefused() public {
        IComputePools.Join memory item = joinOf(poolId, nodeKey);
        item.inviteSignature = malleated(item.inviteSignature);
        refused(item, IComputePools.InvalidInviteSignature.selector);
        item = joinOf(poolId, nodeKey);
        item.consentSignature = malleated(item.consentSignature);
        refused(item, IComputePools.InvalidConsentSignature.selector);
    }

    function testFuzz_BytesThatAreNoSignatureAreRefused(bytes calldata noise) public {
        IComputePools.Join memory item = joinOf(poolId, nodeKey);
        item.inviteSignature = noise;
        refused(item, IComputePools.InvalidInviteSignature.selector);
    }

    function testFuzz_AnInviteExpires(uint64 late) public {
        late = uint64(bound(late, 1, 1e9));
        IComputePools.Join memory item = joinOf(poolId, nodeKey);
        vm.warp(item.deadline);
        pools.joinBatch(one(item));
        assertTrue(pools.isMember(poolId, node), "the last second counts");
        vm.prank(node);
        pools.leave(poolId, node);
        item = joinOf(poolId, nodeKey);
        vm.warp(uint256(item.deadline) + late);
        refused(item, IComputePools.SignatureExpired.selector);
    }

    function test_OnlyRegisteredNodesOfProvidersWithEnoughStake() public {
        uint256 key = keyOf("unknown");
        IComputePools.Join memory item = joinOf(poolId, key);
        refused(item, IComputePools.NodeNotEligible.selector);
    }

    function test_ANodeWhoseStakeFellBelowTheMinimumCannotJoin() public {
        pools = newPools(address(new PoorRegistry()));
        poolId = startedPool();
        refused(joinOf(poolId, nodeKey), IComputePools.NodeNotEligible.selector);
    }

    function test_APoolHoldsAtMostItsLimit() public {
        IComputePools.PoolParameters memory parameters = poolParameters();
        parameters.maxNodes = 1;
        vm.startPrank(poolOwner);
        uint64 small = pools.createPool(parameters);
        pools.startPool(small);
        vm.stopPrank();
        approve(provider, small);
        join(small, nodeKey);
        addNode(providerKey, keyOf("other"), 1);
        refused(joinOf(small, keyOf("other")), IComputePools.PoolFull.selector);
        vm.prank(node);
        pools.leave(small, node);
        join(small, keyOf("other"));
        assertEq(pools.poolOf(small).memberCount, 1, "memberCount");
    }

    function test_UnknownAndEndedPoolsTakeNobody() public {
        refused(joinOf(77, nodeKey), IComputePools.PoolNotFound.selector);
        vm.prank(poolOwner);
        pools.endPool(poolId);
        refused(joinOf(poolId, nodeKey), IComputePools.PoolNotRunning.selector);
    }

    function test_ANodeReleasedAndRegisteredAnewIsNoMemberUntilItJoinsAnew() public {
        join(poolId, nodeKey);
        vm.prank(provider);
        registry.removeNode(node);
        assertFalse(pools.isMember(poolId, node), "released");
        addNode(providerKey, nodeKey, 1);
        assertFalse(pools.isMember(poolId, node), "registered anew");
        join(poolId, nodeKey);
        assertEq(pools.membershipOf(poolId, node).joinCounter, 2, "joined anew");
        assertEq(pools.poolOf(poolId).memberCount, 1, "counted once");
    }

    function test_TheLensReadsTheIdsGivenToIt() public {
        join(poolId, nodeKey);
        address[] memory asked = new address[](3);
        asked[0] = stranger;
        asked[1] = node;
        asked[2] = node;
        IComputePools.Membership[] memory memberships = pools.membershipsOf(poolId, asked);
        assertEq(memberships.length, 3, "one each");
        assertFalse(memberships[0].active, "stranger");
        assertTrue(memberships[1].active && memberships[2].active, "node, twice");
    }
}
