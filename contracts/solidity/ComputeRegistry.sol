// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {StakeVault} from "./StakeVault.sol";
import {IComputeRegistry} from "./interfaces/IComputeRegistry.sol";
import {Refusal} from "./libraries/Refusal.sol";
import {Signature} from "./libraries/Signature.sol";
import {NodeSlot, NodeSlots} from "./types/NodeSlot.sol";

/// @title Providers, their stake and their nodes
/// @dev Invariants: the vault holds Σ stake + Σ unbonding; a provider's units are the sum of its nodes' units; a
/// node's registration number only grows, by one with every add. Nothing is enumerated and no call loops over storage.
contract ComputeRegistry is IComputeRegistry, StakeVault, EIP712 {
    using Refusal for bytes;
    using SafeCast for uint256;

    /// @dev One slot.
    struct ProviderRecord {
        uint128 stake;
        uint48 units;
        uint40 registeredAt;
        uint40 authorizationEpoch;
    }

    /// @dev One slot, apart from the record because few calls need it.
    struct UnbondingRecord {
        uint128 amount;
        uint64 releaseAt;
    }

    /// @notice Longest unbonding delay that can be configured, seconds.
    uint256 public constant MAX_UNBONDING_DELAY = 365 days;

    bytes32 private constant _CONSENT_TYPEHASH =
        keccak256("NodeConsent(address node,address provider,uint256 nonce,uint256 deadline)");
    bytes32 private constant _AUTHORIZATION_TYPEHASH =
        keccak256("NodeAuthorization(address provider,address node,uint32 units,uint256 nonce,uint256 deadline)");

    uint128 private immutable _minStakePerUnit;
    uint64 private immutable _unbondingDelay;

    mapping(address provider => ProviderRecord) private _providers;
    mapping(address provider => UnbondingRecord) private _unbonding;
    mapping(address node => NodeSlot) private _nodes;

    /// @param token_ the ERC-20 that is staked
    /// @param minStakePerUnit_ tokens per unit, in the token's smallest unit
    /// @param unbondingDelay_ seconds
    constructor(address token_, uint256 minStakePerUnit_, uint256 unbondingDelay_)
        StakeVault(token_)
        EIP712("Lode ComputeRegistry", "1")
    {
        if (minStakePerUnit_ == 0 || minStakePerUnit_ > type(uint128).max) {
            revert InvalidMinimumStake(minStakePerUnit_);
        }
        if (unbondingDelay_ == 0 || unbondingDelay_ > MAX_UNBONDING_DELAY) {
            revert InvalidUnbondingDelay(unbondingDelay_, MAX_UNBONDING_DELAY);
        }
        _minStakePerUnit = uint128(minStakePerUnit_);
        _unbondingDelay = uint64(unbondingDelay_);
    }

    /// @inheritdoc IComputeRegistry
    function registerProvider(uint256 amount, uint256 deadline, uint8 v, bytes32 r, bytes32 s) external {
        ProviderRecord storage record = _providers[msg.sender];
        if (record.registeredAt != 0) revert ProviderAlreadyRegistered(msg.sender);
        if (amount == 0) revert ZeroAmount();
        record.stake = amount.toUint128();
        record.registeredAt = uint40(block.timestamp);
        emit ProviderRegistered(msg.sender);
        emit Staked(msg.sender, amount, amount);
        _pullWithPermit(msg.sender, amount, deadline, v, r, s);
    }

    /// @inheritdoc IComputeRegistry
    function stake(uint256 amount) external {
        ProviderRecord storage record = _providers[msg.sender];
        if (record.registeredAt == 0) revert ProviderNotRegistered(msg.sender);
        if (amount == 0) revert ZeroAmount();
        uint256 total = record.stake + amount;
        record.stake = total.toUint128();
        emit Staked(msg.sender, amount, total);
        _pull(msg.sender, amount);
    }

    /// @inheritdoc IComputeRegistry
    function requestUnstake(uint256 amount) external {
        ProviderRecord storage record = _providers[msg.sender];
        if (record.registeredAt == 0) revert ProviderNotRegistered(msg.sender);
        if (amount == 0) revert ZeroAmount();
        uint256 staked = record.stake;
        uint256 required = _requiredStake(record.units);
        if (staked < required || amount > staked - required) {
            revert InsufficientStake(msg.sender, staked > amount ? staked - amount : 0, required);
        }
        record.stake = uint128(staked - amount);
        UnbondingRecord storage unbonding = _unbonding[msg.sender];
        uint256 total = unbonding.amount + amount;
        uint256 releaseAt = block.timestamp + _unbondingDelay;
        unbonding.amount = total.toUint128();
        unbonding.releaseAt = uint64(releaseAt);
        emit UnstakeRequested(msg.sender, amount, total, releaseAt);
    }

    /// @inheritdoc IComputeRegistry
    function withdraw() external returns (uint256 amount) {
        UnbondingRecord memory unbonding = _unbonding[msg.sender];
        amount = unbonding.amount;
        if (amount == 0) revert NothingUnbonding(msg.sender);
        if (block.timestamp < unbonding.releaseAt) revert StillUnbonding(unbonding.releaseAt);
        delete _unbonding[msg.sender];
        emit Withdrawn(msg.sender, amount);
        _pay(msg.sender, amount);
    }

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
    function minStakePerUnit() external view returns (uint256) {
        return _minStakePerUnit;
    }

    /// @inheritdoc IComputeRegistry
    function unbondingDelay() external view returns (uint256) {
        return _unbondingDelay;
    }

    /// @inheritdoc IComputeRegistry
    function nodeOf(address node) external view returns (Node memory) {
        NodeSlot slot = _nodes[node];
        return Node({provider: slot.provider(), units: slot.units(), registration: slot.registration()});
    }

    /// @inheritdoc IComputeRegistry
    function providerOf(address provider) external view returns (Provider memory) {
        ProviderRecord memory record = _providers[provider];
        UnbondingRecord memory unbonding = _unbonding[provider];
        return Provider({
            stake: record.stake,
            units: record.units,
            registeredAt: record.registeredAt,
            authorizationEpoch: record.authorizationEpoch,
            unbonding: unbonding.amount,
            releaseAt: unbonding.releaseAt
        });
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

    /// @dev Cannot overflow: units have 48 bits and at most 32 more on top, the minimum has 128.
    function _requiredStake(uint256 units) private view returns (uint256) {
        unchecked {
            return units * _minStakePerUnit;
        }
    }

    function _authorizationNonce(uint40 authorizationEpoch, uint48 registration) private pure returns (uint256) {
        return (uint256(authorizationEpoch) << 48) | registration;
    }
}
