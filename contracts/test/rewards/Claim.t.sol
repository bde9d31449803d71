// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IRewards} from "../../solidity/interfaces/IRewards.sol";
import {CallingToken, RefusingToken, RevertingToken} from "../base/Tokens.sol";
import {Vm} from "../base/Vm.sol";
import {Settlement} from "./Settlement.sol";
import {SumTree} from "./SumTree.sol";

contract ClaimTest is Settlement {
    function testFuzz_PaysThePayeeWhoeverCalls(uint128 first, uint128 second, address caller) public {
        first = uint128(bound(first, 0, CAP / 2));
        second = uint128(bound(second, 1, CAP / 2));
        SumTree.Leaf[] memory leaves = earned(first, second);
        settle(poolId, FIRST, leaves);
        vm.expectEmit(true, true, true, true, address(rewards));
        emit IRewards.Claimed(poolId, FIRST, payee(1), second, second);
        IRewards.Claim memory item = claimOf(poolId, FIRST, leaves, 1);
        vm.prank(caller);
        assertEq(rewards.claim(item), second, "amount");
        assertEq(token.balanceOf(payee(1)), second, "balance");
        assertEarnings(poolId, payee(1), second, 0, "after the claim");
        assertBudget(poolId, BUDGET - first - second, first, second, "after the claim");
    }

    function test_Trap_ClaimsWorkWithoutAnyExtraGrant() public {
        // The payee never called anything, approved nothing, and holds no role and no native token.
        SumTree.Leaf[] memory leaves = earned(5);
        settle(poolId, FIRST, leaves);
        assertEq(payee(0).balance, 0, "no native token");
        assertEq(claim(claimOf(poolId, FIRST, leaves, 0)), 5, "paid");
    }

    function testFuzz_PaysTheDifferenceUnderLaterRoots(uint128[4] memory earnings) public {
        uint128 cumulative;
        for (uint64 i = 0; i < earnings.length; ++i) {
            uint128 more = uint128(bound(earnings[i], 1, CAP / 2));
            cumulative += more;
            SumTree.Leaf[] memory leaves = earned(cumulative, cumulative);
            settle(poolId, FIRST + i, leaves);
            assertEq(claim(claimOf(poolId, FIRST + i, leaves, 0)), more, "the difference");
        }
        assertEq(token.balanceOf(payee(0)), cumulative, "all of it");
        assertBudget(poolId, BUDGET - 2 * cumulative, cumulative, cumulative, "with the other payee's part promised");
    }

    function test_RefusesADoubledClaim() public {
        SumTree.Leaf[] memory leaves = earned(5, 6);
        settle(poolId, FIRST, leaves);
        claim(claimOf(poolId, FIRST, leaves, 0));
        vm.expectRevert(
            abi.encodeWithSelector(IRewards.NothingToClaim.selector, poolId, payee(0), uint256(5), uint256(5))
        );
        claim(claimOf(poolId, FIRST, leaves, 0));
        // The same leaf under a later root is no new money either.
        settle(poolId, FIRST + 1, leaves);
        vm.expectRevert(
            abi.encodeWithSelector(IRewards.NothingToClaim.selector, poolId, payee(0), uint256(5), uint256(5))
        );
        claim(claimOf(poolId, FIRST + 1, leaves, 0));
    }

    function test_RefusesASupersededClaimAfterTheLaterOne() public {
        SumTree.Leaf[] memory old = earned(5, 6);
        settle(poolId, FIRST, old);
        SumTree.Leaf[] memory leaves = earned(8, 6);
        settle(poolId, FIRST + 1, leaves);
        assertEq(claim(claimOf(poolId, FIRST + 1, leaves, 0)), 8, "all at once");
        vm.expectRevert(
            abi.encodeWithSelector(IRewards.NothingToClaim.selector, poolId, payee(0), uint256(8), uint256(5))
        );
        claim(claimOf(poolId, FIRST, old, 0));
    }

    function test_Trap_FinalisedRootsStayClaimableAfterLaterOnes() public {
        SumTree.Leaf[] memory old = earned(5, 6);
        settle(poolId, FIRST, old);
        SumTree.Leaf[] memory leaves = earned(8, 6);
        settle(poolId, FIRST + 1, leaves);
        assertEq(claim(claimOf(poolId, FIRST, old, 0)), 5, "under the first");
        assertEq(claim(claimOf(poolId, FIRST + 1, leaves, 0)), 3, "the rest under the second");
        // Also while a third is pending, and after it was vetoed.
        postInTime(poolId, FIRST + 2, earned(100, 100));
        assertEq(claim(claimOf(poolId, FIRST, old, 1)), 6, "the other payee's");
        veto(poolId, FIRST + 2, 3);
        assertBudget(poolId, BUDGET - 14, 0, 14, "everything is paid");
    }

    function testFuzz_OnlyUnderAFinalRoot(uint256 early) public {
        early = bound(early, 1, VETO_SECONDS);
        SumTree.Leaf[] memory leaves = earned(5);
        postInTime(poolId, FIRST, leaves);
        vm.warp(endOf(FIRST) + VETO_SECONDS - early);
        vm.expectRevert(
            abi.encodeWithSelector(IRewards.RootNotFinal.selector, poolId, FIRST, IRewards.RootState.Pending)
        );
        claim(claimOf(poolId, FIRST, leaves, 0));
        vm.warp(endOf(FIRST) + VETO_SECONDS);
        assertEq(claim(claimOf(poolId, FIRST, leaves, 0)), 5, "final");
        vm.expectRevert(
            abi.encodeWithSelector(IRewards.RootNotFinal.selector, poolId, FIRST + 1, IRewards.RootState.None)
        );
        claim(claimOf(poolId, FIRST + 1, leaves, 0));
    }

    function test_RefusesAVetoedRootForEver() public {
        SumTree.Leaf[] memory leaves = earned(5);
        postInTime(poolId, FIRST, leaves);
        veto(poolId, FIRST, 3);
        vm.warp(endOf(FIRST) + 365 days);
        vm.expectRevert(
            abi.encodeWithSelector(IRewards.RootNotFinal.selector, poolId, FIRST, IRewards.RootState.Vetoed)
        );
        claim(claimOf(poolId, FIRST, leaves, 0));
    }

    function testFuzz_RefusesAWrongClaim(uint256 spoil, uint128 noise) public {
        SumTree.Leaf[] memory leaves = earned(5, 6, 7);
        settle(poolId, FIRST, leaves);
        IRewards.Claim memory item = claimOf(poolId, FIRST, leaves, 1);
        spoil = bound(spoil, 0, 7);
        noise = uint128(bound(noise, 1, type(uint128).max));
        if (spoil == 0) item.cumulative ^= noise;
        if (spoil == 1) item.payee = address(uint160(item.payee) ^ noise);
        if (spoil == 2) item.index ^= uint64(noise) | 1;
        if (spoil == 3) item.path[noise % item.path.length] ^= 0x01;
        if (spoil == 4) item.path = bytes.concat(item.path, new bytes(48));
        if (spoil == 5) item.path = "";
        if (spoil == 6) item.path = SumTree.path(leaves, 2, 0);
        // The path is right, and the index says more than the tree is wide.
        if (spoil == 7) item.index |= 4;
        vm.expectRevert(abi.encodeWithSelector(IRewards.InvalidClaimProof.selector, poolId, FIRST, item.payee));
        claim(item);
        assertBudget(poolId, BUDGET - 18, 18, 0, "nothing moved");
    }

    function test_RefusesEmptyPlacesAndNobody() public {
        SumTree.Leaf[] memory leaves = earned(5, 6, 7);
        bytes memory path = SumTree.path(leaves, 2, 3);
        settle(poolId, FIRST, leaves);
        vm.expectRevert(abi.encodeWithSelector(IRewards.InvalidClaimProof.selector, poolId, FIRST, address(0)));
        claim(IRewards.Claim(poolId, FIRST, 3, address(0), 0, path));
        // An orchestrator that gives something to nobody burns nothing.
        leaves[0].payee = address(0);
        settle(poolId, FIRST + 1, leaves);
        vm.expectRevert(abi.encodeWithSelector(IRewards.InvalidClaimProof.selector, poolId, FIRST + 1, address(0)));
        claim(claimOf(poolId, FIRST + 1, leaves, 0));
    }

    function test_ATreeOfOneLeafIsItsOwnRoot() public {
        SumTree.Leaf[] memory leaves = earned(5);
        assertEq(SumTree.depthOf(1), 0, "no height");
        settle(poolId, FIRST, leaves);
        assertEq(claim(IRewards.Claim(poolId, FIRST, 0, payee(0), 5, "")), 5, "paid");
    }

    function test_LeafHashIsTheTreesLeaf() public view {
        assertEq(rewards.leafHash(payee(0), 5), SumTree.node(SumTree.Leaf(payee(0), 5)).digest, "leaf");
        assertEq(rewards.leafHash(address(0), 0), bytes32(0), "empty place");
    }

    /// @dev The orchestrator says less than the tree's sum: nothing can be claimed under such a root, so that it takes
    /// nothing from what earlier ones promise.
    function testFuzz_Trap_ARootWhoseTotalIsNotTheTreesSumPaysNobody(uint128 said) public {
        SumTree.Leaf[] memory honest = earned(50, 60);
        settle(poolId, FIRST, honest);
        SumTree.Leaf[] memory leaves = earned(90_000, 60);
        said = uint128(bound(said, 110, CAP));
        if (said == 90_060) return;
        vm.warp(endOf(FIRST + 1));
        post(poolId, FIRST + 1, SumTree.top(leaves, 1).digest, said, 1);
        vm.warp(block.timestamp + VETO_SECONDS);
        vm.expectRevert(abi.encodeWithSelector(IRewards.InvalidClaimProof.selector, poolId, FIRST + 1, payee(0)));
        claim(claimOf(poolId, FIRST + 1, leaves, 0));
        assertEq(claim(claimOf(poolId, FIRST, honest, 0)), 50, "the honest root pays");
        assertEq(claim(claimOf(poolId, FIRST, honest, 1)), 60, "everybody");
    }

    /// @dev Two roots that contradict each other, and nobody looked: first come, first served, within what was promised.
    function testFuzz_Trap_AMaliciousRootThatWasNotVetoedNeverTouchesAnotherPoolsMoney(uint128 stolen) public {
        stolen = uint128(bound(stolen, 60, CAP));
        uint64 other = startedPool();
        fundPool(other, 1_000);
        setCap(other, 1_000);
        SumTree.Leaf[] memory theirs = earned(300, 400);
        SumTree.Leaf[] memory honest = earned(50, 60);
        settle(poolId, FIRST, honest);
        post(other, FIRST, theirs);
        // Everything of the first payee goes to a thief.
        SumTree.Leaf[] memory leaves = earned(0, 60);
        leaves[0] = SumTree.Leaf(payee(9), stolen);
        settle(poolId, FIRST + 1, leaves);
        assertEq(claim(claimOf(poolId, FIRST + 1, leaves, 0)), stolen, "the thief was not stopped");
        assertBudget(poolId, BUDGET - stolen - 60, 60, stolen, "what is left is promised to the others");
        assertEq(claim(claimOf(poolId, FIRST, honest, 0)), 50, "the victim came in time");
        vm.expectRevert(abi.encodeWithSelector(IRewards.PromiseExceeded.selector, poolId, uint256(10), uint256(60)));
        claim(claimOf(poolId, FIRST, honest, 1));
        assertEq(claim(claimOf(other, FIRST, theirs, 0)), 300, "the other pool pays");
        assertEq(claim(claimOf(other, FIRST, theirs, 1)), 400, "all that it owes");
        assertEq(token.balanceOf(address(rewards)), uint256(BUDGET) - stolen - 50 + 300, "the vault holds what is left");
    }

    /// @dev The same, and the overdrawn promise is that of a pending root: vetoing it still works.
    function test_Trap_AVetoWorksEvenWhereContradictingRootsUsedThePendingPromise() public {
        SumTree.Leaf[] memory honest = earned(50, 60);
        settle(poolId, FIRST, honest);
        SumTree.Leaf[] memory leaves = earned(110, 0);
        leaves[1] = SumTree.Leaf(payee(9), 0);
        settle(poolId, FIRST + 1, leaves);
        claim(claimOf(poolId, FIRST + 1, leaves, 0));
        postInTime(poolId, FIRST + 2, earned(200, 10));
        assertEq(claim(claimOf(poolId, FIRST, honest, 1)), 60, "out of the pending root's promise");
        assertBudget(poolId, BUDGET - 210, 40, 170, "before the veto");
        veto(poolId, FIRST + 2, 3);
        assertBudget(poolId, BUDGET - 170, 0, 170, "after the veto");
        settle(poolId, FIRST + 3, earned(130, 60));
        assertBudget(poolId, BUDGET - 250, 80, 170, "life goes on");
    }

    function test_Trap_TwoPoolsWithTheSameTokenNeverShareMoney() public {
        uint64 other = startedPool();
        fundPool(other, 10);
        setCap(other, 1_000);
        vm.warp(endOf(FIRST));
        // The vault holds far more than this pool does.
        vm.expectRevert(abi.encodeWithSelector(IRewards.InsufficientBudget.selector, other, uint256(10), uint256(11)));
        post(other, FIRST, earned(11));
        post(other, FIRST, earned(10));
        vm.warp(block.timestamp + VETO_SECONDS);
        claim(claimOf(other, FIRST, earned(10), 0));
        assertBudget(other, 0, 0, 10, "of the small pool");
        assertBudget(poolId, BUDGET, 0, 0, "of the large one");
    }

    function test_Trap_AClaimOfOnePoolIsNoneOfAnother() public {
        uint64 other = startedPool();
        fundPool(other, 100);
        setCap(other, 100);
        SumTree.Leaf[] memory leaves = earned(5, 6);
        settle(poolId, FIRST, leaves);
        IRewards.Claim memory item = claimOf(poolId, FIRST, leaves, 0);
        item.poolId = other;
        vm.expectRevert(abi.encodeWithSelector(IRewards.RootNotFinal.selector, other, FIRST, IRewards.RootState.None));
        claim(item);
        // Even the same root in both pools pays out of each pool's own budget.
        post(other, FIRST, leaves);
        vm.warp(block.timestamp + VETO_SECONDS);
        assertEq(claim(item), 5, "by the other pool");
        assertBudget(other, 100 - 11, 6, 5, "of the other pool");
        assertBudget(poolId, BUDGET - 11, 11, 0, "of the first");
    }
}

contract ClaimTokenTest is Settlement {
    function poolWith(address rewardToken, SumTree.Leaf[] memory leaves) internal returns (uint64 pool) {
        pool = newPool(rewardToken);
        RevertingToken(rewardToken).mint(poolOwner, 1_000);
        vm.startPrank(poolOwner);
        RevertingToken(rewardToken).approve(address(rewards), 1_000);
        rewards.fund(pool, 1_000);
        rewards.setSpendCap(pool, 1_000);
        vm.stopPrank();
        settle(pool, FIRST, leaves);
    }

    function test_Trap_ATokenThatRevertsLosesNothing() public {
        RevertingToken reverting = new RevertingToken();
        SumTree.Leaf[] memory leaves = earned(5, 6);
        uint64 pool = poolWith(address(reverting), leaves);
        reverting.turnOff(true);
        vm.expectRevert(
            abi.encodeWithSelector(IRewards.TransferFailed.selector, address(reverting), payee(0), uint256(5))
        );
        claim(claimOf(pool, FIRST, leaves, 0));
        assertEarnings(pool, payee(0), 0, 0, "after nothing");
        reverting.turnOff(false);
        assertEq(claim(claimOf(pool, FIRST, leaves, 0)), 5, "later");
    }

    function test_Trap_ATokenThatAnswersFalseLosesNothing() public {
        RefusingToken refusing = new RefusingToken();
        SumTree.Leaf[] memory leaves = earned(5, 6);
        uint64 pool = poolWith(address(refusing), leaves);
        refusing.refuse(payee(0), true, RefusingToken.Manner.AnswersFalse);
        vm.expectRevert(
            abi.encodeWithSelector(IRewards.TransferFailed.selector, address(refusing), payee(0), uint256(5))
        );
        claim(claimOf(pool, FIRST, leaves, 0));
        assertEq(claim(claimOf(pool, FIRST, leaves, 1)), 6, "the other payee is not held up");
    }

    function test_Trap_AReentrantTokenCannotClaimTwice() public {
        CallingToken calling = new CallingToken();
        SumTree.Leaf[] memory leaves = earned(5, 6);
        uint64 pool = poolWith(address(calling), leaves);
        IRewards.Claim memory item = claimOf(pool, FIRST, leaves, 0);
        calling.callOnTransfer(address(rewards), abi.encodeCall(rewards.claim, (item)));
        assertEq(claim(item), 5, "paid");
        assertFalse(calling.answered(), "the call from within failed");
        assertEq(calling.balanceOf(payee(0)), 5, "once");
        // Another payee's claim from within is as good as one from outside.
        calling.callOnTransfer(address(rewards), abi.encodeCall(rewards.claim, (claimOf(pool, FIRST, leaves, 1))));
        leaves = earned(7, 6);
        settle(pool, FIRST + 1, leaves);
        assertEq(claim(claimOf(pool, FIRST + 1, leaves, 0)), 2, "the difference");
        assertTrue(calling.answered(), "the call from within succeeded");
        assertBudget(pool, 1_000 - 13, 0, 13, "after all");
    }
}

contract ClaimBatchTest is Settlement {
    function testFuzz_PaysEverybody(uint256 count, uint256 seed) public {
        count = bound(count, 1, 20);
        uint128[] memory amounts = new uint128[](count);
        uint128 sum;
        for (uint256 i = 0; i < count; ++i) {
            amounts[i] = uint128(uint256(keccak256(abi.encode(seed, i))) % 1e20 + 1);
            sum += amounts[i];
        }
        SumTree.Leaf[] memory leaves = earned(amounts);
        settle(poolId, FIRST, leaves);
        IRewards.Claim[] memory items = new IRewards.Claim[](count);
        for (uint64 i = 0; i < count; ++i) {
            items[i] = claimOf(poolId, FIRST, leaves, i);
        }
        vm.prank(stranger);
        rewards.claimBatch(items);
        for (uint256 i = 0; i < count; ++i) {
            assertEq(token.balanceOf(payee(i)), amounts[i], "balance");
        }
        assertBudget(poolId, BUDGET - sum, 0, sum, "after the batch");
    }

    function test_ARefusedItemIsReportedAndTouchesNoOther() public {
        SumTree.Leaf[] memory leaves = earned(5, 6, 7);
        settle(poolId, FIRST, leaves);
        IRewards.Claim[] memory items = new IRewards.Claim[](6);
        items[0] = claimOf(poolId, FIRST, leaves, 0);
        items[1] = claimOf(poolId, FIRST, leaves, 0);
        items[2] = claimOf(poolId, FIRST, leaves, 1);
        items[2].cumulative = 7;
        items[3] = claimOf(poolId, FIRST, leaves, 1);
        items[3].epoch = FIRST + 9;
        items[4] = claimOf(99, FIRST, leaves, 1);
        items[5] = claimOf(poolId, FIRST, leaves, 2);
        vm.recordLogs();
        rewards.claimBatch(items);
        bytes4[4] memory reasons = [
            IRewards.NothingToClaim.selector,
            IRewards.InvalidClaimProof.selector,
            IRewards.RootNotFinal.selector,
            IRewards.RootNotFinal.selector
        ];
        uint256 failures;
        Vm.Log[] memory logs = vm.getRecordedLogs();
        for (uint256 i = 0; i < logs.length; ++i) {
            if (logs[i].topics[0] != IRewards.ClaimFailed.selector) continue;
            assertEq(uint256(logs[i].topics[1]), items[failures + 1].poolId, "pool");
            assertEq(uint256(logs[i].topics[2]), items[failures + 1].epoch, "epoch");
            assertEq(uint256(logs[i].topics[3]), uint160(items[failures + 1].payee), "payee");
            assertEq(abi.decode(logs[i].data, (bytes32)), reasons[failures], "reason");
            ++failures;
        }
        assertEq(failures, 4, "failures");
        assertEarnings(poolId, payee(0), 5, 0, "of the first item");
        assertEarnings(poolId, payee(1), 0, 0, "of the refused ones");
        assertEarnings(poolId, payee(2), 7, 0, "of the last item");
    }

    function test_Trap_ARevertingTokenDoesNotHoldUpTheBatch() public {
        RefusingToken refusing = new RefusingToken();
        refusing.mint(poolOwner, 1_000);
        uint64 pool = newPool(address(refusing));
        vm.startPrank(poolOwner);
        refusing.approve(address(rewards), 1_000);
        rewards.fund(pool, 1_000);
        rewards.setSpendCap(pool, 1_000);
        vm.stopPrank();
        SumTree.Leaf[] memory leaves = earned(5, 6, 7);
        settle(pool, FIRST, leaves);
        IRewards.Claim[] memory items = new IRewards.Claim[](3);
        for (uint64 i = 0; i < 3; ++i) {
            items[i] = claimOf(pool, FIRST, leaves, i);
        }
        for (uint256 manner = 0; manner < 2; ++manner) {
            refusing.refuse(payee(1), true, RefusingToken.Manner(manner));
            vm.expectEmit(true, true, true, true, address(rewards));
            emit IRewards.ClaimFailed(pool, FIRST, payee(1), IRewards.TransferFailed.selector);
            rewards.claimBatch(items);
            assertEarnings(pool, payee(1), 0, 0, "of whom the token refuses");
            assertEarnings(pool, payee(2), 7, 0, "of who came after");
            assertBudget(pool, 1_000 - 18, 6, 12, "after the batch");
        }
        refusing.refuse(payee(1), false, RefusingToken.Manner.Reverts);
        assertEq(claim(items[1]), 6, "later");
    }

    function test_NothingIsFineAsWell() public {
        rewards.claimBatch(new IRewards.Claim[](0));
    }
}
