// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IRewards} from "../../solidity/interfaces/IRewards.sol";
import {Settlement} from "./Settlement.sol";
import {SumTree} from "./SumTree.sol";

contract RefuteRootTest is Settlement {
    SumTree.Leaf[] internal before;

    function setUp() public override {
        super.setUp();
        keep(earned(50, 60, 70));
        settle(poolId, FIRST, before);
    }

    function keep(SumTree.Leaf[] memory leaves) internal {
        for (uint256 i = 0; i < leaves.length; ++i) {
            before.push(leaves[i]);
        }
    }

    function pathIn(SumTree.Leaf[] memory leaves, uint64 index) internal pure returns (bytes memory) {
        return SumTree.path(leaves, SumTree.depthOf(leaves.length), index);
    }

    function refute(SumTree.Leaf[] memory leaves, uint64 index) internal {
        SumTree.Leaf memory old = before[index];
        SumTree.Leaf memory other;
        bytes memory otherPath;
        if (index < 1 << SumTree.depthOf(leaves.length)) {
            if (index < leaves.length) other = leaves[index];
            otherPath = pathIn(leaves, index);
        }
        vm.prank(stranger);
        rewards.refuteRoot(
            poolId, index, old.payee, old.cumulative, pathIn(before, index), other.payee, other.cumulative, otherPath
        );
    }

    function assertRefuted(SumTree.Leaf[] memory leaves, uint64 index) internal {
        uint128 total = rewards.budgetOf(poolId).posted;
        vm.expectEmit(true, true, true, true, address(rewards));
        emit IRewards.RootRefuted(poolId, FIRST + 1, index, before[index].payee);
        vm.expectEmit(true, true, true, true, address(rewards));
        emit IRewards.RootVetoed(poolId, FIRST + 1, rewards.rootOf(poolId, FIRST + 1).root, total - 180);
        refute(leaves, index);
        assertTrue(rewards.rootOf(poolId, FIRST + 1).state == IRewards.RootState.Vetoed, "void");
        assertBudget(poolId, BUDGET - 180, 180, 0, "as before the root");
        assertEq(rewards.budgetOf(poolId).finalEpoch, FIRST, "the one before is the latest");
    }

    function testFuzz_Trap_ALaterRootCannotTakeEarningsAwayByASmallerLeaf(uint64 index, uint128 cut) public {
        index = uint64(bound(index, 0, 2));
        SumTree.Leaf[] memory leaves = earned(500, 600, 700);
        leaves[index].cumulative = before[index].cumulative - uint128(bound(cut, 1, before[index].cumulative));
        postInTime(poolId, FIRST + 1, leaves);
        assertRefuted(leaves, index);
    }

    function testFuzz_Trap_ALaterRootCannotTakeEarningsAwayByAnotherPayee(uint64 index, uint128 more) public {
        index = uint64(bound(index, 0, 2));
        SumTree.Leaf[] memory leaves = earned(50, 60, 70);
        leaves[index] = SumTree.Leaf(payee(9), leaves[index].cumulative + uint128(bound(more, 0, CAP / 2)));
        postInTime(poolId, FIRST + 1, leaves);
        assertRefuted(leaves, index);
    }

    function test_Trap_ALaterRootCannotTakeEarningsAwayByAVanishedPlace() public {
        SumTree.Leaf[] memory leaves = earned(300, 300);
        postInTime(poolId, FIRST + 1, leaves);
        assertRefuted(leaves, 2);
    }

    function test_Trap_ALaterRootCannotTakeEarningsAwayByAnEmptyPlace() public {
        SumTree.Leaf[] memory leaves = earned(50, 60, 70);
        leaves[1] = SumTree.Leaf(address(0), 0);
        leaves[0].cumulative = 500;
        postInTime(poolId, FIRST + 1, leaves);
        assertRefuted(leaves, 1);
    }

    function testFuzz_ARootThatTakesNothingStands(uint64 index, uint128 more) public {
        index = uint64(bound(index, 0, 2));
        more = uint128(bound(more, 0, CAP / 10));
        uint128[] memory amounts = new uint128[](5);
        for (uint256 i = 0; i < 5; ++i) {
            amounts[i] = i < 3 ? before[i].cumulative + more : more;
        }
        SumTree.Leaf[] memory leaves = earned(amounts);
        postInTime(poolId, FIRST + 1, leaves);
        vm.expectRevert(abi.encodeWithSelector(IRewards.NothingTaken.selector, poolId, index));
        refute(leaves, index);
    }

    function test_NothingCanBeTakenFromWhoHadNothing() public {
        SumTree.Leaf[] memory leaves = earned(50, 60, 70);
        leaves[2] = SumTree.Leaf(payee(2), 70);
        postInTime(poolId, FIRST + 1, leaves);
        // Place 3 is empty in both.
        vm.expectRevert(abi.encodeWithSelector(IRewards.NothingTaken.selector, poolId, uint64(3)));
        rewards.refuteRoot(poolId, 3, address(0), 0, pathIn(before, 3), address(0), 0, pathIn(leaves, 3));
        vm.warp(block.timestamp + VETO_SECONDS);
        // A payee who has earned nothing so far gives its place to another.
        uint64 next = FIRST + 2;
        leaves = new SumTree.Leaf[](4);
        for (uint256 i = 0; i < 4; ++i) {
            leaves[i] = SumTree.Leaf(payee(i), i < 3 ? before[i].cumulative : 0);
        }
        settle(poolId, next, leaves);
        bytes memory path = pathIn(leaves, 3);
        leaves[3] = SumTree.Leaf(payee(9), 5);
        postInTime(poolId, next + 1, leaves);
        vm.expectRevert(abi.encodeWithSelector(IRewards.NothingTaken.selector, poolId, uint64(3)));
        rewards.refuteRoot(poolId, 3, payee(3), 0, path, payee(9), 5, pathIn(leaves, 3));
    }

    function test_RefusesWrongPathsIntoEitherTree() public {
        SumTree.Leaf[] memory leaves = earned(10, 600, 700);
        postInTime(poolId, FIRST + 1, leaves);
        bytes memory oldPath = pathIn(before, 0);
        bytes memory newPath = pathIn(leaves, 0);
        vm.expectRevert(abi.encodeWithSelector(IRewards.InvalidClaimProof.selector, poolId, FIRST, payee(0)));
        rewards.refuteRoot(poolId, 0, payee(0), 51, oldPath, payee(0), 10, newPath);
        vm.expectRevert(abi.encodeWithSelector(IRewards.InvalidClaimProof.selector, poolId, FIRST, payee(0)));
        rewards.refuteRoot(poolId, 1, payee(0), 50, oldPath, payee(0), 10, newPath);
        vm.expectRevert(abi.encodeWithSelector(IRewards.InvalidClaimProof.selector, poolId, FIRST + 1, payee(0)));
        rewards.refuteRoot(poolId, 0, payee(0), 50, oldPath, payee(0), 9, newPath);
        vm.expectRevert(abi.encodeWithSelector(IRewards.InvalidClaimProof.selector, poolId, FIRST + 1, address(0)));
        rewards.refuteRoot(poolId, 0, payee(0), 50, oldPath, address(0), 0, newPath);
    }

    function test_RefusesWhereNoRootIsPendingOrNoneIsFinal() public {
        SumTree.Leaf[] memory leaves = earned(50, 60, 70);
        vm.expectRevert(abi.encodeWithSelector(IRewards.RootNotPending.selector, poolId, FIRST));
        refute(leaves, 0);
        uint64 other = startedPool();
        vm.expectRevert(abi.encodeWithSelector(IRewards.RootNotPending.selector, other, uint64(0)));
        rewards.refuteRoot(other, 0, payee(0), 50, "", payee(0), 1, "");
        vm.warp(endOf(FIRST + 1));
        post(other, FIRST + 1, keccak256("root"), 0, 0);
        vm.expectRevert(
            abi.encodeWithSelector(IRewards.RootNotFinal.selector, other, uint64(0), IRewards.RootState.None)
        );
        rewards.refuteRoot(other, 0, payee(0), 50, "", payee(0), 1, "");
    }

    function test_ARefutedRootGivesBackTheCap() public {
        vm.warp(endOf(FIRST + 1));
        uint256 allowed = rewards.spendable(poolId, FIRST + 1);
        SumTree.Leaf[] memory leaves = earned(10, 600, 700);
        post(poolId, FIRST + 1, leaves);
        refute(leaves, 0);
        assertEq(rewards.spendable(poolId, FIRST + 1), allowed, "as before");
        post(poolId, FIRST + 1, earned(50, 60, 71));
    }
}
