// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IRewards} from "../../../solidity/interfaces/IRewards.sol";
import {SumTree} from "../../rewards/SumTree.sol";
import {Cast} from "../Cast.sol";

/// @dev What pools' owners, orchestrators, payees and validators do with money. Orchestrators lie at times.
abstract contract RewardsActions is Cast {
    uint8 internal constant DEPTH = 2;

    /// @dev A tree that was posted: the leaves' amounts, in the order of the payees.
    struct Posted {
        uint64 epoch;
        uint128[4] amounts;
    }

    /// @dev What each payee has earned in each pool, as an honest orchestrator counts it.
    mapping(uint64 poolId => uint128[4]) internal earned;
    mapping(uint64 poolId => Posted[]) internal posted;
    /// @dev Receipts of work that was left out of the honest count: nobody but `redeem` pays it.
    mapping(uint64 poolId => uint128[4]) internal leftOut;

    error RefutedWhatTookNothing(uint64 poolId, uint64 epoch);

    function fundPool(uint256 pool, uint256 amount) external acting {
        amount = bound(amount, 0, 2_000e18);
        mint(stranger, amount);
        vm.prank(stranger);
        token.approve(address(rewards), amount);
        attempt("fundPool", stranger, address(rewards), abi.encodeCall(rewards.fund, (poolOf(pool), amount)));
    }

    function setSpendCap(uint256 pool, uint256 cap) external acting {
        bytes memory call = abi.encodeCall(rewards.setSpendCap, (poolOf(pool), uint128(bound(cap, 0, 1_000e18))));
        attempt("setSpendCap", poolOwner, address(rewards), call);
    }

    function requestBudget(uint256 pool, uint256 amount) external acting {
        bytes memory call =
            abi.encodeCall(rewards.requestWithdrawal, (poolOf(pool), uint128(bound(amount, 0, 1_000e18))));
        attempt("requestBudget", poolOwner, address(rewards), call);
    }

    function withdrawBudget(uint256 pool) external acting {
        attempt(
            "withdrawBudget", poolOwner, address(rewards), abi.encodeCall(rewards.withdraw, (poolOf(pool), poolOwner))
        );
    }

    /// @dev Somebody works, and the orchestrator posts the root of the epoch that has just ended: mostly the truth.
    function postRoot(uint256 pool, uint256 who, uint256 amount, uint256 lie) external acting {
        uint64 poolId = poolOf(pool);
        who %= 4;
        earned[poolId][who] += uint128(bound(amount, 0, 100e18));
        uint128[4] memory amounts = earned[poolId];
        if (lie % 4 == 0) {
            // One payee's earnings are another's now.
            uint128 taken = amounts[(who + 1) % 4];
            amounts[(who + 1) % 4] = 0;
            amounts[who] += taken;
        }
        uint64 epoch = epochNow() - 1;
        SumTree.Node memory top = SumTree.top(leavesOf(amounts), DEPTH);
        uint128 total = lie % 16 == 1 ? top.sum + 1e18 : top.sum;
        bytes memory call = abi.encodeCall(rewards.postRoot, (poolId, epoch, top.digest, total, DEPTH, provenEpoch));
        if (!attempt("postRoot", orchestrator, address(rewards), call)) return;
        posted[poolId].push(Posted(epoch, amounts));
    }

    /// @dev Everybody votes on the latest root, or some do.
    function vetoRoot(uint256 pool, uint256 silent) external acting {
        (Posted memory latest, bool found) = treeOf(poolOf(pool), 0);
        if (!found) return;
        bytes memory call = abi.encodeCall(rewards.vetoRoot, (poolOf(pool), latest.epoch, "evidence"));
        for (uint256 i = 0; i < VALIDATORS; ++i) {
            if (silent >> i & 1 == 0) attempt("vetoRoot", validator(i), address(rewards), call);
        }
        countVetoed(poolOf(pool), latest.epoch, "rootVetoed");
    }

    /// @dev Anybody compares the latest two roots at one place.
    function refuteRoot(uint256 pool, uint256 index, uint256 back) external acting {
        uint64 poolId = poolOf(pool);
        (Posted memory latest, bool found) = treeOf(poolId, 0);
        (Posted memory before, bool foundToo) = treeOf(poolId, 1 + back % 2);
        if (!found || !foundToo) return;
        index %= 4;
        bytes memory call = refutation(poolId, index, before, latest);
        if (!attempt("refuteRoot", stranger, address(rewards), call)) return;
        if (latest.amounts[index] >= before.amounts[index]) revert RefutedWhatTookNothing(poolId, latest.epoch);
    }

    /// @dev Under any root that was ever posted, the true leaf or another one.
    function claim(uint256 pool, uint256 back, uint256 who, uint256 more) external acting {
        (IRewards.Claim memory item, bool found) = claimOf(pool, back, who, more % 8 == 0 ? 1e18 : 0);
        if (!found) return;
        attempt("claim", stranger, address(rewards), abi.encodeCall(rewards.claim, (item)));
    }

    function claimBatch(uint256 pool, uint256 back, uint256 who, uint256 refused) external acting {
        IRewards.Claim[] memory items = new IRewards.Claim[](3);
        for (uint256 i = 0; i < 3; ++i) {
            bool found;
            (items[i], found) = claimOf(pool % POOLS + i % 2, back, who % 4 + i, 0);
            if (!found) return;
        }
        if (refused % 4 == 0) {
            bytes memory transfer = abi.encodeWithSelector(IERC20.transfer.selector, items[1].payee);
            vm.mockCallRevert(address(token), transfer, "refused");
        }
        attempt("claimBatch", stranger, address(rewards), abi.encodeCall(rewards.claimBatch, (items)));
        vm.clearMockedCalls();
    }

    /// @dev A receipt over what the roots say or over more; of an epoch that is long over or of one that is not.
    function redeem(uint256 pool, uint256 who, uint256 more, uint256 age) external acting {
        uint64 poolId = poolOf(pool);
        who %= 4;
        if (more % 2 == 0) leftOut[poolId][who] += uint128(bound(more, 0, 20e18));
        IRewards.Receipt memory receipt = IRewards.Receipt({
            poolId: poolId,
            epoch: epochNow() - uint64(age % 24),
            node: vm.addr(nodeKeyOf(who)),
            payee: payeeOf(who),
            usageHash: "usage",
            amount: 1,
            cumulative: earned[poolId][who] + leftOut[poolId][who]
        });
        bytes memory call = abi.encodeCall(
            rewards.redeem, (receipt, signReceipt(orchestratorKey, receipt), signReceipt(nodeKeyOf(who), receipt))
        );
        attempt("redeem", age % 3 == 0 ? receipt.payee : stranger, address(rewards), call);
    }

    function vetoRedemption(uint256 pool, uint256 who, uint256 silent) external acting {
        bytes memory call = abi.encodeCall(rewards.vetoRedemption, (poolOf(pool), payeeOf(who % 4), "evidence"));
        for (uint256 i = 0; i < VALIDATORS; ++i) {
            if (silent >> i & 1 == 0) attempt("vetoRedemption", validator(i), address(rewards), call);
        }
    }

    function settleRedemption(uint256 pool, uint256 who) external acting {
        bytes memory call = abi.encodeCall(rewards.settleRedemption, (poolOf(pool), payeeOf(who % 4)));
        attempt("settleRedemption", stranger, address(rewards), call);
    }

    /// @dev A few hours: veto windows and posting deadlines pass, and epochs stay close to each other.
    function waitShortly(uint256 duration) external acting {
        time += bound(duration, 1, 6 hours);
        ++successes["waitShortly"];
    }

    function leavesOf(uint128[4] memory amounts) internal pure returns (SumTree.Leaf[] memory leaves) {
        leaves = new SumTree.Leaf[](4);
        for (uint256 i = 0; i < 4; ++i) {
            leaves[i] = SumTree.Leaf(payeeOf(i), amounts[i]);
        }
    }

    /// @dev The latest tree of the pool, or one of those before it.
    function treeOf(uint64 poolId, uint256 back) private view returns (Posted memory tree, bool found) {
        uint256 count = posted[poolId].length;
        if (back >= count) return (tree, false);
        return (posted[poolId][count - 1 - back], true);
    }

    function claimOf(uint256 pool, uint256 back, uint256 who, uint128 more)
        private
        view
        returns (IRewards.Claim memory item, bool found)
    {
        uint64 poolId = poolOf(pool);
        uint256 count = posted[poolId].length;
        if (count == 0) return (item, false);
        (Posted memory tree,) = treeOf(poolId, back % (count < 4 ? count : 4));
        who %= 4;
        bytes memory path = SumTree.path(leavesOf(tree.amounts), DEPTH, who);
        return (IRewards.Claim(poolId, tree.epoch, uint64(who), payeeOf(who), tree.amounts[who] + more, path), true);
    }

    function refutation(uint64 poolId, uint256 index, Posted memory before, Posted memory latest)
        private
        view
        returns (bytes memory)
    {
        address payee = payeeOf(index);
        bytes memory path = SumTree.path(leavesOf(before.amounts), DEPTH, index);
        bytes memory otherPath = SumTree.path(leavesOf(latest.amounts), DEPTH, index);
        return abi.encodeCall(
            rewards.refuteRoot,
            (poolId, uint64(index), payee, before.amounts[index], path, payee, latest.amounts[index], otherPath)
        );
    }

    function countVetoed(uint64 poolId, uint64 epoch, string memory name) private {
        if (rewards.rootOf(poolId, epoch).state == IRewards.RootState.Vetoed) ++successes[name];
    }

    function signReceipt(uint256 key, IRewards.Receipt memory receipt) private view returns (bytes memory) {
        bytes32 structHash = keccak256(
            abi.encode(
                keccak256(
                    "Receipt(uint64 poolId,uint64 epoch,address node,address payee,bytes32 usageHash,uint128 amount,uint128 cumulative)"
                ),
                receipt
            )
        );
        return signTyped(key, separator("Lode Rewards", address(rewards)), structHash);
    }
}
