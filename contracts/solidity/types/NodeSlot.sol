// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @dev A node's record in one word, read and written at once: provider (160 bits), units (32), registration (48).
type NodeSlot is uint256;

using NodeSlots for NodeSlot global;

library NodeSlots {
    function pack(address provider_, uint32 units_, uint48 registration_) internal pure returns (NodeSlot) {
        return NodeSlot.wrap(uint256(uint160(provider_)) | uint256(units_) << 160 | uint256(registration_) << 192);
    }

    function provider(NodeSlot slot) internal pure returns (address) {
        return address(uint160(NodeSlot.unwrap(slot)));
    }

    function units(NodeSlot slot) internal pure returns (uint32) {
        return uint32(NodeSlot.unwrap(slot) >> 160);
    }

    function registration(NodeSlot slot) internal pure returns (uint48) {
        return uint48(NodeSlot.unwrap(slot) >> 192);
    }
}
