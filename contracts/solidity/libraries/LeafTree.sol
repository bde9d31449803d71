// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IValidatorSet} from "../interfaces/IValidatorSet.sol";

/// @title The tree that validators agree on
/// @notice Leaf: keccak256(keccak256(abi.encode(leaf))), two hashes, so that a leaf (the hash of 32 bytes) can never be
/// taken for an inner node (the hash of 64). Inner node: keccak256 of both children, smaller first.
/// @dev Written in assembly because a proof for a large fleet is mostly this loop; the tests compare it with a plain
/// implementation.
library LeafTree {
    /// @dev Bytes of an encoded leaf: eleven words, all static, so that its calldata is its encoding.
    uint256 private constant _LEAF_BYTES = 11 * 32;

    /// @dev Reads the calldata as it is: a leaf with set padding bits hashes to something that nobody agreed on.
    function hash(IValidatorSet.Leaf calldata leaf) internal pure returns (bytes32 digest) {
        uint256 length = _LEAF_BYTES;
        assembly ("memory-safe") {
            let free := mload(0x40)
            calldatacopy(free, leaf, length)
            mstore(0x00, keccak256(free, length))
            digest := keccak256(0x00, 0x20)
        }
    }

    /// @dev Whether `path` leads from the leaf's digest to `root`.
    function leadsTo(bytes32[] calldata path, bytes32 root, bytes32 digest) internal pure returns (bool) {
        assembly ("memory-safe") {
            let end := add(path.offset, shl(5, path.length))
            for { let at := path.offset } lt(at, end) { at := add(at, 0x20) } {
                let sibling := calldataload(at)
                // The smaller of the two goes to 0x00, the other to 0x20.
                let place := shl(5, gt(digest, sibling))
                mstore(place, digest)
                mstore(xor(place, 0x20), sibling)
                digest := keccak256(0x00, 0x40)
            }
        }
        return digest == root;
    }
}
