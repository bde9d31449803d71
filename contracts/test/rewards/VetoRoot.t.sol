// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IRewards} from "../../solidity/interfaces/IRewards.sol";
import {Settlement} from "./Settlement.sol";

contract VetoRootTest is Settlement {
    bytes32 internal constant ROOT = keccak256("root");

    function setUp() public override {
        super.setUp();
        vm.warp(endOf(FIRST));
        post(poolId, FIRST, ROOT, 100, 3);
    }

    function test_MoreThanTwoThirdsOfTheWeightDropARoot() public {
        uint256 weight = MIN_VALIDATOR_STAKE;
        vm.expectEmit(true, true, true, true, address(rewards));
        emit IRewards.VetoCast(poolId, FIRST, validator(0), EVIDENCE, weight, 4 * weight);
        veto(poolId, FIRST, 1);
        vm.prank(validator(1));
        rewards.vetoRoot(poolId, FIRST, EVIDENCE);
        assertTrue(rewards.rootOf(poolId, FIRST).state == IRewards.RootState.Pending, "half is not enough");
        vm.expectEmit(true, true, true, true, address(rewards));
        emit IRewards.VetoCast(poolId, FIRST, validator(2), EVIDENCE, 3 * weight, 4 * weight);
        vm.expectEmit(true, true, true, true, address(rewards));
        emit IRewards.RootVetoed(poolId, FIRST, ROOT, 100);
        vm.prank(validator(2));
        rewards.vetoRoot(poolId, FIRST, EVIDENCE);

        assertTrue(rewards.rootOf(poolId, FIRST).state == IRewards.RootState.Vetoed, "vetoed");
        assertBudget(poolId, BUDGET, 0, 0, "after the veto");
        IRewards.Budget memory budget = rewards.budgetOf(poolId);
        assertEq(budget.posted, 0, "posted");
        assertEq(budget.finalEpoch, 0, "none is final");
        assertEq(budget.pendingEpoch, 0, "none is pending");
        vm.expectRevert(abi.encodeWithSelector(IRewards.RootNotPending.selector, poolId, FIRST));
        vm.prank(validator(3));
        rewards.vetoRoot(poolId, FIRST, EVIDENCE);
    }

    function test_ExactlyTwoThirdsAreNotEnough() public {
        // Two more of the same weight make six.
        register(4, MIN_VALIDATOR_STAKE);
        register(5, MIN_VALIDATOR_STAKE);
        vm.warp(endOf(FIRST + 1));
        post(poolId, FIRST + 1, ROOT, 200, 3);
        veto(poolId, FIRST + 1, 4);
        assertTrue(rewards.rootOf(poolId, FIRST + 1).state == IRewards.RootState.Pending, "four of six");
        vm.prank(validator(4));
        rewards.vetoRoot(poolId, FIRST + 1, EVIDENCE);
        assertTrue(rewards.rootOf(poolId, FIRST + 1).state == IRewards.RootState.Vetoed, "five of six");
        assertEq(rewards.budgetOf(poolId).finalEpoch, FIRST, "the one before stays final");
        assertBudget(poolId, BUDGET - 100, 100, 0, "with the first root's promise");
    }

    function test_AValidatorVotesOnce() public {
        vm.startPrank(validator(0));
        rewards.vetoRoot(poolId, FIRST, EVIDENCE);
        vm.expectRevert(abi.encodeWithSelector(IRewards.AlreadyVoted.selector, validator(0)));
        rewards.vetoRoot(poolId, FIRST, keccak256("other evidence"));
        vm.stopPrank();
    }

    function test_OnlyValidatorsVote() public {
        vm.expectRevert(abi.encodeWithSelector(IRewards.NoVotingWeight.selector, stranger));
        vm.prank(stranger);
        rewards.vetoRoot(poolId, FIRST, EVIDENCE);
    }

    function testFuzz_OnlyWhileTheRootIsPending(uint256 late) public {
        late = bound(late, 0, 365 days);
        vm.warp(endOf(FIRST) + VETO_SECONDS + late);
        vm.expectRevert(abi.encodeWithSelector(IRewards.RootNotPending.selector, poolId, FIRST));
        vm.prank(validator(0));
        rewards.vetoRoot(poolId, FIRST, EVIDENCE);
        vm.expectRevert(abi.encodeWithSelector(IRewards.RootNotPending.selector, poolId, FIRST + 1));
        vm.prank(validator(0));
        rewards.vetoRoot(poolId, FIRST + 1, EVIDENCE);
    }

    function test_InTheLastSecondARootCanBeVetoed() public {
        vm.warp(endOf(FIRST) + VETO_SECONDS - 1);
        veto(poolId, FIRST, 3);
        assertTrue(rewards.rootOf(poolId, FIRST).state == IRewards.RootState.Vetoed, "vetoed");
    }

    /// @dev Otherwise a stake could leave, come back under another name, and vote again in a long window.
    function test_Trap_WeightsAreThoseOfWhenTheWindowBegan() public {
        register(4, 100 * MIN_VALIDATOR_STAKE);
        vm.prank(validator(0));
        validators.requestExit();
        // The next epoch begins within a window that is posted late.
        vm.warp(endOf(FIRST + 1) - 1);
        vm.expectRevert(abi.encodeWithSelector(IRewards.RootNotPending.selector, poolId, FIRST));
        vm.prank(validator(1));
        rewards.vetoRoot(poolId, FIRST, EVIDENCE);
        vm.warp(deadlineOf(FIRST + 1) - 1);
        register(5, 100 * MIN_VALIDATOR_STAKE);
        post(poolId, FIRST + 1, ROOT, 100, 3);
        vm.warp(deadlineOf(FIRST + 1));
        vm.expectRevert(abi.encodeWithSelector(IRewards.NoVotingWeight.selector, validator(5)));
        vm.prank(validator(5));
        rewards.vetoRoot(poolId, FIRST + 1, EVIDENCE);
        vm.expectRevert(abi.encodeWithSelector(IRewards.NoVotingWeight.selector, validator(0)));
        vm.prank(validator(0));
        rewards.vetoRoot(poolId, FIRST + 1, EVIDENCE);
        vm.prank(validator(4));
        rewards.vetoRoot(poolId, FIRST + 1, EVIDENCE);
        assertTrue(rewards.rootOf(poolId, FIRST + 1).state == IRewards.RootState.Vetoed, "by who had weight");
    }

    function test_TheSameEpochCanBePostedAgainAndItsBallotIsNew() public {
        veto(poolId, FIRST, 3);
        post(poolId, FIRST, keccak256("better root"), 90, 2);
        IRewards.Root memory root = rewards.rootOf(poolId, FIRST);
        assertTrue(root.state == IRewards.RootState.Pending, "pending");
        assertEq(root.total, 90, "total");
        assertEq(root.depth, 2, "depth");
        veto(poolId, FIRST, 2);
        assertTrue(rewards.rootOf(poolId, FIRST).state == IRewards.RootState.Pending, "old votes do not count");
        vm.warp(block.timestamp + VETO_SECONDS);
        assertTrue(rewards.rootOf(poolId, FIRST).state == IRewards.RootState.Final, "final");
        assertBudget(poolId, BUDGET - 90, 90, 0, "with the second promise");
    }

    function test_ALaterEpochCanBePostedInstead() public {
        veto(poolId, FIRST, 3);
        vm.warp(endOf(FIRST + 1));
        post(poolId, FIRST + 1, ROOT, 120, 3);
        assertBudget(poolId, BUDGET - 120, 120, 0, "with the second promise");
        assertTrue(rewards.rootOf(poolId, FIRST).state == IRewards.RootState.Vetoed, "the first stays vetoed");
    }

    function test_AVetoAfterAFinalRootGoesBackToIt() public {
        vm.warp(endOf(FIRST + 1));
        post(poolId, FIRST + 1, ROOT, 250, 3);
        veto(poolId, FIRST + 1, 3);
        IRewards.Budget memory budget = rewards.budgetOf(poolId);
        assertEq(budget.posted, 100, "posted");
        assertEq(budget.finalEpoch, FIRST, "final");
        assertBudget(poolId, BUDGET - 100, 100, 0, "after the veto");
        vm.expectRevert(abi.encodeWithSelector(IRewards.TotalDecreased.selector, uint256(100), uint256(99)));
        post(poolId, FIRST + 1, ROOT, 99, 3);
        post(poolId, FIRST + 1, ROOT, 101, 3);
        assertBudget(poolId, BUDGET - 101, 101, 0, "after the next root");
    }

    function test_NobodyVotesWhereThereIsNoWeight() public {
        for (uint256 i = 0; i < 4; ++i) {
            vm.prank(validator(i));
            validators.requestExit();
        }
        vm.warp(endOf(FIRST + 1));
        post(poolId, FIRST + 1, ROOT, 120, 3);
        vm.expectRevert(abi.encodeWithSelector(IRewards.NoVotingWeight.selector, validator(0)));
        vm.prank(validator(0));
        rewards.vetoRoot(poolId, FIRST + 1, EVIDENCE);
    }
}
