// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IComputePools} from "../../solidity/interfaces/IComputePools.sol";
import {IComputeRegistry} from "../../solidity/interfaces/IComputeRegistry.sol";
import {IValidatorSet} from "../../solidity/interfaces/IValidatorSet.sol";
import {Vm} from "../base/Vm.sol";

/// @dev The state as events alone tell it, kept the way a follower off chain keeps it: it never reads a contract.
contract Shadow {
    error CounterWentWrong(uint64 poolId, address node, uint64 before, uint64 event_);
    error RegistrationWentWrong(address node, uint48 before, uint48 event_);
    error SecondRoot(uint64 epoch);
    error UnknownEvent(bytes32 topic);

    struct Membership {
        IComputePools.MembershipState state;
        uint64 joinCounter;
        uint48 registration;
    }

    struct Node {
        address provider;
        uint32 units;
        uint48 registration;
    }

    address private immutable _registry;
    address private immutable _pools;
    address private immutable _validators;

    mapping(address provider => uint256) public stakes;
    mapping(address provider => uint256) public unbonding;
    mapping(address node => Node) private _nodes;
    mapping(uint64 poolId => mapping(address node => Membership)) private _memberships;
    mapping(uint64 poolId => mapping(address provider => bool)) public isBanned;
    mapping(uint64 poolId => uint32) public memberCount;
    mapping(uint64 poolId => bool) public hasEnded;
    mapping(address validator => uint256) public validatorStakes;
    mapping(uint64 epoch => bytes32) public roots;

    constructor(address registry, address pools, address validators) {
        _registry = registry;
        _pools = pools;
        _validators = validators;
    }

    function nodeOf(address node) external view returns (Node memory) {
        return _nodes[node];
    }

    function membershipOf(uint64 poolId, address node) external view returns (Membership memory) {
        return _memberships[poolId][node];
    }

    function follow(Vm.Log[] calldata logs) external {
        for (uint256 i = 0; i < logs.length; ++i) {
            if (logs[i].emitter == _registry) _followRegistry(logs[i]);
            else if (logs[i].emitter == _pools) _followPools(logs[i]);
            else if (logs[i].emitter == _validators) _followValidators(logs[i]);
        }
    }

    function _followRegistry(Vm.Log calldata log) private {
        bytes32 name = log.topics[0];
        address subject = address(uint160(uint256(log.topics[1])));
        if (name == IComputeRegistry.Staked.selector) {
            (uint256 amount,) = abi.decode(log.data, (uint256, uint256));
            stakes[subject] += amount;
        } else if (name == IComputeRegistry.UnstakeRequested.selector) {
            (uint256 amount,,) = abi.decode(log.data, (uint256, uint256, uint256));
            stakes[subject] -= amount;
            unbonding[subject] += amount;
        } else if (name == IComputeRegistry.Withdrawn.selector) {
            unbonding[subject] -= abi.decode(log.data, (uint256));
        } else if (name == IComputeRegistry.NodeAdded.selector) {
            _followNodeAdded(subject, log);
        } else if (name == IComputeRegistry.NodeRemoved.selector) {
            Node storage node = _nodes[address(uint160(uint256(log.topics[2])))];
            node.provider = address(0);
            node.units = 0;
        } else if (
            name != IComputeRegistry.ProviderRegistered.selector && name != IComputeRegistry.NodeReplaced.selector
                && name != IComputeRegistry.NodeAddFailed.selector
                && name != IComputeRegistry.AuthorizationsRevoked.selector
        ) {
            revert UnknownEvent(name);
        }
    }

    function _followNodeAdded(address provider, Vm.Log calldata log) private {
        address node = address(uint160(uint256(log.topics[2])));
        (uint32 units, uint48 registration) = abi.decode(log.data, (uint32, uint48));
        uint48 before = _nodes[node].registration;
        if (registration != before + 1) revert RegistrationWentWrong(node, before, registration);
        _nodes[node] = Node(provider, units, registration);
    }

    function _followPools(Vm.Log calldata log) private {
        bytes32 name = log.topics[0];
        uint64 poolId = uint64(uint256(log.topics[1]));
        if (name == IComputePools.PoolEnded.selector) hasEnded[poolId] = true;
        if (
            name == IComputePools.PoolCreated.selector || name == IComputePools.PoolStarted.selector
                || name == IComputePools.PoolEnded.selector || name == IComputePools.JoinFailed.selector
                || name == IComputePools.NodeAlreadyMember.selector
        ) return;
        address subject = address(uint160(uint256(log.topics[2])));
        if (name == IComputePools.ProviderBanned.selector) {
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
            revert UnknownEvent(name);
        }
    }

    function _enter(uint64 poolId, address node, IComputePools.MembershipState state) private {
        Membership storage membership = _memberships[poolId][node];
        if (membership.state == IComputePools.MembershipState.Member) --memberCount[poolId];
        membership.state = state;
        if (state == IComputePools.MembershipState.Member) ++memberCount[poolId];
    }

    function _followValidators(Vm.Log calldata log) private {
        bytes32 name = log.topics[0];
        if (name == IValidatorSet.RootAccepted.selector) {
            uint64 epoch = uint64(uint256(log.topics[1]));
            if (roots[epoch] != 0) revert SecondRoot(epoch);
            roots[epoch] = log.topics[2];
            return;
        }
        address subject = address(uint160(uint256(log.topics[1])));
        if (name == IValidatorSet.ValidatorRegistered.selector) {
            (uint256 amount,,) = abi.decode(log.data, (uint256, uint64, string));
            validatorStakes[subject] += amount;
        } else if (name == IValidatorSet.ValidatorStaked.selector) {
            (uint256 amount,,) = abi.decode(log.data, (uint256, uint256, uint64));
            validatorStakes[subject] += amount;
        } else if (name == IValidatorSet.Withdrawn.selector) {
            validatorStakes[subject] -= abi.decode(log.data, (uint256));
        }
    }
}
