// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IComputeRegistry} from "../../solidity/interfaces/IComputeRegistry.sol";
import {IStakeVault} from "../../solidity/interfaces/IStakeVault.sol";
import {World} from "../base/World.sol";

/// @dev A registry whose slasher is an account, and a provider with stake that does no work yet.
abstract contract Locked is World {
    uint256 internal constant STAKE = MIN_STAKE_PER_UNIT * 10;
    address internal slasher = vm.addr(keyOf("slasher"));

    function setUp() public virtual override {
        super.setUp();
        registry = newRegistry(address(token), MIN_STAKE_PER_UNIT, UNBONDING_DELAY);
        registry.setSlasher(slasher);
        registerProvider(providerKey, STAKE);
    }

    function lock(uint128 amount) internal {
        vm.prank(slasher);
        registry.lockStake(provider, amount);
    }

    function unstake(uint256 amount) internal {
        vm.prank(provider);
        registry.requestUnstake(amount);
    }

    function locked() internal view returns (uint256) {
        return registry.providerOf(provider).locked;
    }
}

contract SetSlasherTest is World {
    function test_TheDeployerNamesItOnceAndForGood() public {
        registry = newRegistry(address(token), MIN_STAKE_PER_UNIT, UNBONDING_DELAY);
        assertEq(registry.slasher(), address(0), "nobody yet");
        vm.expectRevert(abi.encodeWithSelector(IStakeVault.ZeroAddress.selector, bytes32("slasher")));
        registry.setSlasher(address(0));
        vm.expectEmit(true, true, true, true, address(registry));
        emit IComputeRegistry.SlasherSet(stranger);
        registry.setSlasher(stranger);
        assertEq(registry.slasher(), stranger, "named");
        vm.expectRevert(abi.encodeWithSelector(IComputeRegistry.SlasherAlreadySet.selector, stranger));
        registry.setSlasher(provider);
        vm.expectRevert(abi.encodeWithSelector(IComputeRegistry.SlasherAlreadySet.selector, stranger));
        registry.setSlasher(stranger);
    }

    function testFuzz_NobodyElse(address caller) public {
        vm.assume(caller != address(this));
        registry = newRegistry(address(token), MIN_STAKE_PER_UNIT, UNBONDING_DELAY);
        vm.expectRevert(abi.encodeWithSelector(IComputeRegistry.NotDeployer.selector, caller));
        vm.prank(caller);
        registry.setSlasher(caller);
    }

    function testFuzz_Trap_NobodyButTheSlasherTouchesStake(address caller) public {
        vm.assume(caller != address(slashing));
        registerProvider(providerKey, 10);
        bytes memory refusal = abi.encodeWithSelector(IComputeRegistry.NotSlasher.selector, caller);
        vm.startPrank(caller);
        vm.expectRevert(refusal);
        registry.lockStake(provider, 1);
        vm.expectRevert(refusal);
        registry.unlockStake(provider, 1);
        vm.expectRevert(refusal);
        registry.slash(provider, 1, caller);
        vm.stopPrank();
    }

    function test_WithoutASlasherNobodySlashes() public {
        registry = newRegistry(address(token), MIN_STAKE_PER_UNIT, UNBONDING_DELAY);
        registerProvider(providerKey, 10);
        vm.expectRevert(abi.encodeWithSelector(IComputeRegistry.NotSlasher.selector, address(this)));
        registry.lockStake(provider, 1);
    }
}

contract LockStakeTest is Locked {
    function testFuzz_HoldsAtMostStakeAndUnbonding(uint256 leaving, uint128 first, uint128 second) public {
        leaving = bound(leaving, 1, STAKE);
        unstake(leaving);
        first = uint128(bound(first, 1, STAKE));
        vm.expectEmit(true, true, true, true, address(registry));
        emit IComputeRegistry.StakeLocked(provider, first, first);
        lock(first);
        uint256 left = STAKE - first;
        second = uint128(bound(second, 1, type(uint128).max));
        if (second > left) {
            vm.expectRevert(abi.encodeWithSelector(IComputeRegistry.StakeIsLocked.selector, provider, first, left));
        } else {
            vm.expectEmit(true, true, true, true, address(registry));
            emit IComputeRegistry.StakeLocked(provider, second, first + second);
        }
        lock(second);
        assertEq(locked(), second > left ? first : first + second, "locked");
        IComputeRegistry.Provider memory record = registry.providerOf(provider);
        assertEq(record.stake, STAKE - leaving, "the stake is where it was");
        assertEq(record.unbonding, leaving, "what unbonds too");
    }

    function test_RefusesNothing() public {
        vm.expectRevert(abi.encodeWithSelector(IStakeVault.ZeroAmount.selector));
        lock(0);
    }

    function test_LockedStakeStillCoversUnits() public {
        lock(uint128(STAKE));
        addNode(providerKey, nodeKey, 10);
        assertTrue(registry.isEligible(node), "the provider works until it is judged");
    }
}

contract UnlockStakeTest is Locked {
    function testFuzz_LetsGoWhatWasHeld(uint128 held, uint128 amount) public {
        held = uint128(bound(held, 1, STAKE));
        lock(held);
        amount = uint128(bound(amount, 0, held));
        vm.expectEmit(true, true, true, true, address(registry));
        emit IComputeRegistry.StakeUnlocked(provider, amount, held - amount);
        vm.prank(slasher);
        registry.unlockStake(provider, amount);
        assertEq(locked(), held - amount, "locked");
    }

    function testFuzz_NoMoreThanIsHeld(uint128 held, uint128 amount) public {
        held = uint128(bound(held, 1, STAKE));
        amount = uint128(bound(amount, uint256(held) + 1, type(uint128).max));
        lock(held);
        vm.expectRevert(abi.encodeWithSignature("Panic(uint256)", 0x11));
        vm.prank(slasher);
        registry.unlockStake(provider, amount);
        vm.expectRevert(abi.encodeWithSignature("Panic(uint256)", 0x11));
        vm.prank(slasher);
        registry.slash(provider, amount, fund);
    }
}

contract SlashTest is Locked {
    function testFuzz_TakesStakeFirstAndThenWhatUnbonds(uint256 leaving, uint128 held, uint128 amount) public {
        leaving = bound(leaving, 1, STAKE);
        unstake(leaving);
        held = uint128(bound(held, 1, STAKE));
        amount = uint128(bound(amount, 1, held));
        lock(held);
        uint256 staked = STAKE - leaving;
        uint256 stakeAfter = amount > staked ? 0 : staked - amount;
        uint256 unbondingAfter = amount > staked ? leaving - (amount - staked) : leaving;
        vm.expectEmit(true, true, true, true, address(registry));
        emit IComputeRegistry.StakeUnlocked(provider, amount, held - amount);
        vm.expectEmit(true, true, true, true, address(registry));
        emit IComputeRegistry.Slashed(provider, amount, stakeAfter, unbondingAfter);
        vm.prank(slasher);
        registry.slash(provider, amount, fund);
        IComputeRegistry.Provider memory record = registry.providerOf(provider);
        assertEq(record.stake, stakeAfter, "stake");
        assertEq(record.unbonding, unbondingAfter, "unbonding");
        assertEq(record.releaseAt, unbondingAfter == 0 ? 0 : START + UNBONDING_DELAY, "releaseAt");
        assertEq(record.locked, held - amount, "locked");
        assertEq(token.balanceOf(fund), amount, "recipient");
        assertEq(token.balanceOf(address(registry)), STAKE - amount, "vault");
    }

    function test_WhatTheStakeLacksComesFromWhatUnbonds() public {
        unstake(STAKE * 6 / 10);
        lock(uint128(STAKE));
        vm.prank(slasher);
        registry.slash(provider, uint128(STAKE * 7 / 10), fund);
        IComputeRegistry.Provider memory record = registry.providerOf(provider);
        assertEq(record.stake, 0, "stake");
        assertEq(record.unbonding, STAKE * 3 / 10, "unbonding");
        assertEq(record.releaseAt, START + UNBONDING_DELAY, "no new delay");
    }

    function test_RefusesNobodyAsRecipient() public {
        lock(1);
        vm.expectRevert(abi.encodeWithSelector(IStakeVault.ZeroAddress.selector, bytes32("recipient")));
        vm.prank(slasher);
        registry.slash(provider, 1, address(0));
    }

    function testFuzz_AProviderBelowItsMinimumIsNotEligibleUntilItStakesAnew(uint128 amount) public {
        amount = uint128(bound(amount, 1, STAKE));
        addNode(providerKey, nodeKey, 10);
        lock(amount);
        vm.prank(slasher);
        registry.slash(provider, amount, fund);
        assertFalse(registry.isEligible(node), "not covered");
        vm.expectRevert(
            abi.encodeWithSelector(
                IComputeRegistry.InsufficientStake.selector,
                provider,
                STAKE - amount > 1 ? STAKE - amount - 1 : 0,
                STAKE
            )
        );
        unstake(1);
        mint(provider, amount);
        vm.startPrank(provider);
        token.approve(address(registry), amount);
        registry.stake(amount);
        vm.stopPrank();
        assertTrue(registry.isEligible(node), "covered");
    }
}

contract LockedWithdrawTest is Locked {
    function testFuzz_PaysWhatIsNotLockedAndKeepsTheRest(uint256 leaving, uint128 held) public {
        leaving = bound(leaving, 1, STAKE);
        held = uint128(bound(held, 1, STAKE));
        unstake(leaving);
        vm.warp(START + UNBONDING_DELAY);
        lock(held);
        uint256 available = STAKE - held;
        if (available == 0) {
            vm.expectRevert(abi.encodeWithSelector(IComputeRegistry.StakeIsLocked.selector, provider, held, 0));
            vm.prank(provider);
            registry.withdraw();
            return;
        }
        uint256 expected = available < leaving ? available : leaving;
        vm.expectEmit(true, true, true, true, address(registry));
        emit IComputeRegistry.Withdrawn(provider, expected);
        vm.prank(provider);
        assertEq(registry.withdraw(), expected, "paid");
        IComputeRegistry.Provider memory record = registry.providerOf(provider);
        assertEq(record.unbonding, leaving - expected, "the rest");
        assertEq(record.releaseAt, expected == leaving ? 0 : START + UNBONDING_DELAY, "no new delay");
        assertTrue(uint256(record.stake) + record.unbonding >= held, "what is locked is there");
        if (expected == leaving) return;
        vm.prank(slasher);
        registry.unlockStake(provider, held);
        vm.prank(provider);
        assertEq(registry.withdraw(), leaving - expected, "once it is let go");
    }

    function test_Trap_ALockThatComesBeforeTheWithdrawalHoldsIt() public {
        unstake(STAKE);
        vm.warp(START + UNBONDING_DELAY);
        lock(uint128(STAKE));
        vm.expectRevert(abi.encodeWithSelector(IComputeRegistry.StakeIsLocked.selector, provider, STAKE, 0));
        vm.prank(provider);
        registry.withdraw();
    }

    function test_Trap_UnstakingAfterTheLockIsNoWayOut() public {
        lock(uint128(STAKE));
        unstake(STAKE);
        vm.warp(START + UNBONDING_DELAY);
        vm.expectRevert(abi.encodeWithSelector(IComputeRegistry.StakeIsLocked.selector, provider, STAKE, 0));
        vm.prank(provider);
        registry.withdraw();
        vm.prank(slasher);
        registry.slash(provider, uint128(STAKE), fund);
        assertEq(token.balanceOf(fund), STAKE, "all of it");
    }

    function test_Trap_StakeThatIsAddedIsNotHeldForAnOldAccusation() public {
        lock(uint128(STAKE));
        mint(provider, 5);
        vm.startPrank(provider);
        token.approve(address(registry), 5);
        registry.stake(5);
        registry.requestUnstake(STAKE + 5);
        vm.warp(START + UNBONDING_DELAY);
        assertEq(registry.withdraw(), 5, "what is not locked");
        vm.stopPrank();
    }
}

contract NodesOfTest is World {
    function testFuzz_Trap_ALensSkipsNothingAndKeepsTheOrder(uint256 removed) public {
        removed = bound(removed, 0, 4);
        registerProvider(providerKey, MIN_STAKE_PER_UNIT * 20);
        address[] memory asked = new address[](5);
        for (uint256 i = 0; i < 5; ++i) {
            addNode(providerKey, keyOf(vm.toString(i)), uint32(i + 1) % 3 + 1);
            asked[i] = vm.addr(keyOf(vm.toString(i)));
        }
        vm.prank(provider);
        registry.removeNode(asked[removed]);
        IComputeRegistry.Node[] memory found = registry.nodesOf(asked);
        assertEq(found.length, 5, "one each");
        for (uint256 i = 0; i < 5; ++i) {
            assertEq(
                keccak256(abi.encode(found[i])), keccak256(abi.encode(registry.nodeOf(asked[i]))), "as asked one by one"
            );
            assertEq(found[i].provider, i == removed ? address(0) : provider, "provider");
        }
    }
}
