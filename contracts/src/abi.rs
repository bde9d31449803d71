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
            uint64 releaseAt; uint128 locked;
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
        event SlasherSet(address indexed slasher);
        event StakeLocked(address indexed provider, uint256 amount, uint256 locked);
        event StakeUnlocked(address indexed provider, uint256 amount, uint256 locked);
        event Slashed(address indexed provider, uint256 amount, uint256 stake, uint256 unbonding);

        function registerProvider(uint256 amount, uint256 deadline, uint8 v, bytes32 r, bytes32 s) external;
        function stake(uint256 amount) external;
        function requestUnstake(uint256 amount) external;
        function withdraw() external returns (uint256 amount);
        function addNode(NodeConsent consent, uint32 units, bytes nodeSignature) external;
        function addNodes(AuthorizedNode[] items) external;
        function replaceNode(address oldNode, NodeConsent consent, bytes newNodeSignature) external;
        function removeNode(address node) external;
        function revokeAuthorizations() external;
        function setSlasher(address slasher) external;
        function slasher() external view returns (address);
        function minStakePerUnit() external view returns (uint256);
        function unbondingDelay() external view returns (uint256);
        function nodesOf(address[] nodes) external view returns (Node[] memory);
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
        event PoolApprovalChanged(uint64 indexed poolId, address indexed provider, bool approved);

        function createPool(PoolParameters parameters) external returns (uint64 poolId);
        function startPool(uint64 poolId) external;
        function endPool(uint64 poolId) external;
        function setOrchestrator(uint64 poolId, address orchestrator) external;
        function setEndpoints(uint64 poolId, string endpoints) external;
        function setRequirements(uint64 poolId, bytes32 requirementsHash, string uri) external;
        function transferPool(uint64 poolId, address newOwner) external;
        function acceptPool(uint64 poolId) external;
        function setPoolApproval(uint64 poolId, bool approved) external;
        function setPoolApprovalBySignature(
            uint64 poolId, address provider, bool approved, uint256 nonce, uint64 deadline, bytes signature
        ) external;
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
        function isPoolApproved(uint64 poolId, address provider) external view returns (bool);
        function approvalNonce(address provider) external view returns (uint256);
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
        event BeaconDrawn(uint64 indexed epoch, bytes32 beacon);
        event RevealMissed(uint64 indexed epoch, address indexed validator, uint256 amount, uint256 stake);
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
        function drawBeacon(uint64 epoch) external returns (bytes32 beacon);
        function penalizeMissedReveal(uint64 epoch, address validator) external;
        function proveBatch(uint64 epoch, Leaf[] leaves, bytes32[][] paths) external;
        function minStake() external view returns (uint256);
        function epochSeconds() external view returns (uint256);
        function exitDelay() external view returns (uint256);
        function maxValidityEpochs() external view returns (uint256);
        function treasury() external view returns (address);
        function missedRevealBasisPoints() external view returns (uint256);
        function committeeSize() external view returns (uint256);
        function beaconOf(uint64 epoch) external view returns (bytes32);
        function isDrawn(uint64 epoch, address node, address validator) external view returns (bool);
        function validatorOf(address validator) external view returns (Validator memory);
        function weightOf(address validator, uint64 epoch) external view returns (uint256);
        function totalWeight(uint64 epoch) external view returns (uint256);
        function commitmentOf(uint64 epoch, address validator) external view returns (bytes32);
        function revealOf(uint64 epoch, address validator) external view returns (bytes32);
        function votesFor(uint64 epoch, bytes32 root) external view returns (uint256);
        function rootOf(uint64 epoch) external view returns (bytes32);
        function provenOfMany(address[] nodes) external view returns (ProvenNode[] memory);
    }
}

sol! {
    interface Slashing {
        enum Offence { None, ForgedProof, ForgedReceipt, ForeignHardware }
        enum Phase { None, Evidence, Answer, Vote, Decided, Guilty, Acquitted }
        struct Accusation {
            address accuser; address provider; address node; Offence offence; Phase phase; uint128 amount; uint128 bond;
            uint64 openedAt; uint64 epoch; uint256 guiltyWeight; uint256 innocentWeight; bytes32 evidenceHash;
            bytes32 answerHash;
        }
        struct Terms {
            address treasury; uint128 minBond; uint16 bondBasisPoints; uint16 maxSlashBasisPoints; uint16 feeBasisPoints;
            uint128 maxFee; uint64 detectionSeconds; uint64 evidenceSeconds; uint64 answerSeconds; uint64 voteSeconds;
            uint64 executionSeconds;
        }

        event Accused(
            uint64 indexed accusationId, address indexed provider, address indexed node, address accuser,
            Offence offence, uint256 amount, uint256 bond, uint64 epoch, bytes32 evidenceHash, string evidenceUri
        );
        event Answered(uint64 indexed accusationId, address indexed provider, bytes32 answerHash, string answerUri);
        event Voted(uint64 indexed accusationId, address indexed validator, bool guilty, uint256 weight);
        event FoundGuilty(
            uint64 indexed accusationId, address indexed provider, uint256 slashed, uint256 fee, uint256 toTreasury
        );
        event Acquitted(uint64 indexed accusationId, address indexed provider, uint256 bond);
        event PaymentOwed(address indexed to, uint256 amount, uint256 owed);
        event Collected(address indexed to, uint256 amount);

        function accuse(
            address provider, address node, Offence offence, uint128 amount, bytes32 evidenceHash, string evidenceUri
        ) external returns (uint64 accusationId);
        function answer(uint64 accusationId, bytes32 answerHash, string answerUri) external;
        function answerBySignature(
            uint64 accusationId, bytes32 answerHash, string answerUri, uint64 deadline, bytes signature
        ) external;
        function vote(uint64 accusationId, bool guilty) external;
        function resolve(uint64 accusationId) external;
        function collect(address to) external returns (uint256 amount);
        function terms() external view returns (Terms memory);
        function accusationCount() external view returns (uint64);
        function accusationOf(uint64 accusationId) external view returns (Accusation memory);
        function openAccusation(address provider, address node) external view returns (uint64 accusationId);
        function owedTo(address to) external view returns (uint256);
        function bondFor(uint128 amount) external view returns (uint256);
        function maxSlash(address provider) external view returns (uint256);
    }
}

sol! {
    interface Rewards {
        enum RootState { None, Pending, Final, Vetoed }
        struct Budget {
            uint128 free; uint128 locked; uint128 posted; uint128 paid; uint128 spendCap; uint64 cappedThrough;
            uint64 finalEpoch; uint64 pendingEpoch; uint128 withdrawing; uint64 withdrawableAt;
        }
        struct Root { bytes32 root; uint128 total; uint8 depth; uint64 finalAt; RootState state; }
        struct Claim {
            uint64 poolId; uint64 epoch; uint64 index; address payee; uint128 cumulative; bytes path;
        }
        struct Receipt {
            uint64 poolId; uint64 epoch; address node; address payee; bytes32 usageHash; uint128 amount;
            uint128 cumulative;
        }
        struct Redemption { uint128 cumulative; uint128 amount; uint64 payableAt; }
        struct Earnings { uint128 paid; uint128 ahead; }

        event Funded(uint64 indexed poolId, address indexed from, uint256 amount, uint256 free);
        event SpendCapChanged(uint64 indexed poolId, uint256 spendCap);
        event WithdrawalRequested(uint64 indexed poolId, uint256 amount, uint256 withdrawableAt);
        event BudgetWithdrawn(uint64 indexed poolId, address indexed to, uint256 amount, uint256 free);
        event RootPosted(
            uint64 indexed poolId, uint64 indexed epoch, bytes32 root, uint256 total, uint256 increase, uint8 depth,
            uint64 provenEpoch, uint256 finalAt
        );
        event VetoCast(
            uint64 indexed poolId, uint64 indexed epoch, address indexed validator, bytes32 evidenceHash, uint256 votes,
            uint256 totalWeight
        );
        event RootVetoed(uint64 indexed poolId, uint64 indexed epoch, bytes32 root, uint256 released);
        event RootRefuted(uint64 indexed poolId, uint64 indexed epoch, uint64 index, address payee);
        event Claimed(
            uint64 indexed poolId, uint64 indexed epoch, address indexed payee, uint256 amount, uint256 cumulative
        );
        event ClaimFailed(uint64 indexed poolId, uint64 indexed epoch, address indexed payee, bytes4 reason);
        event RedemptionRequested(
            uint64 indexed poolId, address indexed payee, address indexed node, uint64 epoch, uint256 cumulative,
            uint256 amount, uint256 payableAt
        );
        event RedemptionVetoCast(
            uint64 indexed poolId, address indexed payee, address indexed validator, bytes32 evidenceHash, uint256 votes,
            uint256 totalWeight
        );
        event RedemptionVetoed(uint64 indexed poolId, address indexed payee, uint256 released);
        event Redeemed(uint64 indexed poolId, address indexed payee, uint256 amount, uint256 cumulative);

        function fund(uint64 poolId, uint256 amount) external;
        function fundWithPermit(uint64 poolId, uint256 amount, uint256 deadline, uint8 v, bytes32 r, bytes32 s) external;
        function setSpendCap(uint64 poolId, uint128 spendCap) external;
        function requestWithdrawal(uint64 poolId, uint128 amount) external;
        function withdraw(uint64 poolId, address to) external returns (uint256 amount);
        function postRoot(uint64 poolId, uint64 epoch, bytes32 root, uint128 total, uint8 depth, uint64 provenEpoch)
            external;
        function vetoRoot(uint64 poolId, uint64 epoch, bytes32 evidenceHash) external;
        function refuteRoot(
            uint64 poolId, uint64 index, address payee, uint128 cumulative, bytes path, address otherPayee,
            uint128 otherCumulative, bytes otherPath
        ) external;
        function claim(Claim item) external returns (uint256 amount);
        function claimBatch(Claim[] items) external;
        function redeem(Receipt receipt, bytes orchestratorSignature, bytes nodeSignature) external;
        function vetoRedemption(uint64 poolId, address payee, bytes32 evidenceHash) external;
        function settleRedemption(uint64 poolId, address payee) external returns (uint256 amount);
        function postingSeconds() external view returns (uint256);
        function vetoSeconds() external view returns (uint256);
        function withdrawalDelay() external view returns (uint256);
        function maxProvenAgeEpochs() external view returns (uint256);
        function budgetOf(uint64 poolId) external view returns (Budget memory);
        function spendable(uint64 poolId, uint64 epoch) external view returns (uint256);
        function rootOf(uint64 poolId, uint64 epoch) external view returns (Root memory);
        function earningsOf(uint64 poolId, address payee) external view returns (Earnings memory);
        function redemptionOf(uint64 poolId, address payee) external view returns (Redemption memory);
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
        function symbol() external view returns (string memory);
        function decimals() external view returns (uint8);
    }

    struct Permit { address owner; address spender; uint256 value; uint256 nonce; uint256 deadline; }
}
