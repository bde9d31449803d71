// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IComputeRegistry} from "../../solidity/interfaces/IComputeRegistry.sol";
import {IStakeVault} from "../../solidity/interfaces/IStakeVault.sol";
import {CallingToken, FalseToken, FeeToken, RevertingToken} from "../base/Tokens.sol";
import {World} from "../base/World.sol";

contract ConstructorTest is World {
    function test_RefusesAZeroToken() public {
        vm.expectRevert(abi.encodeWithSelector(IStakeVault.ZeroAddress.selector, bytes32("token")));
        newRegistry(address(0), 1, 1);
    }

    function testFuzz_RefusesAMinimumStakeOutOfRange(uint256 minimum) public {
        if (minimum <= type(uint128).max) minimum = 0;
        vm.expectRevert(abi.encodeWithSelector(IComputeRegistry.InvalidMinimumStake.selector, minimum));
        newRegistry(address(token), minimum, 1);
    }

    function testFuzz_RefusesADelayOutOfRange(uint256 delay) public {
        if (delay <= 365 days) delay = 0;
        vm.expectRevert(abi.encodeWithSelector(IComputeRegistry.InvalidUnbondingDelay.selector, delay, 365 days));
        newRegistry(address(token), 1, delay);
    }

    function testFuzz_KeepsWhatItWasGiven(uint128 minimum, uint256 delay) public {
        minimum = uint128(bound(minimum, 1, type(uint128).max));
        delay = bound(delay, 1, 365 days);
        registry = newRegistry(address(token), minimum, delay);
        assertEq(registry.minStakePerUnit(), minimum, "minStakePerUnit");
        assertEq(registry.unbondingDelay(), delay, "unbondingDelay");
        assertEq(registry.token(), address(token), "token");
    }
}

contract RegisterProviderTest is World {
    function testFuzz_StakesStraightIntoTheVaultInOneTransaction(uint256 amount) public {
        amount = bound(amount, 1, type(uint128).max);
        mint(provider, amount);
        (uint8 v, bytes32 r, bytes32 s) = signPermit(providerKey, address(registry), amount, block.timestamp);
        vm.expectEmit(true, true, true, true, address(registry));
        emit IComputeRegistry.ProviderRegistered(provider);
        vm.expectEmit(true, true, true, true, address(registry));
        emit IComputeRegistry.Staked(provider, amount, amount);
        vm.prank(provider);
        registry.registerProvider(amount, block.timestamp, v, r, s);

        IComputeRegistry.Provider memory record = registry.providerOf(provider);
        assertEq(record.stake, amount, "stake");
        assertEq(record.registeredAt, block.timestamp, "registeredAt");
        assertEq(record.units, 0, "units");
        assertEq(token.balanceOf(address(registry)), amount, "vault");
        assertEq(token.allowance(provider, address(registry)), 0, "no allowance is left behind");
    }

    function testFuzz_ToleratesAPermitThatSomebodyElseSubmittedFirst(uint256 amount) public {
        amount = bound(amount, 1, type(uint128).max);
        mint(provider, amount);
        (uint8 v, bytes32 r, bytes32 s) = signPermit(providerKey, address(registry), amount, block.timestamp);
        vm.prank(stranger);
        token.permit(provider, address(registry), amount, block.timestamp, v, r, s);
        vm.prank(provider);
        registry.registerProvider(amount, block.timestamp, v, r, s);
        assertEq(registry.providerOf(provider).stake, amount, "stake");
    }

    function test_AnAllowanceIsAsGoodAsAPermit() public {
        mint(provider, 5e18);
        vm.prank(provider);
        token.approve(address(registry), 5e18);
        vm.prank(provider);
        registry.registerProvider(5e18, 0, 0, 0, 0);
        assertEq(registry.providerOf(provider).stake, 5e18, "stake");
    }

    function testFuzz_RefusesAPermitOfAnotherAmountOrSigner(uint256 amount, uint256 permitted) public {
        amount = bound(amount, 2, type(uint128).max);
        permitted = bound(permitted, 1, amount - 1);
        mint(provider, amount);
        (uint8 v, bytes32 r, bytes32 s) = signPermit(providerKey, address(registry), permitted, block.timestamp);
        vm.expectRevert(abi.encodeWithSelector(IStakeVault.InsufficientAllowance.selector, provider, 0, amount));
        vm.prank(provider);
        registry.registerProvider(amount, block.timestamp, v, r, s);

        mint(stranger, amount);
        (v, r, s) = signPermit(providerKey, address(registry), amount, block.timestamp);
        vm.expectRevert(abi.encodeWithSelector(IStakeVault.InsufficientAllowance.selector, stranger, 0, amount));
        vm.prank(stranger);
        registry.registerProvider(amount, block.timestamp, v, r, s);
    }

    function test_RefusesNothingAndASecondTime() public {
        vm.expectRevert(abi.encodeWithSelector(IStakeVault.ZeroAmount.selector));
        vm.prank(provider);
        registry.registerProvider(0, 0, 0, 0, 0);
        registerProvider(providerKey, 1e18);
        vm.expectRevert(abi.encodeWithSelector(IComputeRegistry.ProviderAlreadyRegistered.selector, provider));
        vm.prank(provider);
        registry.registerProvider(1e18, 0, 0, 0, 0);
    }

    function test_RefusesMoreThanTheRecordHolds() public {
        vm.expectPartialRevert(bytes4(keccak256("SafeCastOverflowedUintDowncast(uint8,uint256)")));
        vm.prank(provider);
        registry.registerProvider(2 ** 128, 0, 0, 0, 0);
    }
}

contract StakeTest is World {
    function testFuzz_AddsToTheStake(uint256 first, uint256 second) public {
        first = bound(first, 1, 2 ** 127);
        second = bound(second, 1, 2 ** 127 - 1);
        registerProvider(providerKey, first);
        mint(provider, second);
        vm.startPrank(provider);
        token.approve(address(registry), second);
        vm.expectEmit(true, true, true, true, address(registry));
        emit IComputeRegistry.Staked(provider, second, first + second);
        registry.stake(second);
        vm.stopPrank();
        assertEq(registry.providerOf(provider).stake, first + second, "stake");
        assertEq(token.balanceOf(address(registry)), first + second, "vault");
    }

    function test_RefusesNothingStrangersAndMissingAllowance() public {
        vm.expectRevert(abi.encodeWithSelector(IComputeRegistry.ProviderNotRegistered.selector, stranger));
        vm.prank(stranger);
        registry.stake(1);
        registerProvider(providerKey, 1);
        vm.expectRevert(abi.encodeWithSelector(IStakeVault.ZeroAmount.selector));
        vm.prank(provider);
        registry.stake(0);
        vm.expectPartialRevert(bytes4(keccak256("ERC20InsufficientAllowance(address,uint256,uint256)")));
        vm.prank(provider);
        registry.stake(1);
    }
}

contract RequestUnstakeTest is World {
    function testFuzz_KeepsWhatTheUnitsNeed(uint32 units, uint256 spare, uint256 amount) public {
        units = uint32(bound(units, 1, type(uint32).max));
        spare = bound(spare, 0, 1e36);
        uint256 required = MIN_STAKE_PER_UNIT * units;
        registerProvider(providerKey, required + spare);
        addNode(providerKey, nodeKey, units);
        amount = bound(amount, 1, required + spare);
        if (amount > spare) {
            vm.expectRevert(
                abi.encodeWithSelector(
                    IComputeRegistry.InsufficientStake.selector, provider, required + spare - amount, required
                )
            );
            vm.prank(provider);
            registry.requestUnstake(amount);
            return;
        }
        vm.expectEmit(true, true, true, true, address(registry));
        emit IComputeRegistry.UnstakeRequested(provider, amount, amount, block.timestamp + UNBONDING_DELAY);
        vm.prank(provider);
        registry.requestUnstake(amount);
        IComputeRegistry.Provider memory record = registry.providerOf(provider);
        assertEq(record.stake, required + spare - amount, "stake");
        assertEq(record.unbonding, amount, "unbonding");
        assertTrue(registry.isEligible(node), "still eligible");
    }

    function testFuzz_AFurtherRequestRestartsTheDelayOfAll(uint256 later) public {
        later = bound(later, 1, UNBONDING_DELAY);
        registerProvider(providerKey, 10e18);
        vm.prank(provider);
        registry.requestUnstake(4e18);
        vm.warp(START + later);
        vm.prank(provider);
        registry.requestUnstake(6e18);
        IComputeRegistry.Provider memory record = registry.providerOf(provider);
        assertEq(record.unbonding, 10e18, "all of it");
        assertEq(record.releaseAt, START + later + UNBONDING_DELAY, "the later delay");
    }

    function test_RefusesMoreThanStaked() public {
        registerProvider(providerKey, 10);
        vm.expectRevert(abi.encodeWithSelector(IComputeRegistry.InsufficientStake.selector, provider, 0, 0));
        vm.prank(provider);
        registry.requestUnstake(11);
        vm.expectRevert(abi.encodeWithSelector(IStakeVault.ZeroAmount.selector));
        vm.prank(provider);
        registry.requestUnstake(0);
        vm.expectRevert(abi.encodeWithSelector(IComputeRegistry.ProviderNotRegistered.selector, stranger));
        vm.prank(stranger);
        registry.requestUnstake(1);
    }
}

contract WithdrawTest is World {
    function testFuzz_PaysOnceTheDelayIsOver(uint256 amount, uint256 early) public {
        amount = bound(amount, 1, type(uint128).max);
        early = bound(early, 1, UNBONDING_DELAY);
        registerProvider(providerKey, amount);
        vm.startPrank(provider);
        registry.requestUnstake(amount);
        uint256 releaseAt = START + UNBONDING_DELAY;
        vm.warp(releaseAt - early);
        vm.expectRevert(abi.encodeWithSelector(IComputeRegistry.StillUnbonding.selector, releaseAt));
        registry.withdraw();
        vm.warp(releaseAt);
        vm.expectEmit(true, true, true, true, address(registry));
        emit IComputeRegistry.Withdrawn(provider, amount);
        assertEq(registry.withdraw(), amount, "paid");
        assertEq(token.balanceOf(provider), amount, "balance");
        vm.expectRevert(abi.encodeWithSelector(IComputeRegistry.NothingUnbonding.selector, provider));
        registry.withdraw();
        vm.stopPrank();
    }

    function test_Trap_AReentrantTokenCannotWithdrawTwice() public {
        CallingToken calling = new CallingToken();
        registry = newRegistry(address(calling), 1, UNBONDING_DELAY);
        calling.mint(provider, 10);
        calling.mint(address(registry), 10); // somebody else's
        vm.startPrank(provider);
        calling.approve(address(registry), 10);
        registry.registerProvider(10, 0, 0, 0, 0);
        registry.requestUnstake(10);
        vm.stopPrank();
        vm.warp(START + UNBONDING_DELAY);
        calling.callOnTransfer(address(registry), abi.encodeCall(registry.withdraw, ()));
        vm.prank(provider);
        registry.withdraw();
        assertFalse(calling.answered(), "the call from within failed");
        assertEq(calling.balanceOf(provider), 10, "paid once");
        assertEq(calling.balanceOf(address(registry)), 10, "the rest stayed");
    }
}

contract TokenTrapTest is World {
    function test_Trap_AFeeOnTransferTokenFailsCleanly() public {
        FeeToken fee = new FeeToken();
        registry = newRegistry(address(fee), 1, UNBONDING_DELAY);
        fee.mint(provider, 1000);
        vm.startPrank(provider);
        fee.approve(address(registry), 1000);
        vm.expectRevert(abi.encodeWithSelector(IStakeVault.InexactTransfer.selector, 1000, 990));
        registry.registerProvider(1000, 0, 0, 0, 0);
        vm.stopPrank();
        assertEq(registry.providerOf(provider).registeredAt, 0, "nothing recorded");
        assertEq(fee.balanceOf(provider), 1000, "nothing moved");
    }

    function test_Trap_ARevertingTokenFailsCleanlyAndLosesNothing() public {
        RevertingToken reverting = new RevertingToken();
        registry = newRegistry(address(reverting), 1, UNBONDING_DELAY);
        reverting.mint(provider, 1000);
        vm.startPrank(provider);
        reverting.approve(address(registry), 1000);
        registry.registerProvider(600, 0, 0, 0, 0);
        registry.requestUnstake(600);
        reverting.turnOff(true);
        vm.expectRevert(abi.encodeWithSelector(RevertingToken.TransfersAreOff.selector));
        registry.stake(400);
        vm.warp(START + UNBONDING_DELAY);
        vm.expectRevert(abi.encodeWithSelector(RevertingToken.TransfersAreOff.selector));
        registry.withdraw();
        assertEq(registry.providerOf(provider).unbonding, 600, "still owed");
        reverting.turnOff(false);
        registry.withdraw();
        vm.stopPrank();
        assertEq(reverting.balanceOf(provider), 1000, "all back");
    }

    function test_Trap_ATokenThatAnswersFalseFailsCleanly() public {
        FalseToken liar = new FalseToken();
        registry = newRegistry(address(liar), 1, UNBONDING_DELAY);
        vm.startPrank(provider);
        liar.approve(address(registry), 1000);
        vm.expectRevert(abi.encodeWithSignature("SafeERC20FailedOperation(address)", address(liar)));
        registry.registerProvider(1000, 0, 0, 0, 0);
        vm.stopPrank();
    }
}
