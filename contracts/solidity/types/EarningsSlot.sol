// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @dev What a payee has had from a pool, in one word, read and written at once: paid (128 bits), and the part of it that
/// was redeemed and that no claim has covered yet (128).
type EarningsSlot is uint256;

using EarningsSlots for EarningsSlot global;

library EarningsSlots {
    function pack(uint128 paid_, uint128 ahead_) internal pure returns (EarningsSlot) {
        return EarningsSlot.wrap(uint256(paid_) | uint256(ahead_) << 128);
    }

    function paid(EarningsSlot slot) internal pure returns (uint128) {
        return uint128(EarningsSlot.unwrap(slot));
    }

    function ahead(EarningsSlot slot) internal pure returns (uint128) {
        return uint128(EarningsSlot.unwrap(slot) >> 128);
    }
}
