// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title The Merkle-sum tree of what payees have earned
/// @notice Leaf: keccak256(0x00 ‖ payee ‖ cumulative); an empty place is the zero hash with sum zero. Inner node:
/// keccak256(0x01 ‖ left hash ‖ left sum ‖ right hash ‖ right sum). The first byte keeps a leaf from being taken for
/// an inner node, so that a path has one reading only.
/// @dev Written in assembly because a claim is mostly this loop; the tests compare it with a plain implementation.
library EarningsTree {
    /// @dev Sibling hash (32 bytes) and sibling sum (16 bytes).
    uint256 internal constant ELEMENT_BYTES = 48;

    /// @dev The digest of a place in the tree: of nobody with nothing, it is the empty place.
    function leaf(address payee, uint128 cumulative) internal pure returns (bytes32 digest) {
        if (payee == address(0) && cumulative == 0) return bytes32(0);
        assembly ("memory-safe") {
            // The first shift drops whatever stands above an address, the second leaves the zero byte before it.
            mstore(0x00, shr(8, shl(96, payee)))
            mstore(0x15, shl(128, cumulative))
            digest := keccak256(0x00, 0x25)
        }
    }

    /// @dev Whether `path` leads from the place `index`, with `digest` and `sum`, to the root and its total.
    function leadsTo(
        bytes calldata path,
        uint256 depth,
        uint256 index,
        bytes32 digest,
        uint256 sum,
        bytes32 root,
        uint256 total
    ) internal pure returns (bool) {
        if (path.length != depth * ELEMENT_BYTES || index >> depth != 0) return false;
        assembly ("memory-safe") {
            // Beyond the free memory pointer: 0x01 ‖ left hash ‖ left sum ‖ right hash ‖ right sum.
            let node := mload(0x40)
            mstore8(node, 1)
            let left := add(node, 1)
            // Our half and the sibling's: each is where the other is not.
            let halves := add(left, add(left, 48))
            let end := add(path.offset, path.length)
            for { let at := path.offset } lt(at, end) { at := add(at, 48) } {
                // Right where the index is odd.
                let ours := add(left, mul(48, and(index, 1)))
                // The sum's upper half falls on the hash's place, which is written next.
                mstore(add(ours, 16), sum)
                mstore(ours, digest)
                calldatacopy(sub(halves, ours), at, 48)
                digest := keccak256(node, 97)
                // Sums grow in 256 bits: one that outgrew its 16 bytes never meets `total` again.
                sum := add(sum, shr(128, calldataload(add(at, 32))))
                index := shr(1, index)
            }
        }
        return digest == root && sum == total;
    }
}
