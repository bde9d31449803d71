// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {EarningsTree} from "../../solidity/libraries/EarningsTree.sol";
import {Test} from "../base/Test.sol";
import {SumTree} from "./SumTree.sol";

contract EarningsTreeHarness {
    function leaf(address payee, uint128 cumulative) external pure returns (bytes32) {
        return EarningsTree.leaf(payee, cumulative);
    }

    function leadsTo(
        bytes calldata path,
        uint256 depth,
        uint256 index,
        bytes32 digest,
        uint256 sum,
        bytes32 root,
        uint256 total
    ) external pure returns (bool) {
        return EarningsTree.leadsTo(path, depth, index, digest, sum, root, total);
    }
}

/// @dev The assembly against the plain implementation.
contract EarningsTreeTest is Test {
    EarningsTreeHarness internal tree = new EarningsTreeHarness();

    function leadsTo(bytes memory path, uint256 depth, uint256 index, SumTree.Leaf memory leaf, SumTree.Node memory top)
        internal
        view
        returns (bool)
    {
        bytes32 digest = tree.leaf(leaf.payee, leaf.cumulative);
        bool answer = tree.leadsTo(path, depth, index, digest, leaf.cumulative, top.digest, top.sum);
        assertTrue(answer == SumTree.leadsTo(path, depth, index, leaf, top), "as the plain implementation says");
        return answer;
    }

    function grow(uint256 count, uint256 seed) internal pure returns (SumTree.Leaf[] memory leaves) {
        leaves = new SumTree.Leaf[](count);
        for (uint256 i = 0; i < count; ++i) {
            uint256 noise = uint256(keccak256(abi.encode(seed, i)));
            // Some places are empty.
            if (noise % 5 == 0) continue;
            leaves[i] = SumTree.Leaf(address(uint160(noise)), uint128(noise >> 160) >> 10);
        }
    }

    function testFuzz_HashesLeavesAsThePlainImplementation(address payee, uint128 cumulative) public view {
        assertEq(tree.leaf(payee, cumulative), SumTree.node(SumTree.Leaf(payee, cumulative)).digest, "leaf");
    }

    function test_OnlyNobodyWithNothingIsAnEmptyPlace() public view {
        assertEq(tree.leaf(address(0), 0), bytes32(0), "empty");
        assertTrue(tree.leaf(address(0), 1) != bytes32(0), "something of nobody");
        assertTrue(tree.leaf(address(1), 0) != bytes32(0), "nothing of somebody");
    }

    function testFuzz_EveryPlaceLeadsToTheTop(uint256 count, uint256 seed, uint256 index) public view {
        count = bound(count, 1, 64);
        SumTree.Leaf[] memory leaves = grow(count, seed);
        uint8 depth = SumTree.depthOf(count);
        index = bound(index, 0, (1 << depth) - 1);
        SumTree.Leaf memory leaf;
        if (index < count) leaf = leaves[index];
        bytes memory path = SumTree.path(leaves, depth, index);
        assertTrue(leadsTo(path, depth, index, leaf, SumTree.top(leaves, depth)), "leads to the top");
    }

    function testFuzz_NothingElseDoes(uint256 count, uint256 seed, uint256 index, uint256 spoil, uint256 at)
        public
        view
    {
        count = bound(count, 1, 64);
        SumTree.Leaf[] memory leaves = grow(count, seed);
        uint8 depth = SumTree.depthOf(count);
        index = bound(index, 0, count - 1);
        SumTree.Leaf memory leaf = leaves[index];
        SumTree.Node memory top = SumTree.top(leaves, depth);
        bytes memory path = SumTree.path(leaves, depth, index);
        spoil = bound(spoil, 0, 7);
        if (spoil == 0) leaf.payee = address(uint160(leaf.payee) ^ 1);
        if (spoil == 1) leaf.cumulative ^= 1;
        if (spoil == 2) top.digest ^= bytes32(uint256(1));
        if (spoil == 3) top.sum ^= 1;
        if (spoil == 4) index ^= 1 << depth;
        if (spoil == 5) path = bytes.concat(path, hex"00");
        if (spoil == 6) path = bytes.concat(path, new bytes(48));
        if (spoil == 7) {
            if (path.length == 0) return;
            at = bound(at, 0, path.length - 1);
            path[at] ^= 0x01;
        }
        assertFalse(leadsTo(path, depth, index, leaf, top), "leads nowhere");
    }

    function testFuzz_AShorterOrLongerPathLeadsNowhere(uint256 count, uint256 seed, uint256 height) public view {
        count = bound(count, 2, 64);
        SumTree.Leaf[] memory leaves = grow(count, seed);
        uint8 depth = SumTree.depthOf(count);
        height = bound(height, 0, 32);
        if (height == depth) return;
        bytes memory path = SumTree.path(leaves, depth, 0);
        assertFalse(leadsTo(path, height, 0, leaves[0], SumTree.top(leaves, depth)), "the path has another height");
    }

    function testFuzz_Trap_AnInnerNodeIsNoLeaf(uint256 count, uint256 seed) public view {
        count = bound(count, 3, 64);
        SumTree.Leaf[] memory leaves = grow(count, seed);
        uint8 depth = SumTree.depthOf(count);
        // The node above places 0 and 1, presented as the leaf of a tree that is one lower.
        SumTree.Node memory inner = SumTree.above(SumTree.node(leaves[0]), SumTree.node(leaves[1]));
        bytes memory path = SumTree.path(leaves, depth, 0);
        bytes memory upper = new bytes(path.length - 48);
        for (uint256 i = 0; i < upper.length; ++i) {
            upper[i] = path[i + 48];
        }
        SumTree.Node memory top = SumTree.top(leaves, depth);
        assertTrue(
            tree.leadsTo(upper, depth - 1, 0, inner.digest, inner.sum, top.digest, top.sum), "the node is in the tree"
        );
        assertTrue(tree.leaf(leaves[0].payee, inner.sum) != inner.digest, "but no payee's leaf hashes to it");
    }

    /// @dev A node whose sum outgrew 16 bytes hashes as if it had wrapped: the path is refused all the same.
    function testFuzz_Trap_SumsThatOverflowAreRefused(uint128 left, uint128 right, uint128 above) public view {
        right = uint128(bound(right, uint256(type(uint128).max) - left + 1, type(uint128).max));
        if (uint256(left) + right <= type(uint128).max) return;
        uint128 wrapped;
        unchecked {
            wrapped = left + right;
        }
        SumTree.Node memory sibling = SumTree.Node(keccak256("sibling"), right);
        SumTree.Node memory leaf = SumTree.node(SumTree.Leaf(address(1), left));
        bytes32 digest = keccak256(abi.encodePacked(uint8(1), leaf.digest, leaf.sum, sibling.digest, sibling.sum));
        bytes memory path = abi.encodePacked(sibling.digest, sibling.sum);
        assertFalse(tree.leadsTo(path, 1, 0, leaf.digest, left, digest, wrapped), "wrapped at the top");
        above = uint128(bound(above, 0, type(uint128).max - wrapped));
        bytes32 higher = keccak256(abi.encodePacked(uint8(1), digest, wrapped, bytes32("other"), above));
        path = abi.encodePacked(path, bytes32("other"), above);
        assertFalse(tree.leadsTo(path, 2, 0, leaf.digest, left, higher, wrapped + above), "wrapped on the way");
    }

    function test_ATreeOfOneLeafHasNoPath() public view {
        SumTree.Leaf memory leaf = SumTree.Leaf(address(7), 9);
        SumTree.Node memory top = SumTree.node(leaf);
        assertTrue(leadsTo("", 0, 0, leaf, top), "the leaf is the root");
        assertFalse(leadsTo("", 0, 1, leaf, top), "there is one place only");
    }

    function testFuzz_DirtyIndicesAreRefused(uint256 index) public view {
        SumTree.Leaf memory leaf = SumTree.Leaf(address(7), 9);
        bytes memory path = new bytes(48);
        SumTree.Node memory top = SumTree.above(SumTree.node(leaf), SumTree.Node(0, 0));
        assertTrue(leadsTo(path, 1, 0, leaf, top), "on the left");
        index = bound(index, 2, type(uint256).max);
        assertFalse(tree.leadsTo(path, 1, index, SumTree.node(leaf).digest, 9, top.digest, 9), "beyond the tree");
    }
}
