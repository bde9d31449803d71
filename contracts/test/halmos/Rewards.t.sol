// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Rewards} from "../../solidity/Rewards.sol";
import {IComputePools} from "../../solidity/interfaces/IComputePools.sol";
import {IRewards} from "../../solidity/interfaces/IRewards.sol";
import {EarningsTree} from "../../solidity/libraries/EarningsTree.sol";
import {EarningsSlots} from "../../solidity/types/EarningsSlot.sol";
import {VaultSlots} from "../../solidity/types/VaultSlot.sol";
import {Test} from "../base/Test.sol";

/// @dev What Rewards asks other contracts, answered plainly: every pool is the caller's, every epoch is proven, one
/// validator has all the weight. What they answer is no part of the accounting.
contract Answers {
    address private immutable _owner;
    address private immutable _token;

    constructor(address owner, address token) {
        _owner = owner;
        _token = token;
    }

    function termsOf(uint64) external view returns (address, address, address, IComputePools.PoolState) {
        return (_owner, _owner, _token, IComputePools.PoolState.Running);
    }

    function epochSeconds() external pure returns (uint256) {
        return 1 hours;
    }

    function rootOf(uint64) external pure returns (bytes32) {
        return bytes32(uint256(1));
    }

    function weightOf(address, uint64) external pure returns (uint256) {
        return 1;
    }

    function totalWeight(uint64) external pure returns (uint256) {
        return 1;
    }
}

/// @dev A token that does what it is told.
contract PlainToken {
    mapping(address owner => uint256) public balanceOf;

    function mint(address to, uint256 amount) external {
        balanceOf[to] += amount;
    }

    function transfer(address to, uint256 amount) external returns (bool) {
        balanceOf[msg.sender] -= amount;
        balanceOf[to] += amount;
        return true;
    }

    function transferFrom(address from, address to, uint256 amount) external returns (bool) {
        balanceOf[from] -= amount;
        balanceOf[to] += amount;
        return true;
    }
}

/// @dev Rewards with a budget that can be put into any state.
contract AnyRewards is Rewards {
    constructor(address answers) Rewards(answers, answers, 2 hours, 30 minutes, 4 hours, 24) {}

    function setBudget(
        uint64 poolId,
        address token,
        uint96 promised,
        uint128 free,
        uint128 posted,
        uint128 redeeming,
        uint128 paidAhead
    ) external {
        BudgetRecord storage budget = _budgets[poolId];
        budget.vault = VaultSlots.pack(token, promised);
        budget.free = free;
        budget.posted = posted;
        budget.redeeming = redeeming;
        budget.paidAhead = paidAhead;
    }

    function setEarnings(uint64 poolId, address payee, uint128 paid, uint128 ahead) external {
        _earnings[poolId][payee] = EarningsSlots.pack(paid, ahead);
    }

    function setRedemption(uint64 poolId, address payee, uint128 cumulative, uint128 amount, uint64 capParts) external {
        _redemptions[poolId][payee] = RedemptionRecord(bytes32(0), cumulative, amount, 1, capParts);
    }

    function paidAheadOf(uint64 poolId) external view returns (uint128) {
        return _budgets[poolId].paidAhead;
    }

    function redeemingOf(uint64 poolId) external view returns (uint128) {
        return _budgets[poolId].redeeming;
    }
}

/// @dev Proofs by symbolic execution (scripts/prove), one call at a time from any state that keeps the invariants: so
/// they hold after any number of calls. For each pool by itself
///
///   free + locked + paid = funded − withdrawn, and paid ≤ posted + paidAhead,
///
/// where paidAhead grows by what redemptions pay, and by nothing else but what claims under contradicting roots took out
/// of a vetoed root's promise. The cap is fixed: it limits what can be promised and has no part in the sums.
///
/// All six calls that move money are decided, within a minute together. Two things make that possible: sums of many words
/// are given to a solver that thinks in integers (tools/solve.py), and selections branch instead of multiplying by a
/// condition (test/base/BranchingMath.sol).
contract RewardsProofs is Test {
    uint64 internal constant POOL = 1;
    uint64 internal constant OTHER = 2;
    uint64 internal constant EPOCH = 500_000;
    uint256 internal constant END = (uint256(EPOCH) + 1) * 1 hours;
    address internal constant PAYEE = address(0xaaaa);

    AnyRewards internal rewards;
    PlainToken internal token;

    struct Sums {
        uint256 free;
        uint256 locked;
        uint256 paid;
        uint256 paidAhead;
        uint256 redeeming;
        uint256 vault;
    }

    function setUp() public {
        // The cap is set an epoch before the one that is posted, so that it allows something.
        vm.warp(END - 1 hours);
        token = new PlainToken();
        rewards = new AnyRewards(address(new Answers(address(this), address(token))));
        rewards.setSpendCap(POOL, 2 ** 100);
        vm.warp(END);
    }

    /// @dev Any state that the invariants allow, for our pool, beside another pool of the same token.
    function anyState(uint96 promised, uint128 free, uint128 posted, uint128 redeeming, uint128 paidAhead) internal {
        vm.assume(promised <= posted);
        vm.assume(uint256(free) + promised + redeeming <= type(uint96).max);
        vm.assume(uint256(free) + redeeming + posted + paidAhead <= type(uint128).max);
        rewards.setBudget(POOL, address(token), promised, free, posted, redeeming, paidAhead);
        rewards.setBudget(OTHER, address(token), 3, 5, 7, 11, 13);
        token.mint(address(rewards), uint256(free) + promised + redeeming + 3 + 5 + 11);
    }

    function sums() internal view returns (Sums memory) {
        IRewards.Budget memory budget = rewards.budgetOf(POOL);
        return Sums(
            budget.free,
            budget.locked,
            budget.paid,
            rewards.paidAheadOf(POOL),
            rewards.redeemingOf(POOL),
            token.balanceOf(address(rewards))
        );
    }

    /// @dev What every call keeps, where `funded` came in and `withdrawn` went out to the owner.
    function assertKept(Sums memory before, uint256 funded, uint256 withdrawn) internal view {
        Sums memory now_ = sums();
        IRewards.Budget memory budget = rewards.budgetOf(POOL);
        assert(now_.free + now_.locked + now_.paid + withdrawn == before.free + before.locked + before.paid + funded);
        // The vault holds what is free and locked, no more and no less, of both pools.
        assert(now_.vault == now_.free + now_.locked + 3 + 5 + 11);
        assert(now_.paid >= before.paid);
        assert(now_.paid <= budget.posted + now_.paidAhead);
        assert(now_.free + now_.locked <= type(uint96).max);
        IRewards.Budget memory other = rewards.budgetOf(OTHER);
        assert(other.free == 5 && other.locked == 3 + 11 && other.paid == 7 - 3 + 13);
    }

    function check_Fund(
        uint96 promised,
        uint128 free,
        uint128 posted,
        uint128 redeeming,
        uint128 paidAhead,
        uint256 amount
    ) public {
        anyState(promised, free, posted, redeeming, paidAhead);
        vm.assume(amount <= type(uint128).max);
        token.mint(address(this), amount);
        Sums memory before = sums();
        rewards.fund(POOL, amount);
        assertKept(before, amount, 0);
    }

    function check_Withdraw(
        uint96 promised,
        uint128 free,
        uint128 posted,
        uint128 redeeming,
        uint128 paidAhead,
        uint128 asked
    ) public {
        rewards.setBudget(POOL, address(token), 0, type(uint96).max, 0, 0, 0);
        rewards.requestWithdrawal(POOL, asked);
        vm.warp(END + 4 hours);
        anyState(promised, free, posted, redeeming, paidAhead);
        Sums memory before = sums();
        uint256 amount = rewards.withdraw(POOL, address(this));
        assert(amount <= asked && amount <= before.free);
        assert(sums().locked == before.locked && sums().paid == before.paid);
        assertKept(before, 0, amount);
    }

    function check_PostRoot(
        uint96 promised,
        uint128 free,
        uint128 posted,
        uint128 redeeming,
        uint128 paidAhead,
        bytes32 root,
        uint128 total
    ) public {
        anyState(promised, free, posted, redeeming, paidAhead);
        Sums memory before = sums();
        rewards.postRoot(POOL, EPOCH, root, total, 0, EPOCH);
        assert(sums().paid == before.paid && sums().free == before.free - (total - posted));
        assertKept(before, 0, 0);
    }

    function check_VetoRoot(
        uint96 promised,
        uint128 free,
        uint128 redeeming,
        uint128 paidAhead,
        bytes32 root,
        uint128 total
    ) public {
        rewards.setBudget(POOL, address(token), 0, type(uint96).max, 0, 0, 0);
        rewards.postRoot(POOL, EPOCH, root, total, 0, EPOCH);
        // Claims may have used any part of the promise meanwhile.
        anyState(promised, free, total, redeeming, paidAhead);
        Sums memory before = sums();
        rewards.vetoRoot(POOL, EPOCH, bytes32(0));
        assert(sums().paid == before.paid);
        assertKept(before, 0, 0);
    }

    function check_Claim(
        uint96 promised,
        uint128 free,
        uint128 posted,
        uint128 redeeming,
        uint128 paidAhead,
        uint128 paid,
        uint128 ahead,
        uint128 cumulative
    ) public {
        rewards.setBudget(POOL, address(token), 0, type(uint96).max, 0, 0, 0);
        rewards.postRoot(POOL, EPOCH, EarningsTree.leaf(PAYEE, cumulative), cumulative, 0, EPOCH);
        vm.warp(END + 30 minutes);
        vm.assume(ahead <= paid && ahead <= paidAhead);
        anyState(promised, free, posted, redeeming, paidAhead);
        vm.assume(paid <= uint256(posted) - promised + paidAhead);
        rewards.setEarnings(POOL, PAYEE, paid, ahead);
        Sums memory before = sums();
        uint256 amount = rewards.claim(IRewards.Claim(POOL, EPOCH, 0, PAYEE, cumulative, ""));
        // Exactly what was not paid yet, out of what roots promise.
        assert(amount == (cumulative > paid ? cumulative - paid : 0));
        assert(rewards.earningsOf(POOL, PAYEE).paid == paid + amount);
        assert(rewards.earningsOf(POOL, PAYEE).ahead <= ahead);
        assert(sums().paid == before.paid + amount);
        assert(sums().redeeming == before.redeeming && sums().paidAhead <= before.paidAhead);
        assert(token.balanceOf(PAYEE) == amount);
        assertKept(before, 0, 0);
    }

    function check_SettleRedemption(
        uint96 promised,
        uint128 free,
        uint128 posted,
        uint128 redeeming,
        uint128 paidAhead,
        uint128 paid,
        uint128 ahead,
        uint128 cumulative,
        uint128 amount
    ) public {
        vm.assume(ahead <= paid && ahead <= paidAhead);
        anyState(promised, free, posted, redeeming, paidAhead);
        vm.assume(paid <= uint256(posted) - promised + paidAhead);
        // What a redemption sets aside is what was missing when it was requested: claims can only have made it less.
        vm.assume(amount <= redeeming && cumulative <= uint256(paid) + amount);
        rewards.setEarnings(POOL, PAYEE, paid, ahead);
        // What it used of the cap has no part in the sums.
        rewards.setRedemption(POOL, PAYEE, cumulative, amount, 0);
        Sums memory before = sums();
        uint256 due = rewards.settleRedemption(POOL, PAYEE);
        assert(due == (cumulative > paid ? cumulative - paid : 0));
        assert(rewards.earningsOf(POOL, PAYEE).paid == paid + due);
        assert(sums().paid == before.paid + due && sums().paidAhead == before.paidAhead + due);
        // Its own money and nothing of what roots promise.
        assert(sums().redeeming == before.redeeming - amount);
        assert(sums().locked - sums().redeeming == before.locked - before.redeeming);
        assert(token.balanceOf(PAYEE) == due);
        assertKept(before, 0, 0);
    }
}
