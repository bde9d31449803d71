// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IStakeVault} from "../../solidity/interfaces/IStakeVault.sol";
import {IValidatorSet} from "../../solidity/interfaces/IValidatorSet.sol";
import {RefusingToken} from "../base/Tokens.sol";
import {Assembly} from "./Assembly.sol";

contract PenaltyParametersTest is Assembly {
    function newSet(address treasury_, uint256 missedReveal, uint256 committeeSize) internal {
        bytes memory first = abi.encode(
            address(token), address(registry), MIN_VALIDATOR_STAKE, EPOCH_SECONDS, EXIT_DELAY, MAX_VALIDITY_EPOCHS
        );
        validators = newValidators(first, treasury_, missedReveal, committeeSize);
    }

    function refused(bytes32 parameter, uint256 missedReveal, uint256 committeeSize, uint256 given) internal {
        vm.expectRevert(abi.encodeWithSelector(IValidatorSet.InvalidParameter.selector, parameter, given));
        newSet(fund, missedReveal, committeeSize);
    }

    function testFuzz_RefusesAPenaltyOutOfRange(uint256 missedReveal) public {
        if (missedReveal <= 5_000) missedReveal = 0;
        refused("missedRevealBasisPoints", missedReveal, 4, missedReveal);
    }

    function testFuzz_RefusesACommitteeOutOfRange(uint256 committeeSize) public {
        if (committeeSize <= 1_000) committeeSize = 0;
        refused("committeeSize", 500, committeeSize, committeeSize);
    }

    function test_RefusesAZeroTreasury() public {
        vm.expectRevert(abi.encodeWithSelector(IStakeVault.ZeroAddress.selector, bytes32("treasury")));
        newSet(address(0), 500, 4);
    }

    function testFuzz_KeepsThem(uint256 missedReveal, uint256 committeeSize) public {
        missedReveal = bound(missedReveal, 1, 5_000);
        committeeSize = bound(committeeSize, 1, 1_000);
        newSet(fund, missedReveal, committeeSize);
        assertEq(validators.treasury(), fund, "treasury");
        assertEq(validators.missedRevealBasisPoints(), missedReveal, "missedRevealBasisPoints");
        assertEq(validators.committeeSize(), committeeSize, "committeeSize");
    }
}

contract PenalizeMissedRevealTest is Assembly {
    uint64 internal epoch;

    function setUp() public override {
        super.setUp();
        register(0, MIN_VALIDATOR_STAKE);
        register(1, MIN_VALIDATOR_STAKE);
        epoch = epochNow() + 1;
        warpToCommit(epoch);
        commit(0, epoch, "root");
        commit(1, epoch, "root");
    }

    function expectPenalty(uint64 missed, uint256 staked) internal {
        uint256 cut = staked * MISSED_REVEAL_BASIS_POINTS / 10_000;
        vm.expectEmit(true, true, true, true, address(validators));
        emit IValidatorSet.RevealMissed(missed, validator(0), cut, staked - cut);
        validators.penalizeMissedReveal(missed, validator(0));
        assertEq(validators.validatorOf(validator(0)).stake, staked - cut, "what is left");
    }

    function testFuzz_CutsTheBondOfWhoNeverRevealed(uint256 amount, address caller) public {
        amount = bound(amount, MIN_VALIDATOR_STAKE, type(uint128).max);
        register(2, amount);
        warpToCommit(epoch + 1);
        commit(2, epoch + 1, "root");
        warpToCommit(epoch + 2);
        uint256 cut = amount * MISSED_REVEAL_BASIS_POINTS / 10_000;
        vm.expectEmit(true, true, true, true, address(validators));
        emit IValidatorSet.RevealMissed(epoch + 1, validator(2), cut, amount - cut);
        vm.prank(caller);
        validators.penalizeMissedReveal(epoch + 1, validator(2));
        assertEq(token.balanceOf(fund), cut, "treasury");
        assertEq(validators.validatorOf(validator(2)).stake, amount - cut, "stake");
        assertEq(token.balanceOf(address(validators)), MIN_VALIDATOR_STAKE * 2 + amount - cut, "vault");
        assertEq(validators.weightOf(validator(2), epoch + 2), amount, "this epoch's weight is fixed");
        assertEq(validators.weightOf(validator(2), epoch + 3), amount - cut, "the next one's follows");
        assertEq(validators.totalWeight(epoch + 3), MIN_VALIDATOR_STAKE * 2 + amount - cut, "total");
    }

    function testFuzz_NotBeforeTheEpochIsOver(uint256 second, uint64 later) public {
        second = bound(second, 0, EPOCH_SECONDS - 1);
        vm.warp(uint256(epoch) * EPOCH_SECONDS + second);
        later = uint64(bound(later, epoch, type(uint64).max));
        vm.expectRevert(abi.encodeWithSelector(IValidatorSet.EpochNotOver.selector, later, epoch));
        validators.penalizeMissedReveal(later, validator(0));
    }

    function test_WhoRevealedOrNeverCommittedOwesNothing() public {
        warpToReveal(epoch);
        reveal(1, epoch, "root");
        warpToCommit(epoch + 1);
        vm.expectRevert(abi.encodeWithSelector(IValidatorSet.NotCommitted.selector, validator(1), epoch));
        validators.penalizeMissedReveal(epoch, validator(1));
        vm.expectRevert(abi.encodeWithSelector(IValidatorSet.NotCommitted.selector, stranger, epoch));
        validators.penalizeMissedReveal(epoch, stranger);
    }

    function test_Trap_AMissIsCutOnce() public {
        warpToCommit(epoch + 1);
        expectPenalty(epoch, MIN_VALIDATOR_STAKE);
        vm.expectRevert(abi.encodeWithSelector(IValidatorSet.NotCommitted.selector, validator(0), epoch));
        validators.penalizeMissedReveal(epoch, validator(0));
    }

    function test_EveryMissIsCutAndWeightGoesOnBelowTheMinimum() public {
        warpToCommit(epoch + 1);
        commit(0, epoch + 1, "root");
        warpToCommit(epoch + 2);
        expectPenalty(epoch, MIN_VALIDATOR_STAKE);
        expectPenalty(epoch + 1, MIN_VALIDATOR_STAKE - MIN_VALIDATOR_STAKE / 20);
        warpToCommit(epoch + 3);
        commit(0, epoch + 3, "root");
        warpToReveal(epoch + 3);
        reveal(0, epoch + 3, "root");
        uint256 left = MIN_VALIDATOR_STAKE * 95 / 100 * 95 / 100;
        assertEq(validators.votesFor(epoch + 3, "root"), left, "counts with what is left");
    }

    function test_AnExitIsNoWayOutAndGainsNoWeight() public {
        vm.prank(validator(0));
        validators.requestExit();
        warpToCommit(epoch + 1);
        expectPenalty(epoch, MIN_VALIDATOR_STAKE);
        assertEq(validators.weightOf(validator(0), epoch + 2), 0, "no weight");
        vm.warp(block.timestamp + EXIT_DELAY);
        vm.prank(validator(0));
        assertEq(validators.withdraw(), MIN_VALIDATOR_STAKE * 95 / 100, "what is left");
        assertEq(token.balanceOf(address(validators)), MIN_VALIDATOR_STAKE, "the other one's");
    }

    function test_WhoIsGonePaysNothingAndTheDebtStands() public {
        vm.prank(validator(0));
        validators.requestExit();
        vm.warp(block.timestamp + EXIT_DELAY);
        vm.prank(validator(0));
        validators.withdraw();
        vm.expectRevert(abi.encodeWithSelector(IValidatorSet.ValidatorNotRegistered.selector, validator(0)));
        validators.penalizeMissedReveal(epoch, validator(0));
        assertTrue(validators.commitmentOf(epoch, validator(0)) != 0, "still on record");
        register(0, MIN_VALIDATOR_STAKE * 2);
        expectPenalty(epoch, MIN_VALIDATOR_STAKE * 2);
    }

    function test_Trap_ATokenThatRefusesTheTreasuryFailsCleanly() public {
        RefusingToken refusing = new RefusingToken();
        refusing.mint(validator(0), MIN_VALIDATOR_STAKE);
        bytes memory first = abi.encode(
            address(refusing), address(registry), MIN_VALIDATOR_STAKE, EPOCH_SECONDS, EXIT_DELAY, MAX_VALIDITY_EPOCHS
        );
        validators = newValidators(first, fund, MISSED_REVEAL_BASIS_POINTS, COMMITTEE_SIZE);
        vm.startPrank(validator(0));
        refusing.approve(address(validators), MIN_VALIDATOR_STAKE);
        validators.register(MIN_VALIDATOR_STAKE, 0, 0, 0, 0, "");
        vm.stopPrank();
        warpToCommit(epoch + 1);
        commit(0, epoch + 1, "root");
        warpToCommit(epoch + 2);
        refusing.refuse(fund, true, RefusingToken.Manner.Reverts);
        vm.expectRevert(abi.encodeWithSelector(RefusingToken.Refused.selector, fund));
        validators.penalizeMissedReveal(epoch + 1, validator(0));
        assertEq(validators.validatorOf(validator(0)).stake, MIN_VALIDATOR_STAKE, "nothing is cut");
        refusing.refuse(fund, false, RefusingToken.Manner.Reverts);
        expectPenalty(epoch + 1, MIN_VALIDATOR_STAKE);
    }
}
