// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IRewards} from "../../solidity/interfaces/IRewards.sol";
import {CallingToken, RevertingToken} from "../base/Tokens.sol";
import {Settlement} from "./Settlement.sol";
import {SumTree} from "./SumTree.sol";

contract RedeemTest is Settlement {
    function setUp() public override {
        super.setUp();
        vm.warp(deadlineOf(FIRST) + 1);
    }

    function expectRefusal(IRewards.Receipt memory receipt, bytes memory refusal) internal {
        bytes memory byOrchestrator = signReceipt(orchestratorKey, receipt);
        bytes memory byNode = signReceipt(nodeKey, receipt);
        vm.expectRevert(refusal);
        vm.prank(stranger);
        rewards.redeem(receipt, byOrchestrator, byNode);
    }

    function testFuzz_LocksWhatTheReceiptPromises(uint128 amount, uint128 cumulative) public {
        cumulative = uint128(bound(cumulative, 1, CAP));
        amount = uint128(bound(amount, 1, cumulative));
        IRewards.Receipt memory receipt = receiptOf(poolId, FIRST, payee(0), amount, cumulative);
        vm.expectEmit(true, true, true, true, address(rewards));
        emit IRewards.RedemptionRequested(
            poolId, payee(0), node, FIRST, cumulative, cumulative, block.timestamp + VETO_SECONDS
        );
        redeem(stranger, receipt);
        IRewards.Redemption memory redemption = rewards.redemptionOf(poolId, payee(0));
        assertEq(redemption.cumulative, cumulative, "cumulative");
        assertEq(redemption.amount, cumulative, "amount");
        assertEq(redemption.payableAt, block.timestamp + VETO_SECONDS, "payableAt");
        assertBudget(poolId, BUDGET - cumulative, cumulative, 0, "while it is pending");
    }

    function test_TheDigestIsWhatBothSign() public view {
        IRewards.Receipt memory receipt = receiptOf(poolId, FIRST, payee(0), 3, 5);
        bytes32 structHash = keccak256(
            abi.encode(
                keccak256(
                    "Receipt(uint64 poolId,uint64 epoch,address node,address payee,bytes32 usageHash,uint128 amount,uint128 cumulative)"
                ),
                poolId,
                FIRST,
                node,
                payee(0),
                keccak256("usage"),
                3,
                5
            )
        );
        assertEq(
            rewards.receiptDigest(receipt),
            keccak256(abi.encodePacked("\x19\x01", separator("Lode Rewards", address(rewards)), structHash)),
            "digest"
        );
    }

    function testFuzz_RefusesWhileTheEpochCanBePosted(uint256 early) public {
        early = bound(early, 0, EPOCH_SECONDS + POSTING_SECONDS);
        vm.warp(deadlineOf(FIRST) - early);
        expectRefusal(
            receiptOf(poolId, FIRST, payee(0), 5, 5),
            abi.encodeWithSelector(IRewards.PostingStillOpen.selector, FIRST, deadlineOf(FIRST))
        );
    }

    function test_RefusesNobodyAsThePayee() public {
        expectRefusal(
            receiptOf(poolId, FIRST, address(0), 5, 5),
            abi.encodeWithSelector(IRewards.ZeroAddress.selector, bytes32("payee"))
        );
    }

    function test_RefusesWhatWasPaid() public {
        SumTree.Leaf[] memory leaves = earned(5, 6);
        vm.warp(endOf(FIRST + 2));
        post(poolId, FIRST + 2, leaves);
        vm.warp(block.timestamp + VETO_SECONDS);
        claim(claimOf(poolId, FIRST + 2, leaves, 0));
        expectRefusal(
            receiptOf(poolId, FIRST, payee(0), 5, 5),
            abi.encodeWithSelector(IRewards.NothingToClaim.selector, poolId, payee(0), uint256(5), uint256(5))
        );
    }

    function test_RefusesWhatTheBudgetCannotPay() public {
        setCap(poolId, type(uint128).max);
        expectRefusal(
            receiptOf(poolId, FIRST, payee(0), 5, BUDGET + 1),
            abi.encodeWithSelector(IRewards.InsufficientBudget.selector, poolId, uint256(BUDGET), uint256(BUDGET) + 1)
        );
        expectRefusal(
            receiptOf(newPool(address(token)), FIRST, payee(0), 5, 5),
            abi.encodeWithSelector(IRewards.InsufficientBudget.selector, uint64(2), uint256(0), uint256(5))
        );
    }

    function testFuzz_RefusesOtherSigners(uint256 key) public {
        key = bound(key, 1, type(uint128).max);
        IRewards.Receipt memory receipt = receiptOf(poolId, FIRST, payee(0), 5, 5);
        bytes memory byOrchestrator = signReceipt(orchestratorKey, receipt);
        bytes memory byNode = signReceipt(nodeKey, receipt);
        bytes memory byOther = signReceipt(key, receipt);
        vm.expectRevert(abi.encodeWithSelector(IRewards.InvalidOrchestratorSignature.selector, poolId));
        rewards.redeem(receipt, byOther, byNode);
        vm.expectRevert(abi.encodeWithSelector(IRewards.InvalidOrchestratorSignature.selector, poolId));
        rewards.redeem(receipt, byNode, byOrchestrator);
        vm.expectRevert(abi.encodeWithSelector(IRewards.InvalidNodeSignature.selector, node));
        rewards.redeem(receipt, byOrchestrator, byOther);
        vm.expectRevert(abi.encodeWithSelector(IRewards.InvalidNodeSignature.selector, node));
        rewards.redeem(receipt, byOrchestrator, "");
    }

    function testFuzz_RefusesAnyChangeOfWhatWasSigned(uint256 field) public {
        IRewards.Receipt memory receipt = receiptOf(poolId, FIRST, payee(0), 5, 5);
        bytes memory byOrchestrator = signReceipt(orchestratorKey, receipt);
        bytes memory byNode = signReceipt(nodeKey, receipt);
        field = bound(field, 0, 6);
        if (field == 0) receipt.poolId = startedPool();
        if (field == 1) receipt.epoch -= 1;
        if (field == 2) receipt.node = stranger;
        if (field == 3) receipt.payee = stranger;
        if (field == 4) receipt.usageHash = keccak256("other usage");
        if (field == 5) receipt.amount += 1;
        if (field == 6) receipt.cumulative += 1;
        vm.expectRevert(abi.encodeWithSelector(IRewards.InvalidOrchestratorSignature.selector, receipt.poolId));
        rewards.redeem(receipt, byOrchestrator, byNode);
    }

    function test_Trap_AReceiptIsBoundToItsChainAndContract() public {
        IRewards.Receipt memory receipt = receiptOf(poolId, FIRST, payee(0), 5, 5);
        bytes memory byOrchestrator = signReceipt(orchestratorKey, receipt);
        bytes memory byNode = signReceipt(nodeKey, receipt);
        IRewards other = newRewards(POSTING_SECONDS, VETO_SECONDS, WITHDRAWAL_DELAY, MAX_PROVEN_AGE);
        vm.expectRevert(abi.encodeWithSelector(IRewards.InvalidOrchestratorSignature.selector, poolId));
        other.redeem(receipt, byOrchestrator, byNode);
        uint256 chain = block.chainid;
        vm.chainId(chain + 1);
        vm.expectRevert(abi.encodeWithSelector(IRewards.InvalidOrchestratorSignature.selector, poolId));
        rewards.redeem(receipt, byOrchestrator, byNode);
        vm.chainId(chain);
        rewards.redeem(receipt, byOrchestrator, byNode);
    }

    function test_Trap_TheOtherSignatureOfTheSameMessageIsNone() public {
        IRewards.Receipt memory receipt = receiptOf(poolId, FIRST, payee(0), 5, 5);
        bytes memory byOrchestrator = signReceipt(orchestratorKey, receipt);
        bytes memory byNode = signReceipt(nodeKey, receipt);
        bytes memory other = malleated(byOrchestrator);
        vm.expectRevert(abi.encodeWithSelector(IRewards.InvalidOrchestratorSignature.selector, poolId));
        rewards.redeem(receipt, other, byNode);
        other = malleated(byNode);
        vm.expectRevert(abi.encodeWithSelector(IRewards.InvalidNodeSignature.selector, node));
        rewards.redeem(receipt, byOrchestrator, other);
    }

    function test_Trap_AReplacedOrchestratorsReceiptsAreWorthNothing() public {
        vm.prank(poolOwner);
        pools.setOrchestrator(poolId, stranger);
        expectRefusal(
            receiptOf(poolId, FIRST, payee(0), 5, 5),
            abi.encodeWithSelector(IRewards.InvalidOrchestratorSignature.selector, poolId)
        );
    }

    function test_RefusesASecondReceiptWhileOneIsPending() public {
        redeem(stranger, receiptOf(poolId, FIRST, payee(0), 5, 5));
        uint256 payableAt = block.timestamp + VETO_SECONDS;
        bytes memory refusal =
            abi.encodeWithSelector(IRewards.RedemptionIsPending.selector, poolId, payee(0), payableAt);
        // Nobody but the payee replaces it, not even by more.
        expectRefusal(receiptOf(poolId, FIRST, payee(0), 5, 5), refusal);
        expectRefusal(receiptOf(poolId, FIRST, payee(0), 6, 6), refusal);
        // And the payee not by less.
        IRewards.Receipt memory less = receiptOf(poolId, FIRST, payee(0), 4, 5);
        bytes memory byOrchestrator = signReceipt(orchestratorKey, less);
        bytes memory byNode = signReceipt(nodeKey, less);
        vm.expectRevert(refusal);
        vm.prank(payee(0));
        rewards.redeem(less, byOrchestrator, byNode);
        // Other payees have places of their own.
        redeem(stranger, receiptOf(poolId, FIRST, payee(1), 5, 5));
    }

    /// @dev Otherwise a pool that owes much could keep the payee's place with a small receipt until the money has left.
    function testFuzz_Trap_ASmallReceiptDoesNotKeepThePayeesPlace(uint128 small, uint128 large) public {
        small = uint128(bound(small, 1, CAP - 1));
        large = uint128(bound(large, small + 1, CAP));
        redeem(orchestrator, receiptOf(poolId, FIRST, payee(0), small, small));
        uint256 allowed = rewards.spendable(poolId, FIRST + 2);
        vm.prank(validator(0));
        rewards.vetoRedemption(poolId, payee(0), EVIDENCE);
        vm.warp(block.timestamp + VETO_SECONDS - 1);
        redeem(payee(0), receiptOf(poolId, FIRST, payee(0), large - small, large));
        assertBudget(poolId, BUDGET - large, large, 0, "with the larger one");
        assertEq(rewards.redemptionOf(poolId, payee(0)).payableAt, block.timestamp + VETO_SECONDS, "its own window");
        assertTrue(rewards.spendable(poolId, FIRST + 2) <= allowed, "it uses the cap, once");
        // Votes on the smaller one are not votes on this one.
        vm.prank(validator(0));
        rewards.vetoRedemption(poolId, payee(0), EVIDENCE);
        vm.prank(validator(1));
        rewards.vetoRedemption(poolId, payee(0), EVIDENCE);
        vm.warp(block.timestamp + VETO_SECONDS);
        assertEq(rewards.settleRedemption(poolId, payee(0)), large, "paid");
    }
}

contract VetoRedemptionTest is Settlement {
    function setUp() public override {
        super.setUp();
        vm.warp(deadlineOf(FIRST) + 1);
        redeem(stranger, receiptOf(poolId, FIRST, payee(0), 5, 5));
    }

    function vetoRedemption(uint256 index) internal {
        vm.prank(validator(index));
        rewards.vetoRedemption(poolId, payee(0), EVIDENCE);
    }

    function test_MoreThanTwoThirdsOfTheWeightDropARedemption() public {
        uint256 weight = MIN_VALIDATOR_STAKE;
        vetoRedemption(0);
        vetoRedemption(1);
        assertBudget(poolId, BUDGET - 5, 5, 0, "after half of the votes");
        vm.expectEmit(true, true, true, true, address(rewards));
        emit IRewards.RedemptionVetoCast(poolId, payee(0), validator(2), EVIDENCE, 3 * weight, 4 * weight);
        vm.expectEmit(true, true, true, true, address(rewards));
        emit IRewards.RedemptionVetoed(poolId, payee(0), 5);
        vetoRedemption(2);
        assertBudget(poolId, BUDGET, 0, 0, "after the veto");
        assertEq(rewards.redemptionOf(poolId, payee(0)).payableAt, 0, "none is left");
        vm.expectRevert(abi.encodeWithSelector(IRewards.NoRedemption.selector, poolId, payee(0)));
        rewards.settleRedemption(poolId, payee(0));
    }

    function test_AVetoedReceiptIsVoidForGood() public {
        for (uint256 i = 0; i < 3; ++i) {
            vetoRedemption(i);
        }
        IRewards.Receipt memory receipt = receiptOf(poolId, FIRST, payee(0), 5, 5);
        bytes memory byOrchestrator = signReceipt(orchestratorKey, receipt);
        bytes memory byNode = signReceipt(nodeKey, receipt);
        vm.expectRevert(abi.encodeWithSelector(IRewards.ReceiptIsVoid.selector, poolId, payee(0)));
        rewards.redeem(receipt, byOrchestrator, byNode);
        redeem(stranger, receiptOf(poolId, FIRST, payee(0), 4, 4));
    }

    function test_OnlyValidatorsVoteAndOnce() public {
        vm.expectRevert(abi.encodeWithSelector(IRewards.NoVotingWeight.selector, stranger));
        vm.prank(stranger);
        rewards.vetoRedemption(poolId, payee(0), EVIDENCE);
        vetoRedemption(0);
        vm.expectRevert(abi.encodeWithSelector(IRewards.AlreadyVoted.selector, validator(0)));
        vetoRedemption(0);
    }

    function testFuzz_OnlyWhileItIsPending(uint256 late) public {
        late = bound(late, 0, 365 days);
        vm.warp(block.timestamp + VETO_SECONDS + late);
        vm.expectRevert(abi.encodeWithSelector(IRewards.NoRedemption.selector, poolId, payee(0)));
        vetoRedemption(0);
        vm.expectRevert(abi.encodeWithSelector(IRewards.NoRedemption.selector, poolId, payee(1)));
        vm.prank(validator(0));
        rewards.vetoRedemption(poolId, payee(1), EVIDENCE);
    }
}

contract SettleRedemptionTest is Settlement {
    function leftOut(uint128 cumulative) internal {
        vm.warp(deadlineOf(FIRST) + 1);
        redeem(stranger, receiptOf(poolId, FIRST, payee(0), cumulative, cumulative));
    }

    /// @dev Posts for the epoch of the redemption's own time, so that more roots can follow.
    function settleNow(SumTree.Leaf[] memory leaves) internal returns (uint64 epoch) {
        epoch = validators.currentEpoch() - 1;
        post(poolId, epoch, leaves);
        vm.warp(block.timestamp + VETO_SECONDS);
    }

    function testFuzz_PaysWhenTheWindowIsOver(uint128 amount, uint256 early) public {
        amount = uint128(bound(amount, 1, CAP));
        early = bound(early, 1, VETO_SECONDS);
        leftOut(amount);
        uint256 payableAt = block.timestamp + VETO_SECONDS;
        vm.warp(payableAt - early);
        vm.expectRevert(abi.encodeWithSelector(IRewards.TooEarly.selector, payableAt));
        rewards.settleRedemption(poolId, payee(0));
        vm.warp(payableAt);
        vm.expectEmit(true, true, true, true, address(rewards));
        emit IRewards.Redeemed(poolId, payee(0), amount, amount);
        vm.prank(stranger);
        assertEq(rewards.settleRedemption(poolId, payee(0)), amount, "amount");
        assertEq(token.balanceOf(payee(0)), amount, "balance");
        assertBudget(poolId, BUDGET - amount, 0, amount, "after it");
        assertEarnings(poolId, payee(0), amount, amount, "after it");
    }

    function test_Trap_AReceiptThatWasLeftOutRedeemsOnce() public {
        leftOut(5);
        vm.warp(block.timestamp + VETO_SECONDS);
        rewards.settleRedemption(poolId, payee(0));
        vm.expectRevert(abi.encodeWithSelector(IRewards.NoRedemption.selector, poolId, payee(0)));
        rewards.settleRedemption(poolId, payee(0));
        IRewards.Receipt memory receipt = receiptOf(poolId, FIRST, payee(0), 5, 5);
        bytes memory byOrchestrator = signReceipt(orchestratorKey, receipt);
        bytes memory byNode = signReceipt(nodeKey, receipt);
        vm.expectRevert(
            abi.encodeWithSelector(IRewards.NothingToClaim.selector, poolId, payee(0), uint256(5), uint256(5))
        );
        rewards.redeem(receipt, byOrchestrator, byNode);
    }

    function testFuzz_Trap_RedeemedThenPostedPaysOnceAndReleasesTheSurplus(uint128 redeemed, uint128 posted) public {
        redeemed = uint128(bound(redeemed, 1, CAP));
        posted = uint128(bound(posted, 1, CAP));
        leftOut(redeemed);
        vm.warp(block.timestamp + VETO_SECONDS);
        rewards.settleRedemption(poolId, payee(0));
        SumTree.Leaf[] memory leaves = earned(posted, 7);
        uint64 epoch = settleNow(leaves);
        assertBudget(poolId, BUDGET - redeemed - posted - 7, posted + 7, redeemed, "promised twice so far");
        uint128 due = posted > redeemed ? posted - redeemed : 0;
        assertEq(claim(claimOf(poolId, epoch, leaves, 0)), due, "the difference");
        uint128 paid = redeemed + due;
        assertEq(token.balanceOf(payee(0)), paid, "the larger of both");
        assertBudget(poolId, BUDGET - 7 - paid, 7, paid, "the surplus is free again");
        assertEarnings(poolId, payee(0), paid, paid - posted, "what is still ahead");
        assertEq(claim(claimOf(poolId, epoch, leaves, 1)), 7, "the other payee");
    }

    function testFuzz_SeveralRootsCatchUpWithARedemption(uint128 redeemed, uint128[4] memory steps) public {
        redeemed = uint128(bound(redeemed, 1, CAP));
        leftOut(redeemed);
        vm.warp(block.timestamp + VETO_SECONDS);
        rewards.settleRedemption(poolId, payee(0));
        uint128 cumulative;
        for (uint256 i = 0; i < steps.length; ++i) {
            uint128 step = uint128(bound(steps[i], 1, CAP / 2));
            cumulative += step;
            SumTree.Leaf[] memory leaves = earned(cumulative);
            uint64 epoch = settleNow(leaves);
            uint128 paid = rewards.earningsOf(poolId, payee(0)).paid;
            uint128 due = cumulative > paid ? cumulative - paid : 0;
            assertEq(claim(claimOf(poolId, epoch, leaves, 0)), due, "the difference");
            paid += due;
            assertBudget(poolId, BUDGET - paid, 0, paid, "nothing stays locked");
            assertEarnings(poolId, payee(0), paid, paid - cumulative, "what is still ahead");
            vm.warp(endOf(epoch + 2));
        }
    }

    function testFuzz_AClaimBeforeThePaymentReducesIt(uint128 redeemed, uint128 posted) public {
        redeemed = uint128(bound(redeemed, 1, CAP));
        posted = uint128(bound(posted, 1, CAP));
        SumTree.Leaf[] memory leaves = earned(posted);
        vm.warp(endOf(FIRST + 2));
        post(poolId, FIRST + 2, leaves);
        leftOut(redeemed);
        uint256 payableAt = block.timestamp + VETO_SECONDS;
        vm.warp(payableAt - 1);
        assertEq(claim(claimOf(poolId, FIRST + 2, leaves, 0)), posted, "the claim pays all");
        uint128 due = redeemed > posted ? redeemed - posted : 0;
        if (due != 0) {
            vm.expectRevert(abi.encodeWithSelector(IRewards.TooEarly.selector, payableAt));
            rewards.settleRedemption(poolId, payee(0));
            vm.warp(payableAt);
        }
        // With nothing left to pay, the lock can go at once.
        assertEq(rewards.settleRedemption(poolId, payee(0)), due, "the rest");
        assertBudget(poolId, BUDGET - posted - due, 0, posted + due, "nothing stays locked");
        assertEarnings(poolId, payee(0), posted + due, due, "after both");
    }

    /// @dev Receipts are public. Whoever redeems one that a root has covered locks money twice and uses the cap twice;
    /// claiming and settling undoes both at once.
    function testFuzz_Trap_RedeemingWhatARootCoversIsUndoneByAClaim(uint128 amount) public {
        amount = uint128(bound(amount, 1, CAP));
        SumTree.Leaf[] memory leaves = earned(amount);
        settle(poolId, FIRST, leaves);
        vm.warp(deadlineOf(FIRST) + 1);
        uint256 allowed = rewards.spendable(poolId, FIRST + 2);
        redeem(stranger, receiptOf(poolId, FIRST, payee(0), amount, amount));
        assertBudget(poolId, BUDGET - 2 * amount, 2 * amount, 0, "locked twice");
        claim(claimOf(poolId, FIRST, leaves, 0));
        assertEq(rewards.settleRedemption(poolId, payee(0)), 0, "nothing is due");
        assertBudget(poolId, BUDGET - amount, 0, amount, "paid once");
        assertEq(rewards.spendable(poolId, FIRST + 2), allowed, "the cap is as before");
    }

    function test_TheCapComesBackWhenARootCoversARedemption() public {
        leftOut(500);
        vm.warp(block.timestamp + VETO_SECONDS);
        rewards.settleRedemption(poolId, payee(0));
        uint64 epoch = validators.currentEpoch() - 1;
        SumTree.Leaf[] memory leaves = earned(300);
        uint256 before = rewards.spendable(poolId, epoch);
        post(poolId, epoch, leaves);
        vm.warp(block.timestamp + VETO_SECONDS);
        claim(claimOf(poolId, epoch, leaves, 0));
        // Parts of an epoch are rounded in the cap's favour.
        uint256 spent = before - rewards.spendable(poolId, epoch);
        assertTrue(spent <= CAP / 2 ** 22, "what the root used was used before");
        setCap(poolId, 0);
        leaves = earned(300, 0);
        assertBudget(poolId, BUDGET - 500, 0, 500, "after all");
    }

    function test_ARedemptionIsCoveredAlsoWhereTheOwnerHasTakenTheCapAway() public {
        leftOut(500);
        vm.warp(block.timestamp + VETO_SECONDS);
        rewards.settleRedemption(poolId, payee(0));
        SumTree.Leaf[] memory leaves = earned(300);
        uint64 epoch = settleNow(leaves);
        setCap(poolId, 0);
        assertEq(claim(claimOf(poolId, epoch, leaves, 0)), 0, "nothing to pay");
        assertBudget(poolId, BUDGET - 500, 0, 500, "the surplus is free again");
    }

    function test_Trap_AMaliciousRootCannotTakeARedemptionsMoney() public {
        // Everything but the redemption is promised, and roots that contradict each other are claimed in full.
        SumTree.Leaf[] memory honest = earned(50, 60);
        settle(poolId, FIRST, honest);
        leftOut(40);
        SumTree.Leaf[] memory leaves = earned(0, 60);
        leaves[0] = SumTree.Leaf(payee(9), 50);
        uint64 epoch = settleNow(leaves);
        claim(claimOf(poolId, epoch, leaves, 0));
        claim(claimOf(poolId, epoch, leaves, 1));
        vm.expectRevert(abi.encodeWithSelector(IRewards.PromiseExceeded.selector, poolId, uint256(0), uint256(50)));
        claim(claimOf(poolId, FIRST, honest, 0));
        assertEq(rewards.settleRedemption(poolId, payee(0)), 40, "its money was never theirs");
    }

    function test_Trap_ATokenThatRefusesLosesNothing() public {
        RevertingToken reverting = new RevertingToken();
        uint64 pool = newPool(address(reverting));
        reverting.mint(poolOwner, 100);
        vm.startPrank(poolOwner);
        reverting.approve(address(rewards), 100);
        rewards.fund(pool, 100);
        rewards.setSpendCap(pool, 100);
        vm.stopPrank();
        vm.warp(deadlineOf(FIRST) + 1);
        redeem(stranger, receiptOf(pool, FIRST, payee(0), 5, 5));
        vm.warp(block.timestamp + VETO_SECONDS);
        reverting.turnOff(true);
        vm.expectRevert(
            abi.encodeWithSelector(IRewards.TransferFailed.selector, address(reverting), payee(0), uint256(5))
        );
        rewards.settleRedemption(pool, payee(0));
        reverting.turnOff(false);
        assertEq(rewards.settleRedemption(pool, payee(0)), 5, "later");
    }

    function test_Trap_AReentrantTokenCannotSettleTwice() public {
        CallingToken calling = new CallingToken();
        uint64 pool = newPool(address(calling));
        calling.mint(poolOwner, 100);
        vm.startPrank(poolOwner);
        calling.approve(address(rewards), 100);
        rewards.fund(pool, 100);
        rewards.setSpendCap(pool, 100);
        vm.stopPrank();
        vm.warp(deadlineOf(FIRST) + 1);
        redeem(stranger, receiptOf(pool, FIRST, payee(0), 5, 5));
        vm.warp(block.timestamp + VETO_SECONDS);
        calling.callOnTransfer(address(rewards), abi.encodeCall(rewards.settleRedemption, (pool, payee(0))));
        assertEq(rewards.settleRedemption(pool, payee(0)), 5, "paid");
        assertFalse(calling.answered(), "the call from within failed");
        assertEq(calling.balanceOf(payee(0)), 5, "once");
    }

    function test_RefusesWhereThereIsNone() public {
        vm.expectRevert(abi.encodeWithSelector(IRewards.NoRedemption.selector, poolId, payee(0)));
        rewards.settleRedemption(poolId, payee(0));
    }
}
