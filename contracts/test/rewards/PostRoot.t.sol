// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IRewards} from "../../solidity/interfaces/IRewards.sol";
import {Settlement} from "./Settlement.sol";
import {SumTree} from "./SumTree.sol";

contract PostRootTest is Settlement {
    bytes32 internal constant ROOT = keccak256("root");

    function testFuzz_LocksTheIncreaseAtOnce(uint128 first, uint128 more, uint8 depth) public {
        first = uint128(bound(first, 0, CAP));
        more = uint128(bound(more, 0, CAP));
        depth = uint8(bound(depth, 0, 32));
        vm.warp(endOf(FIRST));
        vm.expectEmit(true, true, true, true, address(rewards));
        emit IRewards.RootPosted(poolId, FIRST, ROOT, first, first, depth, FIRST, block.timestamp + VETO_SECONDS);
        post(poolId, FIRST, ROOT, first, depth);
        assertBudget(poolId, BUDGET - first, first, 0, "after the first");
        IRewards.Root memory root = rewards.rootOf(poolId, FIRST);
        assertEq(root.root, ROOT, "root");
        assertEq(root.total, first, "total");
        assertEq(root.depth, depth, "depth");
        assertEq(root.finalAt, block.timestamp + VETO_SECONDS, "finalAt");
        assertTrue(root.state == IRewards.RootState.Pending, "pending");

        vm.warp(endOf(FIRST + 1));
        vm.expectEmit(true, true, true, true, address(rewards));
        emit IRewards.RootPosted(
            poolId, FIRST + 1, ROOT, first + more, more, depth, FIRST, block.timestamp + VETO_SECONDS
        );
        post(poolId, FIRST + 1, ROOT, first + more, depth);
        assertBudget(poolId, BUDGET - first - more, first + more, 0, "after the second");
        IRewards.Budget memory budget = rewards.budgetOf(poolId);
        assertEq(budget.posted, first + more, "posted");
        assertEq(budget.finalEpoch, FIRST, "the first is final");
        assertEq(budget.pendingEpoch, FIRST + 1, "the second is not");
    }

    function test_BecomesFinalByItselfWhenTheWindowIsOver() public {
        vm.warp(endOf(FIRST));
        post(poolId, FIRST, ROOT, 5, 0);
        vm.warp(endOf(FIRST) + VETO_SECONDS - 1);
        assertTrue(rewards.rootOf(poolId, FIRST).state == IRewards.RootState.Pending, "pending to the last second");
        assertEq(rewards.budgetOf(poolId).finalEpoch, 0, "none is final");
        assertEq(rewards.budgetOf(poolId).pendingEpoch, FIRST, "this one is pending");
        vm.warp(endOf(FIRST) + VETO_SECONDS);
        assertTrue(rewards.rootOf(poolId, FIRST).state == IRewards.RootState.Final, "final");
        assertEq(rewards.budgetOf(poolId).finalEpoch, FIRST, "this one is final");
        assertEq(rewards.budgetOf(poolId).pendingEpoch, 0, "none is pending");
        assertTrue(rewards.rootOf(poolId, FIRST + 1).state == IRewards.RootState.None, "no other");
    }

    function test_OnlyTheOrchestratorPosts() public {
        vm.warp(endOf(FIRST));
        vm.expectRevert(abi.encodeWithSelector(IRewards.NotOrchestrator.selector, poolId, poolOwner));
        vm.prank(poolOwner);
        rewards.postRoot(poolId, FIRST, ROOT, 0, 0, FIRST);
        vm.expectRevert(abi.encodeWithSelector(IRewards.NotOrchestrator.selector, uint64(99), orchestrator));
        post(99, FIRST, ROOT, 0, 0);
    }

    function test_Trap_AReplacedOrchestratorCannotPost() public {
        vm.prank(poolOwner);
        pools.setOrchestrator(poolId, stranger);
        vm.warp(endOf(FIRST));
        vm.expectRevert(abi.encodeWithSelector(IRewards.NotOrchestrator.selector, poolId, orchestrator));
        post(poolId, FIRST, ROOT, 1, 0);
        vm.prank(stranger);
        rewards.postRoot(poolId, FIRST, ROOT, 1, 0, FIRST);
    }

    function test_Trap_AnEndedPoolStillPaysItsDebts() public {
        vm.prank(poolOwner);
        pools.endPool(poolId);
        SumTree.Leaf[] memory leaves = earned(5, 6);
        settle(poolId, FIRST, leaves);
        assertEq(claim(claimOf(poolId, FIRST, leaves, 1)), 6, "claimed");
        redeem(stranger, receiptAfterItsDeadline(7));
        vm.warp(block.timestamp + VETO_SECONDS);
        assertEq(rewards.settleRedemption(poolId, payee(2)), 7, "redeemed");
    }

    function receiptAfterItsDeadline(uint128 amount) internal returns (IRewards.Receipt memory) {
        vm.warp(deadlineOf(FIRST) + 1);
        return receiptOf(poolId, FIRST, payee(2), amount, amount);
    }

    function testFuzz_RefusesAnEpochThatIsNotOver(uint64 epoch, uint256 early) public {
        epoch = uint64(bound(epoch, FIRST, type(uint64).max));
        early = bound(early, 1, EPOCH_SECONDS);
        vm.warp(endOf(FIRST) - early);
        vm.expectRevert(abi.encodeWithSelector(IRewards.EpochNotOver.selector, epoch, FIRST));
        post(poolId, epoch, ROOT, 0, 0);
    }

    function testFuzz_RefusesAnEpochPastItsDeadline(uint256 late) public {
        late = bound(late, 1, 365 days);
        vm.warp(deadlineOf(FIRST) + late);
        vm.expectRevert(abi.encodeWithSelector(IRewards.PostingDeadlinePassed.selector, FIRST, deadlineOf(FIRST)));
        post(poolId, FIRST, ROOT, 0, 0);
        vm.warp(deadlineOf(FIRST));
        post(poolId, FIRST, ROOT, 0, 0);
    }

    function test_RefusesAnEpochTwiceAndOneBeforeTheLatest() public {
        vm.warp(endOf(FIRST + 1));
        post(poolId, FIRST + 1, ROOT, 1, 0);
        for (uint64 epoch = FIRST; epoch <= FIRST + 1; ++epoch) {
            vm.expectRevert(abi.encodeWithSelector(IRewards.EpochAlreadyPosted.selector, epoch, FIRST + 1));
            post(poolId, epoch, ROOT, 2, 0);
        }
        vm.warp(block.timestamp + VETO_SECONDS);
        vm.expectRevert(abi.encodeWithSelector(IRewards.EpochAlreadyPosted.selector, FIRST + 1, FIRST + 1));
        post(poolId, FIRST + 1, ROOT, 2, 0);
    }

    function testFuzz_RefusesASecondRootWhileOneIsPending(uint256 early) public {
        early = bound(early, 1, VETO_SECONDS);
        vm.warp(endOf(FIRST + 1));
        post(poolId, FIRST, ROOT, 1, 0);
        uint256 finalAt = block.timestamp + VETO_SECONDS;
        vm.warp(finalAt - early);
        vm.expectRevert(abi.encodeWithSelector(IRewards.RootIsPending.selector, poolId, FIRST, finalAt));
        post(poolId, FIRST + 1, ROOT, 2, 0);
        vm.warp(finalAt);
        post(poolId, FIRST + 1, ROOT, 2, 0);
    }

    function test_RefusesNoRootAndTreesTooHigh() public {
        vm.warp(endOf(FIRST));
        vm.expectRevert(abi.encodeWithSelector(IRewards.ZeroDigest.selector));
        post(poolId, FIRST, bytes32(0), 0, 0);
        vm.expectRevert(abi.encodeWithSelector(IRewards.InvalidDepth.selector, uint8(33)));
        post(poolId, FIRST, ROOT, 0, 33);
    }

    function testFuzz_RefusesATotalThatShrinks(uint128 first, uint128 second) public {
        first = uint128(bound(first, 1, CAP));
        second = uint128(bound(second, 0, first - 1));
        vm.warp(endOf(FIRST));
        post(poolId, FIRST, ROOT, first, 0);
        vm.warp(endOf(FIRST + 1));
        vm.expectRevert(abi.encodeWithSelector(IRewards.TotalDecreased.selector, uint256(first), uint256(second)));
        post(poolId, FIRST + 1, ROOT, second, 0);
    }

    function test_RefusesWorkThatNobodyVouchesFor() public {
        vm.warp(endOf(FIRST));
        vm.startPrank(orchestrator);
        // No quorum in that epoch.
        vm.expectRevert(abi.encodeWithSelector(IRewards.NotProven.selector, FIRST - 1));
        rewards.postRoot(poolId, FIRST, ROOT, 0, 0, FIRST - 1);
        vm.stopPrank();
        // A later epoch's hardware says nothing about earlier work.
        prove(FIRST + 1);
        vm.startPrank(orchestrator);
        vm.expectRevert(abi.encodeWithSelector(IRewards.NotProven.selector, FIRST + 1));
        rewards.postRoot(poolId, FIRST, ROOT, 0, 0, FIRST + 1);
        vm.stopPrank();
        // Too old.
        uint64 last = FIRST + uint64(MAX_PROVEN_AGE);
        vm.warp(endOf(last + 1));
        vm.expectRevert(abi.encodeWithSelector(IRewards.NotProven.selector, FIRST));
        post(poolId, last + 1, ROOT, 0, 0);
        post(poolId, last, ROOT, 0, 0);
    }

    function testFuzz_Trap_TheBudgetIsNeverNegative(uint128 excess) public {
        setCap(poolId, type(uint128).max);
        excess = uint128(bound(excess, 1, type(uint128).max - BUDGET));
        vm.warp(endOf(FIRST));
        vm.expectRevert(
            abi.encodeWithSelector(
                IRewards.InsufficientBudget.selector, poolId, uint256(BUDGET), uint256(BUDGET) + excess
            )
        );
        post(poolId, FIRST, ROOT, BUDGET + excess, 0);
        post(poolId, FIRST, ROOT, BUDGET, 0);
        assertBudget(poolId, 0, BUDGET, 0, "with all of it promised");
        vm.warp(endOf(FIRST + 1));
        vm.expectRevert(
            abi.encodeWithSelector(IRewards.InsufficientBudget.selector, poolId, uint256(0), uint256(excess))
        );
        post(poolId, FIRST + 1, ROOT, BUDGET + excess, 0);
        // A pool out of budget still says that nothing more was earned.
        post(poolId, FIRST + 1, ROOT, BUDGET, 0);
    }
}

contract SpendCapTest is Settlement {
    bytes32 internal constant ROOT = keccak256("root");

    function setUp() public override {
        super.setUp();
        setCap(poolId, 100);
        vm.warp(endOf(FIRST));
    }

    /// @dev The epoch before the first one counts as well: the cap was set in it.
    function test_UnusedEpochsAddUpAndAPromiseUsesTheOldest() public {
        assertEq(rewards.spendable(poolId, FIRST), 200, "two epochs");
        post(poolId, FIRST, ROOT, 150, 0);
        assertEq(rewards.spendable(poolId, FIRST), 50, "half an epoch is left");
        assertEq(rewards.budgetOf(poolId).cappedThrough, FIRST, "the last epoch is begun");
        assertEq(rewards.spendable(poolId, FIRST + 1), 150, "and the next one comes");
        vm.warp(endOf(FIRST + 1));
        vm.expectRevert(abi.encodeWithSelector(IRewards.SpendCapExceeded.selector, poolId, uint256(150), uint256(151)));
        post(poolId, FIRST + 1, ROOT, 301, 0);
        post(poolId, FIRST + 1, ROOT, 300, 0);
        assertEq(rewards.spendable(poolId, FIRST + 1), 0, "all used");
    }

    function testFuzz_Trap_NoMoreIsPromisedThanTheCapAllows(uint128 cap, uint128[8] memory wishes, uint8 skips) public {
        cap = uint128(bound(cap, 1, BUDGET / 100));
        setCap(poolId, cap);
        prove(FIRST + 1);
        uint64 epoch = FIRST + 1;
        uint128 total;
        for (uint256 i = 0; i < wishes.length; ++i) {
            epoch += 1 + (skips >> i & 1);
            vm.warp(endOf(epoch));
            uint256 allowed = rewards.spendable(poolId, epoch);
            uint128 wish = uint128(bound(wishes[i], 0, uint256(cap) * 3));
            if (wish > allowed) {
                vm.expectRevert(
                    abi.encodeWithSelector(IRewards.SpendCapExceeded.selector, poolId, allowed, uint256(wish))
                );
            } else {
                total += wish;
            }
            post(poolId, epoch, ROOT, wish > allowed ? total + wish : total, 0);
            assertTrue(total <= uint256(epoch - FIRST + 2) * cap, "never more than a cap for each epoch");
        }
    }

    function testFuzz_AtMostFortyEightEpochsAddUp(uint64 idle) public {
        idle = uint64(bound(idle, 48, 10_000));
        assertEq(rewards.spendable(poolId, FIRST + idle), 4_800, "forty-eight");
        uint64 epoch = FIRST + idle;
        prove(epoch);
        vm.warp(endOf(epoch));
        vm.startPrank(orchestrator);
        vm.expectRevert(
            abi.encodeWithSelector(IRewards.SpendCapExceeded.selector, poolId, uint256(4_800), uint256(4_801))
        );
        rewards.postRoot(poolId, epoch, ROOT, 4_801, 0, epoch);
        rewards.postRoot(poolId, epoch, ROOT, 4_800, 0, epoch);
        vm.stopPrank();
    }

    function test_AVetoGivesBackWhatTheRootUsed() public {
        post(poolId, FIRST, ROOT, 150, 0);
        veto(poolId, FIRST, 3);
        assertEq(rewards.spendable(poolId, FIRST), 200, "as before");
        post(poolId, FIRST, ROOT, 200, 0);
        assertEq(rewards.spendable(poolId, FIRST), 0, "all used");
    }

    function testFuzz_AVetoGivesBackWhatTheRootUsedUnderAnyLaterCap(uint128 used, uint128 cap) public {
        used = uint128(bound(used, 0, 200));
        cap = uint128(bound(cap, 0, CAP));
        post(poolId, FIRST, ROOT, used, 0);
        setCap(poolId, cap);
        veto(poolId, FIRST, 3);
        assertEq(rewards.spendable(poolId, FIRST), 2 * uint256(cap), "two epochs");
    }

    function test_Trap_RedemptionsUseTheCapAsWell() public {
        vm.warp(deadlineOf(FIRST) + 1);
        // The posting window's two epochs are over as well.
        assertEq(rewards.spendable(poolId, validators.currentEpoch() - 1), 400, "four epochs");
        IRewards.Receipt memory receipt = receiptOf(poolId, FIRST, payee(0), 401, 401);
        bytes memory byOrchestrator = signReceipt(orchestratorKey, receipt);
        bytes memory byNode = signReceipt(nodeKey, receipt);
        vm.expectRevert(abi.encodeWithSelector(IRewards.SpendCapExceeded.selector, poolId, uint256(400), uint256(401)));
        rewards.redeem(receipt, byOrchestrator, byNode);
        redeem(stranger, receiptOf(poolId, FIRST, payee(0), 250, 250));
        assertEq(rewards.spendable(poolId, FIRST + 1), 50, "what is left for roots");
        for (uint256 i = 0; i < 3; ++i) {
            vm.prank(validator(i));
            rewards.vetoRedemption(poolId, payee(0), EVIDENCE);
        }
        assertEq(rewards.spendable(poolId, FIRST + 1), 300, "given back by a veto");
    }

    function test_ANewCapIsNothingWithoutTheOwner() public {
        setCap(poolId, 0);
        vm.expectRevert(abi.encodeWithSelector(IRewards.SpendCapExceeded.selector, poolId, uint256(0), uint256(1)));
        post(poolId, FIRST, ROOT, 1, 0);
        post(poolId, FIRST, ROOT, 0, 0);
    }
}
