//! The only place with `sol!`: the functions and events that this client uses, checked by a test against `abi/*.json`.
//!
//! Custom errors are not declared here: they are decoded from the ABI files themselves (see `revert`), so that no
//! error of a contract can be forgotten.

#![expect(
    clippy::too_many_arguments,
    reason = "the macro writes one constructor argument per field of an event"
)]

use alloy::sol;

sol! {
    interface ComputeRegistry {
        struct Node { address provider; uint32 units; uint48 registration; }
        struct Provider {
            uint128 stake; uint48 units; uint40 registeredAt; uint40 authorizationEpoch; uint128 unbonding;
            uint64 releaseAt;
        }
        struct NodeConsent { address node; address provider; uint256 nonce; uint256 deadline; }
        struct AuthorizedNode {
            address provider; address node; uint32 units; uint256 authorizationNonce; uint256 authorizationDeadline;
            uint256 consentNonce; uint256 consentDeadline; bytes authorizationSignature; bytes consentSignature;
        }

        event ProviderRegistered(address indexed provider);
        event Staked(address indexed provider, uint256 amount, uint256 stake);
        event UnstakeRequested(address indexed provider, uint256 amount, uint256 unbonding, uint256 releaseAt);
        event Withdrawn(address indexed provider, uint256 amount);
        event NodeAdded(address indexed provider, address indexed node, uint32 units, uint48 registration);
        event NodeRemoved(address indexed provider, address indexed node, uint48 registration);
        event NodeReplaced(address indexed provider, address indexed oldNode, address indexed newNode);
        event NodeAddFailed(address indexed provider, address indexed node, bytes4 reason);
        event AuthorizationsRevoked(address indexed provider, uint40 authorizationEpoch);

        function registerProvider(uint256 amount, uint256 deadline, uint8 v, bytes32 r, bytes32 s) external;
        function stake(uint256 amount) external;
        function requestUnstake(uint256 amount) external;
        function withdraw() external returns (uint256 amount);
        function addNode(NodeConsent consent, uint32 units, bytes nodeSignature) external;
        function addNodes(AuthorizedNode[] items) external;
        function replaceNode(address oldNode, NodeConsent consent, bytes newNodeSignature) external;
        function removeNode(address node) external;
        function revokeAuthorizations() external;
        function minStakePerUnit() external view returns (uint256);
        function unbondingDelay() external view returns (uint256);
        function nodeOf(address node) external view returns (Node memory);
        function providerOf(address provider) external view returns (Provider memory);
        function isEligible(address node) external view returns (bool);
        function consentNonce(address node) external view returns (uint256);
        function authorizationNonce(address provider, address node) external view returns (uint256);
    }
}

sol! {
    interface ComputePools {
        enum PoolState { None, Created, Running, Ended }
        enum MembershipState { None, Member, Left, Ejected, Banned }
        struct PoolParameters {
            address orchestrator; address rewardToken; bytes32 requirementsHash; uint32 maxNodes; string uri;
            string endpoints;
        }
        struct Pool {
            address owner; address pendingOwner; address orchestrator; address rewardToken; bytes32 requirementsHash;
            PoolState state; uint32 maxNodes; uint32 memberCount; uint64 createdAt; string endpoints;
        }
        struct Join {
            uint64 poolId; address node; uint64 counter; uint64 deadline; bytes32 termsHash; bytes inviteSignature;
            bytes consentSignature;
        }
        struct Membership {
            MembershipState state; bool active; uint64 joinCounter; uint64 joinedAt; uint48 registration;
            address provider;
        }

        event PoolCreated(
            uint64 indexed poolId, address indexed owner, address indexed orchestrator, address rewardToken,
            bytes32 requirementsHash, uint32 maxNodes, string uri, string endpoints
        );
        event PoolStarted(uint64 indexed poolId);
        event PoolEnded(uint64 indexed poolId);
        event OrchestratorChanged(uint64 indexed poolId, address indexed previous, address indexed current);
        event EndpointsChanged(uint64 indexed poolId, string endpoints);
        event RequirementsChanged(uint64 indexed poolId, bytes32 requirementsHash, string uri);
        event OwnershipTransferStarted(uint64 indexed poolId, address indexed owner, address indexed pendingOwner);
        event OwnershipTransferred(uint64 indexed poolId, address indexed previous, address indexed current);
        event NodeJoined(
            uint64 indexed poolId, address indexed node, address indexed provider, uint64 counter, uint48 registration
        );
        event NodeAlreadyMember(uint64 indexed poolId, address indexed node);
        event JoinFailed(uint64 indexed poolId, address indexed node, bytes4 reason);
        event NodeLeft(uint64 indexed poolId, address indexed node, uint64 counter);
        event NodeEjected(uint64 indexed poolId, address indexed node, uint64 counter);
        event NodeBanned(uint64 indexed poolId, address indexed node);
        event NodeUnbanned(uint64 indexed poolId, address indexed node);
        event ProviderBanned(uint64 indexed poolId, address indexed provider);
        event ProviderUnbanned(uint64 indexed poolId, address indexed provider);

        function createPool(PoolParameters parameters) external returns (uint64 poolId);
        function startPool(uint64 poolId) external;
        function endPool(uint64 poolId) external;
        function setOrchestrator(uint64 poolId, address orchestrator) external;
        function setEndpoints(uint64 poolId, string endpoints) external;
        function setRequirements(uint64 poolId, bytes32 requirementsHash, string uri) external;
        function transferPool(uint64 poolId, address newOwner) external;
        function acceptPool(uint64 poolId) external;
        function joinBatch(Join[] joins) external;
        function leave(uint64 poolId, address node) external;
        function leaveBySignature(uint64 poolId, address node, uint64 counter, uint64 deadline, bytes signature)
            external;
        function eject(uint64 poolId, address node) external;
        function banNode(uint64 poolId, address node) external;
        function unbanNode(uint64 poolId, address node) external;
        function banProvider(uint64 poolId, address provider) external;
        function unbanProvider(uint64 poolId, address provider) external;
        function poolCount() external view returns (uint64);
        function poolOf(uint64 poolId) external view returns (Pool memory);
        function membershipsOf(uint64 poolId, address[] nodes) external view returns (Membership[] memory);
        function isProviderBanned(uint64 poolId, address provider) external view returns (bool);
    }
}

sol! {
    interface ValidatorSet {
        struct Validator { uint128 stake; uint64 exitAt; string endpoint; }
        struct Leaf {
            address node; uint32 classId; uint16 gpuCount; bytes32 uuidSetHash; uint32 vramGib; uint16 walkScore;
            uint16 gemmScore; uint32 medianMillis; bool pass; bytes32 transcriptHash; uint64 expiryEpoch;
        }
        struct ProvenNode {
            uint32 classId; uint16 gpuCount; uint32 vramGib; uint16 walkScore; uint16 gemmScore; uint64 provenEpoch;
            uint64 expiryEpoch; uint48 registration; bool current;
        }

        event ValidatorRegistered(address indexed validator, uint256 stake, uint64 activeFrom, string endpoint);
        event ValidatorStaked(address indexed validator, uint256 amount, uint256 stake, uint64 activeFrom);
        event EndpointChanged(address indexed validator, string endpoint);
        event ExitRequested(address indexed validator, uint64 activeUntil, uint256 exitAt);
        event Withdrawn(address indexed validator, uint256 amount);
        event Committed(uint64 indexed epoch, address indexed validator, bytes32 commitment);
        event Revealed(uint64 indexed epoch, address indexed validator, bytes32 indexed root, uint256 weight);
        event RootAccepted(uint64 indexed epoch, bytes32 indexed root, uint256 weight, uint256 totalWeight);
        event NodeProven(
            uint64 indexed epoch, address indexed node, uint32 classId, uint16 gpuCount, uint32 vramGib,
            uint64 expiryEpoch
        );
        event NodeUnproven(uint64 indexed epoch, address indexed node);
        event ProofFailed(uint64 indexed epoch, address indexed node, bytes4 reason);

        function register(uint256 amount, uint256 deadline, uint8 v, bytes32 r, bytes32 s, string endpoint) external;
        function stake(uint256 amount) external;
        function setEndpoint(string endpoint) external;
        function requestExit() external;
        function withdraw() external returns (uint256 amount);
        function commit(uint64 epoch, bytes32 commitment) external;
        function reveal(uint64 epoch, bytes32 root, bytes32 salt) external;
        function proveBatch(uint64 epoch, Leaf[] leaves, bytes32[][] paths) external;
        function minStake() external view returns (uint256);
        function epochSeconds() external view returns (uint256);
        function exitDelay() external view returns (uint256);
        function maxValidityEpochs() external view returns (uint256);
        function validatorOf(address validator) external view returns (Validator memory);
        function weightOf(address validator, uint64 epoch) external view returns (uint256);
        function totalWeight(uint64 epoch) external view returns (uint256);
        function commitmentOf(uint64 epoch, address validator) external view returns (bytes32);
        function revealOf(uint64 epoch, address validator) external view returns (bytes32);
        function votesFor(uint64 epoch, bytes32 root) external view returns (uint256);
        function rootOf(uint64 epoch) external view returns (bytes32);
        function provenOf(address node) external view returns (ProvenNode memory);
    }
}

sol! {
    interface LodeToken {
        function mint(address to, uint256 amount) external;
        function approve(address spender, uint256 value) external returns (bool);
        function transfer(address to, uint256 value) external returns (bool);
        function balanceOf(address account) external view returns (uint256);
        function allowance(address owner, address spender) external view returns (uint256);
        function nonces(address owner) external view returns (uint256);
    }

    struct Permit { address owner; address spender; uint256 value; uint256 nonce; uint256 deadline; }
}
