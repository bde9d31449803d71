// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Pools and who is in them
/// @notice A pool has an owner, an orchestrator key that invites nodes, requirements and a reward token. A node joins
/// by the orchestrator's signed invite and its own signed consent; anybody submits both, for many nodes at once.
/// @dev EIP-712 domain: name "Lode ComputePools", version "1", chainId, verifyingContract. Types:
/// `Invite(uint64 poolId,address node,address provider,uint64 counter,bytes32 termsHash,uint64 deadline)` signed by
/// the pool's orchestrator key,
/// `Consent(uint64 poolId,address node,address provider,uint64 counter,bytes32 termsHash,uint64 deadline)` signed by
/// the node with the same values,
/// `Leave(uint64 poolId,address node,uint64 counter,uint64 deadline)` signed by the node or its provider, and
/// `PoolApproval(uint64 poolId,address provider,bool approved,uint256 nonce,uint64 deadline)` signed by the provider.
/// A node joins only pools that its provider has approved, so that a stolen node key cannot take it elsewhere.
/// Signatures are 65 bytes (r, s, v), low s only. Deadlines are unix seconds, inclusive. Nothing is enumerated in
/// storage: events rebuild the membership, `membershipsOf` reads ids given to it.
interface IComputePools {
    /// @notice Life of a pool: created, then running, then ended for good.
    enum PoolState {
        None,
        Created,
        Running,
        Ended
    }

    /// @notice Life of a membership: `Member` may leave, be ejected or banned; a banned node must be unbanned first.
    enum MembershipState {
        None,
        Member,
        Left,
        Ejected,
        Banned
    }

    /// @notice What a pool is created with.
    /// @param orchestrator the key that signs invites
    /// @param rewardToken the token that the pool pays in; zero when it pays nothing on chain
    /// @param requirementsHash digest of the document behind `uri`
    /// @param maxNodes most members at one time; zero for no limit
    /// @param uri where the requirements can be read, at most `MAX_URI_BYTES`; kept in the event only
    /// @param endpoints where the orchestrator listens, at most `MAX_ENDPOINTS_BYTES`; separated by spaces
    struct PoolParameters {
        address orchestrator;
        address rewardToken;
        bytes32 requirementsHash;
        uint32 maxNodes;
        string uri;
        string endpoints;
    }

    /// @notice A pool as the chain knows it.
    struct Pool {
        address owner;
        address pendingOwner;
        address orchestrator;
        address rewardToken;
        bytes32 requirementsHash;
        PoolState state;
        uint32 maxNodes;
        uint32 memberCount;
        uint64 createdAt;
        string endpoints;
    }

    /// @notice One item of `joinBatch`.
    /// @param poolId the pool to join
    /// @param node the node that joins
    /// @param counter the membership's `joinCounter` at the time of use
    /// @param deadline last unix second at which the item can be used
    /// @param termsHash digest of the terms that both sides signed
    /// @param inviteSignature the orchestrator key's signature of `Invite`
    /// @param consentSignature the node's signature of `Consent`
    struct Join {
        uint64 poolId;
        address node;
        uint64 counter;
        uint64 deadline;
        bytes32 termsHash;
        bytes inviteSignature;
        bytes consentSignature;
    }

    /// @notice A membership as the chain knows it.
    /// @param state where the membership is in its life
    /// @param active whether it counts now: state is `Member`, the node's registration is the one that joined and its
    /// stake suffices, the provider is not banned. The pool's own state is not part of it
    /// @param joinCounter how often the node has joined this pool; survives leaving
    /// @param joinedAt unix seconds of the latest join
    /// @param registration the node's registration (ComputeRegistry) that joined
    /// @param provider the node's provider now; zero when the node is not registered
    struct Membership {
        MembershipState state;
        bool active;
        uint64 joinCounter;
        uint64 joinedAt;
        uint48 registration;
        address provider;
    }

    event PoolCreated(
        uint64 indexed poolId,
        address indexed owner,
        address indexed orchestrator,
        address rewardToken,
        bytes32 requirementsHash,
        uint32 maxNodes,
        string uri,
        string endpoints
    );
    event PoolStarted(uint64 indexed poolId);
    event PoolEnded(uint64 indexed poolId);
    event OrchestratorChanged(uint64 indexed poolId, address indexed previous, address indexed current);
    event EndpointsChanged(uint64 indexed poolId, string endpoints);
    event RequirementsChanged(uint64 indexed poolId, bytes32 requirementsHash, string uri);
    event OwnershipTransferStarted(uint64 indexed poolId, address indexed owner, address indexed pendingOwner);
    event OwnershipTransferred(uint64 indexed poolId, address indexed previous, address indexed current);

    /// @notice A node is a member from now on; `counter` is its joinCounter after the join.
    event NodeJoined(
        uint64 indexed poolId, address indexed node, address indexed provider, uint64 counter, uint48 registration
    );
    /// @notice A join was submitted for a node that is a member: nothing changed, the caller's wish is fulfilled.
    event NodeAlreadyMember(uint64 indexed poolId, address indexed node);
    /// @notice An item of a batch was refused; `reason` is the selector of the error that names the cause.
    event JoinFailed(uint64 indexed poolId, address indexed node, bytes4 reason);
    /// @notice The node, its provider or (when its registration lapsed) anybody ended the membership.
    event NodeLeft(uint64 indexed poolId, address indexed node, uint64 counter);
    /// @notice The owner or the orchestrator ended the membership.
    event NodeEjected(uint64 indexed poolId, address indexed node, uint64 counter);
    /// @notice The owner banned the node; a membership that it had ended with it.
    event NodeBanned(uint64 indexed poolId, address indexed node);
    event NodeUnbanned(uint64 indexed poolId, address indexed node);
    /// @notice The owner banned the provider: memberships of its nodes are inactive until it is unbanned.
    event ProviderBanned(uint64 indexed poolId, address indexed provider);
    event ProviderUnbanned(uint64 indexed poolId, address indexed provider);
    /// @notice The provider lets its nodes join the pool, or not any more; memberships stay as they are.
    event PoolApprovalChanged(uint64 indexed poolId, address indexed provider, bool approved);

    /// @notice A constructor argument or parameter must not be the zero address.
    error ZeroAddress(bytes32 parameter);
    /// @notice No pool has this id.
    error PoolNotFound(uint64 poolId);
    /// @notice The pool is not in the state that the call needs.
    error WrongPoolState(uint64 poolId, PoolState expected, PoolState actual);
    /// @notice The pool takes no joins now.
    error PoolNotRunning(uint64 poolId, PoolState actual);
    /// @notice The caller is not the pool's owner.
    error NotPoolOwner(uint64 poolId, address caller);
    /// @notice The caller is not the pool's proposed owner.
    error NotPendingOwner(uint64 poolId, address caller);
    /// @notice The caller is neither the pool's owner nor its orchestrator.
    error NotPoolAuthority(uint64 poolId, address caller);
    /// @notice The key served this pool before; a replaced key never returns, so that its old invites stay dead.
    error OrchestratorRetired(uint64 poolId, address orchestrator);
    /// @notice A text is longer than allowed.
    error TextTooLong(bytes32 parameter, uint256 length, uint256 maximum);
    /// @notice The pool has as many members as it may.
    error PoolFull(uint64 poolId, uint32 maxNodes);
    /// @notice The deadline of a signature has passed.
    error SignatureExpired(uint64 deadline);
    /// @notice The signature was used, or names another join than the next one.
    error WrongCounter(uint64 poolId, address node, uint64 expected, uint64 given);
    /// @notice The invite is not signed by the pool's orchestrator key.
    error InvalidInviteSignature(uint64 poolId, address node);
    /// @notice The consent is not signed by the node.
    error InvalidConsentSignature(uint64 poolId, address node);
    /// @notice The leave is signed neither by the node nor by its provider.
    error InvalidLeaveSignature(uint64 poolId, address node);
    /// @notice The node is not registered, or its provider's stake does not suffice.
    error NodeNotEligible(address node);
    /// @notice The node is banned from this pool.
    error NodeIsBanned(uint64 poolId, address node);
    /// @notice The node's provider is banned from this pool.
    error ProviderIsBanned(uint64 poolId, address provider);
    /// @notice The node's provider has not approved this pool.
    error PoolNotApproved(uint64 poolId, address provider);
    /// @notice The approval was used or taken back, or was signed for a later one.
    error WrongApprovalNonce(address provider, uint256 expected, uint256 given);
    /// @notice The approval is not signed by the provider.
    error InvalidApprovalSignature(address provider);
    /// @notice The node is not a member of this pool.
    error NotMember(uint64 poolId, address node);
    /// @notice The node is not banned from this pool.
    error NotBanned(uint64 poolId, address subject);
    /// @notice The caller is neither the node nor its provider.
    error NotNodeOrProvider(address node, address caller);

    /// @notice Creates a pool owned by the caller; it takes joins once started.
    /// @return poolId ids count from one
    function createPool(PoolParameters calldata parameters) external returns (uint64 poolId);

    /// @notice The owner opens the pool for joins.
    function startPool(uint64 poolId) external;

    /// @notice The owner ends the pool for good. Members can still leave and be ejected.
    function endPool(uint64 poolId) external;

    /// @notice The owner replaces the orchestrator key. Invites of the replaced key are dead, for good.
    function setOrchestrator(uint64 poolId, address orchestrator) external;

    /// @notice The owner or the orchestrator publishes where the orchestrator listens.
    function setEndpoints(uint64 poolId, string calldata endpoints) external;

    /// @notice The owner publishes other requirements.
    function setRequirements(uint64 poolId, bytes32 requirementsHash, string calldata uri) external;

    /// @notice The owner offers the pool to another owner; zero takes the offer back.
    function transferPool(uint64 poolId, address newOwner) external;

    /// @notice The proposed owner takes the pool.
    function acceptPool(uint64 poolId) external;

    /// @notice The calling provider lets its nodes join the pool, or not any more. Taking an approval back kills every
    /// approval that the provider signed and that nobody has used.
    function setPoolApproval(uint64 poolId, bool approved) external;

    /// @notice Anybody submits an approval that the provider signed.
    /// @param nonce `approvalNonce(provider)` at the time of use
    function setPoolApprovalBySignature(
        uint64 poolId,
        address provider,
        bool approved,
        uint256 nonce,
        uint64 deadline,
        bytes calldata signature
    ) external;

    /// @notice Anybody submits joins. A refused item is reported by `JoinFailed` and does not touch the others; a node
    /// that is a member already is reported by `NodeAlreadyMember`.
    function joinBatch(Join[] calldata joins) external;

    /// @notice The node or its provider ends a membership; anybody does when the node's registration has lapsed.
    /// Works in every state of the pool.
    function leave(uint64 poolId, address node) external;

    /// @notice Anybody submits a leave that the node or its provider signed.
    /// @param counter the membership's `joinCounter` at the time of use
    function leaveBySignature(uint64 poolId, address node, uint64 counter, uint64 deadline, bytes calldata signature)
        external;

    /// @notice The owner or the orchestrator ends a membership.
    function eject(uint64 poolId, address node) external;

    /// @notice The owner keeps a node out, member or not.
    function banNode(uint64 poolId, address node) external;

    /// @notice The owner lets a banned node come back, by a new invite.
    function unbanNode(uint64 poolId, address node) external;

    /// @notice The owner keeps all nodes of a provider out.
    function banProvider(uint64 poolId, address provider) external;

    /// @notice The owner lets a banned provider's nodes count again.
    function unbanProvider(uint64 poolId, address provider) external;

    /// @notice The registry that answers for nodes.
    function registry() external view returns (address);

    /// @notice How many pools were created; ids are 1 to this number.
    function poolCount() external view returns (uint64);

    /// @notice The record of a pool; reverts with `PoolNotFound` for an unknown id.
    function poolOf(uint64 poolId) external view returns (Pool memory);

    /// @notice The record of a membership.
    function membershipOf(uint64 poolId, address node) external view returns (Membership memory);

    /// @notice The records of many memberships, in the order asked for.
    function membershipsOf(uint64 poolId, address[] calldata nodes) external view returns (Membership[] memory);

    /// @notice Whether the node is an active member: `membershipOf(poolId, node).active`.
    function isMember(uint64 poolId, address node) external view returns (bool);

    /// @notice What settlement asks about a pool; all zero for an unknown id.
    function termsOf(uint64 poolId)
        external
        view
        returns (address owner, address orchestrator, address rewardToken, PoolState state);

    /// @notice Whether the provider's nodes may join the pool, as far as the provider is concerned.
    function isPoolApproved(uint64 poolId, address provider) external view returns (bool);

    /// @notice The nonce that the provider's next signed approval must name.
    function approvalNonce(address provider) external view returns (uint256);

    /// @notice Whether all nodes of the provider are kept out of the pool.
    function isProviderBanned(uint64 poolId, address provider) external view returns (bool);
}
