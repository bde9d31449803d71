// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IComputeRegistry} from "../../solidity/interfaces/IComputeRegistry.sol";
import {ISlashing} from "../../solidity/interfaces/ISlashing.sol";
import {IStakeVault} from "../../solidity/interfaces/IStakeVault.sol";
import {Court} from "./Court.sol";

contract ConstructorTest is Court {
    function newCourt(ISlashing.Terms memory terms) internal {
        slashing = newSlashing(address(token), address(registry), address(validators), terms);
    }

    function refusedTerms(ISlashing.Terms memory terms, bytes32 parameter, uint256 given) internal {
        vm.expectRevert(abi.encodeWithSelector(ISlashing.InvalidParameter.selector, parameter, given));
        newCourt(terms);
    }

    function testFuzz_RefusesZeroAddresses(uint256 which) public {
        ISlashing.Terms memory terms = slashingTerms();
        address[4] memory given = [address(token), address(registry), address(validators), terms.treasury];
        bytes32[4] memory names = [bytes32("token"), "registry", "validators", "treasury"];
        given[which % 4] = address(0);
        terms.treasury = given[3];
        vm.expectRevert(abi.encodeWithSelector(IStakeVault.ZeroAddress.selector, names[which % 4]));
        newSlashing(given[0], given[1], given[2], terms);
    }

    function testFuzz_RefusesTermsOutOfRange(uint256 which, uint16 basisPoints) public {
        ISlashing.Terms memory terms = slashingTerms();
        which %= 7;
        if (which == 0) {
            terms.minBond = 0;
            refusedTerms(terms, "minBond", 0);
        } else if (which == 1) {
            terms.bondBasisPoints = uint16(bound(basisPoints, 10_001, type(uint16).max));
            refusedTerms(terms, "bondBasisPoints", terms.bondBasisPoints);
        } else if (which == 2) {
            terms.maxSlashBasisPoints = basisPoints <= 10_000 ? 0 : basisPoints;
            refusedTerms(terms, "maxSlashBasisPoints", terms.maxSlashBasisPoints);
        } else if (which == 3) {
            terms.feeBasisPoints = uint16(bound(basisPoints, 1_001, type(uint16).max));
            refusedTerms(terms, "feeBasisPoints", terms.feeBasisPoints);
        } else if (which == 4) {
            terms.evidenceSeconds = 0;
            refusedTerms(terms, "evidenceSeconds", 0);
        } else if (which == 5) {
            terms.answerSeconds = 0;
            refusedTerms(terms, "answerSeconds", 0);
        } else {
            terms.voteSeconds = 0;
            refusedTerms(terms, "voteSeconds", 0);
        }
    }

    function test_RefusesAnotherTokenThanTheRegistrys() public {
        vm.expectRevert(
            abi.encodeWithSelector(ISlashing.InvalidParameter.selector, bytes32("token"), uint160(stranger))
        );
        newSlashing(stranger, address(registry), address(validators), slashingTerms());
    }

    function testFuzz_Trap_TheUnbondingDelayCoversDetectionAllPhasesAndExecution(uint64[5] memory seconds_) public {
        ISlashing.Terms memory terms = slashingTerms();
        terms.detectionSeconds = uint64(bound(seconds_[0], 0, 3 days));
        terms.evidenceSeconds = uint64(bound(seconds_[1], 1, 3 days));
        terms.answerSeconds = uint64(bound(seconds_[2], 1, 3 days));
        terms.voteSeconds = uint64(bound(seconds_[3], 1, 3 days));
        terms.executionSeconds = uint64(bound(seconds_[4], 0, 3 days));
        uint256 required = uint256(terms.detectionSeconds) + terms.evidenceSeconds + terms.answerSeconds
            + terms.voteSeconds + terms.executionSeconds;
        if (required > UNBONDING_DELAY) {
            vm.expectRevert(abi.encodeWithSelector(ISlashing.UnbondingTooShort.selector, UNBONDING_DELAY, required));
        }
        newCourt(terms);
        if (required <= UNBONDING_DELAY) {
            assertEq(keccak256(abi.encode(slashing.terms())), keccak256(abi.encode(terms)), "terms");
        }
    }

    function test_KnowsItsNeighbours() public view {
        assertEq(slashing.registry(), address(registry), "registry");
        assertEq(slashing.validators(), address(validators), "validators");
        assertEq(slashing.token(), address(token), "token");
        assertEq(slashing.accusationCount(), 0, "none yet");
    }
}

contract AccuseTest is Court {
    function testFuzz_LocksTheAmountAndTakesTheBond(uint128 amount) public {
        amount = uint128(bound(amount, 1, STAKE / 2));
        uint256 bond = slashing.bondFor(amount);
        uint256 before = token.balanceOf(accuser);
        vm.expectEmit(true, true, true, true, address(slashing));
        emit ISlashing.Accused(
            1,
            provider,
            node,
            accuser,
            ISlashing.Offence.ForgedReceipt,
            amount,
            bond,
            epochNow(),
            EVIDENCE,
            EVIDENCE_URI
        );
        vm.expectEmit(true, true, true, true, address(registry));
        emit IComputeRegistry.StakeLocked(provider, amount, amount);
        vm.prank(accuser);
        uint64 id = slashing.accuse(provider, node, ISlashing.Offence.ForgedReceipt, amount, EVIDENCE, EVIDENCE_URI);
        assertEq(id, 1, "ids count from one");
        assertEq(slashing.accusationCount(), 1, "count");
        assertEq(slashing.openAccusation(provider, node), 1, "open");
        assertEq(registry.providerOf(provider).locked, amount, "locked");
        assertEq(registry.providerOf(provider).stake, STAKE, "nothing is taken yet");
        assertTrue(registry.isEligible(node), "the provider works on");
        assertEq(token.balanceOf(address(slashing)), bond, "vault");
        assertEq(token.balanceOf(accuser), before - bond, "bonded");
        ISlashing.Accusation memory found = slashing.accusationOf(1);
        ISlashing.Accusation memory expected = ISlashing.Accusation({
            accuser: accuser,
            provider: provider,
            node: node,
            offence: ISlashing.Offence.ForgedReceipt,
            phase: ISlashing.Phase.Evidence,
            amount: amount,
            bond: uint128(bond),
            openedAt: uint64(block.timestamp),
            epoch: epochNow(),
            guiltyWeight: 0,
            innocentWeight: 0,
            evidenceHash: EVIDENCE,
            answerHash: 0
        });
        assertEq(keccak256(abi.encode(found)), keccak256(abi.encode(expected)), "record");
    }

    function testFuzz_TheBondIsAPartOfTheAmountAndNeverBelowTheLeast(uint128 amount) public view {
        uint256 bond = slashing.bondFor(amount);
        uint256 part = uint256(amount) / 10;
        assertEq(bond, part > 10e18 ? part : 10e18, "bond");
    }

    function testFuzz_OneAccusationTakesAtMostItsPartOfStakeAndUnbonding(uint256 leaving, uint128 amount) public {
        leaving = bound(leaving, 1, STAKE - MIN_STAKE_PER_UNIT);
        vm.prank(provider);
        registry.requestUnstake(leaving);
        assertEq(slashing.maxSlash(provider), STAKE / 2, "what unbonds counts");
        amount = uint128(bound(amount, STAKE / 2 + 1, type(uint128).max));
        vm.expectRevert(abi.encodeWithSelector(ISlashing.AmountTooLarge.selector, amount, STAKE / 2));
        accuse(node, amount);
    }

    function test_RefusesWhatIsNoAccusation() public {
        vm.startPrank(accuser);
        vm.expectRevert(abi.encodeWithSelector(ISlashing.InvalidOffence.selector));
        slashing.accuse(provider, node, ISlashing.Offence.None, AMOUNT, EVIDENCE, EVIDENCE_URI);
        vm.expectRevert(abi.encodeWithSelector(IStakeVault.ZeroAmount.selector));
        slashing.accuse(provider, node, ISlashing.Offence.ForgedProof, 0, EVIDENCE, EVIDENCE_URI);
        vm.expectRevert(abi.encodeWithSelector(ISlashing.ZeroDigest.selector));
        slashing.accuse(provider, node, ISlashing.Offence.ForgedProof, AMOUNT, 0, EVIDENCE_URI);
        string memory long = string(new bytes(513));
        vm.expectRevert(abi.encodeWithSelector(ISlashing.TextTooLong.selector, bytes32("evidenceUri"), 513, 512));
        slashing.accuse(provider, node, ISlashing.Offence.ForgedProof, AMOUNT, EVIDENCE, long);
        vm.expectRevert(abi.encodeWithSelector(ISlashing.AmountTooLarge.selector, AMOUNT, 0));
        slashing.accuse(stranger, node, ISlashing.Offence.ForgedProof, AMOUNT, EVIDENCE, EVIDENCE_URI);
        vm.stopPrank();
    }

    function test_NobodyAccusesHimself() public {
        vm.expectRevert(abi.encodeWithSelector(ISlashing.SelfAccusation.selector, provider));
        accuse(provider, provider, node, AMOUNT);
    }

    function test_RefusesAnAccuserWithoutTheBond() public {
        vm.expectPartialRevert(bytes4(keccak256("ERC20InsufficientAllowance(address,uint256,uint256)")));
        accuse(stranger, provider, node, AMOUNT);
        assertEq(registry.providerOf(provider).locked, 0, "nothing is locked");
        assertEq(slashing.openAccusation(provider, node), 0, "nothing is open");
    }

    function testFuzz_OneOpenAccusationPerNode(uint128 amount) public {
        accuse();
        amount = uint128(bound(amount, 1, AMOUNT));
        vm.expectRevert(abi.encodeWithSelector(ISlashing.AlreadyAccused.selector, node, 1));
        accuse(node, amount);
    }

    function test_TwoAccusationsAtOnceOnOneProvider() public {
        addNode(providerKey, keyOf("other"), 1);
        uint64 first = accuse();
        uint64 second = accuse(vm.addr(keyOf("other")), 500e18);
        assertEq(registry.providerOf(provider).locked, AMOUNT + 500e18, "both");
        assertEq(slashing.maxSlash(provider), STAKE - AMOUNT - 500e18, "what is left to lock");
        convict(first);
        slashing.resolve(first);
        slashing.resolve(second);
        assertEq(registry.providerOf(provider).stake, STAKE - AMOUNT, "the first was found guilty");
        assertEq(registry.providerOf(provider).locked, 0, "the second was acquitted");
        assertEq(token.balanceOf(address(slashing)), 0, "nothing is left behind");
    }

    function test_BothAccusationsOfOneProviderCanBeCarriedOut() public {
        uint64 first = accuse(node, 500e18);
        uint64 second = accuse(stranger, 500e18);
        vm.expectRevert(abi.encodeWithSelector(ISlashing.AmountTooLarge.selector, 1, 0));
        accuse(accuser, 1);
        convict(first);
        warpToPhase(second, ISlashing.Phase.Vote);
        for (uint256 i = 1; i < 4; ++i) {
            vote(i, second, true);
        }
        warpToPhase(second, ISlashing.Phase.Decided);
        slashing.resolve(second);
        slashing.resolve(first);
        assertEq(registry.providerOf(provider).stake, 0, "all of it, by two verdicts");
        assertFalse(registry.isEligible(node), "no work without stake");
    }

    function test_Trap_ReleasingTheNodeIsNoWayOut() public {
        vm.prank(provider);
        registry.removeNode(node);
        uint64 id = accuse();
        convict(id);
        slashing.resolve(id);
        assertEq(registry.providerOf(provider).stake, STAKE - AMOUNT, "slashed");
    }

    function test_Trap_AFriendsSmallAccusationShieldsNobody() public {
        mint(stranger, 10e18);
        vm.prank(stranger);
        token.approve(address(slashing), 10e18);
        uint64 shield = accuse(stranger, provider, node, 1);
        uint64 id = accuse();
        assertEq(slashing.openAccusation(provider, node), id, "the larger one counts");
        convict(id);
        slashing.resolve(shield);
        assertEq(slashing.openAccusation(provider, node), id, "still open");
        slashing.resolve(id);
        assertEq(slashing.openAccusation(provider, node), 0, "none");
        assertEq(registry.providerOf(provider).stake, STAKE - AMOUNT, "slashed");
        assertEq(registry.providerOf(provider).locked, 0, "nothing is locked");
    }

    function test_Trap_AnAccusationOfAnotherProviderShieldsNoNode() public {
        registerProvider(keyOf("stranger"), STAKE);
        accuse(accuser, stranger, node, 500e18);
        uint64 id = accuse();
        assertEq(slashing.openAccusation(provider, node), id, "open beside it");
    }
}
