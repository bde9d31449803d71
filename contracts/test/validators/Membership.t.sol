// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IComputeRegistry} from "../../solidity/interfaces/IComputeRegistry.sol";
import {IStakeVault} from "../../solidity/interfaces/IStakeVault.sol";
import {IValidatorSet} from "../../solidity/interfaces/IValidatorSet.sol";
import {Assembly} from "./Assembly.sol";

contract ConstructorTest is Assembly {
    function refusedParameters(bytes32 name, uint256 given, uint256[4] memory values) internal {
        vm.expectRevert(abi.encodeWithSelector(IValidatorSet.InvalidParameter.selector, name, given));
        newValidators(values[0], values[1], values[2], values[3]);
    }

    function testFuzz_RefusesParametersOutOfRange(uint256 which) public {
        which %= 7;
        if (which == 0) refusedParameters("minStake", 0, [uint256(0), 10, 20, 1]);
        if (which == 1) refusedParameters("minStake", 2 ** 128, [uint256(2 ** 128), 10, 20, 1]);
        if (which == 2) refusedParameters("epochSeconds", 0, [uint256(1), 0, 20, 1]);
        if (which == 3) refusedParameters("epochSeconds", 11, [uint256(1), 11, 22, 1]);
        if (which == 4) refusedParameters("exitDelay", 19, [uint256(1), 10, 19, 1]);
        if (which == 5) refusedParameters("maxValidityEpochs", 0, [uint256(1), 10, 20, 0]);
        if (which == 6) refusedParameters("maxValidityEpochs", 2 ** 32, [uint256(1), 10, 20, 2 ** 32]);
    }

    function test_RefusesAZeroRegistry() public {
        registry = IComputeRegistry(address(0));
        vm.expectRevert(abi.encodeWithSelector(IStakeVault.ZeroAddress.selector, bytes32("registry")));
        newValidators(MIN_VALIDATOR_STAKE, EPOCH_SECONDS, EXIT_DELAY, MAX_VALIDITY_EPOCHS);
    }

    function test_KeepsWhatItWasGiven() public view {
        assertEq(validators.token(), address(token), "token");
        assertEq(validators.registry(), address(registry), "registry");
        assertEq(validators.minStake(), MIN_VALIDATOR_STAKE, "minStake");
        assertEq(validators.epochSeconds(), EPOCH_SECONDS, "epochSeconds");
        assertEq(validators.exitDelay(), EXIT_DELAY, "exitDelay");
        assertEq(validators.maxValidityEpochs(), MAX_VALIDITY_EPOCHS, "maxValidityEpochs");
        assertEq(validators.currentEpoch(), epochNow(), "currentEpoch");
    }
}

contract RegisterTest is Assembly {
    function testFuzz_WeightCountsFromTheNextEpoch(uint256 amount) public {
        amount = bound(amount, MIN_VALIDATOR_STAKE, type(uint128).max);
        uint64 epoch = epochNow();
        mint(validator(0), amount);
        (uint8 v, bytes32 r, bytes32 s) = signPermit(validatorKey(0), address(validators), amount, START);
        vm.expectEmit(true, true, true, true, address(validators));
        emit IValidatorSet.ValidatorRegistered(validator(0), amount, epoch + 1, "/ip4/192.0.2.1/tcp/4001");
        vm.prank(validator(0));
        validators.register(amount, START, v, r, s, "/ip4/192.0.2.1/tcp/4001");
        assertEq(validators.weightOf(validator(0), epoch), 0, "not yet");
        assertEq(validators.totalWeight(epoch), 0, "not yet in total");
        assertEq(validators.weightOf(validator(0), epoch + 1), amount, "next epoch");
        assertEq(validators.totalWeight(epoch + 1), amount, "next epoch in total");
        assertEq(validators.validatorOf(validator(0)).stake, amount, "stake");
        assertEq(validators.validatorOf(validator(0)).endpoint, "/ip4/192.0.2.1/tcp/4001", "endpoint");
        assertEq(token.balanceOf(address(validators)), amount, "vault");
    }

    function testFuzz_RefusesLittleStakeLongEndpointsAndASecondTime(uint256 amount) public {
        amount = bound(amount, 0, MIN_VALIDATOR_STAKE - 1);
        vm.expectRevert(abi.encodeWithSelector(IValidatorSet.InsufficientStake.selector, amount, MIN_VALIDATOR_STAKE));
        validators.register(amount, 0, 0, 0, 0, "");
        string memory long = string(new bytes(513));
        vm.expectRevert(abi.encodeWithSelector(IValidatorSet.TextTooLong.selector, bytes32("endpoint"), 513, 512));
        validators.register(MIN_VALIDATOR_STAKE, 0, 0, 0, 0, long);
        register(0, MIN_VALIDATOR_STAKE);
        vm.expectRevert(abi.encodeWithSelector(IValidatorSet.ValidatorAlreadyRegistered.selector, validator(0)));
        vm.prank(validator(0));
        validators.register(MIN_VALIDATOR_STAKE, 0, 0, 0, 0, "");
    }

    function testFuzz_TheTotalIsTheSum(uint256[5] memory amounts) public {
        uint256 sum;
        for (uint256 i = 0; i < 5; ++i) {
            amounts[i] = bound(amounts[i], MIN_VALIDATOR_STAKE, 1e30);
            register(i, amounts[i]);
            sum += amounts[i];
            if (i % 2 == 1) vm.warp(block.timestamp + EPOCH_SECONDS);
        }
        assertEq(validators.totalWeight(epochNow() + 1), sum, "total");
    }
}

contract StakeTest is Assembly {
    function testFuzz_MoreStakeCountsFromTheNextEpoch(uint256 amount) public {
        amount = bound(amount, 1, 1e30);
        register(0, MIN_VALIDATOR_STAKE);
        vm.warp(START + EPOCH_SECONDS);
        mint(validator(0), amount);
        vm.startPrank(validator(0));
        token.approve(address(validators), amount);
        vm.expectEmit(true, true, true, true, address(validators));
        emit IValidatorSet.ValidatorStaked(validator(0), amount, MIN_VALIDATOR_STAKE + amount, epochNow() + 1);
        validators.stake(amount);
        vm.stopPrank();
        assertEq(validators.weightOf(validator(0), epochNow()), MIN_VALIDATOR_STAKE, "this epoch");
        assertEq(validators.weightOf(validator(0), epochNow() + 1), MIN_VALIDATOR_STAKE + amount, "next epoch");
        assertEq(validators.totalWeight(epochNow() + 1), MIN_VALIDATOR_STAKE + amount, "total");
    }

    function test_RefusesStrangersAndNothing() public {
        vm.expectRevert(abi.encodeWithSelector(IValidatorSet.ValidatorNotRegistered.selector, stranger));
        vm.prank(stranger);
        validators.stake(1);
        register(0, MIN_VALIDATOR_STAKE);
        vm.expectRevert(abi.encodeWithSelector(IStakeVault.ZeroAmount.selector));
        vm.prank(validator(0));
        validators.stake(0);
    }
}

contract SetEndpointTest is Assembly {
    function test_OnlyValidatorsThatStay() public {
        register(0, MIN_VALIDATOR_STAKE);
        vm.expectEmit(true, true, true, true, address(validators));
        emit IValidatorSet.EndpointChanged(validator(0), "/dns4/moved.example/tcp/1");
        vm.prank(validator(0));
        validators.setEndpoint("/dns4/moved.example/tcp/1");
        assertEq(validators.validatorOf(validator(0)).endpoint, "/dns4/moved.example/tcp/1", "endpoint");
        vm.expectRevert(abi.encodeWithSelector(IValidatorSet.ValidatorNotRegistered.selector, stranger));
        vm.prank(stranger);
        validators.setEndpoint("");
    }
}

contract ExitTest is Assembly {
    function testFuzz_WeightEndsWithTheEpochAndStakeFollowsAfterTheDelay(uint256 early) public {
        early = bound(early, 1, EXIT_DELAY);
        register(0, MIN_VALIDATOR_STAKE);
        register(1, MIN_VALIDATOR_STAKE);
        vm.warp(START + EPOCH_SECONDS);
        uint256 exitAt = block.timestamp + EXIT_DELAY;
        vm.expectEmit(true, true, true, true, address(validators));
        emit IValidatorSet.ExitRequested(validator(0), epochNow(), exitAt);
        vm.startPrank(validator(0));
        validators.requestExit();
        assertEq(validators.weightOf(validator(0), epochNow()), MIN_VALIDATOR_STAKE, "counts to the end of the epoch");
        assertEq(validators.weightOf(validator(0), epochNow() + 1), 0, "and not after");
        assertEq(validators.totalWeight(epochNow() + 1), MIN_VALIDATOR_STAKE, "total");
        vm.expectRevert(abi.encodeWithSelector(IValidatorSet.ValidatorExiting.selector, validator(0), exitAt));
        validators.requestExit();
        vm.warp(exitAt - early);
        vm.expectRevert(abi.encodeWithSelector(IValidatorSet.StillBonded.selector, exitAt));
        validators.withdraw();
        vm.warp(exitAt);
        vm.expectEmit(true, true, true, true, address(validators));
        emit IValidatorSet.Withdrawn(validator(0), MIN_VALIDATOR_STAKE);
        assertEq(validators.withdraw(), MIN_VALIDATOR_STAKE, "paid");
        vm.expectRevert(abi.encodeWithSelector(IValidatorSet.ValidatorNotRegistered.selector, validator(0)));
        validators.withdraw();
        vm.stopPrank();
        assertEq(token.balanceOf(validator(0)), MIN_VALIDATOR_STAKE, "balance");
    }

    function test_AValidatorThatLeftComesBack() public {
        register(0, MIN_VALIDATOR_STAKE);
        vm.startPrank(validator(0));
        vm.expectRevert(abi.encodeWithSelector(IValidatorSet.NotExiting.selector, validator(0)));
        validators.withdraw();
        validators.requestExit();
        vm.warp(START + EXIT_DELAY);
        validators.withdraw();
        vm.stopPrank();
        register(0, MIN_VALIDATOR_STAKE * 2);
        assertEq(validators.weightOf(validator(0), epochNow() + 1), MIN_VALIDATOR_STAKE * 2, "weight");
        assertEq(validators.totalWeight(epochNow() + 1), MIN_VALIDATOR_STAKE * 2, "total");
    }
}
