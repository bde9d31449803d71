// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IRewards} from "../../solidity/interfaces/IRewards.sol";
import {Settlement} from "./Settlement.sol";
import {SumTree} from "./SumTree.sol";

/// @dev A pool with up to 64 payees over several epochs, against a plain model of the money: an honest orchestrator,
/// roots that are vetoed at times, receipts left out and redeemed, claims under any final root in any order, and a pool
/// beside it that must not notice.
contract RewardsModelTest is Settlement {
    uint256 internal constant EPOCHS = 6;

    /// @dev What the model knows of one payee.
    struct Account {
        uint128 earned;
        uint128 paid;
        // The largest leaf under which it claimed.
        uint128 covered;
        uint128 redeeming;
    }

    Account[] internal accounts;
    SumTree.Leaf[][] internal trees;
    uint64[] internal epochs;
    uint128 internal posted;
    uint256 internal noise;

    function next(uint256 below) internal returns (uint256) {
        noise = uint256(keccak256(abi.encode(noise)));
        return noise % below;
    }

    /// forge-config: default.fuzz.runs = 64
    function testFuzz_TheMoneyIsWhereThePlainModelSays(uint256 seed, uint256 count) public {
        noise = seed;
        count = bound(count, 1, 64);
        uint64 other = startedPool();
        fundPool(other, 1_000);
        for (uint256 i = 0; i < count; ++i) {
            accounts.push();
        }
        uint64 epoch = FIRST;
        for (uint256 round = 0; round < EPOCHS; ++round) {
            prove(epoch);
            work();
            vm.warp(endOf(epoch));
            postWithout(epoch, next(2) == 0 ? next(count) : count);
            check();
            claimSome(8);
            check();
            // Long enough for receipts of the epoch to be redeemed.
            vm.warp(deadlineOf(epoch) + 1);
            redeemSome(count - 1 - next(count < 12 ? count : 12));
            claimSome(2);
            check();
            vm.warp(block.timestamp + VETO_SECONDS);
            settleAll();
            check();
            epoch = validators.currentEpoch() + 1;
        }
        assertBudget(other, 1_000, 0, 0, "of the pool beside it");
    }

    function work() internal {
        for (uint256 i = 0; i < accounts.length; ++i) {
            if (next(3) != 0) accounts[i].earned += uint128(next(1e21));
        }
    }

    /// @dev A root of everything earned, but that payee `skipped` stays at what the latest root gave it; one in four is
    /// vetoed.
    function postWithout(uint64 epoch, uint256 skipped) internal {
        uint128[] memory amounts = new uint128[](accounts.length);
        uint128 total;
        for (uint256 i = 0; i < amounts.length; ++i) {
            amounts[i] = i == skipped ? latest(i) : accounts[i].earned;
            total += amounts[i];
        }
        SumTree.Leaf[] memory leaves = earned(amounts);
        vm.prank(orchestrator);
        SumTree.Node memory top = SumTree.top(leaves, SumTree.depthOf(leaves.length));
        rewards.postRoot(poolId, epoch, top.digest, total, SumTree.depthOf(leaves.length), epoch);
        if (next(4) == 0) {
            veto(poolId, epoch, 3);
            return;
        }
        vm.warp(block.timestamp + VETO_SECONDS);
        posted = total;
        epochs.push(epoch);
        SumTree.Leaf[] storage kept = trees.push();
        for (uint256 i = 0; i < leaves.length; ++i) {
            kept.push(leaves[i]);
        }
    }

    function latest(uint256 index) internal view returns (uint128) {
        return trees.length == 0 ? 0 : trees[trees.length - 1][index].cumulative;
    }

    function claimSome(uint256 times) internal {
        for (uint256 i = 0; i < times && trees.length != 0; ++i) {
            claimOne(next(trees.length), next(accounts.length));
        }
    }

    function claimOne(uint256 tree, uint256 index) internal {
        Account storage account = accounts[index];
        IRewards.Claim memory item = claimOf(poolId, epochs[tree], trees[tree], uint64(index));
        if (item.cumulative <= account.covered) {
            vm.expectRevert(
                abi.encodeWithSelector(
                    IRewards.NothingToClaim.selector,
                    poolId,
                    item.payee,
                    uint256(account.paid),
                    uint256(item.cumulative)
                )
            );
            claim(item);
            return;
        }
        uint128 due = item.cumulative > account.paid ? item.cumulative - account.paid : 0;
        assertEq(claim(item), due, "a claim pays what was not paid yet");
        account.covered = item.cumulative;
        account.paid += due;
    }

    /// @dev Everybody submits the receipt of its latest work, if there is something to be had.
    function redeemSome(uint256 from) internal {
        for (uint256 i = from; i < accounts.length; ++i) {
            Account storage account = accounts[i];
            if (account.earned <= account.paid) continue;
            account.redeeming = account.earned - account.paid;
            redeem(stranger, receiptOf(poolId, FIRST, payee(i), 1, account.earned));
        }
    }

    function settleAll() internal {
        for (uint256 i = 0; i < accounts.length; ++i) {
            Account storage account = accounts[i];
            if (account.redeeming == 0) continue;
            uint128 due = account.earned > account.paid ? account.earned - account.paid : 0;
            assertEq(rewards.settleRedemption(poolId, payee(i)), due, "a redemption pays what was not paid yet");
            account.paid += due;
            account.redeeming = 0;
        }
    }

    function check() internal view {
        uint256 paid;
        uint256 covered;
        uint256 redeeming;
        for (uint256 i = 0; i < accounts.length; ++i) {
            Account storage account = accounts[i];
            assertEq(token.balanceOf(payee(i)), account.paid, "balance");
            assertTrue(account.paid <= account.earned, "nobody has more than it earned");
            uint256 ahead = account.paid - account.covered;
            assertEarnings(poolId, payee(i), account.paid, ahead, "by the model");
            paid += account.paid;
            covered += account.covered;
            redeeming += account.redeeming;
        }
        uint256 locked = posted - covered + redeeming;
        assertBudget(poolId, BUDGET - paid - locked, locked, paid, "by the model");
        assertEq(rewards.budgetOf(poolId).posted, posted, "posted");
        assertEq(token.balanceOf(address(rewards)), BUDGET - paid + 1_000, "vault");
    }
}
