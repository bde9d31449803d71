// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IComputePools} from "../../solidity/interfaces/IComputePools.sol";
import {IRewards} from "../../solidity/interfaces/IRewards.sol";
import {Assembly} from "../validators/Assembly.sol";
import {SumTree} from "./SumTree.sol";

/// @dev A pool with a budget, four validators of equal weight, and a first epoch whose hardware is proven. Time stands
/// in that epoch's second half.
abstract contract Settlement is Assembly {
    uint256 internal constant POSTING_SECONDS = 2 hours;
    uint256 internal constant VETO_SECONDS = 30 minutes;
    /// @dev The least: one epoch, the posting window and two veto windows.
    uint256 internal constant WITHDRAWAL_DELAY = 4 hours;
    uint256 internal constant MAX_PROVEN_AGE = 24;
    uint128 internal constant BUDGET = 1_000_000e18;
    uint128 internal constant CAP = 100_000e18;
    /// @dev The epoch after the one of `START`: validators that register now have weight in it.
    uint64 internal constant FIRST = uint64(START / EPOCH_SECONDS) + 1;
    bytes32 internal constant EVIDENCE = keccak256("evidence");

    IRewards internal rewards;
    uint64 internal poolId;

    function setUp() public virtual override {
        super.setUp();
        rewards = newRewards(POSTING_SECONDS, VETO_SECONDS, WITHDRAWAL_DELAY, MAX_PROVEN_AGE);
        poolId = startedPool();
        fundPool(poolId, BUDGET);
        setCap(poolId, CAP);
        for (uint256 i = 0; i < 4; ++i) {
            register(i, MIN_VALIDATOR_STAKE);
        }
        prove(FIRST);
    }

    function newRewards(uint256 postingSeconds, uint256 vetoSeconds, uint256 withdrawalDelay, uint256 maxProvenAge)
        internal
        returns (IRewards)
    {
        bytes memory arguments =
            abi.encode(address(pools), address(validators), postingSeconds, vetoSeconds, withdrawalDelay, maxProvenAge);
        return IRewards(vm.deployCode("Rewards.sol:Rewards", arguments));
    }

    // What people do.

    function fundPool(uint64 pool, uint256 amount) internal {
        mint(poolOwner, amount);
        vm.startPrank(poolOwner);
        token.approve(address(rewards), amount);
        rewards.fund(pool, amount);
        vm.stopPrank();
    }

    /// @dev Another pool of the same owner and orchestrator, without a budget.
    function newPool(address rewardToken) internal returns (uint64 pool) {
        IComputePools.PoolParameters memory parameters = poolParameters();
        parameters.rewardToken = rewardToken;
        vm.startPrank(poolOwner);
        pool = pools.createPool(parameters);
        pools.startPool(pool);
        vm.stopPrank();
    }

    function setCap(uint64 pool, uint128 cap) internal {
        vm.prank(poolOwner);
        rewards.setSpendCap(pool, cap);
    }

    /// @dev All four validators agree on a root in the epoch.
    function prove(uint64 epoch) internal {
        warpToCommit(epoch);
        for (uint256 i = 0; i < 4; ++i) {
            commit(i, epoch, keccak256("proofs"));
        }
        warpToReveal(epoch);
        for (uint256 i = 0; i < 4; ++i) {
            reveal(i, epoch, keccak256("proofs"));
        }
    }

    /// @dev The first second in which the epoch can be posted.
    function endOf(uint64 epoch) internal pure returns (uint256) {
        return (uint256(epoch) + 1) * EPOCH_SECONDS;
    }

    /// @dev The last second in which it can.
    function deadlineOf(uint64 epoch) internal pure returns (uint256) {
        return endOf(epoch) + POSTING_SECONDS;
    }

    function post(uint64 pool, uint64 epoch, SumTree.Leaf[] memory leaves) internal {
        uint8 depth = SumTree.depthOf(leaves.length);
        SumTree.Node memory top = SumTree.top(leaves, depth);
        post(pool, epoch, top.digest, top.sum, depth);
    }

    function post(uint64 pool, uint64 epoch, bytes32 root, uint128 total, uint8 depth) internal {
        vm.prank(orchestrator);
        rewards.postRoot(pool, epoch, root, total, depth, FIRST);
    }

    /// @dev Posts as soon as the epoch is over.
    function postInTime(uint64 pool, uint64 epoch, SumTree.Leaf[] memory leaves) internal {
        vm.warp(endOf(epoch));
        post(pool, epoch, leaves);
    }

    /// @dev Posts as soon as the epoch is over, and waits until the root is final.
    function settle(uint64 pool, uint64 epoch, SumTree.Leaf[] memory leaves) internal {
        postInTime(pool, epoch, leaves);
        vm.warp(endOf(epoch) + VETO_SECONDS);
    }

    function veto(uint64 pool, uint64 epoch, uint256 voters) internal {
        for (uint256 i = 0; i < voters; ++i) {
            vm.prank(validator(i));
            rewards.vetoRoot(pool, epoch, EVIDENCE);
        }
    }

    /// @dev A stranger claims.
    function claim(IRewards.Claim memory item) internal returns (uint256) {
        vm.prank(stranger);
        return rewards.claim(item);
    }

    // What they say.

    function payee(uint256 index) internal pure returns (address) {
        return vm.addr(keyOf(string.concat("payee ", vm.toString(index))));
    }

    /// @dev Payees 0, 1, 2, … with these earnings.
    function earned(uint128[] memory amounts) internal pure returns (SumTree.Leaf[] memory leaves) {
        leaves = new SumTree.Leaf[](amounts.length);
        for (uint256 i = 0; i < amounts.length; ++i) {
            leaves[i] = SumTree.Leaf(payee(i), amounts[i]);
        }
    }

    function earned(uint128 first) internal pure returns (SumTree.Leaf[] memory leaves) {
        leaves = new SumTree.Leaf[](1);
        leaves[0] = SumTree.Leaf(payee(0), first);
    }

    function earned(uint128 first, uint128 second) internal pure returns (SumTree.Leaf[] memory leaves) {
        leaves = new SumTree.Leaf[](2);
        leaves[0] = SumTree.Leaf(payee(0), first);
        leaves[1] = SumTree.Leaf(payee(1), second);
    }

    function earned(uint128 first, uint128 second, uint128 third) internal pure returns (SumTree.Leaf[] memory leaves) {
        leaves = new SumTree.Leaf[](3);
        leaves[0] = SumTree.Leaf(payee(0), first);
        leaves[1] = SumTree.Leaf(payee(1), second);
        leaves[2] = SumTree.Leaf(payee(2), third);
    }

    function claimOf(uint64 pool, uint64 epoch, SumTree.Leaf[] memory leaves, uint64 index)
        internal
        pure
        returns (IRewards.Claim memory)
    {
        bytes memory path = SumTree.path(leaves, SumTree.depthOf(leaves.length), index);
        return IRewards.Claim(pool, epoch, index, leaves[index].payee, leaves[index].cumulative, path);
    }

    function receiptOf(uint64 pool, uint64 epoch, address to, uint128 amount, uint128 cumulative)
        internal
        view
        returns (IRewards.Receipt memory)
    {
        return IRewards.Receipt(pool, epoch, node, to, keccak256("usage"), amount, cumulative);
    }

    function signReceipt(uint256 key, IRewards.Receipt memory receipt) internal view returns (bytes memory) {
        bytes32 structHash = keccak256(
            abi.encode(
                keccak256(
                    "Receipt(uint64 poolId,uint64 epoch,address node,address payee,bytes32 usageHash,uint128 amount,uint128 cumulative)"
                ),
                receipt.poolId,
                receipt.epoch,
                receipt.node,
                receipt.payee,
                receipt.usageHash,
                receipt.amount,
                receipt.cumulative
            )
        );
        return signTyped(key, separator("Lode Rewards", address(rewards)), structHash);
    }

    /// @dev `sender` redeems a receipt that orchestrator and node signed.
    function redeem(address sender, IRewards.Receipt memory receipt) internal {
        bytes memory byOrchestrator = signReceipt(orchestratorKey, receipt);
        bytes memory byNode = signReceipt(nodeKey, receipt);
        vm.prank(sender);
        rewards.redeem(receipt, byOrchestrator, byNode);
    }

    // What must hold.

    function assertBudget(uint64 pool, uint256 free, uint256 locked, uint256 paid, string memory when) internal view {
        IRewards.Budget memory budget = rewards.budgetOf(pool);
        assertEq(budget.free, free, string.concat("free ", when));
        assertEq(budget.locked, locked, string.concat("locked ", when));
        assertEq(budget.paid, paid, string.concat("paid ", when));
    }

    function assertEarnings(uint64 pool, address of_, uint256 paid, uint256 ahead, string memory when) internal view {
        IRewards.Earnings memory earnings = rewards.earningsOf(pool, of_);
        assertEq(earnings.paid, paid, string.concat("paid to the payee ", when));
        assertEq(earnings.ahead, ahead, string.concat("ahead ", when));
    }
}
