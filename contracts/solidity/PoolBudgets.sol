// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {VetoBallots} from "./VetoBallots.sol";
import {IComputePools} from "./interfaces/IComputePools.sol";
import {IRewards} from "./interfaces/IRewards.sol";
import {EarningsSlot} from "./types/EarningsSlot.sol";
import {VaultSlot, VaultSlots} from "./types/VaultSlot.sol";

/// @title What pools hold, and what their payees have had
/// @dev Owns the budgets: money in, money out to owners, promises and their cap. Invariants, for each pool by itself:
/// free + promised + redeeming + paid = funded − withdrawn; what is held at a time fits 96 bits, and that and everything
/// ever paid fit 128, so that no later sum can overflow.
abstract contract PoolBudgets is VetoBallots {
    using SafeCast for uint256;
    using SafeERC20 for IERC20;

    /// @dev Six slots, grouped by who touches them: a claim the first; a root the first three, and it reads the fourth.
    struct BudgetRecord {
        VaultSlot vault;
        uint128 free;
        uint128 posted;
        // Up to where the cap is used up, in parts of an epoch since the first one; zero before a cap is set.
        uint64 cappedThrough;
        // Epoch of the latest root that was not vetoed, when it becomes final, what it used of the cap, and the epoch of
        // the root before it.
        uint40 latestEpoch;
        uint40 latestFinalAt;
        uint64 latestParts;
        uint40 precedingEpoch;
        uint128 spendCap;
        uint128 withdrawing;
        // What pending redemptions will pay.
        uint128 redeeming;
        // What was paid beyond `posted` less what is promised: redemptions that no claim has covered yet. Nothing else
        // counts what was paid, so that a claim has one word less to write.
        uint128 paidAhead;
        uint64 withdrawableAt;
    }

    /// @notice Most epochs whose unused spend cap adds up.
    uint64 public constant MAX_CAPPED_EPOCHS = 48;
    /// @notice Most that a pool's budget can hold at a time, in the token's smallest unit.
    uint256 public constant MAX_BUDGET = type(uint96).max;

    /// @dev Use of the cap is counted in parts of an epoch, rounded up; an epoch has 2 to the power of this many. What is
    /// counted in parts is shifted, not multiplied: no amount of 128 bits can overflow.
    uint256 private constant _PART_BITS = 24;
    uint256 private constant _MAX_CAPPED_PARTS = uint256(MAX_CAPPED_EPOCHS) << _PART_BITS;

    IComputePools internal immutable _pools;
    uint64 private immutable _postingSeconds;
    uint64 private immutable _withdrawalDelay;

    mapping(uint64 poolId => BudgetRecord) internal _budgets;
    mapping(uint64 poolId => mapping(address payee => EarningsSlot)) internal _earnings;

    modifier onlyOwner(uint64 poolId) {
        (address owner,,,) = _pools.termsOf(poolId);
        if (owner != msg.sender) revert NotPoolOwner(poolId, msg.sender);
        _;
    }

    /// @dev The least withdrawal delay is epochSeconds + postingSeconds + 2 × vetoSeconds. Work done just before a request
    /// belongs to an epoch that ends at most one epoch later; its root may be posted until `postingSeconds` after that,
    /// and locks the money at once; if that root is dropped in the last moment of its veto window, a receipt locks the
    /// money again, and another veto window's time is left to submit it.
    constructor(address pools_, uint256 postingSeconds_, uint256 withdrawalDelay_) {
        if (pools_ == address(0)) revert ZeroAddress("pools");
        if (postingSeconds_ == 0 || postingSeconds_ > _MAX_SECONDS) {
            revert InvalidParameter("postingSeconds", postingSeconds_);
        }
        uint256 leastDelay = uint256(_epochSeconds) + postingSeconds_ + 2 * uint256(_vetoSeconds);
        if (withdrawalDelay_ < leastDelay || withdrawalDelay_ > 10 * _MAX_SECONDS) {
            revert InvalidParameter("withdrawalDelay", withdrawalDelay_);
        }
        _pools = IComputePools(pools_);
        _postingSeconds = uint64(postingSeconds_);
        _withdrawalDelay = uint64(withdrawalDelay_);
    }

    /// @inheritdoc IRewards
    function fund(uint64 poolId, uint256 amount) external {
        _fund(poolId, amount);
    }

    /// @inheritdoc IRewards
    function fundWithPermit(uint64 poolId, uint256 amount, uint256 deadline, uint8 v, bytes32 r, bytes32 s) external {
        // A permit is public once it is in the mempool: whoever submits it first makes ours fail, but leaves the
        // allowance that we need. Without it, the token refuses the transfer.
        try IERC20Permit(_tokenOf(poolId)).permit(msg.sender, address(this), amount, deadline, v, r, s) {} catch {}
        _fund(poolId, amount);
    }

    /// @inheritdoc IRewards
    function setSpendCap(uint64 poolId, uint128 spendCap) external onlyOwner(poolId) {
        BudgetRecord storage budget = _budgets[poolId];
        if (budget.cappedThrough == 0) budget.cappedThrough = uint64(_lastEpoch() << _PART_BITS);
        budget.spendCap = spendCap;
        emit SpendCapChanged(poolId, spendCap);
    }

    /// @inheritdoc IRewards
    function requestWithdrawal(uint64 poolId, uint128 amount) external onlyOwner(poolId) {
        if (amount == 0) revert ZeroAmount();
        BudgetRecord storage budget = _budgets[poolId];
        // A standing request for more than there is would let later money leave without waiting.
        if (amount > budget.free) revert InsufficientBudget(poolId, budget.free, amount);
        uint256 withdrawableAt = block.timestamp + _withdrawalDelay;
        budget.withdrawing = amount;
        budget.withdrawableAt = uint64(withdrawableAt);
        emit WithdrawalRequested(poolId, amount, withdrawableAt);
    }

    /// @inheritdoc IRewards
    function withdraw(uint64 poolId, address to) external onlyOwner(poolId) returns (uint256 amount) {
        if (to == address(0)) revert ZeroAddress("to");
        BudgetRecord storage budget = _budgets[poolId];
        if (block.timestamp < budget.withdrawableAt) revert TooEarly(budget.withdrawableAt);
        uint128 free = budget.free;
        amount = Math.min(budget.withdrawing, free);
        if (amount == 0) revert NothingToWithdraw(poolId);
        free -= uint128(amount);
        budget.free = free;
        budget.withdrawing = 0;
        budget.withdrawableAt = 0;
        emit BudgetWithdrawn(poolId, to, amount, free);
        _pay(budget.vault.token(), to, amount);
    }

    /// @inheritdoc IRewards
    function pools() external view returns (address) {
        return address(_pools);
    }

    /// @inheritdoc IRewards
    function postingSeconds() external view returns (uint256) {
        return _postingSeconds;
    }

    /// @inheritdoc IRewards
    function withdrawalDelay() external view returns (uint256) {
        return _withdrawalDelay;
    }

    /// @inheritdoc IRewards
    function budgetOf(uint64 poolId) external view returns (Budget memory) {
        BudgetRecord storage budget = _budgets[poolId];
        bool isPending = block.timestamp < budget.latestFinalAt;
        return Budget({
            free: budget.free,
            locked: budget.vault.promised() + budget.redeeming,
            posted: budget.posted,
            paid: _paidBy(budget),
            spendCap: budget.spendCap,
            cappedThrough: uint64(Math.ceilDiv(budget.cappedThrough, 1 << _PART_BITS)),
            finalEpoch: isPending ? budget.precedingEpoch : budget.latestEpoch,
            pendingEpoch: isPending ? budget.latestEpoch : 0,
            withdrawing: budget.withdrawing,
            withdrawableAt: budget.withdrawableAt
        });
    }

    /// @inheritdoc IRewards
    function spendable(uint64 poolId, uint64 epoch) external view returns (uint256 allowed) {
        BudgetRecord storage budget = _budgets[poolId];
        (allowed,) = _allowance(budget.cappedThrough, budget.spendCap, epoch);
    }

    /// @inheritdoc IRewards
    function earningsOf(uint64 poolId, address payee) external view returns (Earnings memory) {
        EarningsSlot earnings = _earnings[poolId][payee];
        return Earnings({paid: earnings.paid(), ahead: earnings.ahead()});
    }

    function _pay(address token, address to, uint256 amount) internal {
        if (!IERC20(token).trySafeTransfer(to, amount)) revert TransferFailed(token, to, amount);
    }

    /// @dev Takes `amount` from what is free and from the cap, on behalf of work up to `epoch`.
    /// @return parts what it used of the cap
    function _promise(uint64 poolId, BudgetRecord storage budget, uint256 epoch, uint128 amount)
        internal
        returns (uint64 parts)
    {
        uint128 free = budget.free;
        if (amount > free) revert InsufficientBudget(poolId, free, amount);
        uint128 spendCap = budget.spendCap;
        (uint256 allowed, uint256 from) = _allowance(budget.cappedThrough, spendCap, epoch);
        if (amount > allowed) revert SpendCapExceeded(poolId, allowed, amount);
        if (amount == 0) return 0;
        // At most `MAX_CAPPED_EPOCHS` epochs: the amount is allowed.
        parts = uint64(Math.ceilDiv(uint256(amount) << _PART_BITS, spendCap));
        budget.cappedThrough = uint64(from) + parts;
        budget.free = free - amount;
    }

    /// @dev `amount` is free again, and so are parts of the cap.
    function _unpromise(BudgetRecord storage budget, uint128 amount, uint256 parts) internal {
        budget.free += amount;
        budget.cappedThrough = uint64(Math.saturatingSub(budget.cappedThrough, parts));
    }

    /// @dev What the amount uses of today's cap, rounded down; the cap may have been a smaller one, or a larger one, when
    /// it was promised.
    function _partsOf(BudgetRecord storage budget, uint128 amount) internal view returns (uint256) {
        uint128 spendCap = budget.spendCap;
        if (spendCap == 0) return 0;
        return Math.min((uint256(amount) << _PART_BITS) / spendCap, _MAX_CAPPED_PARTS);
    }

    /// @dev The last second in which the epoch's root can be posted.
    function _postingDeadline(uint64 epoch) internal view returns (uint256) {
        return (uint256(epoch) + 1) * _epochSeconds + _postingSeconds;
    }

    function _orchestratorOf(uint64 poolId) internal view returns (address orchestrator) {
        (, orchestrator,,) = _pools.termsOf(poolId);
    }

    /// @dev Records first and moves last; a token that delivers anything else than asked for undoes both.
    function _fund(uint64 poolId, uint256 amount) private {
        if (amount == 0) revert ZeroAmount();
        BudgetRecord storage budget = _budgets[poolId];
        VaultSlot vault = budget.vault;
        IERC20 token = IERC20(vault.token());
        if (address(token) == address(0)) {
            token = IERC20(_tokenOf(poolId));
            budget.vault = VaultSlots.pack(address(token), 0);
        }
        uint256 free = budget.free + amount;
        uint256 held = free + vault.promised() + budget.redeeming;
        if (held > MAX_BUDGET) revert BudgetTooLarge(poolId, MAX_BUDGET, held);
        // So that no later sum can overflow.
        (held + _paidBy(budget)).toUint128();
        budget.free = uint128(free);
        emit Funded(poolId, msg.sender, amount, free);
        uint256 balanceBefore = token.balanceOf(address(this));
        token.safeTransferFrom(msg.sender, address(this), amount);
        uint256 balanceAfter = token.balanceOf(address(this));
        uint256 received = balanceAfter > balanceBefore ? balanceAfter - balanceBefore : 0;
        if (received != amount) revert InexactTransfer(amount, received);
    }

    /// @dev What the cap allows up to `epoch`, and from where its use is counted.
    function _allowance(uint64 cappedThrough, uint128 spendCap, uint256 epoch)
        private
        pure
        returns (uint256 allowed, uint256 from)
    {
        uint256 end = epoch << _PART_BITS;
        from = Math.max(cappedThrough, Math.saturatingSub(end, _MAX_CAPPED_PARTS));
        allowed = (Math.saturatingSub(end, from) * spendCap) >> _PART_BITS;
    }

    /// @dev What claims used of the roots' promises, and what was redeemed ahead of them.
    function _paidBy(BudgetRecord storage budget) private view returns (uint128) {
        return budget.posted - budget.vault.promised() + budget.paidAhead;
    }

    function _tokenOf(uint64 poolId) private view returns (address token) {
        (,, token,) = _pools.termsOf(poolId);
        if (token == address(0)) revert NoRewardToken(poolId);
    }
}
