// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ISlashing} from "../../solidity/interfaces/ISlashing.sol";
import {Court} from "./Court.sol";

contract VoteTest is Court {
    uint64 internal id;

    function setUp() public override {
        super.setUp();
        id = accuse();
    }

    function testFuzz_InTheVotePhaseOnly(uint256 second, bool guilty) public {
        second = bound(second, 0, 10 days);
        vm.warp(block.timestamp + second);
        bool open = second >= 2 days && second < 3 days;
        if (open) {
            vm.expectEmit(true, true, true, true, address(slashing));
            emit ISlashing.Voted(id, validator(0), guilty, MIN_VALIDATOR_STAKE);
        } else {
            vm.expectRevert(wrongPhase(id, phaseOf(id)));
        }
        vote(0, id, guilty);
        ISlashing.Accusation memory found = slashing.accusationOf(id);
        assertEq(found.guiltyWeight, open && guilty ? MIN_VALIDATOR_STAKE : 0, "guilty");
        assertEq(found.innocentWeight, open && !guilty ? MIN_VALIDATOR_STAKE : 0, "innocent");
    }

    function testFuzz_OneVoteForEachValidator(bool first, bool second) public {
        warpToPhase(id, ISlashing.Phase.Vote);
        vote(0, id, first);
        vm.expectRevert(abi.encodeWithSelector(ISlashing.AlreadyVoted.selector, id, validator(0)));
        vote(0, id, second);
    }

    function testFuzz_OnlyThoseWithWeight(address caller) public {
        for (uint256 i = 0; i < 4; ++i) {
            vm.assume(caller != validator(i));
        }
        warpToPhase(id, ISlashing.Phase.Vote);
        vm.expectRevert(abi.encodeWithSelector(ISlashing.NoVote.selector, id, caller));
        vm.prank(caller);
        slashing.vote(id, true);
    }

    function test_Trap_WhoBecomesValidatorAfterTheAccusationHasNoVote() public {
        register(9, MIN_VALIDATOR_STAKE * 1_000);
        warpToPhase(id, ISlashing.Phase.Vote);
        vm.expectRevert(abi.encodeWithSelector(ISlashing.NoVote.selector, id, validator(9)));
        vote(9, id, true);
    }

    function test_Trap_WhoAddsStakeAfterTheAccusationGainsNoWeight() public {
        mint(validator(0), MIN_VALIDATOR_STAKE * 1_000);
        vm.startPrank(validator(0));
        token.approve(address(validators), MIN_VALIDATOR_STAKE * 1_000);
        validators.stake(MIN_VALIDATOR_STAKE * 1_000);
        vm.stopPrank();
        warpToPhase(id, ISlashing.Phase.Vote);
        vote(0, id, true);
        assertEq(slashing.accusationOf(id).guiltyWeight, MIN_VALIDATOR_STAKE, "as when it was opened");
    }

    function test_WhoAskedToExitStillJudgesWhatWasOpenedBefore() public {
        vm.prank(validator(0));
        validators.requestExit();
        warpToPhase(id, ISlashing.Phase.Vote);
        vote(0, id, true);
        assertEq(slashing.accusationOf(id).guiltyWeight, MIN_VALIDATOR_STAKE, "counted");
    }

    function test_Trap_AnAccuserHasNoVoteOnItsOwnAccusation() public {
        uint64 own = accuseAs(0);
        warpToPhase(own, ISlashing.Phase.Vote);
        vm.expectRevert(abi.encodeWithSelector(ISlashing.NoVote.selector, own, validator(0)));
        vote(0, own, true);
        vote(0, id, true);
        assertEq(slashing.accusationOf(id).guiltyWeight, MIN_VALIDATOR_STAKE, "on others it votes");
    }

    function test_VotesOnTwoAccusationsAreApart() public {
        uint64 other = accuse(stranger, 100e18);
        warpToPhase(id, ISlashing.Phase.Vote);
        vote(0, id, true);
        vote(0, other, false);
        assertEq(slashing.accusationOf(id).guiltyWeight, MIN_VALIDATOR_STAKE, "guilty");
        assertEq(slashing.accusationOf(other).innocentWeight, MIN_VALIDATOR_STAKE, "innocent");
    }
}
