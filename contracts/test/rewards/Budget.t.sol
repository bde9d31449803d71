// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IRewards} from "../../solidity/interfaces/IRewards.sol";
import {CallingToken, FalseToken, FeeToken, RevertingToken} from "../base/Tokens.sol";
import {Settlement} from "./Settlement.sol";

contract RewardsConstructorTest is Settlement {
    function deploy(address pools_, address validators_) internal returns (address) {
        bytes memory arguments =
            abi.encode(pools_, validators_, POSTING_SECONDS, VETO_SECONDS, WITHDRAWAL_DELAY, MAX_PROVEN_AGE);
        return vm.deployCode("Rewards.sol:Rewards", arguments);
    }

    function test_RemembersWhatItWasGiven() public view {
        assertEq(rewards.pools(), address(pools), "pools");
        assertEq(rewards.validators(), address(validators), "validators");
        assertEq(rewards.postingSeconds(), POSTING_SECONDS, "postingSeconds");
        assertEq(rewards.vetoSeconds(), VETO_SECONDS, "vetoSeconds");
        assertEq(rewards.withdrawalDelay(), WITHDRAWAL_DELAY, "withdrawalDelay");
        assertEq(rewards.maxProvenAgeEpochs(), MAX_PROVEN_AGE, "maxProvenAgeEpochs");
    }

    function test_RefusesZeroAddressOfPools() public {
        vm.expectRevert(abi.encodeWithSelector(IRewards.ZeroAddress.selector, bytes32("pools")));
        deploy(address(0), address(validators));
    }

    function test_RefusesZeroAddressOfValidators() public {
        vm.expectRevert(abi.encodeWithSelector(IRewards.ZeroAddress.selector, bytes32("validators")));
        deploy(address(pools), address(0));
    }

    function testFuzz_RefusesWindowsOutOfRange(uint256 which) public {
        which %= 6;
        bytes32 parameter = which < 2 ? bytes32("postingSeconds") : bytes32("vetoSeconds");
        if (which == 4) parameter = "withdrawalDelay";
        if (which == 5) parameter = "maxProvenAgeEpochs";
        uint256 given = which % 2 == 0 ? 0 : 365 days + 1;
        if (which == 4) given = 3650 days + 1;
        if (which == 5) given = 2 ** 32;
        vm.expectRevert(abi.encodeWithSelector(IRewards.InvalidParameter.selector, parameter, given));
        if (which < 2) newRewards(given, VETO_SECONDS, 800 days, MAX_PROVEN_AGE);
        else if (which < 4) newRewards(POSTING_SECONDS, given, 800 days, MAX_PROVEN_AGE);
        else if (which == 4) newRewards(POSTING_SECONDS, VETO_SECONDS, given, MAX_PROVEN_AGE);
        else newRewards(POSTING_SECONDS, VETO_SECONDS, WITHDRAWAL_DELAY, given);
    }

    function testFuzz_RefusesADelayThatReceiptsDoNotOutlast(uint256 postingSeconds, uint256 vetoSeconds) public {
        postingSeconds = bound(postingSeconds, 1, 365 days);
        vetoSeconds = bound(vetoSeconds, 1, 365 days);
        uint256 least = EPOCH_SECONDS + postingSeconds + 2 * vetoSeconds;
        newRewards(postingSeconds, vetoSeconds, least, MAX_PROVEN_AGE);
        vm.expectRevert(
            abi.encodeWithSelector(IRewards.InvalidParameter.selector, bytes32("withdrawalDelay"), least - 1)
        );
        newRewards(postingSeconds, vetoSeconds, least - 1, MAX_PROVEN_AGE);
    }
}

contract FundTest is Settlement {
    uint256 internal constant ROOM = type(uint96).max - BUDGET;

    function testFuzz_AnybodyAddsToTheBudget(uint256 amount) public {
        amount = bound(amount, 1, ROOM);
        mint(stranger, amount);
        vm.startPrank(stranger);
        token.approve(address(rewards), amount);
        vm.expectEmit(true, true, true, true, address(rewards));
        emit IRewards.Funded(poolId, stranger, amount, BUDGET + amount);
        rewards.fund(poolId, amount);
        vm.stopPrank();
        assertBudget(poolId, BUDGET + amount, 0, 0, "after funding");
        assertEq(token.balanceOf(address(rewards)), BUDGET + amount, "vault");
    }

    function test_RefusesNothing() public {
        vm.expectRevert(abi.encodeWithSelector(IRewards.ZeroAmount.selector));
        rewards.fund(poolId, 0);
    }

    function test_RefusesUnknownPoolsAndPoolsWithoutAToken() public {
        vm.expectRevert(abi.encodeWithSelector(IRewards.NoRewardToken.selector, uint64(99)));
        rewards.fund(99, 1);
        uint64 unpaid = newPool(address(0));
        vm.expectRevert(abi.encodeWithSelector(IRewards.NoRewardToken.selector, unpaid));
        rewards.fund(unpaid, 1);
        vm.expectRevert(abi.encodeWithSelector(IRewards.NoRewardToken.selector, unpaid));
        rewards.fundWithPermit(unpaid, 1, 0, 0, 0, 0);
    }

    function testFuzz_RefusesMoreThanABudgetHolds(uint256 excess) public {
        excess = bound(excess, 1, type(uint128).max);
        vm.expectRevert(
            abi.encodeWithSelector(
                IRewards.BudgetTooLarge.selector, poolId, uint256(type(uint96).max), uint256(type(uint96).max) + excess
            )
        );
        rewards.fund(poolId, ROOM + excess);
    }

    function test_RefusesWithoutAllowance() public {
        vm.expectPartialRevert(bytes4(keccak256("ERC20InsufficientAllowance(address,uint256,uint256)")));
        vm.prank(stranger);
        rewards.fund(poolId, 1);
    }

    function test_Trap_AFeeOnTransferTokenFailsCleanly() public {
        FeeToken fee = new FeeToken();
        uint64 pool = newPool(address(fee));
        fee.mint(stranger, 1000);
        vm.startPrank(stranger);
        fee.approve(address(rewards), 1000);
        vm.expectRevert(abi.encodeWithSelector(IRewards.InexactTransfer.selector, uint256(1000), uint256(990)));
        rewards.fund(pool, 1000);
        vm.stopPrank();
        assertBudget(pool, 0, 0, 0, "after nothing");
        assertEq(fee.balanceOf(stranger), 1000, "nothing moved");
    }

    function test_Trap_TokensThatRefuseFailCleanly() public {
        RevertingToken reverting = new RevertingToken();
        uint64 pool = newPool(address(reverting));
        reverting.mint(stranger, 1);
        vm.startPrank(stranger);
        reverting.approve(address(rewards), 1);
        reverting.turnOff(true);
        vm.expectRevert(abi.encodeWithSelector(RevertingToken.TransfersAreOff.selector));
        rewards.fund(pool, 1);
        vm.stopPrank();
        FalseToken lying = new FalseToken();
        pool = newPool(address(lying));
        vm.expectPartialRevert(bytes4(keccak256("SafeERC20FailedOperation(address)")));
        rewards.fund(pool, 1);
    }

    function test_Trap_AReentrantTokenCannotCountOneTransferTwice() public {
        CallingToken calling = new CallingToken();
        uint64 pool = newPool(address(calling));
        calling.mint(stranger, 20);
        vm.prank(stranger);
        calling.approve(address(rewards), 20);
        // The token funds once more in the middle of the transfer, out of its own pocket.
        calling.mint(address(calling), 10);
        vm.prank(address(calling));
        calling.approve(address(rewards), 10);
        calling.callOnTransfer(address(rewards), abi.encodeCall(rewards.fund, (pool, 10)));
        vm.expectRevert(abi.encodeWithSelector(IRewards.InexactTransfer.selector, uint256(10), uint256(20)));
        vm.prank(stranger);
        rewards.fund(pool, 10);
    }
}

contract FundWithPermitTest is Settlement {
    function testFuzz_TakesThePermit(uint256 amount) public {
        amount = bound(amount, 1, 1e27);
        uint256 key = keyOf("stranger");
        mint(stranger, amount);
        (uint8 v, bytes32 r, bytes32 s) = signPermit(key, address(rewards), amount, block.timestamp);
        vm.prank(stranger);
        rewards.fundWithPermit(poolId, amount, block.timestamp, v, r, s);
        assertBudget(poolId, BUDGET + amount, 0, 0, "after funding");
        assertEq(token.allowance(stranger, address(rewards)), 0, "no allowance is left behind");
    }

    function test_ToleratesAPermitThatSomebodyElseSubmittedFirst() public {
        mint(stranger, 5);
        (uint8 v, bytes32 r, bytes32 s) = signPermit(keyOf("stranger"), address(rewards), 5, block.timestamp);
        token.permit(stranger, address(rewards), 5, block.timestamp, v, r, s);
        vm.prank(stranger);
        rewards.fundWithPermit(poolId, 5, block.timestamp, v, r, s);
        assertBudget(poolId, BUDGET + 5, 0, 0, "after funding");
    }

    function test_RefusesAPermitOfAnotherSigner() public {
        mint(stranger, 5);
        (uint8 v, bytes32 r, bytes32 s) = signPermit(nodeKey, address(rewards), 5, block.timestamp);
        vm.expectPartialRevert(bytes4(keccak256("ERC20InsufficientAllowance(address,uint256,uint256)")));
        vm.prank(stranger);
        rewards.fundWithPermit(poolId, 5, block.timestamp, v, r, s);
    }
}

contract SetSpendCapTest is Settlement {
    function testFuzz_AllowsTheCapForEveryEpochSinceThen(uint128 cap, uint64 epochs) public {
        epochs = uint64(bound(epochs, 0, 200));
        uint64 pool = startedPool();
        uint64 before = validators.currentEpoch() - 1;
        assertEq(rewards.spendable(pool, before + 1), 0, "nothing without a cap");
        vm.expectEmit(true, true, true, true, address(rewards));
        emit IRewards.SpendCapChanged(pool, cap);
        setCap(pool, cap);
        assertEq(rewards.budgetOf(pool).spendCap, cap, "cap");
        assertEq(rewards.budgetOf(pool).cappedThrough, before, "work before it is not paid");
        uint256 counted = epochs < 48 ? epochs : 48;
        assertEq(rewards.spendable(pool, before + epochs), counted * cap, "spendable");
    }

    function test_OnlyTheOwnerSetsIt() public {
        vm.expectRevert(abi.encodeWithSelector(IRewards.NotPoolOwner.selector, poolId, orchestrator));
        vm.prank(orchestrator);
        rewards.setSpendCap(poolId, 1);
        vm.expectRevert(abi.encodeWithSelector(IRewards.NotPoolOwner.selector, uint64(99), poolOwner));
        vm.prank(poolOwner);
        rewards.setSpendCap(99, 1);
    }

    function test_ALaterCapCountsForWhatWasNotUsed() public {
        setCap(poolId, 7);
        assertEq(rewards.spendable(poolId, FIRST), 14, "the epoch of the first cap and the next");
        setCap(poolId, 0);
        assertEq(rewards.spendable(poolId, FIRST), 0, "nothing");
    }
}

contract RequestWithdrawalTest is Settlement {
    function testFuzz_StartsTheDelay(uint128 amount) public {
        amount = uint128(bound(amount, 1, BUDGET));
        vm.expectEmit(true, true, true, true, address(rewards));
        emit IRewards.WithdrawalRequested(poolId, amount, block.timestamp + WITHDRAWAL_DELAY);
        vm.prank(poolOwner);
        rewards.requestWithdrawal(poolId, amount);
        IRewards.Budget memory budget = rewards.budgetOf(poolId);
        assertEq(budget.withdrawing, amount, "withdrawing");
        assertEq(budget.withdrawableAt, block.timestamp + WITHDRAWAL_DELAY, "withdrawableAt");
        assertEq(budget.free, BUDGET, "still free to be promised");
    }

    function test_AFurtherRequestReplacesTheFirstAndRestartsTheDelay() public {
        vm.startPrank(poolOwner);
        rewards.requestWithdrawal(poolId, 5);
        vm.warp(block.timestamp + WITHDRAWAL_DELAY);
        rewards.requestWithdrawal(poolId, 3);
        vm.expectRevert(abi.encodeWithSelector(IRewards.TooEarly.selector, block.timestamp + WITHDRAWAL_DELAY));
        rewards.withdraw(poolId, poolOwner);
        vm.stopPrank();
        assertEq(rewards.budgetOf(poolId).withdrawing, 3, "the second one");
    }

    function testFuzz_RefusesMoreThanIsFree(uint128 excess) public {
        excess = uint128(bound(excess, 1, type(uint128).max - BUDGET));
        vm.expectRevert(
            abi.encodeWithSelector(
                IRewards.InsufficientBudget.selector, poolId, uint256(BUDGET), uint256(BUDGET) + excess
            )
        );
        vm.prank(poolOwner);
        rewards.requestWithdrawal(poolId, BUDGET + excess);
    }

    function test_RefusesNothingAndStrangers() public {
        vm.expectRevert(abi.encodeWithSelector(IRewards.ZeroAmount.selector));
        vm.prank(poolOwner);
        rewards.requestWithdrawal(poolId, 0);
        vm.expectRevert(abi.encodeWithSelector(IRewards.NotPoolOwner.selector, poolId, stranger));
        vm.prank(stranger);
        rewards.requestWithdrawal(poolId, 1);
    }
}

contract WithdrawTest is Settlement {
    function request(uint128 amount) internal returns (uint256 from) {
        vm.prank(poolOwner);
        rewards.requestWithdrawal(poolId, amount);
        return block.timestamp + WITHDRAWAL_DELAY;
    }

    function testFuzz_PaysOnceTheDelayIsOver(uint128 amount, uint256 early) public {
        amount = uint128(bound(amount, 1, BUDGET));
        early = bound(early, 1, WITHDRAWAL_DELAY);
        uint256 from = request(amount);
        vm.startPrank(poolOwner);
        vm.warp(from - early);
        vm.expectRevert(abi.encodeWithSelector(IRewards.TooEarly.selector, from));
        rewards.withdraw(poolId, stranger);
        vm.warp(from);
        vm.expectEmit(true, true, true, true, address(rewards));
        emit IRewards.BudgetWithdrawn(poolId, stranger, amount, BUDGET - amount);
        assertEq(rewards.withdraw(poolId, stranger), amount, "amount");
        vm.expectRevert(abi.encodeWithSelector(IRewards.NothingToWithdraw.selector, poolId));
        rewards.withdraw(poolId, stranger);
        vm.stopPrank();
        assertEq(token.balanceOf(stranger), amount, "balance");
        assertBudget(poolId, BUDGET - amount, 0, 0, "after withdrawing");
        assertEq(rewards.budgetOf(poolId).withdrawableAt, 0, "no request is left");
    }

    function testFuzz_PaysWhatIsStillFree(uint128 promised) public {
        promised = uint128(bound(promised, 1, CAP));
        uint256 from = request(BUDGET);
        postInTime(poolId, FIRST, earned(promised));
        vm.warp(from);
        vm.prank(poolOwner);
        assertEq(rewards.withdraw(poolId, poolOwner), BUDGET - promised, "what no root promises");
        assertBudget(poolId, 0, promised, 0, "after withdrawing");
        assertEq(token.balanceOf(address(rewards)), promised, "the promise stays");
    }

    function test_RefusesWhereEverythingIsPromised() public {
        uint256 from = request(BUDGET);
        setCap(poolId, BUDGET);
        postInTime(poolId, FIRST, earned(BUDGET));
        vm.warp(from);
        vm.expectRevert(abi.encodeWithSelector(IRewards.NothingToWithdraw.selector, poolId));
        vm.prank(poolOwner);
        rewards.withdraw(poolId, poolOwner);
    }

    function test_RefusesStrangersNobodyAndNoRequest() public {
        vm.expectRevert(abi.encodeWithSelector(IRewards.NothingToWithdraw.selector, poolId));
        vm.prank(poolOwner);
        rewards.withdraw(poolId, poolOwner);
        vm.warp(request(1));
        vm.expectRevert(abi.encodeWithSelector(IRewards.NotPoolOwner.selector, poolId, stranger));
        vm.prank(stranger);
        rewards.withdraw(poolId, stranger);
        vm.expectRevert(abi.encodeWithSelector(IRewards.ZeroAddress.selector, bytes32("to")));
        vm.prank(poolOwner);
        rewards.withdraw(poolId, address(0));
    }

    function test_Trap_AReplacedOwnerCannotWithdraw() public {
        uint256 from = request(5);
        vm.prank(poolOwner);
        pools.transferPool(poolId, stranger);
        vm.prank(stranger);
        pools.acceptPool(poolId);
        vm.warp(from);
        vm.expectRevert(abi.encodeWithSelector(IRewards.NotPoolOwner.selector, poolId, poolOwner));
        vm.prank(poolOwner);
        rewards.withdraw(poolId, poolOwner);
        vm.prank(stranger);
        assertEq(rewards.withdraw(poolId, stranger), 5, "the new owner does");
    }

    function test_Trap_AReentrantTokenCannotWithdrawTwice() public {
        CallingToken calling = new CallingToken();
        uint64 pool = newPool(address(calling));
        // The pool's owner is the token itself, so that its call from within is the owner's.
        vm.prank(poolOwner);
        pools.transferPool(pool, address(calling));
        vm.startPrank(address(calling));
        pools.acceptPool(pool);
        calling.mint(address(calling), 10);
        calling.approve(address(rewards), 10);
        rewards.fund(pool, 10);
        calling.mint(address(rewards), 10); // somebody else's
        rewards.requestWithdrawal(pool, 10);
        vm.warp(block.timestamp + WITHDRAWAL_DELAY);
        calling.callOnTransfer(address(rewards), abi.encodeCall(rewards.withdraw, (pool, stranger)));
        rewards.withdraw(pool, stranger);
        vm.stopPrank();
        assertFalse(calling.answered(), "the call from within failed");
        assertEq(calling.balanceOf(stranger), 10, "paid once");
    }

    /// @dev The worst case that the delay is made for: the root that pays the work is posted in the last second and
    /// vetoed in the last second; the receipt still comes before the money leaves.
    function test_Trap_WithdrawalWaitsForAllWorkDoneBeforeTheRequest() public {
        prove(FIRST + 1);
        vm.warp(uint256(FIRST + 1) * EPOCH_SECONDS);
        uint64 epoch = FIRST + 1;
        // Work is done in the epoch's first second, then the owner asks for everything.
        uint256 from = request(BUDGET);
        vm.warp(deadlineOf(epoch));
        post(poolId, epoch, earned(60));
        vm.warp(deadlineOf(epoch) + VETO_SECONDS - 1);
        veto(poolId, epoch, 3);
        assertBudget(poolId, BUDGET, 0, 0, "after the veto");
        assertTrue(block.timestamp + VETO_SECONDS <= from, "a veto window's time is left");
        redeem(stranger, receiptOf(poolId, epoch, payee(0), 60, 60));
        vm.warp(from);
        vm.prank(poolOwner);
        assertEq(rewards.withdraw(poolId, poolOwner), BUDGET - 60, "without what was redeemed");
        assertEq(rewards.settleRedemption(poolId, payee(0)), 60, "the work is paid");
    }
}
