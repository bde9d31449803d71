// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @dev The Merkle-sum tree as orchestrators build it, without assembly: what the contract checks is compared with it.
library SumTree {
    struct Leaf {
        address payee;
        uint128 cumulative;
    }

    struct Node {
        bytes32 digest;
        uint128 sum;
    }

    function node(Leaf memory leaf) internal pure returns (Node memory) {
        if (leaf.payee == address(0) && leaf.cumulative == 0) return Node(bytes32(0), 0);
        return Node(keccak256(abi.encodePacked(uint8(0), leaf.payee, leaf.cumulative)), leaf.cumulative);
    }

    function above(Node memory left, Node memory right) internal pure returns (Node memory) {
        bytes32 digest = keccak256(abi.encodePacked(uint8(1), left.digest, left.sum, right.digest, right.sum));
        return Node(digest, left.sum + right.sum);
    }

    /// @dev The least height at which all leaves have a place.
    function depthOf(uint256 leaves) internal pure returns (uint8 depth) {
        while (1 << depth < leaves) ++depth;
    }

    function bottom(Leaf[] memory leaves, uint8 depth) internal pure returns (Node[] memory level) {
        level = new Node[](1 << depth);
        for (uint256 i = 0; i < leaves.length; ++i) {
            level[i] = node(leaves[i]);
        }
    }

    function next(Node[] memory level) internal pure returns (Node[] memory upper) {
        upper = new Node[](level.length / 2);
        for (uint256 i = 0; i < upper.length; ++i) {
            upper[i] = above(level[2 * i], level[2 * i + 1]);
        }
    }

    function top(Leaf[] memory leaves, uint8 depth) internal pure returns (Node memory) {
        Node[] memory level = bottom(leaves, depth);
        while (level.length > 1) level = next(level);
        return level[0];
    }

    function path(Leaf[] memory leaves, uint8 depth, uint256 index) internal pure returns (bytes memory elements) {
        Node[] memory level = bottom(leaves, depth);
        while (level.length > 1) {
            Node memory sibling = level[index ^ 1];
            elements = bytes.concat(elements, sibling.digest, bytes16(sibling.sum));
            level = next(level);
            index /= 2;
        }
    }

    /// @dev Where a path leads, read without assembly; false when it is no path of this height for this place.
    function leadsTo(bytes memory elements, uint256 depth, uint256 index, Leaf memory leaf, Node memory root)
        internal
        pure
        returns (bool)
    {
        if (elements.length != depth * 48 || index >= 1 << depth) return false;
        Node memory at = node(leaf);
        for (uint256 i = 0; i < depth; ++i) {
            Node memory sibling = Node(bytes32(slice(elements, i * 48)), uint128(bytes16(slice(elements, i * 48 + 32))));
            if (uint256(at.sum) + sibling.sum > type(uint128).max) return false;
            at = index & 1 == 0 ? above(at, sibling) : above(sibling, at);
            index /= 2;
        }
        return at.digest == root.digest && at.sum == root.sum;
    }

    function slice(bytes memory data, uint256 at) private pure returns (bytes32 word) {
        for (uint256 i = 0; i < 32 && at + i < data.length; ++i) {
            word |= bytes32(data[at + i]) >> (8 * i);
        }
    }
}
