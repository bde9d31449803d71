// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IValidatorSet} from "../../solidity/interfaces/IValidatorSet.sol";
import {Assembly} from "./Assembly.sol";

contract DrawBeaconTest is Assembly {
    uint64 internal epoch;

    function setUp() public override {
        super.setUp();
        epoch = epochNow() + 1;
    }

    function testFuzz_AnybodyInTheFirstHalfOfItsEpochOnly(address caller, uint256 second) public {
        second = bound(second, 0, EPOCH_SECONDS - 1);
        warpToCommit(epoch);
        vm.warp(block.timestamp + second);
        if (second >= EPOCH_SECONDS / 2) {
            uint256 until = uint256(epoch) * EPOCH_SECONDS + EPOCH_SECONDS / 2 - 1;
            vm.expectRevert(abi.encodeWithSelector(IValidatorSet.CommitPhaseOver.selector, epoch, until));
            validators.drawBeacon(epoch);
            assertEq(validators.beaconOf(epoch), 0, "none");
            return;
        }
        bytes32 expected = keccak256(abi.encode(epoch, block.prevrandao, blockhash(block.number - 1)));
        vm.expectEmit(true, true, true, true, address(validators));
        emit IValidatorSet.BeaconDrawn(epoch, expected);
        vm.prank(caller);
        assertEq(validators.drawBeacon(epoch), expected, "drawn");
        assertEq(validators.beaconOf(epoch), expected, "kept");
    }

    function testFuzz_ForTheRunningEpochOnly(uint64 other) public {
        vm.assume(other != epoch);
        warpToCommit(epoch);
        vm.expectRevert(abi.encodeWithSelector(IValidatorSet.WrongEpoch.selector, other, epoch));
        validators.drawBeacon(other);
    }

    function testFuzz_Trap_NobodyDrawsAgainUntilItSuitsHim(bytes32 randomness) public {
        warpToCommit(epoch);
        bytes32 beacon = validators.drawBeacon(epoch);
        vm.prevrandao(randomness);
        vm.expectRevert(abi.encodeWithSelector(IValidatorSet.BeaconAlreadyDrawn.selector, epoch));
        validators.drawBeacon(epoch);
        assertEq(validators.beaconOf(epoch), beacon, "the first one stands");
    }
}

contract IsDrawnTest is Assembly {
    uint64 internal epoch;

    function setUp() public override {
        super.setUp();
        epoch = epochNow() + 1;
    }

    function draw() internal {
        warpToCommit(epoch);
        validators.drawBeacon(epoch);
    }

    function drawnFor(address subject, uint256 count) internal view returns (uint256 drawn) {
        for (uint256 i = 0; i < count; ++i) {
            if (validators.isDrawn(epoch, subject, validator(i))) ++drawn;
        }
    }

    function test_WithoutABeaconNobodyKnows() public {
        register(0, MIN_VALIDATOR_STAKE);
        warpToCommit(epoch);
        vm.expectRevert(abi.encodeWithSelector(IValidatorSet.NoBeacon.selector, epoch));
        validators.isDrawn(epoch, node, validator(0));
    }

    function testFuzz_FewValidatorsAreAllDrawn(uint256 count, uint256[4] memory stakes, address subject) public {
        count = bound(count, 1, COMMITTEE_SIZE);
        for (uint256 i = 0; i < count; ++i) {
            register(i, bound(stakes[i], MIN_VALIDATOR_STAKE, MIN_VALIDATOR_STAKE * 1_000));
        }
        draw();
        assertEq(drawnFor(subject, count), count, "all of them");
        assertFalse(validators.isDrawn(epoch, subject, stranger), "nobody without weight");
    }

    function test_WhoLeftOrIsNewIsNotDrawnAndNotCounted() public {
        for (uint256 i = 0; i < COMMITTEE_SIZE + 1; ++i) {
            register(i, MIN_VALIDATOR_STAKE);
        }
        vm.prank(validator(0));
        validators.requestExit();
        draw();
        register(9, MIN_VALIDATOR_STAKE);
        assertFalse(validators.isDrawn(epoch, node, validator(0)), "left");
        assertFalse(validators.isDrawn(epoch, node, validator(9)), "new");
        for (uint256 i = 1; i < COMMITTEE_SIZE + 1; ++i) {
            assertTrue(validators.isDrawn(epoch, node, validator(i)), "four are few");
        }
    }

    function test_StakeThatIsAddedCountsItsOwnerOnce() public {
        for (uint256 i = 0; i < COMMITTEE_SIZE; ++i) {
            register(i, MIN_VALIDATOR_STAKE);
        }
        mint(validator(0), MIN_VALIDATOR_STAKE * 100);
        vm.startPrank(validator(0));
        token.approve(address(validators), MIN_VALIDATOR_STAKE * 100);
        validators.stake(MIN_VALIDATOR_STAKE * 100);
        vm.stopPrank();
        draw();
        assertEq(drawnFor(node, COMMITTEE_SIZE), COMMITTEE_SIZE, "still few");
    }

    function test_ManyAreDrawnInProportionToTheirWeight() public {
        // One has as much as all the others together: 8 × 1 and 1 × 8, four to be drawn.
        for (uint256 i = 0; i < 8; ++i) {
            register(i, MIN_VALIDATOR_STAKE);
        }
        register(8, MIN_VALIDATOR_STAKE * 8);
        draw();
        uint256 light;
        uint256 heavy;
        for (uint256 n = 0; n < 400; ++n) {
            address subject = address(uint160(uint256(keccak256(abi.encode("subject", n)))));
            light += drawnFor(subject, 8);
            if (validators.isDrawn(epoch, subject, validator(8))) ++heavy;
        }
        assertEq(heavy, 400, "certain: its share times four is more than all");
        // 8 × 4/16 are expected for each node: 800 in all, with a standard deviation of 25.
        assertTrue(light > 680 && light < 920, "as expected");
    }

    function testFuzz_AnotherBeaconDrawsOthers(bytes32 randomness) public {
        vm.assume(randomness != bytes32(block.prevrandao));
        for (uint256 i = 0; i < 9; ++i) {
            register(i, MIN_VALIDATOR_STAKE);
        }
        draw();
        bytes32 before = patternOf();
        epoch += 1;
        vm.prevrandao(randomness);
        draw();
        assertTrue(patternOf() != before, "another draw");
    }

    function patternOf() internal view returns (bytes32 pattern) {
        for (uint256 n = 0; n < 5; ++n) {
            for (uint256 i = 0; i < 9; ++i) {
                bool drawn = validators.isDrawn(epoch, address(uint160(n + 1)), validator(i));
                pattern = keccak256(abi.encode(pattern, drawn));
            }
        }
    }
}
