// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IComputePools} from "../interfaces/IComputePools.sol";

/// @dev A membership in one word, read and written at once: state (8 bits), joinCounter (64), joinedAt (64),
/// registration (48).
type MembershipSlot is uint256;

using MembershipSlots for MembershipSlot global;

library MembershipSlots {
    function pack(IComputePools.MembershipState state_, uint64 joinCounter_, uint64 joinedAt_, uint48 registration_)
        internal
        pure
        returns (MembershipSlot)
    {
        return MembershipSlot.wrap(
            uint256(state_) | uint256(joinCounter_) << 8 | uint256(joinedAt_) << 72 | uint256(registration_) << 136
        );
    }

    /// @dev The same membership in another state.
    function withState(MembershipSlot slot, IComputePools.MembershipState state_)
        internal
        pure
        returns (MembershipSlot)
    {
        return MembershipSlot.wrap(MembershipSlot.unwrap(slot) >> 8 << 8 | uint256(state_));
    }

    function state(MembershipSlot slot) internal pure returns (IComputePools.MembershipState) {
        return IComputePools.MembershipState(uint8(MembershipSlot.unwrap(slot)));
    }

    function joinCounter(MembershipSlot slot) internal pure returns (uint64) {
        return uint64(MembershipSlot.unwrap(slot) >> 8);
    }

    function joinedAt(MembershipSlot slot) internal pure returns (uint64) {
        return uint64(MembershipSlot.unwrap(slot) >> 72);
    }

    function registration(MembershipSlot slot) internal pure returns (uint48) {
        return uint48(MembershipSlot.unwrap(slot) >> 136);
    }
}
