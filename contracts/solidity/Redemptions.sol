// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {PoolBudgets} from "./PoolBudgets.sol";
import {IRewards} from "./interfaces/IRewards.sol";
import {Signature} from "./libraries/Signature.sol";
import {EarningsSlot, EarningsSlots} from "./types/EarningsSlot.sol";

/// @title Receipts that roots left out
/// @dev A payee has at most one pending redemption in a pool, and its money is set aside for it alone. The ballot on a
/// redemption is the receipt's digest: a receipt that was vetoed is void for good.
abstract contract Redemptions is PoolBudgets, EIP712 {
    /// @dev Three slots. `digest` is the receipt's; `capParts` is what it used of the cap.
    struct RedemptionRecord {
        bytes32 digest;
        uint128 cumulative;
        uint128 amount;
        uint64 payableAt;
        uint64 capParts;
    }

    bytes32 private constant _RECEIPT_TYPEHASH = keccak256(
        "Receipt(uint64 poolId,uint64 epoch,address node,address payee,bytes32 usageHash,uint128 amount,uint128 cumulative)"
    );

    mapping(uint64 poolId => mapping(address payee => RedemptionRecord)) internal _redemptions;

    /// @inheritdoc IRewards
    function redeem(Receipt calldata receipt, bytes calldata orchestratorSignature, bytes calldata nodeSignature)
        external
    {
        if (receipt.payee == address(0)) revert ZeroAddress("payee");
        uint256 deadline = _postingDeadline(receipt.epoch);
        if (block.timestamp <= deadline) revert PostingStillOpen(receipt.epoch, deadline);
        bytes32 digest = receiptDigest(receipt);
        if (_isPassed(digest)) revert ReceiptIsVoid(receipt.poolId, receipt.payee);
        if (!Signature.isBy(_orchestratorOf(receipt.poolId), digest, orchestratorSignature)) {
            revert InvalidOrchestratorSignature(receipt.poolId);
        }
        if (!Signature.isBy(receipt.node, digest, nodeSignature)) revert InvalidNodeSignature(receipt.node);
        _request(receipt, digest);
    }

    /// @inheritdoc IRewards
    function vetoRedemption(uint64 poolId, address payee, bytes32 evidenceHash) external {
        RedemptionRecord storage record = _redemptions[poolId][payee];
        if (block.timestamp >= record.payableAt) revert NoRedemption(poolId, payee);
        (uint256 votes, uint256 totalWeight, bool isPassed) = _vote(record.digest, record.payableAt);
        emit RedemptionVetoCast(poolId, payee, msg.sender, evidenceHash, votes, totalWeight);
        if (!isPassed) return;
        uint256 amount = record.amount;
        _releaseRedemption(_budgets[poolId], record, 0);
        delete _redemptions[poolId][payee];
        emit RedemptionVetoed(poolId, payee, amount);
    }

    /// @inheritdoc IRewards
    function settleRedemption(uint64 poolId, address payee) external returns (uint256 amount) {
        RedemptionRecord storage record = _redemptions[poolId][payee];
        uint128 cumulative = record.cumulative;
        uint256 payableAt = record.payableAt;
        if (payableAt == 0) revert NoRedemption(poolId, payee);
        BudgetRecord storage budget = _budgets[poolId];
        EarningsSlot earnings = _earnings[poolId][payee];
        uint128 paid = earnings.paid();
        uint128 due = cumulative > paid ? cumulative - paid : 0;
        // What claims have paid meanwhile needs no veto window: nothing is left to pay, and the money comes free.
        if (due != 0 && block.timestamp < payableAt) revert TooEarly(payableAt);
        _releaseRedemption(budget, record, due);
        delete _redemptions[poolId][payee];
        budget.paidAhead += due;
        _earnings[poolId][payee] = EarningsSlots.pack(paid + due, earnings.ahead() + due);
        emit Redeemed(poolId, payee, due, cumulative);
        if (due != 0) _pay(budget.vault.token(), payee, due);
        return due;
    }

    /// @inheritdoc IRewards
    function redemptionOf(uint64 poolId, address payee) external view returns (Redemption memory) {
        RedemptionRecord storage record = _redemptions[poolId][payee];
        return Redemption({cumulative: record.cumulative, amount: record.amount, payableAt: record.payableAt});
    }

    /// @inheritdoc IRewards
    function receiptDigest(Receipt calldata receipt) public view returns (bytes32) {
        return _hashTypedDataV4(
            keccak256(
                abi.encode(
                    _RECEIPT_TYPEHASH,
                    receipt.poolId,
                    receipt.epoch,
                    receipt.node,
                    receipt.payee,
                    receipt.usageHash,
                    receipt.amount,
                    receipt.cumulative
                )
            )
        );
    }

    /// @dev Locks what the receipt, which both sides have signed, promises beyond what was paid.
    function _request(Receipt calldata receipt, bytes32 digest) private {
        (uint64 poolId, address payee, uint128 cumulative) = (receipt.poolId, receipt.payee, receipt.cumulative);
        BudgetRecord storage budget = _budgets[poolId];
        RedemptionRecord storage record = _redemptions[poolId][payee];
        if (record.payableAt != 0) {
            // The payee alone may put a higher receipt in the place of a lower one, which somebody may have submitted to
            // keep the place; and nobody can put off a payment by ever new receipts.
            if (msg.sender != payee || cumulative <= record.cumulative) {
                revert RedemptionIsPending(poolId, payee, record.payableAt);
            }
            _releaseRedemption(budget, record, 0);
        }
        uint128 paid = _earnings[poolId][payee].paid();
        if (cumulative <= paid) revert NothingToClaim(poolId, payee, paid, cumulative);
        uint128 amount = cumulative - paid;
        uint64 payableAt = uint64(block.timestamp + _vetoSeconds);
        record.digest = digest;
        record.cumulative = cumulative;
        record.amount = amount;
        record.payableAt = payableAt;
        record.capParts = _promise(poolId, budget, _lastEpoch(), amount);
        budget.redeeming += amount;
        emit RedemptionRequested(poolId, payee, receipt.node, receipt.epoch, cumulative, amount, payableAt);
    }

    /// @dev Unlocks a redemption's money: `due` is to be paid, the rest is free again.
    function _releaseRedemption(BudgetRecord storage budget, RedemptionRecord storage record, uint128 due) private {
        uint128 amount = record.amount;
        uint128 rest = amount - due;
        budget.redeeming -= amount;
        if (rest != 0) _unpromise(budget, rest, uint256(record.capParts) * rest / amount);
    }
}
