// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ISlashing} from "../../solidity/interfaces/ISlashing.sol";
import {Court} from "./Court.sol";

contract AnswerTest is Court {
    uint64 internal id;

    function setUp() public override {
        super.setUp();
        id = accuse();
    }

    function testFuzz_InTheEvidenceAndAnswerPhases(uint256 second) public {
        second = bound(second, 0, 10 days);
        vm.warp(block.timestamp + second);
        if (second < 2 days) {
            vm.expectEmit(true, true, true, true, address(slashing));
            emit ISlashing.Answered(id, provider, ANSWER, ANSWER_URI);
        } else {
            vm.expectRevert(wrongPhase(id, second < 3 days ? ISlashing.Phase.Vote : ISlashing.Phase.Decided));
        }
        vm.prank(provider);
        slashing.answer(id, ANSWER, ANSWER_URI);
        assertEq(slashing.accusationOf(id).answerHash, second < 2 days ? ANSWER : bytes32(0), "kept");
    }

    function testFuzz_TheAccusedOnly(address caller) public {
        vm.assume(caller != provider);
        vm.expectRevert(abi.encodeWithSelector(ISlashing.NotAccused.selector, id, caller));
        vm.prank(caller);
        slashing.answer(id, ANSWER, ANSWER_URI);
    }

    function test_OnceAndNotEmpty() public {
        vm.startPrank(provider);
        vm.expectRevert(abi.encodeWithSelector(ISlashing.ZeroDigest.selector));
        slashing.answer(id, 0, ANSWER_URI);
        string memory long = string(new bytes(513));
        vm.expectRevert(abi.encodeWithSelector(ISlashing.TextTooLong.selector, bytes32("answerUri"), 513, 512));
        slashing.answer(id, ANSWER, long);
        slashing.answer(id, ANSWER, ANSWER_URI);
        vm.expectRevert(abi.encodeWithSelector(ISlashing.AlreadyAnswered.selector, id));
        slashing.answer(id, ANSWER, ANSWER_URI);
        vm.stopPrank();
    }

    function test_UnknownAccusationsHaveAName() public {
        bytes memory refusal = abi.encodeWithSelector(ISlashing.AccusationNotFound.selector, 9);
        vm.expectRevert(refusal);
        slashing.answer(9, ANSWER, ANSWER_URI);
        vm.expectRevert(refusal);
        slashing.answerBySignature(9, ANSWER, ANSWER_URI, 0, "");
        vm.expectRevert(refusal);
        slashing.vote(9, true);
        vm.expectRevert(refusal);
        slashing.resolve(9);
        vm.expectRevert(refusal);
        slashing.accusationOf(9);
    }
}

contract AnswerBySignatureTest is Court {
    uint64 internal id;
    uint64 internal deadline;

    function setUp() public override {
        super.setUp();
        id = accuse();
        deadline = uint64(block.timestamp + 1 hours);
    }

    function testFuzz_AnybodySubmitsWhatTheAccusedSigned(address sender) public {
        bytes memory signature = signAnswer(providerKey, id, ANSWER, ANSWER_URI, deadline);
        vm.expectEmit(true, true, true, true, address(slashing));
        emit ISlashing.Answered(id, provider, ANSWER, ANSWER_URI);
        vm.prank(sender);
        slashing.answerBySignature(id, ANSWER, ANSWER_URI, deadline, signature);
        assertEq(slashing.accusationOf(id).answerHash, ANSWER, "kept");
    }

    function refused(bytes32 hash, string memory uri, uint64 until, bytes memory signature) internal {
        vm.expectRevert(abi.encodeWithSelector(ISlashing.InvalidAnswerSignature.selector, id));
        slashing.answerBySignature(id, hash, uri, until, signature);
    }

    function testFuzz_ForeignSignaturesAreRefused(uint256 key) public {
        key = bound(key, 1, 2 ** 255);
        vm.assume(key != providerKey);
        refused(ANSWER, ANSWER_URI, deadline, signAnswer(key, id, ANSWER, ANSWER_URI, deadline));
    }

    function testFuzz_EveryFieldIsSigned(bytes32 hash, string calldata uri, uint64 until) public {
        bytes memory signature = signAnswer(providerKey, id, ANSWER, ANSWER_URI, deadline);
        vm.assume(hash != ANSWER && keccak256(bytes(uri)) != keccak256(bytes(ANSWER_URI)));
        until = uint64(bound(until, deadline + 1, type(uint64).max));
        refused(hash, ANSWER_URI, deadline, signature);
        refused(ANSWER, uri, deadline, signature);
        refused(ANSWER, ANSWER_URI, until, signature);
    }

    function testFuzz_ASignatureExpires(uint256 late) public {
        late = bound(late, 1, 1 days - 1 hours - 1);
        bytes memory signature = signAnswer(providerKey, id, ANSWER, ANSWER_URI, deadline);
        vm.warp(deadline + late);
        vm.expectRevert(abi.encodeWithSelector(ISlashing.SignatureExpired.selector, deadline));
        slashing.answerBySignature(id, ANSWER, ANSWER_URI, deadline, signature);
    }

    function test_Trap_NobodyAttachesAnotherUriToASignedAnswer() public {
        bytes memory signature = signAnswer(providerKey, id, ANSWER, ANSWER_URI, deadline);
        refused(ANSWER, "https://thief.example", deadline, signature);
    }

    function test_Trap_TheOtherFormOfASignatureIsRefused() public {
        bytes memory signature = signAnswer(providerKey, id, ANSWER, ANSWER_URI, deadline);
        refused(ANSWER, ANSWER_URI, deadline, malleated(signature));
    }

    function test_Trap_AnAnswerIsWorthNothingElsewhere() public {
        bytes memory signature = signAnswer(providerKey, id, ANSWER, ANSWER_URI, deadline);
        uint64 home = id;
        id = accuse(stranger, 100e18);
        refused(ANSWER, ANSWER_URI, deadline, signature);
        id = home;

        uint256 chain = block.chainid;
        vm.chainId(chain + 1);
        refused(ANSWER, ANSWER_URI, deadline, signature);
        vm.chainId(chain);

        ISlashing original = slashing;
        mint(provider, STAKE);
        for (uint256 i = 0; i < 4; ++i) {
            mint(validator(i), MIN_VALIDATOR_STAKE);
        }
        convene(token);
        id = accuse();
        assertEq(id, home, "same id");
        refused(ANSWER, ANSWER_URI, deadline, signature);
        original.answerBySignature(home, ANSWER, ANSWER_URI, deadline, signature);
        vm.expectRevert(abi.encodeWithSelector(ISlashing.AlreadyAnswered.selector, home));
        original.answerBySignature(home, ANSWER, ANSWER_URI, deadline, signature);
    }
}
