// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IValidatorSet} from "../../solidity/interfaces/IValidatorSet.sol";
import {Assembly} from "./Assembly.sol";

contract CommitTest is Assembly {
    uint64 internal epoch;

    function setUp() public override {
        super.setUp();
        register(0, MIN_VALIDATOR_STAKE);
        epoch = epochNow() + 1;
    }

    function testFuzz_InTheFirstHalfOfItsEpochOnly(uint256 second) public {
        second = bound(second, 0, EPOCH_SECONDS - 1);
        vm.warp(uint256(epoch) * EPOCH_SECONDS + second);
        bytes32 commitment = commitmentOf(validator(0), epoch, "root");
        bool open = second < EPOCH_SECONDS / 2;
        if (open) {
            vm.expectEmit(true, true, true, true, address(validators));
            emit IValidatorSet.Committed(epoch, validator(0), commitment);
        } else {
            uint256 until = uint256(epoch) * EPOCH_SECONDS + EPOCH_SECONDS / 2 - 1;
            vm.expectRevert(abi.encodeWithSelector(IValidatorSet.CommitPhaseOver.selector, epoch, until));
        }
        vm.prank(validator(0));
        validators.commit(epoch, commitment);
        assertEq(validators.commitmentOf(epoch, validator(0)), open ? commitment : bytes32(0), "kept");
    }

    function testFuzz_ForTheRunningEpochOnly(uint64 other) public {
        vm.assume(other != epoch);
        warpToCommit(epoch);
        vm.expectRevert(abi.encodeWithSelector(IValidatorSet.WrongEpoch.selector, other, epoch));
        vm.prank(validator(0));
        validators.commit(other, "x");
    }

    function test_OnlyWithWeightInTheEpochAndOnce() public {
        warpToCommit(epoch);
        vm.expectRevert(abi.encodeWithSelector(IValidatorSet.NoWeight.selector, stranger, epoch));
        vm.prank(stranger);
        validators.commit(epoch, "x");
        register(1, MIN_VALIDATOR_STAKE);
        vm.expectRevert(abi.encodeWithSelector(IValidatorSet.NoWeight.selector, validator(1), epoch));
        vm.prank(validator(1));
        validators.commit(epoch, "x");
        vm.startPrank(validator(0));
        vm.expectRevert(abi.encodeWithSelector(IValidatorSet.ZeroDigest.selector));
        validators.commit(epoch, 0);
        validators.commit(epoch, "x");
        vm.expectRevert(abi.encodeWithSelector(IValidatorSet.AlreadyCommitted.selector, validator(0), epoch));
        validators.commit(epoch, "y");
        vm.stopPrank();
    }
}

contract RevealTest is Assembly {
    uint64 internal epoch;

    function setUp() public override {
        super.setUp();
        epoch = epochNow() + 1;
    }

    function test_OneValidatorIsAQuorum() public {
        register(0, MIN_VALIDATOR_STAKE);
        warpToCommit(epoch);
        commit(0, epoch, "root");
        warpToReveal(epoch);
        vm.expectEmit(true, true, true, true, address(validators));
        emit IValidatorSet.Revealed(epoch, validator(0), "root", MIN_VALIDATOR_STAKE);
        vm.expectEmit(true, true, true, true, address(validators));
        emit IValidatorSet.RootAccepted(epoch, "root", MIN_VALIDATOR_STAKE, MIN_VALIDATOR_STAKE);
        reveal(0, epoch, "root");
        assertEq(validators.rootOf(epoch), "root", "accepted");
        assertEq(validators.revealOf(epoch, validator(0)), "root", "kept for a later judge");
        assertEq(validators.commitmentOf(epoch, validator(0)), 0, "no void vote");
    }

    function testFuzz_MoreThanTwoThirdsOfTheWeightOnOneRoot(uint256[4] memory stakes, uint8 agree) public {
        uint256 total;
        uint256 agreeing;
        for (uint256 i = 0; i < 4; ++i) {
            stakes[i] = bound(stakes[i], MIN_VALIDATOR_STAKE, MIN_VALIDATOR_STAKE * 10);
            register(i, stakes[i]);
            total += stakes[i];
            if (agree >> i & 1 == 1) agreeing += stakes[i];
        }
        warpToCommit(epoch);
        for (uint256 i = 0; i < 4; ++i) {
            commit(i, epoch, agree >> i & 1 == 1 ? bytes32("root") : bytes32(i + 1));
        }
        warpToReveal(epoch);
        for (uint256 i = 0; i < 4; ++i) {
            reveal(i, epoch, agree >> i & 1 == 1 ? bytes32("root") : bytes32(i + 1));
        }
        assertEq(validators.votesFor(epoch, "root"), agreeing, "votes");
        bool accepted = agreeing * 3 > total * 2;
        for (uint256 i = 0; i < 4; ++i) {
            if (agree >> i & 1 == 0 && stakes[i] * 3 > total * 2) {
                assertEq(validators.rootOf(epoch), bytes32(i + 1), "a heavy dissenter");
                return;
            }
        }
        assertEq(validators.rootOf(epoch), accepted ? bytes32("root") : bytes32(0), "accepted");
    }

    function test_TwoOfThreeIsNotMoreThanTwoThirds() public {
        for (uint256 i = 0; i < 3; ++i) {
            register(i, MIN_VALIDATOR_STAKE);
        }
        warpToCommit(epoch);
        for (uint256 i = 0; i < 3; ++i) {
            commit(i, epoch, "root");
        }
        warpToReveal(epoch);
        reveal(0, epoch, "root");
        reveal(1, epoch, "root");
        assertEq(validators.rootOf(epoch), 0, "not yet");
        reveal(2, epoch, "root");
        assertEq(validators.rootOf(epoch), "root", "now");
    }

    function test_AVoteThatIsNeverRevealedIsVoidAndStaysOnRecord() public {
        for (uint256 i = 0; i < 4; ++i) {
            register(i, MIN_VALIDATOR_STAKE);
        }
        warpToCommit(epoch);
        for (uint256 i = 0; i < 4; ++i) {
            commit(i, epoch, "root");
        }
        warpToReveal(epoch);
        for (uint256 i = 0; i < 3; ++i) {
            reveal(i, epoch, "root");
        }
        assertEq(validators.rootOf(epoch), "root", "three of four suffice");
        warpToReveal(epoch + 1);
        vm.expectRevert(abi.encodeWithSelector(IValidatorSet.WrongEpoch.selector, epoch, epoch + 1));
        vm.prank(validator(3));
        validators.reveal(epoch, "root", SALT);
        assertTrue(validators.commitmentOf(epoch, validator(3)) != 0, "the debt stands");
        assertEq(validators.votesFor(epoch, "root"), MIN_VALIDATOR_STAKE * 3, "not counted");
    }

    function testFuzz_OnlyInTheSecondHalf(uint256 second) public {
        second = bound(second, 0, EPOCH_SECONDS / 2 - 1);
        register(0, MIN_VALIDATOR_STAKE);
        warpToCommit(epoch);
        commit(0, epoch, "root");
        vm.warp(uint256(epoch) * EPOCH_SECONDS + second);
        uint256 from = uint256(epoch) * EPOCH_SECONDS + EPOCH_SECONDS / 2;
        vm.expectRevert(abi.encodeWithSelector(IValidatorSet.RevealPhaseNotBegun.selector, epoch, from));
        vm.prank(validator(0));
        validators.reveal(epoch, "root", SALT);
    }

    function test_Trap_ACopiedCommitmentCannotBeRevealed() public {
        register(0, MIN_VALIDATOR_STAKE);
        register(1, MIN_VALIDATOR_STAKE);
        warpToCommit(epoch);
        commit(0, epoch, "root");
        bytes32 copied = validators.commitmentOf(epoch, validator(0));
        vm.prank(validator(1));
        validators.commit(epoch, copied);
        warpToReveal(epoch);
        reveal(0, epoch, "root");
        vm.expectRevert(
            abi.encodeWithSelector(
                IValidatorSet.WrongReveal.selector, copied, commitmentOf(validator(1), epoch, "root")
            )
        );
        vm.prank(validator(1));
        validators.reveal(epoch, "root", SALT);
    }

    function testFuzz_OnlyWhatWasCommittedAndOnce(bytes32 root, bytes32 salt) public {
        vm.assume(root != 0 && (root != "root" || salt != SALT));
        register(0, MIN_VALIDATOR_STAKE);
        warpToCommit(epoch);
        commit(0, epoch, "root");
        warpToReveal(epoch);
        vm.startPrank(validator(0));
        vm.expectPartialRevert(IValidatorSet.WrongReveal.selector);
        validators.reveal(epoch, root, salt);
        vm.expectRevert(abi.encodeWithSelector(IValidatorSet.ZeroDigest.selector));
        validators.reveal(epoch, 0, salt);
        validators.reveal(epoch, "root", SALT);
        vm.expectRevert(abi.encodeWithSelector(IValidatorSet.NotCommitted.selector, validator(0), epoch));
        validators.reveal(epoch, "root", SALT);
        vm.stopPrank();
        assertEq(validators.votesFor(epoch, "root"), MIN_VALIDATOR_STAKE, "counted once");
    }

    function test_Trap_StakeThatArrivesDuringTheEpochCannotTurnTheVote() public {
        register(0, MIN_VALIDATOR_STAKE);
        warpToCommit(epoch);
        register(1, MIN_VALIDATOR_STAKE * 100);
        commit(0, epoch, "root");
        warpToReveal(epoch);
        reveal(0, epoch, "root");
        assertEq(validators.rootOf(epoch), "root", "the epoch's own weights decided");
        // In the next epoch the newcomer alone decides.
        warpToCommit(epoch + 1);
        commit(0, epoch + 1, "root");
        commit(1, epoch + 1, "other");
        warpToReveal(epoch + 1);
        reveal(0, epoch + 1, "root");
        reveal(1, epoch + 1, "other");
        assertEq(validators.rootOf(epoch + 1), "other", "the newcomer's weight counts now");
    }
}
