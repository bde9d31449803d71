// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IRewards} from "../../../solidity/interfaces/IRewards.sol";
import {Shadow} from "../Shadow.sol";
import {Stage} from "./Stage.sol";

abstract contract RewardsChecks is Stage {
    function checkBudgets() internal view {
        uint256 held;
        for (uint64 poolId = 1; poolId <= handler.POOLS(); ++poolId) {
            IRewards.Budget memory budget = rewards.budgetOf(poolId);
            Shadow.Account memory told = shadow.accountOf(poolId);
            uint256 all = uint256(budget.free) + budget.locked;
            held += all;
            assertEq(all, told.funded - told.withdrawn - told.paid, "nobody's money moves between pools");
            assertEq(budget.locked, told.promised - told.covered + told.redeeming, "locked is what is promised");
            assertEq(budget.paid, told.paid, "paid by events");
            assertTrue(told.paid <= told.posted + told.redeemed, "nothing is paid that nobody promised");
            assertTrue(told.paid <= told.funded, "nothing is paid that nobody funded");
            assertTrue(budget.pendingEpoch == 0 || budget.pendingEpoch > budget.finalEpoch, "roots come in order");
            checkIncomes(poolId);
        }
        assertEq(token.balanceOf(address(rewards)), held, "the vault of rewards");
    }

    function checkIncomes(uint64 poolId) private view {
        for (uint256 i = 0; i < payees.length; ++i) {
            Shadow.Income memory told = shadow.incomeOf(poolId, payees[i]);
            IRewards.Earnings memory earnings = rewards.earningsOf(poolId, payees[i]);
            assertEq(earnings.paid, told.paid, "paid to the payee by events");
            assertEq(earnings.paid - earnings.ahead, told.covered, "covered by roots, by events");
            assertEq(rewards.redemptionOf(poolId, payees[i]).amount, told.redeeming, "redeeming by events");
            assertTrue(told.paid <= told.promised, "nobody is paid more than the most that was promised");
        }
    }
}
