// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {PoolBudgets} from "./PoolBudgets.sol";
import {IRewards} from "./interfaces/IRewards.sol";
import {EarningsTree} from "./libraries/EarningsTree.sol";
import {EarningsSlot, EarningsSlots} from "./types/EarningsSlot.sol";
import {VaultSlot, VaultSlots} from "./types/VaultSlot.sol";

/// @title Roots of what payees have earned, and claims under them
/// @dev A pool has at most one root in its veto window; whether a root is final is a matter of time, and nothing is
/// written when it becomes so. A claim takes from what roots promise and from nothing else, so that no root, however
/// wrong, reaches the money of a redemption or of another pool.
abstract contract EarningsRoots is PoolBudgets {
    using EarningsTree for bytes;

    /// @dev Two slots. `attempt` tells the ballots on an epoch's roots apart.
    struct RootRecord {
        bytes32 root;
        uint128 total;
        uint40 finalAt;
        uint8 depth;
        uint8 attempt;
        bool isVetoed;
    }

    /// @notice Highest tree.
    uint8 public constant MAX_DEPTH = 32;

    uint64 private immutable _maxProvenAgeEpochs;

    mapping(uint64 poolId => mapping(uint64 epoch => RootRecord)) private _roots;

    constructor(uint256 maxProvenAgeEpochs_) {
        if (maxProvenAgeEpochs_ > type(uint32).max) revert InvalidParameter("maxProvenAgeEpochs", maxProvenAgeEpochs_);
        _maxProvenAgeEpochs = uint64(maxProvenAgeEpochs_);
    }

    /// @inheritdoc IRewards
    function postRoot(uint64 poolId, uint64 epoch, bytes32 root, uint128 total, uint8 depth, uint64 provenEpoch)
        external
    {
        if (msg.sender != _orchestratorOf(poolId)) revert NotOrchestrator(poolId, msg.sender);
        if (root == bytes32(0)) revert ZeroDigest();
        if (depth > MAX_DEPTH) revert InvalidDepth(depth);
        BudgetRecord storage budget = _budgets[poolId];
        _requirePostable(poolId, epoch, budget);
        _requireProven(epoch, provenEpoch);
        uint128 posted = budget.posted;
        if (total < posted) revert TotalDecreased(posted, total);
        uint128 increase = total - posted;

        uint256 finalAt = block.timestamp + _vetoSeconds;
        RootRecord storage record = _roots[poolId][epoch];
        record.root = root;
        record.total = total;
        // Fits until the year 36812; the epoch, which is over, fits as well.
        record.finalAt = uint40(finalAt);
        record.depth = depth;
        ++record.attempt;
        record.isVetoed = false;
        VaultSlot vault = budget.vault;
        budget.latestParts = _promise(poolId, budget, epoch, increase);
        // What is free fits 96 bits together with what is promised.
        budget.vault = VaultSlots.pack(vault.token(), vault.promised() + uint96(increase));
        budget.posted = total;
        budget.precedingEpoch = budget.latestEpoch;
        budget.latestEpoch = uint40(epoch);
        budget.latestFinalAt = uint40(finalAt);
        emit RootPosted(poolId, epoch, root, total, increase, depth, provenEpoch, finalAt);
    }

    /// @inheritdoc IRewards
    function vetoRoot(uint64 poolId, uint64 epoch, bytes32 evidenceHash) external {
        RootRecord storage record = _requirePending(poolId, epoch);
        bytes32 ballot = keccak256(abi.encode(poolId, epoch, record.attempt));
        (uint256 votes, uint256 totalWeight, bool isPassed) = _vote(ballot, record.finalAt);
        emit VetoCast(poolId, epoch, msg.sender, evidenceHash, votes, totalWeight);
        if (isPassed) _dropRoot(poolId, epoch, record);
    }

    /// @inheritdoc IRewards
    function refuteRoot(
        uint64 poolId,
        uint64 index,
        address payee,
        uint128 cumulative,
        bytes calldata path,
        address otherPayee,
        uint128 otherCumulative,
        bytes calldata otherPath
    ) external {
        (uint64 finalEpoch, uint64 pendingEpoch) = _requireRivals(poolId);
        _requireLeaf(poolId, finalEpoch, index, payee, cumulative, path);
        RootRecord storage pending = _roots[poolId][pendingEpoch];
        // A place beyond the pending tree's width has vanished, with all that was earned there.
        if (index >> pending.depth == 0) {
            _requireLeaf(poolId, pendingEpoch, index, otherPayee, otherCumulative, otherPath);
            if (otherPayee == payee && otherCumulative >= cumulative) revert NothingTaken(poolId, index);
        }
        if (cumulative == 0) revert NothingTaken(poolId, index);
        emit RootRefuted(poolId, pendingEpoch, index, payee);
        _dropRoot(poolId, pendingEpoch, pending);
    }

    /// @inheritdoc IRewards
    function claim(Claim calldata item) external returns (uint256 amount) {
        (uint64 poolId, uint64 epoch) = (item.poolId, item.epoch);
        (address payee, uint128 cumulative) = (item.payee, item.cumulative);
        RootRecord storage record = _roots[poolId][epoch];
        RootState state = _stateOf(record);
        if (state != RootState.Final) revert RootNotFinal(poolId, epoch, state);
        if (payee == address(0) || !_isLeaf(record, item.index, payee, cumulative, item.path)) {
            revert InvalidClaimProof(poolId, epoch, payee);
        }
        address token;
        (amount, token) = _cover(poolId, payee, cumulative);
        emit Claimed(poolId, epoch, payee, amount, cumulative);
        if (amount != 0) _pay(token, payee, amount);
    }

    /// @inheritdoc IRewards
    function claimBatch(Claim[] calldata items) external {
        for (uint256 i = 0; i < items.length; ++i) {
            // A call of its own undoes all of an item whose token refuses, and nothing else.
            try this.claim(items[i]) {}
            catch (bytes memory refusal) {
                emit ClaimFailed(items[i].poolId, items[i].epoch, items[i].payee, bytes4(refusal));
            }
        }
    }

    /// @inheritdoc IRewards
    function maxProvenAgeEpochs() external view returns (uint256) {
        return _maxProvenAgeEpochs;
    }

    /// @inheritdoc IRewards
    function rootOf(uint64 poolId, uint64 epoch) external view returns (Root memory) {
        RootRecord storage record = _roots[poolId][epoch];
        return Root({
            root: record.root,
            total: record.total,
            depth: record.depth,
            finalAt: record.finalAt,
            state: _stateOf(record)
        });
    }

    /// @inheritdoc IRewards
    function leafHash(address payee, uint128 cumulative) external pure returns (bytes32) {
        return EarningsTree.leaf(payee, cumulative);
    }

    /// @dev Covers what the payee has earned under roots up to `cumulative`: what it had ahead of them comes free again,
    /// the rest is to be paid.
    function _cover(uint64 poolId, address payee, uint128 cumulative) private returns (uint128 amount, address token) {
        EarningsSlot earnings = _earnings[poolId][payee];
        (uint128 paid, uint128 ahead) = (earnings.paid(), earnings.ahead());
        uint128 covered = paid - ahead;
        if (cumulative <= covered) revert NothingToClaim(poolId, payee, paid, cumulative);
        amount = cumulative - covered;
        BudgetRecord storage budget = _budgets[poolId];
        VaultSlot vault = budget.vault;
        uint96 promised = vault.promised();
        token = vault.token();
        // Only roots that contradict each other and that nobody refuted get here.
        if (amount > promised) revert PromiseExceeded(poolId, promised, amount);
        budget.vault = VaultSlots.pack(token, promised - uint96(amount));
        if (ahead != 0) {
            uint128 released = ahead < amount ? ahead : amount;
            amount -= released;
            ahead -= released;
            budget.paidAhead -= released;
            _unpromise(budget, released, _partsOf(budget, released));
        }
        _earnings[poolId][payee] = EarningsSlots.pack(paid + amount, ahead);
    }

    /// @dev The pending root is void; the one before it is the latest again.
    function _dropRoot(uint64 poolId, uint64 epoch, RootRecord storage record) private {
        BudgetRecord storage budget = _budgets[poolId];
        uint64 precedingEpoch = budget.precedingEpoch;
        uint128 posted = _roots[poolId][precedingEpoch].total;
        uint128 increase = record.total - posted;
        VaultSlot vault = budget.vault;
        uint96 promised = vault.promised();
        // Less is left only where claims under roots that contradict each other used it; a veto must not fail for that.
        uint96 released = uint96(Math.min(increase, promised));
        record.isVetoed = true;
        budget.vault = VaultSlots.pack(vault.token(), promised - released);
        budget.posted = posted;
        budget.paidAhead += increase - released;
        budget.latestEpoch = uint40(precedingEpoch);
        budget.latestFinalAt = 0;
        budget.precedingEpoch = 0;
        _unpromise(budget, released, budget.latestParts);
        emit RootVetoed(poolId, epoch, record.root, released);
    }

    /// @dev The epochs of the pending root and of the final one before it.
    function _requireRivals(uint64 poolId) private view returns (uint64 finalEpoch, uint64 pendingEpoch) {
        BudgetRecord storage budget = _budgets[poolId];
        pendingEpoch = budget.latestEpoch;
        _requirePending(poolId, pendingEpoch);
        finalEpoch = budget.precedingEpoch;
        if (finalEpoch == 0) revert RootNotFinal(poolId, finalEpoch, RootState.None);
    }

    function _requireLeaf(
        uint64 poolId,
        uint64 epoch,
        uint64 index,
        address payee,
        uint128 cumulative,
        bytes calldata path
    ) private view {
        if (!_isLeaf(_roots[poolId][epoch], index, payee, cumulative, path)) {
            revert InvalidClaimProof(poolId, epoch, payee);
        }
    }

    function _isLeaf(RootRecord storage record, uint64 index, address payee, uint128 cumulative, bytes calldata path)
        private
        view
        returns (bool)
    {
        return
            path.leadsTo(
                record.depth, index, EarningsTree.leaf(payee, cumulative), cumulative, record.root, record.total
            );
    }

    function _stateOf(RootRecord storage record) private view returns (RootState) {
        uint256 finalAt = record.finalAt;
        if (finalAt == 0) return RootState.None;
        if (record.isVetoed) return RootState.Vetoed;
        return block.timestamp < finalAt ? RootState.Pending : RootState.Final;
    }

    function _requirePending(uint64 poolId, uint64 epoch) private view returns (RootRecord storage record) {
        record = _roots[poolId][epoch];
        if (_stateOf(record) != RootState.Pending) revert RootNotPending(poolId, epoch);
    }

    function _requirePostable(uint64 poolId, uint64 epoch, BudgetRecord storage budget) private view {
        uint64 latest = budget.latestEpoch;
        uint64 current = uint64(block.timestamp / _epochSeconds);
        if (epoch >= current) revert EpochNotOver(epoch, current);
        if (epoch <= latest) revert EpochAlreadyPosted(epoch, latest);
        uint256 deadline = _postingDeadline(epoch);
        if (block.timestamp > deadline) revert PostingDeadlinePassed(epoch, deadline);
        if (block.timestamp < budget.latestFinalAt) revert RootIsPending(poolId, latest, budget.latestFinalAt);
    }

    /// @dev A root of the validators vouches for work of its own epoch and of a limited number after it.
    function _requireProven(uint64 epoch, uint64 provenEpoch) private view {
        if (
            provenEpoch > epoch || epoch - provenEpoch > _maxProvenAgeEpochs
                || _validators.rootOf(provenEpoch) == bytes32(0)
        ) revert NotProven(provenEpoch);
    }
}
