// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IStakeVault} from "./IStakeVault.sol";

/// @title Validators and what they attest
/// @notice Validators stake, agree once per epoch on the Merkle root of what they measured (commit, then reveal), and
/// anybody shows a node's leaf under an agreed root to mark the node as proven.
/// @dev Nothing here is signed off chain, so there is no EIP-712 domain (registering takes the token's permit).
/// epoch = block.timestamp / epochSeconds. The first half of an epoch takes commits, the second half reveals.
/// Stake counts from the epoch after the one it was staked in; an exit stops counting from the next epoch too.
interface IValidatorSet is IStakeVault {
    /// @notice A validator as the chain knows it.
    /// @param stake tokens bonded, also while the exit is under way
    /// @param exitAt unix seconds from which the stake can be withdrawn; zero while the validator has not asked to exit
    /// @param endpoint where the validator listens
    struct Validator {
        uint128 stake;
        uint64 exitAt;
        string endpoint;
    }

    /// @notice What the validators say about one node. Scores are in basis points of the class's reference.
    /// @dev Leaf hash: keccak256(bytes.concat(keccak256(abi.encode(leaf)))). Inner node: keccak256 of the two children,
    /// smaller first.
    struct Leaf {
        address node;
        uint32 classId;
        uint16 gpuCount;
        bytes32 uuidSetHash;
        uint32 vramGib;
        uint16 walkScore;
        uint16 gemmScore;
        uint32 medianMillis;
        bool pass;
        bytes32 transcriptHash;
        uint64 expiryEpoch;
    }

    /// @notice The latest leaf shown for a node.
    /// @param classId hardware class
    /// @param gpuCount GPUs proven at one instant
    /// @param vramGib GPU memory, GiB
    /// @param walkScore memory score, basis points
    /// @param gemmScore arithmetic score, basis points
    /// @param provenEpoch epoch whose root the leaf stands under; zero when none was ever shown
    /// @param expiryEpoch last epoch in which the proof counts; zero when the latest leaf was a failure
    /// @param registration the node's registration (ComputeRegistry) that the proof is for
    /// @param current whether the proof counts now
    struct ProvenNode {
        uint32 classId;
        uint16 gpuCount;
        uint32 vramGib;
        uint16 walkScore;
        uint16 gemmScore;
        uint64 provenEpoch;
        uint64 expiryEpoch;
        uint48 registration;
        bool current;
    }

    event ValidatorRegistered(address indexed validator, uint256 stake, uint64 activeFrom, string endpoint);
    event ValidatorStaked(address indexed validator, uint256 amount, uint256 stake, uint64 activeFrom);
    event EndpointChanged(address indexed validator, string endpoint);
    event ExitRequested(address indexed validator, uint64 activeUntil, uint256 exitAt);
    event Withdrawn(address indexed validator, uint256 amount);
    event Committed(uint64 indexed epoch, address indexed validator, bytes32 commitment);
    event Revealed(uint64 indexed epoch, address indexed validator, bytes32 indexed root, uint256 weight);
    /// @notice More than two thirds of the epoch's weight revealed this root.
    event RootAccepted(uint64 indexed epoch, bytes32 indexed root, uint256 weight, uint256 totalWeight);
    /// @notice The epoch's randomness is known: it draws the committees of nodes registered before the epoch began.
    event BeaconDrawn(uint64 indexed epoch, bytes32 beacon);
    /// @notice The validator committed in this epoch and never revealed: part of its bond went to the treasury.
    event RevealMissed(uint64 indexed epoch, address indexed validator, uint256 amount, uint256 stake);
    event NodeProven(
        uint64 indexed epoch, address indexed node, uint32 classId, uint16 gpuCount, uint32 vramGib, uint64 expiryEpoch
    );
    /// @notice The latest leaf says that the node failed: it is not proven any more.
    event NodeUnproven(uint64 indexed epoch, address indexed node);
    /// @notice An item of a batch was refused; `reason` is the selector of the error that names the cause.
    event ProofFailed(uint64 indexed epoch, address indexed node, bytes4 reason);

    /// @notice A constructor argument is out of range.
    error InvalidParameter(bytes32 parameter, uint256 given);
    error ValidatorAlreadyRegistered(address validator);
    error ValidatorNotRegistered(address validator);
    /// @notice The validator asked to exit; it can register again after withdrawing.
    error ValidatorExiting(address validator, uint256 exitAt);
    /// @notice The validator has not asked to exit.
    error NotExiting(address validator);
    /// @notice The stake cannot be withdrawn before `exitAt` (unix seconds).
    error StillBonded(uint256 exitAt);
    error InsufficientStake(uint256 given, uint256 minimum);
    error TextTooLong(bytes32 parameter, uint256 length, uint256 maximum);
    /// @notice The call is about another epoch than the running one.
    error WrongEpoch(uint64 given, uint64 current);
    /// @notice Commits are taken in the first half of the epoch, up to and including second `until`.
    error CommitPhaseOver(uint64 epoch, uint256 until);
    /// @notice Reveals are taken in the second half of the epoch, from second `from`.
    error RevealPhaseNotBegun(uint64 epoch, uint256 from);
    /// @notice The validator's stake does not count in this epoch.
    error NoWeight(address validator, uint64 epoch);
    error AlreadyCommitted(address validator, uint64 epoch);
    error NotCommitted(address validator, uint64 epoch);
    /// @notice The revealed values do not hash to what was committed.
    error WrongReveal(bytes32 committed, bytes32 revealed);
    /// @notice The epoch's beacon was drawn before.
    error BeaconAlreadyDrawn(uint64 epoch);
    /// @notice The epoch has no beacon.
    error NoBeacon(uint64 epoch);
    /// @notice The epoch is not over: the validator can still reveal.
    error EpochNotOver(uint64 epoch, uint64 current);
    /// @notice A commitment or root must not be zero.
    error ZeroDigest();
    /// @notice The epoch has no accepted root.
    error RootNotAccepted(uint64 epoch);
    /// @notice The path does not lead from the leaf to the epoch's root.
    error InvalidProof(uint64 epoch, address node);
    /// @notice A leaf of the same or a later epoch was shown already.
    error StaleProof(address node, uint64 recordedEpoch, uint64 givenEpoch);
    /// @notice The leaf's validity is over.
    error ProofExpired(address node, uint64 expiryEpoch, uint64 currentEpoch);
    /// @notice The leaf is valid for longer than this set allows.
    error ExpiryTooFar(address node, uint64 expiryEpoch, uint64 maximum);
    /// @notice The node is not registered.
    error NodeNotRegistered(address node);
    /// @notice A batch needs one path per leaf.
    error LengthMismatch(uint256 leaves, uint256 paths);

    /// @notice Registers the caller as a validator with a stake, by the token's permit (see ComputeRegistry).
    function register(uint256 amount, uint256 deadline, uint8 v, bytes32 r, bytes32 s, string calldata endpoint)
        external;

    /// @notice Adds to the caller's stake, from its allowance.
    function stake(uint256 amount) external;

    /// @notice Publishes where the caller listens, at most `MAX_ENDPOINT_BYTES`.
    function setEndpoint(string calldata endpoint) external;

    /// @notice The caller's weight ends with this epoch; its stake can be withdrawn after the exit delay.
    function requestExit() external;

    /// @notice Pays the stake back once the exit delay is over.
    /// @return amount tokens paid
    function withdraw() external returns (uint256 amount);

    /// @notice Commits to a root, in the first half of the running epoch.
    /// @param commitment keccak256(abi.encode(validator, epoch, salt, root)), types (address, uint64, bytes32, bytes32)
    function commit(uint64 epoch, bytes32 commitment) external;

    /// @notice Reveals the committed root, in the second half of the same epoch. A root that is never revealed is no vote.
    function reveal(uint64 epoch, bytes32 root, bytes32 salt) external;

    /// @notice Anybody fixes the running epoch's randomness, once, in its first half.
    function drawBeacon(uint64 epoch) external returns (bytes32 beacon);

    /// @notice Anybody has a validator's bond cut that committed in a past epoch and never revealed, once for each such
    /// epoch. What is left goes on counting from the next epoch, also below `minStake`.
    function penalizeMissedReveal(uint64 epoch, address validator) external;

    /// @notice Shows a leaf under the epoch's accepted root: the node is proven, or not any more when the leaf failed.
    function prove(uint64 epoch, Leaf calldata leaf, bytes32[] calldata path) external;

    /// @notice As `prove`, for many nodes; a refused item is reported by `ProofFailed` and does not touch the others.
    function proveBatch(uint64 epoch, Leaf[] calldata leaves, bytes32[][] calldata paths) external;

    function registry() external view returns (address);
    /// @notice Where cuts of bonds go.
    function treasury() external view returns (address);
    /// @notice Part of the bond that a missed reveal costs, basis points.
    function missedRevealBasisPoints() external view returns (uint256);
    /// @notice How many validators are expected to be drawn for a node.
    function committeeSize() external view returns (uint256);
    /// @notice The epoch's randomness; zero when not drawn.
    function beaconOf(uint64 epoch) external view returns (bytes32);
    /// @notice Whether the validator checks the node in this epoch: drawn by the beacon, in proportion to its weight.
    /// When no more than `committeeSize` have weight, all of them are drawn.
    function isDrawn(uint64 epoch, address node, address validator) external view returns (bool);
    function minStake() external view returns (uint256);
    /// @notice Seconds of an epoch, even.
    function epochSeconds() external view returns (uint256);
    /// @notice Seconds between `requestExit` and `withdraw`.
    function exitDelay() external view returns (uint256);
    /// @notice Most epochs that a leaf may be valid beyond its own.
    function maxValidityEpochs() external view returns (uint256);
    /// @notice The running epoch.
    function currentEpoch() external view returns (uint64);
    function validatorOf(address validator) external view returns (Validator memory);
    /// @notice The validator's weight in an epoch, running, past, or the next one as far as known now.
    function weightOf(address validator, uint64 epoch) external view returns (uint256);
    /// @notice The sum of all weights in an epoch.
    function totalWeight(uint64 epoch) external view returns (uint256);
    /// @notice The commitment that awaits its reveal; zero when there was none, or it was revealed or penalised. Not zero
    /// after the epoch: the vote is void, and anybody may have the bond cut.
    function commitmentOf(uint64 epoch, address validator) external view returns (bytes32);
    /// @notice The root that the validator revealed; zero when none.
    function revealOf(uint64 epoch, address validator) external view returns (bytes32);
    /// @notice Weight that revealed this root.
    function votesFor(uint64 epoch, bytes32 root) external view returns (uint256);
    /// @notice The epoch's accepted root; zero when none.
    function rootOf(uint64 epoch) external view returns (bytes32);
    /// @notice The hash that stands for a leaf in the tree.
    function leafHash(Leaf calldata leaf) external pure returns (bytes32);
    /// @notice The latest leaf shown for the node, and whether it counts now.
    function provenOf(address node) external view returns (ProvenNode memory);
    /// @notice As `provenOf`, for many nodes, in the order asked for.
    function provenOfMany(address[] calldata nodes) external view returns (ProvenNode[] memory);
    /// @notice Whether the node is proven now.
    function isProven(address node) external view returns (bool);
}
