// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IComputeRegistry} from "../../solidity/interfaces/IComputeRegistry.sol";
import {ISlashing} from "../../solidity/interfaces/ISlashing.sol";
import {Court} from "./Court.sol";

contract ResolveTest is Court {
    uint64 internal id;

    function setUp() public override {
        super.setUp();
        id = accuse();
    }

    function expectAcquitted() internal {
        vm.expectEmit(true, true, true, true, address(slashing));
        emit ISlashing.Acquitted(id, provider, BOND);
        vm.prank(stranger);
        slashing.resolve(id);
        expectPhase(id, ISlashing.Phase.Acquitted);
        IComputeRegistry.Provider memory record = registry.providerOf(provider);
        assertEq(record.stake, STAKE, "the stake is whole");
        assertEq(record.locked, 0, "and free");
        assertEq(token.balanceOf(provider), BOND, "the accused gets the bond");
        assertEq(token.balanceOf(address(slashing)), 0, "vault");
        assertEq(slashing.openAccusation(provider, node), 0, "none is open");
    }

    function testFuzz_OnceTheVotePhaseIsOver(uint256 second) public {
        second = bound(second, 0, 10 days);
        vm.warp(block.timestamp + second);
        if (second < 3 days) vm.expectRevert(wrongPhase(id, phaseOf(id)));
        slashing.resolve(id);
        expectPhase(
            id,
            second < 1 days
                ? ISlashing.Phase.Evidence
                : second < 2 days
                    ? ISlashing.Phase.Answer
                    : second < 3 days ? ISlashing.Phase.Vote : ISlashing.Phase.Acquitted
        );
    }

    function test_AGuiltyProviderPaysTheTreasuryAndACappedFee() public {
        convict(id);
        expectPhase(id, ISlashing.Phase.Decided);
        uint256 before = token.balanceOf(accuser);
        vm.expectEmit(true, true, true, true, address(slashing));
        emit ISlashing.FoundGuilty(id, provider, AMOUNT, FEE, AMOUNT - FEE);
        vm.expectEmit(true, true, true, true, address(registry));
        emit IComputeRegistry.StakeUnlocked(provider, AMOUNT, 0);
        vm.expectEmit(true, true, true, true, address(registry));
        emit IComputeRegistry.Slashed(provider, AMOUNT, STAKE - AMOUNT, 0);
        vm.prank(stranger);
        slashing.resolve(id);
        expectPhase(id, ISlashing.Phase.Guilty);
        IComputeRegistry.Provider memory record = registry.providerOf(provider);
        assertEq(record.stake, STAKE - AMOUNT, "stake");
        assertEq(record.locked, 0, "locked");
        assertEq(token.balanceOf(accuser), before + BOND + FEE, "bond and fee");
        assertEq(token.balanceOf(fund), AMOUNT - FEE, "treasury");
        assertEq(token.balanceOf(stranger), 0, "who carries it out gets nothing");
        assertEq(token.balanceOf(address(slashing)), 0, "vault");
        assertEq(slashing.openAccusation(provider, node), 0, "none is open");
    }

    function testFuzz_Trap_ASlashNeverPaysItsCallerInFull(uint128 amount, uint16 feeBasisPoints, uint128 maxFee)
        public
    {
        ISlashing.Terms memory terms = slashingTerms();
        terms.feeBasisPoints = feeBasisPoints;
        terms.maxFee = maxFee;
        registry = newRegistry(address(token), MIN_STAKE_PER_UNIT, UNBONDING_DELAY);
        if (feeBasisPoints > 1_000) {
            vm.expectRevert(
                abi.encodeWithSelector(ISlashing.InvalidParameter.selector, bytes32("feeBasisPoints"), feeBasisPoints)
            );
        }
        slashing = newSlashing(address(token), address(registry), address(validators), terms);
        if (feeBasisPoints > 1_000) return;
        registry.setSlasher(address(slashing));
        registerProvider(providerKey, STAKE);
        vm.prank(accuser);
        token.approve(address(slashing), type(uint256).max);
        amount = uint128(bound(amount, 1, STAKE / 2));
        uint256 before = token.balanceOf(accuser);
        id = accuse(node, amount);
        convict(id);
        vm.prank(accuser);
        slashing.resolve(id);
        uint256 gained = token.balanceOf(accuser) - before;
        assertTrue(gained <= uint256(amount) / 10 && gained <= maxFee, "a tenth at most");
        assertEq(token.balanceOf(fund), amount - gained, "the treasury gets the rest");
    }

    function test_Trap_TheTreasuryAccusesNobody() public {
        vm.expectRevert(abi.encodeWithSelector(ISlashing.TreasuryCannotAccuse.selector, fund));
        accuse(fund, provider, stranger, 1);
    }

    function test_Trap_SilenceAcquits() public {
        warpToPhase(id, ISlashing.Phase.Decided);
        expectAcquitted();
    }

    function test_Trap_NoQuorumAcquits() public {
        warpToPhase(id, ISlashing.Phase.Vote);
        vote(0, id, true);
        vote(1, id, true);
        warpToPhase(id, ISlashing.Phase.Decided);
        expectAcquitted();
    }

    function test_AnAccusersOwnWeightIsNoVoteForInnocent() public {
        uint64 own = accuseAs(0);
        warpToPhase(own, ISlashing.Phase.Vote);
        vote(1, own, true);
        vote(2, own, true);
        vote(3, own, true);
        warpToPhase(own, ISlashing.Phase.Decided);
        slashing.resolve(own);
        expectPhase(own, ISlashing.Phase.Guilty);
    }

    function test_Trap_AnAccuserNeedsMoreThanTwoThirdsOfTheOthers() public {
        uint64 own = accuseAs(0);
        warpToPhase(own, ISlashing.Phase.Vote);
        vote(1, own, true);
        vote(2, own, true);
        warpToPhase(own, ISlashing.Phase.Decided);
        slashing.resolve(own);
        expectPhase(own, ISlashing.Phase.Acquitted);
    }

    function test_Trap_ASoleValidatorCannotConvictWhomItAccuses() public {
        for (uint256 i = 1; i < 4; ++i) {
            vm.prank(validator(i));
            validators.requestExit();
        }
        warpToCommit(epochNow() + 1);
        uint64 own = accuseAs(0);
        warpToPhase(own, ISlashing.Phase.Decided);
        slashing.resolve(own);
        expectPhase(own, ISlashing.Phase.Acquitted);
    }

    function test_ProvenInnocenceAcquits() public {
        warpToPhase(id, ISlashing.Phase.Vote);
        for (uint256 i = 0; i < 4; ++i) {
            vote(i, id, false);
        }
        warpToPhase(id, ISlashing.Phase.Decided);
        expectAcquitted();
    }

    function test_NoWeightAtAllAcquits() public {
        validators = newValidators(MIN_VALIDATOR_STAKE, EPOCH_SECONDS, EXIT_DELAY, MAX_VALIDITY_EPOCHS);
        registry = newRegistry(address(token), MIN_STAKE_PER_UNIT, UNBONDING_DELAY);
        slashing = newSlashing(address(token), address(registry), address(validators), slashingTerms());
        registry.setSlasher(address(slashing));
        registerProvider(providerKey, STAKE);
        vm.prank(accuser);
        token.approve(address(slashing), type(uint256).max);
        id = accuse();
        warpToPhase(id, ISlashing.Phase.Decided);
        expectAcquitted();
    }

    function testFuzz_GuiltyByMoreThanTwoThirdsOfAllWeight(uint256[4] memory stakes, uint8 guilty, uint8 voting)
        public
    {
        // Four newcomers beside the four that are there; those that do not vote count all the same.
        uint256 all = 4 * MIN_VALIDATOR_STAKE;
        uint256 weight;
        for (uint256 i = 0; i < 4; ++i) {
            stakes[i] = bound(stakes[i], MIN_VALIDATOR_STAKE, MIN_VALIDATOR_STAKE * 20);
            register(10 + i, stakes[i]);
            all += stakes[i];
            if (guilty >> i & 1 == 1 && voting >> i & 1 == 1) weight += stakes[i];
        }
        warpToCommit(epochNow() + 1);
        id = accuse(stranger, 100e18);
        warpToPhase(id, ISlashing.Phase.Vote);
        for (uint256 i = 0; i < 4; ++i) {
            if (voting >> i & 1 == 1) vote(10 + i, id, guilty >> i & 1 == 1);
        }
        warpToPhase(id, ISlashing.Phase.Decided);
        slashing.resolve(id);
        expectPhase(id, weight * 3 > all * 2 ? ISlashing.Phase.Guilty : ISlashing.Phase.Acquitted);
    }

    function test_Trap_AVerdictIsCarriedOutOnce() public {
        convict(id);
        slashing.resolve(id);
        vm.expectRevert(wrongPhase(id, ISlashing.Phase.Guilty));
        slashing.resolve(id);
        uint64 next = accuse();
        warpToPhase(next, ISlashing.Phase.Decided);
        slashing.resolve(next);
        vm.expectRevert(wrongPhase(next, ISlashing.Phase.Acquitted));
        slashing.resolve(next);
    }

    function test_NothingHappensAfterTheVerdict() public {
        convict(id);
        slashing.resolve(id);
        vm.expectRevert(wrongPhase(id, ISlashing.Phase.Guilty));
        vote(3, id, true);
        vm.expectRevert(wrongPhase(id, ISlashing.Phase.Guilty));
        vm.prank(provider);
        slashing.answer(id, ANSWER, ANSWER_URI);
    }

    function test_AnAcquittedNodeCanBeAccusedAnew() public {
        warpToPhase(id, ISlashing.Phase.Decided);
        slashing.resolve(id);
        uint64 next = accuse();
        assertEq(slashing.openAccusation(provider, node), next, "open");
    }

    function test_Trap_UnstakingBeforeTheAccusationIsNoWayOut() public {
        slashing.accusationOf(id);
        warpToPhase(id, ISlashing.Phase.Decided);
        slashing.resolve(id);
        vm.prank(provider);
        registry.removeNode(node);
        vm.prank(provider);
        registry.requestUnstake(STAKE);
        vm.warp(block.timestamp + UNBONDING_DELAY);
        id = accuse(node, 500e18);
        vm.prank(provider);
        assertEq(registry.withdraw(), STAKE - 500e18, "all but what is locked");
        vm.expectRevert(abi.encodeWithSelector(IComputeRegistry.StakeIsLocked.selector, provider, 500e18, 0));
        vm.prank(provider);
        registry.withdraw();
        convict(id);
        slashing.resolve(id);
        assertEq(registry.providerOf(provider).unbonding, 0, "slashed from what unbonds");
        vm.expectRevert(abi.encodeWithSelector(IComputeRegistry.NothingUnbonding.selector, provider));
        vm.prank(provider);
        registry.withdraw();
    }

    function test_AnAcquittedProviderWithdrawsWhatWasLocked() public {
        vm.startPrank(provider);
        registry.removeNode(node);
        registry.requestUnstake(STAKE);
        vm.stopPrank();
        warpToPhase(id, ISlashing.Phase.Decided);
        slashing.resolve(id);
        vm.warp(block.timestamp + UNBONDING_DELAY);
        vm.prank(provider);
        assertEq(registry.withdraw(), STAKE, "all of it");
    }

    function testFuzz_Trap_WhatAVerdictCostsDoesNotDependOnHowManyOthersThereAre(uint8 others) public {
        others = uint8(bound(others, 1, 20));
        for (uint256 i = 0; i < others; ++i) {
            accuse(vm.addr(i + 1), 10e18);
        }
        warpToPhase(id, ISlashing.Phase.Decided);
        uint256 gas = gasleft();
        slashing.resolve(id);
        assertTrue(gas - gasleft() < 100_000, "bounded");
    }
}

/// @dev Timing is ValidatorSet's business: it un-proves a node and reaches no stake.
contract TimingTest is Court {
    function test_Trap_BeingSlowIsNoOffence() public {
        bytes memory call = abi.encodeCall(
            slashing.accuse, (provider, node, ISlashing.Offence.ForeignHardware, AMOUNT, EVIDENCE, EVIDENCE_URI)
        );
        // The offence is the third argument; the one past the last offence is none.
        call[4 + 2 * 32 + 31] = bytes1(uint8(ISlashing.Offence.ForeignHardware) + 1);
        vm.prank(accuser);
        (bool done,) = address(slashing).call(call);
        assertFalse(done, "there is no offence of being slow");
    }

    function test_Trap_AFailedLeafUnprovesAndSlashesNothing() public {
        uint64 epoch = epochNow() + 1;
        warpToCommit(epoch);
        for (uint256 i = 0; i < 3; ++i) {
            commit(i, epoch, keccak256("a root of failures"));
        }
        warpToReveal(epoch);
        for (uint256 i = 0; i < 3; ++i) {
            reveal(i, epoch, keccak256("a root of failures"));
        }
        assertTrue(validators.rootOf(epoch) != 0, "agreed");
        assertEq(registry.providerOf(provider).stake, STAKE, "stake");
        assertEq(registry.providerOf(provider).locked, 0, "locked");
        vm.expectRevert(abi.encodeWithSelector(IComputeRegistry.NotSlasher.selector, address(validators)));
        vm.prank(address(validators));
        registry.lockStake(provider, 1);
    }
}
