// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ISlashing} from "../../solidity/interfaces/ISlashing.sol";
import {Court} from "../slashing/Court.sol";

/// @dev What accusations, approvals and penalties cost, each step as a transaction of its own, as in Gas.t.sol. The
/// design sets no targets for them: they are rare.
/// forge-config: default.isolate = true
contract SlashingGasTest is Court {
    error NotATransaction(string step, uint256 gas);

    function setUp() public override {
        super.setUp();
        // In a live system the vaults and the treasury are not empty.
        accuse(stranger, 100e18);
        mint(fund, 1e18);
    }

    function measured(string memory step) internal {
        uint256 gas = vm.lastCallGas().gasTotalUsed;
        if (gas < 21_000) revert NotATransaction(step, gas);
        vm.snapshotValue("gas", step, gas);
    }

    function test_AGuiltyOne() public {
        uint64 id = accuse();
        measured("accuse");
        vm.prank(provider);
        slashing.answer(id, ANSWER, ANSWER_URI);
        measured("answer_accusation");
        warpToPhase(id, ISlashing.Phase.Vote);
        vote(0, id, true);
        measured("vote_accusation_first");
        vote(1, id, true);
        measured("vote_accusation");
        vote(2, id, true);
        warpToPhase(id, ISlashing.Phase.Decided);
        vm.prank(stranger);
        slashing.resolve(id);
        measured("resolve_guilty");
        expectPhase(id, ISlashing.Phase.Guilty);
    }

    function test_AnAcquittedOne() public {
        uint64 id = accuse();
        bytes memory signature = signAnswer(providerKey, id, ANSWER, ANSWER_URI, uint64(block.timestamp));
        vm.prank(stranger);
        slashing.answerBySignature(id, ANSWER, ANSWER_URI, uint64(block.timestamp), signature);
        measured("answer_accusation_by_signature");
        mint(provider, 1);
        warpToPhase(id, ISlashing.Phase.Decided);
        vm.prank(stranger);
        slashing.resolve(id);
        measured("resolve_acquitted");
        expectPhase(id, ISlashing.Phase.Acquitted);
    }

    function test_Approvals() public {
        vm.prank(poolOwner);
        uint64 poolId = pools.createPool(poolParameters());
        uint64 deadline = uint64(block.timestamp);
        bytes memory signature = signApproval(providerKey, poolId, provider, true, 0, deadline);
        vm.prank(stranger);
        pools.setPoolApprovalBySignature(poolId, provider, true, 0, deadline, signature);
        measured("approve_pool_by_signature");
        vm.prank(poolOwner);
        poolId = pools.createPool(poolParameters());
        vm.prank(provider);
        pools.setPoolApproval(poolId, true);
        measured("approve_pool");
    }

    function test_BeaconAndPenalty() public {
        uint64 epoch = epochNow() + 1;
        warpToCommit(epoch);
        vm.prank(stranger);
        validators.drawBeacon(epoch);
        measured("draw_beacon");
        commit(0, epoch, "root");
        warpToCommit(epoch + 1);
        vm.prank(stranger);
        validators.penalizeMissedReveal(epoch, validator(0));
        measured("penalize_missed_reveal");
    }

    function test_Unstaking() public {
        vm.prank(provider);
        registry.requestUnstake(STAKE / 2);
        measured("request_unstake");
        vm.warp(block.timestamp + UNBONDING_DELAY);
        mint(provider, 1);
        vm.prank(provider);
        registry.withdraw();
        measured("withdraw_stake");
    }
}
