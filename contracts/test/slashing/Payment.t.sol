// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IComputeRegistry} from "../../solidity/interfaces/IComputeRegistry.sol";
import {ISlashing} from "../../solidity/interfaces/ISlashing.sol";
import {IStakeVault} from "../../solidity/interfaces/IStakeVault.sol";
import {CallingToken, LaterFeeToken, RefusingToken, RevertingToken} from "../base/Tokens.sol";
import {Court} from "./Court.sol";

interface IMintable {
    function mint(address to, uint256 amount) external;
}

abstract contract Hostile is Court {
    function provide(address mintable) internal {
        IMintable(mintable).mint(provider, STAKE * 2);
        IMintable(mintable).mint(accuser, 1_000e18);
        for (uint256 i = 0; i < 4; ++i) {
            IMintable(mintable).mint(validator(i), MIN_VALIDATOR_STAKE * 2);
        }
    }
}

contract RefusalTest is Hostile {
    RefusingToken internal refusing;
    uint64 internal id;

    function setUp() public override {
        super.setUp();
        refusing = new RefusingToken();
        provide(address(refusing));
        convene(refusing);
        id = accuse();
    }

    function mannerOf(bool lies) internal pure returns (RefusingToken.Manner) {
        return lies ? RefusingToken.Manner.AnswersFalse : RefusingToken.Manner.Reverts;
    }

    function expectCollected(address to, uint256 amount) internal {
        assertEq(slashing.owedTo(to), amount, "owed");
        assertEq(refusing.balanceOf(address(slashing)), amount, "kept");
        refusing.refuse(to, true, RefusingToken.Manner.Reverts);
        vm.expectRevert(abi.encodeWithSelector(RefusingToken.Refused.selector, to));
        slashing.collect(to);
        assertEq(slashing.owedTo(to), amount, "still owed");
        refusing.refuse(to, false, RefusingToken.Manner.Reverts);
        uint256 before = refusing.balanceOf(to);
        vm.expectEmit(true, true, true, true, address(slashing));
        emit ISlashing.Collected(to, amount);
        vm.prank(stranger);
        assertEq(slashing.collect(to), amount, "collected");
        assertEq(refusing.balanceOf(to), before + amount, "paid");
        vm.expectRevert(abi.encodeWithSelector(ISlashing.NothingOwed.selector, to));
        slashing.collect(to);
        assertEq(refusing.balanceOf(address(slashing)), 0, "vault");
    }

    function testFuzz_Trap_ARefusedAccuserDoesNotHoldUpTheVerdict(bool lies) public {
        convict(id);
        refusing.refuse(accuser, true, mannerOf(lies));
        vm.expectEmit(true, true, true, true, address(slashing));
        emit ISlashing.PaymentOwed(accuser, BOND + FEE, BOND + FEE);
        slashing.resolve(id);
        expectPhase(id, ISlashing.Phase.Guilty);
        assertEq(refusing.balanceOf(fund), AMOUNT - FEE, "the treasury is paid");
        expectCollected(accuser, BOND + FEE);
    }

    function testFuzz_Trap_ARefusedTreasuryDoesNotHoldUpTheVerdict(bool lies) public {
        convict(id);
        refusing.refuse(fund, true, mannerOf(lies));
        slashing.resolve(id);
        assertEq(refusing.balanceOf(accuser), 1_000e18 + FEE, "the accuser is paid");
        expectCollected(fund, AMOUNT - FEE);
    }

    function testFuzz_Trap_ARefusedProviderIsAcquittedAllTheSame(bool lies) public {
        warpToPhase(id, ISlashing.Phase.Decided);
        refusing.refuse(provider, true, mannerOf(lies));
        slashing.resolve(id);
        expectPhase(id, ISlashing.Phase.Acquitted);
        assertEq(registry.providerOf(provider).locked, 0, "free");
        expectCollected(provider, BOND);
    }

    function test_WhatIsOwedAddsUp() public {
        uint64 other = accuse(stranger, AMOUNT / 3);
        refusing.refuse(provider, true, RefusingToken.Manner.Reverts);
        warpToPhase(other, ISlashing.Phase.Decided);
        slashing.resolve(id);
        vm.expectEmit(true, true, true, true, address(slashing));
        emit ISlashing.PaymentOwed(provider, BOND / 3, BOND + BOND / 3);
        slashing.resolve(other);
        expectCollected(provider, BOND + BOND / 3);
    }

    function test_Trap_AVerdictThatTheTokenStopsInFullIsCarriedOutLater() public {
        convict(id);
        refusing.refuse(address(slashing), true, RefusingToken.Manner.Reverts);
        vm.expectRevert(abi.encodeWithSelector(RefusingToken.Refused.selector, address(slashing)));
        slashing.resolve(id);
        expectPhase(id, ISlashing.Phase.Decided);
        assertEq(registry.providerOf(provider).locked, AMOUNT, "still locked");
        refusing.refuse(address(slashing), false, RefusingToken.Manner.Reverts);
        slashing.resolve(id);
        expectPhase(id, ISlashing.Phase.Guilty);
    }
}

contract HostileTokenTest is Hostile {
    function test_Trap_ATokenThatTakesAFeeLaterFailsCleanly() public {
        LaterFeeToken later = new LaterFeeToken();
        provide(address(later));
        convene(later);
        uint64 id = accuse();
        later.turnOn(true);
        vm.expectRevert(abi.encodeWithSelector(IStakeVault.InexactTransfer.selector, 10e18, 9.9e18));
        accuse(stranger, 100e18);
        assertEq(registry.providerOf(provider).locked, AMOUNT, "nothing more is locked");
        convict(id);
        vm.expectRevert(abi.encodeWithSelector(IStakeVault.InexactTransfer.selector, AMOUNT, AMOUNT - AMOUNT / 100));
        slashing.resolve(id);
        assertEq(registry.providerOf(provider).stake, STAKE, "nothing is taken");
        later.turnOn(false);
        slashing.resolve(id);
        assertEq(registry.providerOf(provider).stake, STAKE - AMOUNT, "now");
    }

    function test_Trap_ARevertingTokenFailsCleanlyAndAcquitsAllTheSame() public {
        RevertingToken reverting = new RevertingToken();
        provide(address(reverting));
        convene(reverting);
        uint64 id = accuse();
        reverting.turnOff(true);
        vm.expectRevert(abi.encodeWithSelector(RevertingToken.TransfersAreOff.selector));
        accuse(stranger, 100e18);
        warpToPhase(id, ISlashing.Phase.Decided);
        slashing.resolve(id);
        assertEq(registry.providerOf(provider).locked, 0, "free");
        assertEq(slashing.owedTo(provider), BOND, "owed");
        vm.expectRevert(abi.encodeWithSelector(RevertingToken.TransfersAreOff.selector));
        slashing.collect(provider);
        reverting.turnOff(false);
        slashing.collect(provider);
        assertEq(reverting.balanceOf(provider), STAKE + BOND, "paid");
    }
}

contract ReentrancyTest is Hostile {
    CallingToken internal calling;
    uint64 internal id;

    function setUp() public override {
        super.setUp();
        calling = new CallingToken();
        provide(address(calling));
        convene(calling);
        id = accuse();
    }

    function test_Trap_AReentrantTokenCarriesOutNoVerdictTwice() public {
        convict(id);
        calling.callOnTransfer(address(slashing), abi.encodeCall(slashing.resolve, (id)));
        slashing.resolve(id);
        assertFalse(calling.answered(), "the call from within failed");
        assertEq(registry.providerOf(provider).stake, STAKE - AMOUNT, "slashed once");
        assertEq(calling.balanceOf(accuser), 1_000e18 + FEE, "paid once");
        assertEq(calling.balanceOf(fund), AMOUNT - FEE, "treasury, once");
    }

    function test_Trap_AReentrantTokenAcquitsOnce() public {
        uint64 other = accuse(stranger, 300e18);
        warpToPhase(other, ISlashing.Phase.Decided);
        calling.callOnTransfer(address(slashing), abi.encodeCall(slashing.resolve, (id)));
        slashing.resolve(id);
        assertFalse(calling.answered(), "the call from within failed");
        assertEq(calling.balanceOf(provider), STAKE + BOND, "paid once");
        assertEq(calling.balanceOf(address(slashing)), BOND, "the other bond is there");
    }

    function test_Trap_AReentrantTokenOpensNoSecondAccusationOverANode() public {
        bytes memory call = abi.encodeCall(
            slashing.accuse, (provider, stranger, ISlashing.Offence.ForgedProof, 100e18, EVIDENCE, EVIDENCE_URI)
        );
        calling.callOnTransfer(address(slashing), call);
        accuse(stranger, 100e18);
        assertFalse(calling.answered(), "the call from within failed");
        assertEq(slashing.accusationCount(), 2, "one more");
        assertEq(registry.providerOf(provider).locked, AMOUNT + 100e18, "locked once");
    }

    function test_Trap_AReentrantTokenSlashesAndWithdrawsNothingMore() public {
        vm.prank(provider);
        registry.requestUnstake(STAKE);
        vm.warp(block.timestamp + UNBONDING_DELAY);
        calling.callOnTransfer(address(registry), abi.encodeCall(registry.withdraw, ()));
        vm.prank(provider);
        registry.withdraw();
        assertFalse(calling.answered(), "the call from within failed");
        assertEq(calling.balanceOf(address(registry)), AMOUNT, "what is locked stays");
        IComputeRegistry.Provider memory record = registry.providerOf(provider);
        assertEq(record.unbonding, AMOUNT, "and is on record");
    }
}
