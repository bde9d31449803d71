// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Handler} from "./Handler.sol";
import {PoolActions} from "./actions/PoolActions.sol";
import {RegistryActions} from "./actions/RegistryActions.sol";
import {RewardsActions} from "./actions/RewardsActions.sol";
import {SlashingActions} from "./actions/SlashingActions.sol";
import {ValidatorActions} from "./actions/ValidatorActions.sol";
import {PoolChecks} from "./checks/PoolChecks.sol";
import {RegistryChecks} from "./checks/RegistryChecks.sol";
import {RewardsChecks} from "./checks/RewardsChecks.sol";
import {SlashingChecks} from "./checks/SlashingChecks.sol";
import {ValidatorChecks} from "./checks/ValidatorChecks.sol";

/// @dev What must hold after anything that anybody does, over all contracts together.
contract EconomyInvariants is RegistryChecks, PoolChecks, ValidatorChecks, SlashingChecks, RewardsChecks {
    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    error HandlerFailed(uint256 step);

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(handler);
    }

    function targetSelectors() external view returns (FuzzSelector[] memory targets) {
        targets = new FuzzSelector[](1);
        targets[0] = FuzzSelector(address(handler), actions());
    }

    function actions() internal pure returns (bytes4[] memory all) {
        bytes4[51] memory list = [
            Handler.waitSomeTime.selector,
            RegistryActions.stake.selector,
            RegistryActions.requestUnstake.selector,
            RegistryActions.withdraw.selector,
            bytes4(keccak256("addNode(uint256,uint256,uint256)")),
            RegistryActions.addNodes.selector,
            RegistryActions.removeNode.selector,
            RegistryActions.replaceNode.selector,
            bytes4(keccak256("join(uint256,uint256[3],uint256)")),
            PoolActions.joinWithOldSignatures.selector,
            PoolActions.leave.selector,
            PoolActions.leaveBySignature.selector,
            PoolActions.eject.selector,
            PoolActions.banNode.selector,
            PoolActions.banProvider.selector,
            PoolActions.endPool.selector,
            PoolActions.approvePool.selector,
            PoolActions.approvePoolBySignature.selector,
            PoolActions.approvePoolWithOldSignature.selector,
            ValidatorActions.registerValidator.selector,
            ValidatorActions.stakeValidator.selector,
            ValidatorActions.exitValidator.selector,
            ValidatorActions.withdrawValidator.selector,
            bytes4(keccak256("vote(uint256,uint256)")),
            ValidatorActions.penalizeMissedReveal.selector,
            bytes4(keccak256("accuse(uint256,uint256,uint256,uint256)")),
            SlashingActions.answer.selector,
            SlashingActions.judge.selector,
            SlashingActions.resolve.selector,
            SlashingActions.collect.selector,
            RewardsActions.fundPool.selector,
            RewardsActions.setSpendCap.selector,
            RewardsActions.requestBudget.selector,
            RewardsActions.withdrawBudget.selector,
            bytes4(keccak256("postRoot(uint256,uint256,uint256,uint256)")),
            RewardsActions.vetoRoot.selector,
            RewardsActions.refuteRoot.selector,
            RewardsActions.claim.selector,
            RewardsActions.claimBatch.selector,
            RewardsActions.redeem.selector,
            RewardsActions.vetoRedemption.selector,
            RewardsActions.settleRedemption.selector,
            RewardsActions.waitShortly.selector,
            // Twice as often as the rest: most of the state is theirs.
            bytes4(keccak256("join(uint256,uint256[3],uint256)")),
            bytes4(keccak256("accuse(uint256,uint256,uint256,uint256)")),
            SlashingActions.judge.selector,
            SlashingActions.resolve.selector,
            bytes4(keccak256("postRoot(uint256,uint256,uint256,uint256)")),
            RewardsActions.claim.selector,
            RewardsActions.fundPool.selector,
            RewardsActions.waitShortly.selector
        ];
        all = new bytes4[](list.length);
        for (uint256 i = 0; i < list.length; ++i) {
            all[i] = list[i];
        }
    }

    /// @dev One campaign for all of them: the calls cost more than the checks.
    function invariant_EverythingThatMustAlwaysHold() public view {
        checkProviders();
        checkNodes();
        checkMembershipRebuiltFromEventsIsTheOneInStorage();
        checkValidators();
        checkAccusations();
        checkTheSlashingVault();
        checkBudgets();
    }

    /// @dev The invariants say nothing when nothing happens: over a long fixed run, every action succeeds at times.
    function test_EveryActionOfTheHandlerSucceedsAtTimes() public {
        bytes4[] memory all = actions();
        for (uint256 step = 0; step < 5_000; ++step) {
            bytes memory noise;
            for (uint256 i = 0; i < 6; ++i) {
                noise = bytes.concat(noise, keccak256(abi.encode("noise", step, i)));
            }
            bytes4 action = all[uint256(keccak256(abi.encode("action", step))) % all.length];
            (bool done,) = address(handler).call(bytes.concat(action, noise));
            if (!done) revert HandlerFailed(step);
            if (step % 250 == 0) invariant_EverythingThatMustAlwaysHold();
        }
        string[50] memory names = [
            "waitSomeTime",
            "stake",
            "requestUnstake",
            "withdraw",
            "addNode",
            "addNodes",
            "removeNode",
            "replaceNode",
            "join",
            "joinWithOldSignatures",
            "leave",
            "leaveBySignature",
            "eject",
            "banNode",
            "unbanNode",
            "banProvider",
            "unbanProvider",
            "endPool",
            "approvePool",
            "disapprovePool",
            "approvePoolBySignature",
            "registerValidator",
            "stakeValidator",
            "exitValidator",
            "withdrawValidator",
            "drawBeacon",
            "commit",
            "reveal",
            "penalizeMissedReveal",
            "accuse",
            "answer",
            "answerBySignature",
            "judge",
            "resolve",
            "guilty",
            "collect",
            "fundPool",
            "setSpendCap",
            "requestBudget",
            "withdrawBudget",
            "postRoot",
            "vetoRoot",
            "rootVetoed",
            "refuteRoot",
            "claim",
            "claimBatch",
            "redeem",
            "vetoRedemption",
            "settleRedemption",
            "waitShortly"
        ];
        for (uint256 i = 0; i < names.length; ++i) {
            assertTrue(handler.successes(names[i]) > 0, names[i]);
        }
    }
}
