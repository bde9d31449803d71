// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @dev What every claim of a pool reads and writes, in one word: the reward token (160 bits) and what roots promise
/// and claims have not used yet (96).
type VaultSlot is uint256;

using VaultSlots for VaultSlot global;

library VaultSlots {
    function pack(address token_, uint96 promised_) internal pure returns (VaultSlot) {
        return VaultSlot.wrap(uint256(uint160(token_)) | uint256(promised_) << 160);
    }

    function token(VaultSlot slot) internal pure returns (address) {
        return address(uint160(VaultSlot.unwrap(slot)));
    }

    function promised(VaultSlot slot) internal pure returns (uint96) {
        return uint96(VaultSlot.unwrap(slot) >> 160);
    }
}
