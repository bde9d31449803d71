// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {Checkpoints} from "@openzeppelin/contracts/utils/structs/Checkpoints.sol";
import {StakeVault} from "./StakeVault.sol";
import {IComputeRegistry} from "./interfaces/IComputeRegistry.sol";
import {IValidatorSet} from "./interfaces/IValidatorSet.sol";
import {LeafTree} from "./libraries/LeafTree.sol";
import {Refusal} from "./libraries/Refusal.sol";
import {ProvenSlot, ProvenSlots} from "./types/ProvenSlot.sol";

/// @title Validators and what they attest
/// @dev Invariants: the vault holds Σ stake; weights of an epoch are fixed when it begins (changes are written for the
/// next one), and the total is their sum; a validator votes once per epoch, so at most one root gathers more than two
/// thirds; a node's proof never goes back to an older epoch. Weights are kept as history, and a commitment that was
/// never revealed stays, so that a later contract can judge past epochs.
contract ValidatorSet is IValidatorSet, StakeVault {
    using Checkpoints for Checkpoints.Trace208;
    using LeafTree for IValidatorSet.Leaf;
    using LeafTree for bytes32[];
    using Refusal for bytes;
    using SafeCast for uint256;

    struct ValidatorRecord {
        uint128 stake;
        uint64 exitAt;
        string endpoint;
    }

    /// @notice Longest validator endpoint, bytes.
    uint256 public constant MAX_ENDPOINT_BYTES = 512;

    IComputeRegistry private immutable _registry;
    uint128 private immutable _minStake;
    uint64 private immutable _epochSeconds;
    uint64 private immutable _exitDelay;
    uint64 private immutable _maxValidityEpochs;

    mapping(address validator => ValidatorRecord) private _validators;
    mapping(address validator => Checkpoints.Trace208) private _weights;
    Checkpoints.Trace208 private _totalWeight;
    mapping(uint64 epoch => mapping(address validator => bytes32)) private _commitments;
    mapping(uint64 epoch => mapping(address validator => bytes32)) private _reveals;
    mapping(uint64 epoch => mapping(bytes32 root => uint256)) private _votes;
    mapping(uint64 epoch => bytes32) private _roots;
    mapping(address node => ProvenSlot) private _proven;

    /// @param token_ the ERC-20 that is staked
    /// @param registry_ the ComputeRegistry that answers for nodes
    /// @param minStake_ least stake of a validator, in the token's smallest unit
    /// @param epochSeconds_ length of an epoch, even; half of it takes commits, half reveals
    /// @param exitDelay_ seconds between `requestExit` and `withdraw`, at least two epochs
    /// @param maxValidityEpochs_ most epochs that a leaf may be valid beyond its own
    constructor(
        address token_,
        address registry_,
        uint256 minStake_,
        uint256 epochSeconds_,
        uint256 exitDelay_,
        uint256 maxValidityEpochs_
    ) StakeVault(token_) {
        if (registry_ == address(0)) revert ZeroAddress("registry");
        if (minStake_ == 0 || minStake_ > type(uint128).max) revert InvalidParameter("minStake", minStake_);
        if (epochSeconds_ < 2 || epochSeconds_ % 2 != 0 || epochSeconds_ > 365 days) {
            revert InvalidParameter("epochSeconds", epochSeconds_);
        }
        if (exitDelay_ < 2 * epochSeconds_ || exitDelay_ > 3650 days) revert InvalidParameter("exitDelay", exitDelay_);
        if (maxValidityEpochs_ == 0 || maxValidityEpochs_ > type(uint32).max) {
            revert InvalidParameter("maxValidityEpochs", maxValidityEpochs_);
        }
        _registry = IComputeRegistry(registry_);
        _minStake = uint128(minStake_);
        _epochSeconds = uint64(epochSeconds_);
        _exitDelay = uint64(exitDelay_);
        _maxValidityEpochs = uint64(maxValidityEpochs_);
    }

    /// @inheritdoc IValidatorSet
    function register(uint256 amount, uint256 deadline, uint8 v, bytes32 r, bytes32 s, string calldata endpoint)
        external
    {
        ValidatorRecord storage record = _validators[msg.sender];
        if (record.stake != 0) revert ValidatorAlreadyRegistered(msg.sender);
        if (amount < _minStake) revert InsufficientStake(amount, _minStake);
        _requireLength(endpoint);
        record.stake = amount.toUint128();
        record.endpoint = endpoint;
        uint64 activeFrom = _setNextWeight(msg.sender, amount);
        emit ValidatorRegistered(msg.sender, amount, activeFrom, endpoint);
        _pullWithPermit(msg.sender, amount, deadline, v, r, s);
    }

    /// @inheritdoc IValidatorSet
    function stake(uint256 amount) external {
        ValidatorRecord storage record = _requireActive(msg.sender);
        if (amount == 0) revert ZeroAmount();
        uint256 total = record.stake + amount;
        record.stake = total.toUint128();
        uint64 activeFrom = _setNextWeight(msg.sender, total);
        emit ValidatorStaked(msg.sender, amount, total, activeFrom);
        _pull(msg.sender, amount);
    }

    /// @inheritdoc IValidatorSet
    function setEndpoint(string calldata endpoint) external {
        ValidatorRecord storage record = _requireActive(msg.sender);
        _requireLength(endpoint);
        record.endpoint = endpoint;
        emit EndpointChanged(msg.sender, endpoint);
    }

    /// @inheritdoc IValidatorSet
    function requestExit() external {
        ValidatorRecord storage record = _requireActive(msg.sender);
        uint256 exitAt = block.timestamp + _exitDelay;
        record.exitAt = uint64(exitAt);
        uint64 inactiveFrom = _setNextWeight(msg.sender, 0);
        emit ExitRequested(msg.sender, inactiveFrom - 1, exitAt);
    }

    /// @inheritdoc IValidatorSet
    function withdraw() external returns (uint256 amount) {
        ValidatorRecord storage record = _validators[msg.sender];
        amount = record.stake;
        uint256 exitAt = record.exitAt;
        if (amount == 0) revert ValidatorNotRegistered(msg.sender);
        if (exitAt == 0) revert NotExiting(msg.sender);
        if (block.timestamp < exitAt) revert StillBonded(exitAt);
        delete _validators[msg.sender];
        emit Withdrawn(msg.sender, amount);
        _pay(msg.sender, amount);
    }

    /// @inheritdoc IValidatorSet
    function commit(uint64 epoch, bytes32 commitment) external {
        _requireCurrent(epoch);
        uint256 until = (uint256(epoch) * _epochSeconds) + _epochSeconds / 2 - 1;
        if (block.timestamp > until) revert CommitPhaseOver(epoch, until);
        if (commitment == bytes32(0)) revert ZeroDigest();
        if (weightOf(msg.sender, epoch) == 0) revert NoWeight(msg.sender, epoch);
        if (_commitments[epoch][msg.sender] != bytes32(0)) revert AlreadyCommitted(msg.sender, epoch);
        _commitments[epoch][msg.sender] = commitment;
        emit Committed(epoch, msg.sender, commitment);
    }

    /// @inheritdoc IValidatorSet
    function reveal(uint64 epoch, bytes32 root, bytes32 salt) external {
        _requireCurrent(epoch);
        uint256 from = (uint256(epoch) * _epochSeconds) + _epochSeconds / 2;
        if (block.timestamp < from) revert RevealPhaseNotBegun(epoch, from);
        if (root == bytes32(0)) revert ZeroDigest();
        bytes32 committed = _commitments[epoch][msg.sender];
        if (committed == bytes32(0)) revert NotCommitted(msg.sender, epoch);
        bytes32 revealed = keccak256(abi.encode(msg.sender, epoch, salt, root));
        if (revealed != committed) revert WrongReveal(committed, revealed);

        uint256 weight = weightOf(msg.sender, epoch);
        uint256 votes = _votes[epoch][root] + weight;
        delete _commitments[epoch][msg.sender];
        _reveals[epoch][msg.sender] = root;
        _votes[epoch][root] = votes;
        emit Revealed(epoch, msg.sender, root, weight);

        uint256 total = totalWeight(epoch);
        if (_roots[epoch] == bytes32(0) && votes * 3 > total * 2) {
            _roots[epoch] = root;
            emit RootAccepted(epoch, root, votes, total);
        }
    }

    /// @inheritdoc IValidatorSet
    function prove(uint64 epoch, Leaf calldata leaf, bytes32[] calldata path) external {
        _tryProve(epoch, leaf, path).raise();
    }

    /// @inheritdoc IValidatorSet
    function proveBatch(uint64 epoch, Leaf[] calldata leaves, bytes32[][] calldata paths) external {
        if (leaves.length != paths.length) revert LengthMismatch(leaves.length, paths.length);
        for (uint256 i = 0; i < leaves.length; ++i) {
            bytes memory refusal = _tryProve(epoch, leaves[i], paths[i]);
            if (refusal.length != 0) emit ProofFailed(epoch, leaves[i].node, refusal.reason());
        }
    }

    /// @inheritdoc IValidatorSet
    function registry() external view returns (address) {
        return address(_registry);
    }

    /// @inheritdoc IValidatorSet
    function minStake() external view returns (uint256) {
        return _minStake;
    }

    /// @inheritdoc IValidatorSet
    function epochSeconds() external view returns (uint256) {
        return _epochSeconds;
    }

    /// @inheritdoc IValidatorSet
    function exitDelay() external view returns (uint256) {
        return _exitDelay;
    }

    /// @inheritdoc IValidatorSet
    function maxValidityEpochs() external view returns (uint256) {
        return _maxValidityEpochs;
    }

    /// @inheritdoc IValidatorSet
    function currentEpoch() public view returns (uint64) {
        return uint64(block.timestamp / _epochSeconds);
    }

    /// @inheritdoc IValidatorSet
    function validatorOf(address validator) external view returns (Validator memory) {
        ValidatorRecord storage record = _validators[validator];
        return Validator({stake: record.stake, exitAt: record.exitAt, endpoint: record.endpoint});
    }

    /// @inheritdoc IValidatorSet
    function weightOf(address validator, uint64 epoch) public view returns (uint256) {
        return _weights[validator].upperLookupRecent(uint256(epoch).toUint48());
    }

    /// @inheritdoc IValidatorSet
    function totalWeight(uint64 epoch) public view returns (uint256) {
        return _totalWeight.upperLookupRecent(uint256(epoch).toUint48());
    }

    /// @inheritdoc IValidatorSet
    function commitmentOf(uint64 epoch, address validator) external view returns (bytes32) {
        return _commitments[epoch][validator];
    }

    /// @inheritdoc IValidatorSet
    function revealOf(uint64 epoch, address validator) external view returns (bytes32) {
        return _reveals[epoch][validator];
    }

    /// @inheritdoc IValidatorSet
    function votesFor(uint64 epoch, bytes32 root) external view returns (uint256) {
        return _votes[epoch][root];
    }

    /// @inheritdoc IValidatorSet
    function rootOf(uint64 epoch) external view returns (bytes32) {
        return _roots[epoch];
    }

    /// @inheritdoc IValidatorSet
    function leafHash(Leaf calldata leaf) external pure returns (bytes32) {
        return leaf.hash();
    }

    /// @inheritdoc IValidatorSet
    function provenOf(address node) public view returns (ProvenNode memory) {
        ProvenSlot slot = _proven[node];
        uint48 registration = _registry.registrationOf(node);
        return ProvenNode({
            classId: slot.classId(),
            gpuCount: slot.gpuCount(),
            vramGib: slot.vramGib(),
            walkScore: slot.walkScore(),
            gemmScore: slot.gemmScore(),
            provenEpoch: slot.provenEpoch(),
            expiryEpoch: slot.expiryEpoch(),
            registration: slot.registration(),
            current: registration != 0 && slot.registration() == registration && slot.expiryEpoch() >= currentEpoch()
        });
    }

    /// @inheritdoc IValidatorSet
    function isProven(address node) external view returns (bool) {
        return provenOf(node).current;
    }

    /// @dev Records the leaf, or returns why not.
    function _tryProve(uint64 epoch, Leaf calldata leaf, bytes32[] calldata path)
        private
        returns (bytes memory refusal)
    {
        bytes32 root = _roots[epoch];
        if (root == bytes32(0)) return abi.encodeWithSelector(RootNotAccepted.selector, epoch);
        if (!path.leadsTo(root, leaf.hash())) {
            return abi.encodeWithSelector(InvalidProof.selector, epoch, leaf.node);
        }
        uint48 provenEpoch = _proven[leaf.node].provenEpoch();
        if (epoch <= provenEpoch) {
            return abi.encodeWithSelector(StaleProof.selector, leaf.node, provenEpoch, epoch);
        }
        if (leaf.pass) {
            uint64 current = currentEpoch();
            if (leaf.expiryEpoch < current) {
                return abi.encodeWithSelector(ProofExpired.selector, leaf.node, leaf.expiryEpoch, current);
            }
            if (leaf.expiryEpoch > epoch + _maxValidityEpochs) {
                return
                    abi.encodeWithSelector(
                        ExpiryTooFar.selector, leaf.node, leaf.expiryEpoch, epoch + _maxValidityEpochs
                    );
            }
        }
        uint48 registration = _registry.registrationOf(leaf.node);
        if (registration == 0) return abi.encodeWithSelector(NodeNotRegistered.selector, leaf.node);
        _record(epoch, leaf, registration);
    }

    /// @dev The epochs fit 48 bits: an accepted epoch is not in the future, and the expiry was checked against it.
    function _record(uint64 epoch, Leaf calldata leaf, uint48 registration) private {
        if (leaf.pass) {
            _proven[leaf.node] = ProvenSlots.pack(leaf, epoch, registration);
            emit NodeProven(epoch, leaf.node, leaf.classId, leaf.gpuCount, leaf.vramGib, leaf.expiryEpoch);
        } else {
            _proven[leaf.node] = ProvenSlots.packFailure(epoch, registration);
            emit NodeUnproven(epoch, leaf.node);
        }
    }

    /// @dev Writes the validator's weight and the total for the next epoch.
    function _setNextWeight(address validator, uint256 weight) private returns (uint64 from) {
        from = currentEpoch() + 1;
        uint48 key = uint256(from).toUint48();
        (uint208 previous,) = _weights[validator].push(key, weight.toUint208());
        _totalWeight.push(key, (_totalWeight.latest() - previous + weight).toUint208());
    }

    function _requireActive(address validator) private view returns (ValidatorRecord storage record) {
        record = _validators[validator];
        if (record.stake == 0) revert ValidatorNotRegistered(validator);
        if (record.exitAt != 0) revert ValidatorExiting(validator, record.exitAt);
    }

    function _requireCurrent(uint64 epoch) private view {
        uint64 current = currentEpoch();
        if (epoch != current) revert WrongEpoch(epoch, current);
    }

    function _requireLength(string calldata endpoint) private pure {
        uint256 length = bytes(endpoint).length;
        if (length > MAX_ENDPOINT_BYTES) revert TextTooLong("endpoint", length, MAX_ENDPOINT_BYTES);
    }
}
