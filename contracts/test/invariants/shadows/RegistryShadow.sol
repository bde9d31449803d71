// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IComputeRegistry} from "../../../solidity/interfaces/IComputeRegistry.sol";
import {Vm} from "../../base/Vm.sol";

/// @dev Providers, stakes and nodes as events tell them.
abstract contract RegistryShadow {
    error RegistrationWentWrong(address node, uint48 before, uint48 event_);
    error UnknownEvent(bytes32 topic);

    struct Node {
        address provider;
        uint32 units;
        uint48 registration;
    }

    mapping(address provider => uint256) public stakes;
    mapping(address provider => uint256) public unbonding;
    mapping(address provider => uint256) public locked;
    mapping(address provider => uint256) public units;
    /// @dev Everything that was ever taken from a provider.
    mapping(address provider => uint256) public slashed;
    mapping(address node => Node) private _nodes;

    function nodeOf(address node) external view returns (Node memory) {
        return _nodes[node];
    }

    /// @dev Whether the provider's stake covers its units.
    function isCovered(address provider, uint256 minStakePerUnit) external view returns (bool) {
        return stakes[provider] >= units[provider] * minStakePerUnit;
    }

    function _followRegistry(Vm.Log calldata log) internal {
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
            units[subject] -= node.units;
            node.provider = address(0);
            node.units = 0;
        } else {
            _followStakeHeld(name, subject, log);
        }
    }

    function _followStakeHeld(bytes32 name, address subject, Vm.Log calldata log) private {
        if (name == IComputeRegistry.StakeLocked.selector) {
            (uint256 amount,) = abi.decode(log.data, (uint256, uint256));
            locked[subject] += amount;
        } else if (name == IComputeRegistry.StakeUnlocked.selector) {
            (uint256 amount,) = abi.decode(log.data, (uint256, uint256));
            locked[subject] -= amount;
        } else if (name == IComputeRegistry.Slashed.selector) {
            (uint256 amount,,) = abi.decode(log.data, (uint256, uint256, uint256));
            uint256 fromStake = amount < stakes[subject] ? amount : stakes[subject];
            stakes[subject] -= fromStake;
            unbonding[subject] -= amount - fromStake;
            slashed[subject] += amount;
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
        (uint32 added, uint48 registration) = abi.decode(log.data, (uint32, uint48));
        uint48 before = _nodes[node].registration;
        if (registration != before + 1) revert RegistrationWentWrong(node, before, registration);
        _nodes[node] = Node(provider, added, registration);
        units[provider] += added;
    }
}
