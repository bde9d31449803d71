// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {PoolBook} from "./PoolBook.sol";
import {IComputePools} from "./interfaces/IComputePools.sol";
import {IComputeRegistry} from "./interfaces/IComputeRegistry.sol";
import {Refusal} from "./libraries/Refusal.sol";
import {Signature} from "./libraries/Signature.sol";
import {MembershipSlot, MembershipSlots} from "./types/MembershipSlot.sol";

/// @title Pools and who is in them
/// @dev Invariants, beside PoolBook's: memberCount is the number of memberships in state Member; a joinCounter only
/// grows, by one with every join, and is never deleted. Nothing is enumerated and no call loops over storage. Only the
/// registry is ever called, and only to read.
contract ComputePools is PoolBook, EIP712 {
    using Refusal for bytes;

    /// @dev What owner and provider say about each other. One slot, so that a join asks both at once.
    struct ProviderFlags {
        bool banned;
        bool approved;
    }

    bytes32 private constant _INVITE_TYPEHASH = keccak256(
        "Invite(uint64 poolId,address node,address provider,uint64 counter,bytes32 termsHash,uint64 deadline)"
    );
    bytes32 private constant _CONSENT_TYPEHASH = keccak256(
        "Consent(uint64 poolId,address node,address provider,uint64 counter,bytes32 termsHash,uint64 deadline)"
    );
    bytes32 private constant _LEAVE_TYPEHASH =
        keccak256("Leave(uint64 poolId,address node,uint64 counter,uint64 deadline)");
    bytes32 private constant _APPROVAL_TYPEHASH =
        keccak256("PoolApproval(uint64 poolId,address provider,bool approved,uint256 nonce,uint64 deadline)");

    IComputeRegistry private immutable _registry;

    /// @dev A membership survives leaving, so that used consents stay used.
    mapping(uint64 poolId => mapping(address node => MembershipSlot)) private _memberships;
    mapping(uint64 poolId => mapping(address provider => ProviderFlags)) private _providerFlags;
    mapping(address provider => uint256) private _approvalNonces;

    /// @param registry_ the ComputeRegistry that answers for nodes
    constructor(address registry_) EIP712("Lode ComputePools", "1") {
        if (registry_ == address(0)) revert ZeroAddress("registry");
        _registry = IComputeRegistry(registry_);
    }

    /// @inheritdoc IComputePools
    function setPoolApproval(uint64 poolId, bool approved) external {
        if (!approved) ++_approvalNonces[msg.sender];
        _setApproval(poolId, msg.sender, approved);
    }

    /// @inheritdoc IComputePools
    function setPoolApprovalBySignature(
        uint64 poolId,
        address provider,
        bool approved,
        uint256 nonce,
        uint64 deadline,
        bytes calldata signature
    ) external {
        if (block.timestamp > deadline) revert SignatureExpired(deadline);
        uint256 expected = _approvalNonces[provider];
        if (nonce != expected) revert WrongApprovalNonce(provider, expected, nonce);
        bytes32 digest =
            _hashTypedDataV4(keccak256(abi.encode(_APPROVAL_TYPEHASH, poolId, provider, approved, nonce, deadline)));
        if (!Signature.isBy(provider, digest, signature)) revert InvalidApprovalSignature(provider);
        _approvalNonces[provider] = nonce + 1;
        _setApproval(poolId, provider, approved);
    }

    /// @inheritdoc IComputePools
    function joinBatch(Join[] calldata joins) external {
        for (uint256 i = 0; i < joins.length; ++i) {
            Join calldata item = joins[i];
            bytes memory refusal = _tryJoin(item);
            if (refusal.length != 0) emit JoinFailed(item.poolId, item.node, refusal.reason());
        }
    }

    /// @inheritdoc IComputePools
    function leave(uint64 poolId, address node) external {
        MembershipSlot membership = _requireMember(poolId, node);
        IComputeRegistry.Node memory record = _registry.nodeOf(node);
        bool lapsed = record.provider == address(0) || record.registration != membership.registration();
        if (!lapsed && msg.sender != node && msg.sender != record.provider) {
            revert NotNodeOrProvider(node, msg.sender);
        }
        _leave(poolId, node, membership);
    }

    /// @inheritdoc IComputePools
    function leaveBySignature(uint64 poolId, address node, uint64 counter, uint64 deadline, bytes calldata signature)
        external
    {
        if (block.timestamp > deadline) revert SignatureExpired(deadline);
        MembershipSlot membership = _requireMember(poolId, node);
        uint64 expected = membership.joinCounter();
        if (counter != expected) revert WrongCounter(poolId, node, expected, counter);
        bytes32 digest = _hashTypedDataV4(keccak256(abi.encode(_LEAVE_TYPEHASH, poolId, node, counter, deadline)));
        if (!Signature.isBy(node, digest, signature)) {
            address provider = _registry.nodeOf(node).provider;
            if (provider == address(0) || !Signature.isBy(provider, digest, signature)) {
                revert InvalidLeaveSignature(poolId, node);
            }
        }
        _leave(poolId, node, membership);
    }

    /// @inheritdoc IComputePools
    function eject(uint64 poolId, address node) external onlyAuthority(poolId) {
        MembershipSlot membership = _requireMember(poolId, node);
        _memberships[poolId][node] = membership.withState(MembershipState.Ejected);
        --_pools[poolId].memberCount;
        emit NodeEjected(poolId, node, membership.joinCounter());
    }

    /// @inheritdoc IComputePools
    function banNode(uint64 poolId, address node) external onlyOwner(poolId) {
        MembershipSlot membership = _memberships[poolId][node];
        MembershipState state = membership.state();
        if (state == MembershipState.Banned) revert NodeIsBanned(poolId, node);
        _memberships[poolId][node] = membership.withState(MembershipState.Banned);
        if (state == MembershipState.Member) --_pools[poolId].memberCount;
        emit NodeBanned(poolId, node);
    }

    /// @inheritdoc IComputePools
    function unbanNode(uint64 poolId, address node) external onlyOwner(poolId) {
        MembershipSlot membership = _memberships[poolId][node];
        if (membership.state() != MembershipState.Banned) revert NotBanned(poolId, node);
        _memberships[poolId][node] =
            membership.withState(membership.joinCounter() == 0 ? MembershipState.None : MembershipState.Ejected);
        emit NodeUnbanned(poolId, node);
    }

    /// @inheritdoc IComputePools
    function banProvider(uint64 poolId, address provider) external onlyOwner(poolId) {
        ProviderFlags storage flags = _providerFlags[poolId][provider];
        if (flags.banned) revert ProviderIsBanned(poolId, provider);
        flags.banned = true;
        emit ProviderBanned(poolId, provider);
    }

    /// @inheritdoc IComputePools
    function unbanProvider(uint64 poolId, address provider) external onlyOwner(poolId) {
        ProviderFlags storage flags = _providerFlags[poolId][provider];
        if (!flags.banned) revert NotBanned(poolId, provider);
        flags.banned = false;
        emit ProviderUnbanned(poolId, provider);
    }

    /// @inheritdoc IComputePools
    function registry() external view returns (address) {
        return address(_registry);
    }

    /// @inheritdoc IComputePools
    function membershipOf(uint64 poolId, address node) public view returns (Membership memory) {
        MembershipSlot slot = _memberships[poolId][node];
        (address provider, uint48 registration, bool eligible) = _registry.standingOf(node);
        return Membership({
            state: slot.state(),
            active: slot.state() == MembershipState.Member && eligible && slot.registration() == registration
                && !_providerFlags[poolId][provider].banned,
            joinCounter: slot.joinCounter(),
            joinedAt: slot.joinedAt(),
            registration: slot.registration(),
            provider: provider
        });
    }

    /// @inheritdoc IComputePools
    function membershipsOf(uint64 poolId, address[] calldata nodes)
        external
        view
        returns (Membership[] memory memberships)
    {
        memberships = new Membership[](nodes.length);
        for (uint256 i = 0; i < nodes.length; ++i) {
            memberships[i] = membershipOf(poolId, nodes[i]);
        }
    }

    /// @inheritdoc IComputePools
    function isMember(uint64 poolId, address node) external view returns (bool) {
        return membershipOf(poolId, node).active;
    }

    /// @inheritdoc IComputePools
    function isPoolApproved(uint64 poolId, address provider) external view returns (bool) {
        return _providerFlags[poolId][provider].approved;
    }

    /// @inheritdoc IComputePools
    function approvalNonce(address provider) external view returns (uint256) {
        return _approvalNonces[provider];
    }

    /// @inheritdoc IComputePools
    function isProviderBanned(uint64 poolId, address provider) external view returns (bool) {
        return _providerFlags[poolId][provider].banned;
    }

    /// @dev Joins, or returns why not. Cheap checks come before the two signatures.
    function _tryJoin(Join calldata item) private returns (bytes memory refusal) {
        PoolRecord storage pool = _pools[item.poolId];
        PoolState poolState = pool.state;
        if (poolState == PoolState.None) return abi.encodeWithSelector(PoolNotFound.selector, item.poolId);
        if (poolState != PoolState.Running) {
            return abi.encodeWithSelector(PoolNotRunning.selector, item.poolId, poolState);
        }
        (address provider, uint48 registration, bool eligible) = _registry.standingOf(item.node);
        if (!eligible) return abi.encodeWithSelector(NodeNotEligible.selector, item.node);

        MembershipSlot membership = _memberships[item.poolId][item.node];
        MembershipState state = membership.state();
        bool isCounted = state == MembershipState.Member;
        if (isCounted && membership.registration() == registration) {
            emit NodeAlreadyMember(item.poolId, item.node);
            return refusal;
        }
        if (state == MembershipState.Banned) {
            return abi.encodeWithSelector(NodeIsBanned.selector, item.poolId, item.node);
        }
        ProviderFlags memory flags = _providerFlags[item.poolId][provider];
        if (flags.banned) return abi.encodeWithSelector(ProviderIsBanned.selector, item.poolId, provider);
        if (!flags.approved) return abi.encodeWithSelector(PoolNotApproved.selector, item.poolId, provider);
        uint64 counter = membership.joinCounter();
        if (item.counter != counter) {
            return abi.encodeWithSelector(WrongCounter.selector, item.poolId, item.node, counter, item.counter);
        }
        if (!isCounted && pool.maxNodes != 0 && pool.memberCount >= pool.maxNodes) {
            return abi.encodeWithSelector(PoolFull.selector, item.poolId, pool.maxNodes);
        }
        refusal = _signatureRefusal(item, provider, pool.orchestrator);
        if (refusal.length != 0) return refusal;

        // A member whose registration lapsed and that joins anew is counted already.
        if (!isCounted) ++pool.memberCount;
        _memberships[item.poolId][item.node] =
            MembershipSlots.pack(MembershipState.Member, counter + 1, uint64(block.timestamp), registration);
        emit NodeJoined(item.poolId, item.node, provider, counter + 1, registration);
    }

    /// @dev Both sides sign the same values under different type hashes; the provider is the one on record now.
    function _signatureRefusal(Join calldata item, address provider, address orchestrator)
        private
        view
        returns (bytes memory refusal)
    {
        if (block.timestamp > item.deadline) {
            return abi.encodeWithSelector(SignatureExpired.selector, item.deadline);
        }
        if (!Signature.isBy(orchestrator, _joinDigest(_INVITE_TYPEHASH, item, provider), item.inviteSignature)) {
            return abi.encodeWithSelector(InvalidInviteSignature.selector, item.poolId, item.node);
        }
        if (!Signature.isBy(item.node, _joinDigest(_CONSENT_TYPEHASH, item, provider), item.consentSignature)) {
            return abi.encodeWithSelector(InvalidConsentSignature.selector, item.poolId, item.node);
        }
    }

    function _joinDigest(bytes32 typeHash, Join calldata item, address provider) private view returns (bytes32) {
        return _hashTypedDataV4(
            keccak256(
                abi.encode(typeHash, item.poolId, item.node, provider, item.counter, item.termsHash, item.deadline)
            )
        );
    }

    function _setApproval(uint64 poolId, address provider, bool approved) private {
        _existing(poolId);
        _providerFlags[poolId][provider].approved = approved;
        emit PoolApprovalChanged(poolId, provider, approved);
    }

    function _leave(uint64 poolId, address node, MembershipSlot membership) private {
        _memberships[poolId][node] = membership.withState(MembershipState.Left);
        --_pools[poolId].memberCount;
        emit NodeLeft(poolId, node, membership.joinCounter());
    }

    function _requireMember(uint64 poolId, address node) private view returns (MembershipSlot membership) {
        membership = _memberships[poolId][node];
        if (membership.state() != MembershipState.Member) revert NotMember(poolId, node);
    }
}
