// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IRewards} from "../../../solidity/interfaces/IRewards.sol";
import {Vm} from "../../base/Vm.sol";

/// @dev Budgets, roots and payments as events tell them. One account for each pool, which knows nothing of the others.
abstract contract RewardsShadow {
    error RootOutOfOrder(uint64 poolId, uint64 epoch);
    error NeverPosted(uint64 poolId, uint64 epoch);
    error PaidTwice(uint64 poolId, address payee, uint256 covered, uint256 cumulative);
    error RedeemedTwice(uint64 poolId, address payee, uint256 paid, uint256 cumulative);

    struct Account {
        uint256 funded;
        uint256 withdrawn;
        uint256 paid;
        // What roots promised (and vetoes took back), and what claims have covered of it.
        uint256 promised;
        uint256 covered;
        // What pending redemptions hold.
        uint256 redeeming;
        uint256 posted;
        uint256 redeemed;
        uint64 latestEpoch;
    }

    /// @dev What a payee had from a pool: in all, under roots, and the most that it was ever promised by what it showed.
    struct Income {
        uint256 paid;
        uint256 covered;
        uint256 promised;
        uint256 redeeming;
    }

    mapping(uint64 poolId => Account) private _accounts;
    mapping(uint64 poolId => mapping(address payee => Income)) private _incomes;
    mapping(uint64 poolId => mapping(uint64 epoch => uint256)) private _increases;

    function accountOf(uint64 poolId) external view returns (Account memory) {
        return _accounts[poolId];
    }

    function incomeOf(uint64 poolId, address payee) external view returns (Income memory) {
        return _incomes[poolId][payee];
    }

    function _followRewards(Vm.Log calldata log) internal {
        bytes32 name = log.topics[0];
        uint64 poolId = uint64(uint256(log.topics[1]));
        Account storage account = _accounts[poolId];
        if (name == IRewards.Funded.selector) {
            (uint256 amount,) = abi.decode(log.data, (uint256, uint256));
            account.funded += amount;
        } else if (name == IRewards.BudgetWithdrawn.selector) {
            (uint256 amount,) = abi.decode(log.data, (uint256, uint256));
            account.withdrawn += amount;
        } else if (name == IRewards.RootPosted.selector) {
            (,, uint256 increase,,,) = abi.decode(log.data, (bytes32, uint256, uint256, uint8, uint64, uint256));
            uint64 epoch = uint64(uint256(log.topics[2]));
            if (epoch <= account.latestEpoch) revert RootOutOfOrder(poolId, epoch);
            account.latestEpoch = epoch;
            account.promised += increase;
            account.posted += increase;
            _increases[poolId][epoch] = increase;
        } else if (name == IRewards.RootVetoed.selector) {
            (, uint256 released) = abi.decode(log.data, (bytes32, uint256));
            uint64 epoch = uint64(uint256(log.topics[2]));
            if (epoch != account.latestEpoch || released > _increases[poolId][epoch]) {
                revert NeverPosted(poolId, epoch);
            }
            account.promised -= released;
            // The same epoch may be posted anew.
            account.latestEpoch = epoch - 1;
        } else if (name != IRewards.SpendCapChanged.selector && name != IRewards.WithdrawalRequested.selector) {
            _followPayments(name, poolId, account, log);
        }
    }

    function _followPayments(bytes32 name, uint64 poolId, Account storage account, Vm.Log calldata log) private {
        if (name == IRewards.Claimed.selector) {
            Income storage income = _incomes[poolId][address(uint160(uint256(log.topics[3])))];
            (uint256 amount, uint256 cumulative) = abi.decode(log.data, (uint256, uint256));
            if (cumulative <= income.covered) {
                revert PaidTwice(poolId, address(uint160(uint256(log.topics[3]))), income.covered, cumulative);
            }
            account.covered += cumulative - income.covered;
            income.covered = cumulative;
            _pay(account, income, amount, cumulative);
            return;
        }
        address payee = address(uint160(uint256(log.topics[2])));
        Income storage subject = _incomes[poolId][payee];
        if (name == IRewards.RedemptionRequested.selector) {
            (,, uint256 amount,) = abi.decode(log.data, (uint64, uint256, uint256, uint256));
            // A higher receipt takes the place of a lower one.
            account.redeeming = account.redeeming - subject.redeeming + amount;
            subject.redeeming = amount;
        } else if (name == IRewards.RedemptionVetoed.selector) {
            account.redeeming -= subject.redeeming;
            subject.redeeming = 0;
        } else if (name == IRewards.Redeemed.selector) {
            (uint256 amount, uint256 cumulative) = abi.decode(log.data, (uint256, uint256));
            if (amount != 0 && subject.paid + amount != cumulative) {
                revert RedeemedTwice(poolId, payee, subject.paid, cumulative);
            }
            account.redeeming -= subject.redeeming;
            subject.redeeming = 0;
            account.redeemed += amount;
            _pay(account, subject, amount, cumulative);
        }
    }

    function _pay(Account storage account, Income storage income, uint256 amount, uint256 cumulative) private {
        account.paid += amount;
        income.paid += amount;
        if (cumulative > income.promised) income.promised = cumulative;
    }
}
