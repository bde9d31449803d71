// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {ProviderStakes} from "./ProviderStakes.sol";
import {IComputeRegistry} from "./interfaces/IComputeRegistry.sol";
import {Refusal} from "./libraries/Refusal.sol";
import {Signature} from "./libraries/Signature.sol";
import {NodeSlot, NodeSlots} from "./types/NodeSlot.sol";

/// @title Providers, their stake and their nodes
/// @dev Invariants, beside those of ProviderStakes: a provider's units are the sum of its nodes' units; a node's
/// registration number only grows, by one with every add. Nothing is enumerated and no call loops over storage.
contract ComputeRegistry is ProviderStakes, EIP712 {
    using Refusal for bytes;

    bytes32 private constant _CONSENT_TYPEHASH =
        keccak256("NodeConsent(address node,address provider,uint256 nonce,uint256 deadline)");
    bytes32 private constant _AUTHORIZATION_TYPEHASH =
        keccak256("NodeAuthorization(address provider,address node,uint32 units,uint256 nonce,uint256 deadline)");

    mapping(address node => NodeSlot) private _nodes;

    /// @param token_ the ERC-20 that is staked
    /// @param minStakePerUnit_ tokens per unit, in the token's smallest unit
    /// @param unbondingDelay_ seconds
    constructor(address token_, uint256 minStakePerUnit_, uint256 unbondingDelay_)
        ProviderStakes(token_, minStakePerUnit_, unbondingDelay_)
        EIP712("Lode ComputeRegistry", "1")
    {}

    /// @inheritdoc IComputeRegistry
    function addNode(NodeConsent calldata consent, uint32 units, bytes calldata nodeSignature) external {
        if (consent.provider != msg.sender) revert WrongProvider(msg.sender, consent.provider);
        ProviderRecord storage record = _providers[msg.sender];
        _stakeRefusal(record, msg.sender, consent.node, units).raise();
        NodeSlot slot = _nodes[consent.node];
        _consentRefusal(slot, msg.sender, consent.node, consent.nonce, consent.deadline, nodeSignature).raise();
        _add(slot, record, msg.sender, consent.node, units);
    }

    /// @inheritdoc IComputeRegistry
    function addNodes(AuthorizedNode[] calldata items) external {
        for (uint256 i = 0; i < items.length; ++i) {
            AuthorizedNode calldata item = items[i];
            address provider = item.provider;
            address node = item.node;
            uint32 units = item.units;
            NodeSlot slot = _nodes[node];
            ProviderRecord storage record = _providers[provider];
            bytes memory refusal = _authorizationRefusal(slot, record, item, provider, node, units);
            if (refusal.length == 0) _add(slot, record, provider, node, units);
            else emit NodeAddFailed(provider, node, refusal.reason());
        }
    }

    /// @inheritdoc IComputeRegistry
    function replaceNode(address oldNode, NodeConsent calldata consent, bytes calldata newNodeSignature) external {
        if (consent.provider != msg.sender) revert WrongProvider(msg.sender, consent.provider);
        NodeSlot slot = _nodes[consent.node];
        _consentRefusal(slot, msg.sender, consent.node, consent.nonce, consent.deadline, newNodeSignature).raise();
        uint32 units = _remove(msg.sender, oldNode);
        _add(slot, _providers[msg.sender], msg.sender, consent.node, units);
        emit NodeReplaced(msg.sender, oldNode, consent.node);
    }

    /// @inheritdoc IComputeRegistry
    function removeNode(address node) external {
        _remove(msg.sender, node);
    }

    /// @inheritdoc IComputeRegistry
    function revokeAuthorizations() external {
        ProviderRecord storage record = _providers[msg.sender];
        if (record.registeredAt == 0) revert ProviderNotRegistered(msg.sender);
        uint40 epoch = record.authorizationEpoch + 1;
        record.authorizationEpoch = epoch;
        emit AuthorizationsRevoked(msg.sender, epoch);
    }

    /// @inheritdoc IComputeRegistry
    function nodeOf(address node) public view returns (Node memory) {
        NodeSlot slot = _nodes[node];
        return Node({provider: slot.provider(), units: slot.units(), registration: slot.registration()});
    }

    /// @inheritdoc IComputeRegistry
    function nodesOf(address[] calldata nodes) external view returns (Node[] memory records) {
        records = new Node[](nodes.length);
        for (uint256 i = 0; i < nodes.length; ++i) {
            records[i] = nodeOf(nodes[i]);
        }
    }

    /// @inheritdoc IComputeRegistry
    function isEligible(address node) external view returns (bool eligible) {
        (,, eligible) = standingOf(node);
    }

    /// @inheritdoc IComputeRegistry
    function standingOf(address node) public view returns (address provider, uint48 registration, bool eligible) {
        NodeSlot slot = _nodes[node];
        provider = slot.provider();
        if (provider == address(0)) return (address(0), 0, false);
        ProviderRecord storage owner = _providers[provider];
        return (provider, slot.registration(), owner.stake >= _requiredStake(owner.units));
    }

    /// @inheritdoc IComputeRegistry
    function registrationOf(address node) external view returns (uint48) {
        NodeSlot slot = _nodes[node];
        return slot.provider() == address(0) ? 0 : slot.registration();
    }

    /// @inheritdoc IComputeRegistry
    function consentNonce(address node) external view returns (uint256) {
        return _nodes[node].registration();
    }

    /// @inheritdoc IComputeRegistry
    function authorizationNonce(address provider, address node) external view returns (uint256) {
        return _authorizationNonce(_providers[provider].authorizationEpoch, _nodes[node].registration());
    }

    /// @param slot the node's record as it stands; nobody may hold it
    function _add(NodeSlot slot, ProviderRecord storage record, address provider, address node, uint32 units) private {
        uint48 registration = slot.registration() + 1;
        _nodes[node] = NodeSlots.pack(provider, units, registration);
        record.units += units;
        emit NodeAdded(provider, node, units, registration);
    }

    /// @dev Leaves nothing but the registration number, which is what keeps used consents used.
    function _remove(address provider, address node) private returns (uint32 units) {
        NodeSlot slot = _nodes[node];
        address holder = slot.provider();
        if (holder == address(0) || holder != provider) revert NotNodeProvider(node, holder, provider);
        units = slot.units();
        uint48 registration = slot.registration();
        _nodes[node] = NodeSlots.pack(address(0), 0, registration);
        _providers[provider].units -= units;
        emit NodeRemoved(provider, node, registration);
    }

    function _authorizationRefusal(
        NodeSlot slot,
        ProviderRecord storage record,
        AuthorizedNode calldata item,
        address provider,
        address node,
        uint32 units
    ) private view returns (bytes memory refusal) {
        uint256 deadline = item.authorizationDeadline;
        if (block.timestamp > deadline) return abi.encodeWithSelector(SignatureExpired.selector, deadline);
        refusal = _stakeRefusal(record, provider, node, units);
        if (refusal.length != 0) return refusal;
        refusal = _consentRefusal(slot, provider, node, item.consentNonce, item.consentDeadline, item.consentSignature);
        if (refusal.length != 0) return refusal;
        uint256 nonce = item.authorizationNonce;
        uint256 expected = _authorizationNonce(record.authorizationEpoch, slot.registration());
        if (nonce != expected) {
            return abi.encodeWithSelector(WrongAuthorizationNonce.selector, provider, expected, nonce);
        }
        bytes32 digest =
            _hashTypedDataV4(keccak256(abi.encode(_AUTHORIZATION_TYPEHASH, provider, node, units, nonce, deadline)));
        if (!Signature.isBy(provider, digest, item.authorizationSignature)) {
            return abi.encodeWithSelector(InvalidAuthorizationSignature.selector, provider);
        }
    }

    /// @dev Whether the provider's stake covers `units` more.
    function _stakeRefusal(ProviderRecord storage record, address provider, address node, uint32 units)
        private
        view
        returns (bytes memory refusal)
    {
        if (units == 0) return abi.encodeWithSelector(ZeroUnits.selector, node);
        if (record.registeredAt == 0) return abi.encodeWithSelector(ProviderNotRegistered.selector, provider);
        uint256 required = _requiredStake(uint256(record.units) + units);
        if (record.stake < required) {
            return abi.encodeWithSelector(InsufficientStake.selector, provider, record.stake, required);
        }
    }

    /// @dev Whether the node is free and agrees to serve the provider.
    function _consentRefusal(
        NodeSlot slot,
        address provider,
        address node,
        uint256 nonce,
        uint256 deadline,
        bytes calldata signature
    ) private view returns (bytes memory refusal) {
        if (block.timestamp > deadline) {
            return abi.encodeWithSelector(SignatureExpired.selector, deadline);
        }
        if (slot.provider() != address(0)) {
            return abi.encodeWithSelector(NodeAlreadyRegistered.selector, node, slot.provider());
        }
        if (nonce != slot.registration()) {
            return abi.encodeWithSelector(WrongConsentNonce.selector, node, slot.registration(), nonce);
        }
        bytes32 digest = _hashTypedDataV4(keccak256(abi.encode(_CONSENT_TYPEHASH, node, provider, nonce, deadline)));
        if (!Signature.isBy(node, digest, signature)) {
            return abi.encodeWithSelector(InvalidConsentSignature.selector, node);
        }
    }

    function _authorizationNonce(uint40 authorizationEpoch, uint48 registration) private pure returns (uint256) {
        return (uint256(authorizationEpoch) << 48) | registration;
    }
}
