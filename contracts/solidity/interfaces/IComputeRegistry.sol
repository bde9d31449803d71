// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IStakeVault} from "./IStakeVault.sol";

/// @title Providers, their stake and their nodes
/// @notice A provider stakes tokens and vouches for node keys; every node counts a number of units that the stake
/// must cover. Adding a node takes the provider's word (its own call or its signature) and the node's signed consent.
/// @dev EIP-712 domain: name "Lode ComputeRegistry", version "1", chainId, verifyingContract. Types:
/// `NodeConsent(address node,address provider,uint256 nonce,uint256 deadline)` signed by the node, and
/// `NodeAuthorization(address provider,address node,uint32 units,uint256 nonce,uint256 deadline)` signed by the
/// provider. Signatures are 65 bytes (r, s, v), low s only. Deadlines are unix seconds, inclusive.
interface IComputeRegistry is IStakeVault {
    /// @notice A node as the registry knows it.
    /// @param provider the wallet that stakes for the node; zero when the node is not registered
    /// @param units compute units the provider's stake must cover; zero when the node is not registered
    /// @param registration how many times this key has been registered. The current registration's number while
    /// registered; survives release, so it is also the nonce that the next consent must name
    struct Node {
        address provider;
        uint32 units;
        uint48 registration;
    }

    /// @notice A provider as the registry knows it.
    /// @param stake tokens at work, in the token's smallest unit
    /// @param units sum of the units of all its nodes
    /// @param registeredAt unix seconds of its registration; zero when it never registered
    /// @param authorizationEpoch part of every authorisation's nonce; growing it revokes all unused authorisations
    /// @param unbonding tokens on their way out
    /// @param releaseAt unix seconds from which `unbonding` can be withdrawn; zero when nothing unbonds
    /// @param locked part of stake and unbonding that accusations hold: it cannot be withdrawn
    struct Provider {
        uint128 stake;
        uint48 units;
        uint40 registeredAt;
        uint40 authorizationEpoch;
        uint128 unbonding;
        uint64 releaseAt;
        uint128 locked;
    }

    /// @notice What a node signs to serve a provider.
    /// @param node the key that signs
    /// @param provider the provider it agrees to serve
    /// @param nonce `consentNonce(node)` at the time of use
    /// @param deadline last unix second at which the consent can be used
    struct NodeConsent {
        address node;
        address provider;
        uint256 nonce;
        uint256 deadline;
    }

    /// @notice One item of `addNodes`: the provider's authorisation and the node's consent, side by side.
    /// @param provider who authorises and whom the node consents to
    /// @param node the key to register
    /// @param units compute units of the node, at least one
    /// @param authorizationNonce `authorizationNonce(provider, node)` at the time of use
    /// @param authorizationDeadline last unix second at which the authorisation can be used
    /// @param consentNonce `consentNonce(node)` at the time of use
    /// @param consentDeadline last unix second at which the consent can be used
    /// @param authorizationSignature the provider's signature of `NodeAuthorization`
    /// @param consentSignature the node's signature of `NodeConsent`
    struct AuthorizedNode {
        address provider;
        address node;
        uint32 units;
        uint256 authorizationNonce;
        uint256 authorizationDeadline;
        uint256 consentNonce;
        uint256 consentDeadline;
        bytes authorizationSignature;
        bytes consentSignature;
    }

    /// @notice A provider appeared. Its first `Staked` follows.
    event ProviderRegistered(address indexed provider);
    /// @notice `amount` was added; `stake` is the provider's stake after it.
    event Staked(address indexed provider, uint256 amount, uint256 stake);
    /// @notice `amount` left the stake; everything that unbonds (`unbonding`) can be withdrawn from `releaseAt`.
    event UnstakeRequested(address indexed provider, uint256 amount, uint256 unbonding, uint256 releaseAt);
    /// @notice `amount` was paid out to the provider.
    event Withdrawn(address indexed provider, uint256 amount);
    /// @notice A node serves a provider from now on, as its key's `registration`-th registration.
    event NodeAdded(address indexed provider, address indexed node, uint32 units, uint48 registration);
    /// @notice A node serves nobody any more. All its pool memberships and proofs are void with it.
    event NodeRemoved(address indexed provider, address indexed node, uint48 registration);
    /// @notice A provider put `newNode` in `oldNode`'s place. Follows the `NodeRemoved` and `NodeAdded` that it explains.
    event NodeReplaced(address indexed provider, address indexed oldNode, address indexed newNode);
    /// @notice An item of a batch was refused; `reason` is the selector of the error that names the cause.
    event NodeAddFailed(address indexed provider, address indexed node, bytes4 reason);
    /// @notice All authorisations that the provider signed under an older epoch are dead.
    event AuthorizationsRevoked(address indexed provider, uint40 authorizationEpoch);

    /// @notice The contract that may lock and slash stake is known, for good.
    event SlasherSet(address indexed slasher);
    /// @notice `amount` more is held; `locked` is all that is held now.
    event StakeLocked(address indexed provider, uint256 amount, uint256 locked);
    /// @notice `amount` is held no longer; `locked` is all that is held now.
    event StakeUnlocked(address indexed provider, uint256 amount, uint256 locked);
    /// @notice `amount` was taken, from the stake first and then from what unbonds; both as they are after it. Follows
    /// the `StakeUnlocked` of the same amount.
    event Slashed(address indexed provider, uint256 amount, uint256 stake, uint256 unbonding);

    /// @notice Only the account that deployed the registry says, once, which contract slashes.
    error NotDeployer(address caller);
    error SlasherAlreadySet(address slasher);
    error NotSlasher(address caller);
    /// @notice Accusations hold this much of the provider's stake.
    error StakeIsLocked(address provider, uint256 locked, uint256 available);
    /// @notice The unbonding delay is outside of (0, `maximum`] seconds.
    error InvalidUnbondingDelay(uint256 given, uint256 maximum);
    /// @notice The minimum stake per unit must be positive and fit 128 bits.
    error InvalidMinimumStake(uint256 given);
    /// @notice The provider registered before: use `stake`.
    error ProviderAlreadyRegistered(address provider);
    /// @notice The provider must call `registerProvider` first.
    error ProviderNotRegistered(address provider);
    /// @notice The stake does not cover the units that it would have to.
    error InsufficientStake(address provider, uint256 stake, uint256 required);
    /// @notice Nothing unbonds.
    error NothingUnbonding(address provider);
    /// @notice The unbonding tokens cannot be withdrawn before `releaseAt` (unix seconds).
    error StillUnbonding(uint256 releaseAt);
    /// @notice A node counts at least one unit.
    error ZeroUnits(address node);
    /// @notice The key serves a provider already; only that provider can release it.
    error NodeAlreadyRegistered(address node, address provider);
    /// @notice The node is not registered under the caller.
    error NotNodeProvider(address node, address provider, address caller);
    /// @notice A consent names another provider than the one it is used for.
    error WrongProvider(address expected, address given);
    /// @notice The deadline of a signature has passed.
    error SignatureExpired(uint256 deadline);
    /// @notice The consent was used, or was signed for a later registration.
    error WrongConsentNonce(address node, uint256 expected, uint256 given);
    /// @notice The authorisation was used or revoked, or was signed for a later registration.
    error WrongAuthorizationNonce(address provider, uint256 expected, uint256 given);
    /// @notice The consent is not signed by the node.
    error InvalidConsentSignature(address node);
    /// @notice The authorisation is not signed by the provider.
    error InvalidAuthorizationSignature(address provider);

    /// @notice Registers the caller as a provider and stakes `amount`, in one transaction.
    /// @dev Takes an ERC-2612 permit of the caller for this contract. A permit that somebody else submitted first is
    /// no failure as long as the allowance suffices.
    /// @param amount tokens to stake
    /// @param deadline the permit's deadline, unix seconds
    /// @param v the permit's recovery id
    /// @param r the permit's r
    /// @param s the permit's s
    function registerProvider(uint256 amount, uint256 deadline, uint8 v, bytes32 r, bytes32 s) external;

    /// @notice Adds `amount` to the caller's stake, from its allowance.
    function stake(uint256 amount) external;

    /// @notice Takes `amount` out of the stake; what remains must cover the caller's units. It can be withdrawn after
    /// the unbonding delay; a further request joins the one under way and restarts its delay.
    function requestUnstake(uint256 amount) external;

    /// @notice Pays out everything whose delay is over, to the caller, but for what accusations hold beyond the stake;
    /// that stays as it is and can be withdrawn once it is let go.
    /// @return amount tokens paid
    function withdraw() external returns (uint256 amount);

    /// @notice The calling provider adds a node that consented to it.
    /// @param consent what the node signed; its provider must be the caller
    /// @param units compute units of the node, at least one
    /// @param nodeSignature the node's signature of `consent`
    function addNode(NodeConsent calldata consent, uint32 units, bytes calldata nodeSignature) external;

    /// @notice Anybody submits nodes that their providers authorised and that consented. A refused item is reported by
    /// `NodeAddFailed` and does not touch the others.
    function addNodes(AuthorizedNode[] calldata items) external;

    /// @notice The calling provider puts a new key in the place of one of its nodes, with the same units.
    /// @param oldNode the node that goes
    /// @param consent what the new key signed; its provider must be the caller
    /// @param newNodeSignature the new key's signature of `consent`
    function replaceNode(address oldNode, NodeConsent calldata consent, bytes calldata newNodeSignature) external;

    /// @notice The calling provider releases one of its nodes.
    function removeNode(address node) external;

    /// @notice The calling provider kills every authorisation that it signed and that nobody has used.
    function revokeAuthorizations() external;

    /// @notice The deployer names the contract that may lock and slash stake, once.
    function setSlasher(address slasher) external;

    /// @notice The slasher holds `amount` of the provider's stake and unbonding.
    function lockStake(address provider, uint128 amount) external;

    /// @notice The slasher lets `amount` go.
    function unlockStake(address provider, uint128 amount) external;

    /// @notice The slasher takes `amount` that it holds; the tokens go to `recipient`.
    function slash(address provider, uint128 amount, address recipient) external;

    /// @notice The contract that may lock and slash stake; zero before it is named.
    function slasher() external view returns (address);

    /// @notice Tokens that must be staked for each unit.
    function minStakePerUnit() external view returns (uint256);

    /// @notice Seconds between `requestUnstake` and `withdraw`.
    function unbondingDelay() external view returns (uint256);

    /// @notice The record of a node; all zero but for `registration` when it is not registered.
    function nodeOf(address node) external view returns (Node memory);

    /// @notice The records of many nodes, in the order asked for.
    function nodesOf(address[] calldata nodes) external view returns (Node[] memory);

    /// @notice The record of a provider.
    function providerOf(address provider) external view returns (Provider memory);

    /// @notice Whether the node is registered and its provider's stake covers all of that provider's units.
    function isEligible(address node) external view returns (bool);

    /// @notice What other contracts ask about a node, in one call.
    /// @return provider the node's provider; zero when it is not registered
    /// @return registration number of its current registration; zero when it is not registered
    /// @return eligible as `isEligible`
    function standingOf(address node) external view returns (address provider, uint48 registration, bool eligible);

    /// @notice Number of the node's current registration; zero when it is not registered.
    function registrationOf(address node) external view returns (uint48);

    /// @notice The nonce that the node's next consent must name.
    function consentNonce(address node) external view returns (uint256);

    /// @notice The nonce that the provider's next authorisation of this node must name.
    /// @dev (authorizationEpoch << 48) | consentNonce(node)
    function authorizationNonce(address provider, address node) external view returns (uint256);
}
