// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IComputePools} from "../../../solidity/interfaces/IComputePools.sol";
import {Vm} from "../../base/Vm.sol";

/// @dev Pools and memberships as events tell them.
abstract contract PoolsShadow {
    error CounterWentWrong(uint64 poolId, address node, uint64 before, uint64 event_);
    error UnknownPoolEvent(bytes32 topic);

    struct Membership {
        IComputePools.MembershipState state;
        uint64 joinCounter;
        uint48 registration;
    }

    mapping(uint64 poolId => mapping(address node => Membership)) private _memberships;
    mapping(uint64 poolId => mapping(address provider => bool)) public isBanned;
    mapping(uint64 poolId => mapping(address provider => bool)) public isApproved;
    mapping(uint64 poolId => uint32) public memberCount;
    mapping(uint64 poolId => bool) public hasEnded;

    function membershipOf(uint64 poolId, address node) external view returns (Membership memory) {
        return _memberships[poolId][node];
    }

    function _followPools(Vm.Log calldata log) internal {
        bytes32 name = log.topics[0];
        uint64 poolId = uint64(uint256(log.topics[1]));
        if (name == IComputePools.PoolEnded.selector) hasEnded[poolId] = true;
        if (
            name == IComputePools.PoolCreated.selector || name == IComputePools.PoolStarted.selector
                || name == IComputePools.PoolEnded.selector || name == IComputePools.JoinFailed.selector
                || name == IComputePools.NodeAlreadyMember.selector
        ) return;
        address subject = address(uint160(uint256(log.topics[2])));
        if (name == IComputePools.PoolApprovalChanged.selector) {
            isApproved[poolId][subject] = abi.decode(log.data, (bool));
        } else if (name == IComputePools.ProviderBanned.selector) {
            isBanned[poolId][subject] = true;
        } else if (name == IComputePools.ProviderUnbanned.selector) {
            isBanned[poolId][subject] = false;
        } else if (name == IComputePools.NodeJoined.selector) {
            (uint64 counter, uint48 registration) = abi.decode(log.data, (uint64, uint48));
            Membership storage membership = _memberships[poolId][subject];
            if (counter != membership.joinCounter + 1) {
                revert CounterWentWrong(poolId, subject, membership.joinCounter, counter);
            }
            membership.joinCounter = counter;
            membership.registration = registration;
            _enter(poolId, subject, IComputePools.MembershipState.Member);
        } else if (name == IComputePools.NodeLeft.selector) {
            _enter(poolId, subject, IComputePools.MembershipState.Left);
        } else if (name == IComputePools.NodeEjected.selector) {
            _enter(poolId, subject, IComputePools.MembershipState.Ejected);
        } else if (name == IComputePools.NodeBanned.selector) {
            _enter(poolId, subject, IComputePools.MembershipState.Banned);
        } else if (name == IComputePools.NodeUnbanned.selector) {
            bool everJoined = _memberships[poolId][subject].joinCounter != 0;
            _enter(
                poolId, subject, everJoined ? IComputePools.MembershipState.Ejected : IComputePools.MembershipState.None
            );
        } else {
            revert UnknownPoolEvent(name);
        }
    }

    function _enter(uint64 poolId, address node, IComputePools.MembershipState state) private {
        Membership storage membership = _memberships[poolId][node];
        if (membership.state == IComputePools.MembershipState.Member) --memberCount[poolId];
        membership.state = state;
        if (state == IComputePools.MembershipState.Member) ++memberCount[poolId];
    }
}
