// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IValidatorSet} from "../interfaces/IValidatorSet.sol";

/// @dev A node's latest leaf in one word, read and written at once: classId (32 bits), gpuCount (16), vramGib (32),
/// walkScore (16), gemmScore (16), provenEpoch (48), expiryEpoch (48), registration (48).
type ProvenSlot is uint256;

using ProvenSlots for ProvenSlot global;

library ProvenSlots {
    /// @dev The epochs must fit 48 bits: the caller checks them against epochs that time has reached.
    function pack(IValidatorSet.Leaf calldata leaf, uint64 epoch, uint48 registration_)
        internal
        pure
        returns (ProvenSlot)
    {
        return ProvenSlot.wrap(
            uint256(leaf.classId) | uint256(leaf.gpuCount) << 32 | uint256(leaf.vramGib) << 48 | uint256(leaf.walkScore)
                << 80 | uint256(leaf.gemmScore) << 96 | uint256(epoch) << 112 | uint256(leaf.expiryEpoch) << 160
                | uint256(registration_) << 208
        );
    }

    /// @dev Nothing is proven; the epoch stays, so that older leaves stay older.
    function packFailure(uint64 epoch, uint48 registration_) internal pure returns (ProvenSlot) {
        return ProvenSlot.wrap(uint256(epoch) << 112 | uint256(registration_) << 208);
    }

    function classId(ProvenSlot slot) internal pure returns (uint32) {
        return uint32(ProvenSlot.unwrap(slot));
    }

    function gpuCount(ProvenSlot slot) internal pure returns (uint16) {
        return uint16(ProvenSlot.unwrap(slot) >> 32);
    }

    function vramGib(ProvenSlot slot) internal pure returns (uint32) {
        return uint32(ProvenSlot.unwrap(slot) >> 48);
    }

    function walkScore(ProvenSlot slot) internal pure returns (uint16) {
        return uint16(ProvenSlot.unwrap(slot) >> 80);
    }

    function gemmScore(ProvenSlot slot) internal pure returns (uint16) {
        return uint16(ProvenSlot.unwrap(slot) >> 96);
    }

    function provenEpoch(ProvenSlot slot) internal pure returns (uint48) {
        return uint48(ProvenSlot.unwrap(slot) >> 112);
    }

    function expiryEpoch(ProvenSlot slot) internal pure returns (uint48) {
        return uint48(ProvenSlot.unwrap(slot) >> 160);
    }

    function registration(ProvenSlot slot) internal pure returns (uint48) {
        return uint48(ProvenSlot.unwrap(slot) >> 208);
    }
}
