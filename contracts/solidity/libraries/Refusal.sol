// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Errors as values
/// @notice A check that serves a single call and a batch returns the ABI-encoded custom error that it would revert
/// with, or nothing. The single call raises it, the batch reports its selector.
library Refusal {
    /// @dev Reverts with the encoded error; does nothing when there is none.
    function raise(bytes memory refusal) internal pure {
        if (refusal.length == 0) return;
        assembly ("memory-safe") {
            revert(add(refusal, 0x20), mload(refusal))
        }
    }

    /// @dev The error's selector.
    function reason(bytes memory refusal) internal pure returns (bytes4) {
        return bytes4(refusal);
    }
}
