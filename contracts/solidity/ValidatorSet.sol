// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {ValidatorStakes} from "./ValidatorStakes.sol";
import {IComputeRegistry} from "./interfaces/IComputeRegistry.sol";
import {IValidatorSet} from "./interfaces/IValidatorSet.sol";
import {LeafTree} from "./libraries/LeafTree.sol";
import {Refusal} from "./libraries/Refusal.sol";
import {ProvenSlot, ProvenSlots} from "./types/ProvenSlot.sol";

/// @title Validators and what they attest
/// @dev Invariants, beside those of ValidatorStakes: a validator votes once per epoch, so at most one root gathers more
/// than two thirds; a missed reveal is cut once; a node's proof never goes back to an older epoch.
contract ValidatorSet is ValidatorStakes {
    using LeafTree for IValidatorSet.Leaf;
    using LeafTree for bytes32[];
    using Refusal for bytes;

    /// @notice Largest committee that can be configured.
    uint256 public constant MAX_COMMITTEE_SIZE = 1_000;

    IComputeRegistry private immutable _registry;
    uint64 private immutable _maxValidityEpochs;
    uint16 private immutable _committeeSize;

    mapping(uint64 epoch => mapping(address validator => bytes32)) private _commitments;
    mapping(uint64 epoch => mapping(address validator => bytes32)) private _reveals;
    mapping(uint64 epoch => mapping(bytes32 root => uint256)) private _votes;
    mapping(uint64 epoch => bytes32) private _roots;
    mapping(uint64 epoch => bytes32) private _beacons;
    mapping(address node => ProvenSlot) private _proven;

    /// @param token_ the ERC-20 that is staked
    /// @param registry_ the ComputeRegistry that answers for nodes
    /// @param minStake_ least stake of a validator, in the token's smallest unit
    /// @param epochSeconds_ length of an epoch, even; half of it takes commits, half reveals
    /// @param exitDelay_ seconds between `requestExit` and `withdraw`, at least two epochs
    /// @param maxValidityEpochs_ most epochs that a leaf may be valid beyond its own
    /// @param treasury_ where cuts of bonds go
    /// @param missedRevealBasisPoints_ part of the bond that a missed reveal costs
    /// @param committeeSize_ how many validators are expected to be drawn for a node
    constructor(
        address token_,
        address registry_,
        uint256 minStake_,
        uint256 epochSeconds_,
        uint256 exitDelay_,
        uint256 maxValidityEpochs_,
        address treasury_,
        uint256 missedRevealBasisPoints_,
        uint256 committeeSize_
    ) ValidatorStakes(token_, minStake_, epochSeconds_, exitDelay_, treasury_, missedRevealBasisPoints_) {
        if (registry_ == address(0)) revert ZeroAddress("registry");
        if (maxValidityEpochs_ == 0 || maxValidityEpochs_ > type(uint32).max) {
            revert InvalidParameter("maxValidityEpochs", maxValidityEpochs_);
        }
        if (committeeSize_ == 0 || committeeSize_ > MAX_COMMITTEE_SIZE) {
            revert InvalidParameter("committeeSize", committeeSize_);
        }
        _registry = IComputeRegistry(registry_);
        _maxValidityEpochs = uint64(maxValidityEpochs_);
        _committeeSize = uint16(committeeSize_);
    }

    /// @inheritdoc IValidatorSet
    function commit(uint64 epoch, bytes32 commitment) external {
        _requireCommitPhase(epoch);
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
    /// @dev Whoever calls chooses the block, and so may try a few; anybody ends that by drawing first.
    function drawBeacon(uint64 epoch) external returns (bytes32 beacon) {
        _requireCommitPhase(epoch);
        if (_beacons[epoch] != bytes32(0)) revert BeaconAlreadyDrawn(epoch);
        beacon = keccak256(abi.encode(epoch, block.prevrandao, blockhash(block.number - 1)));
        _beacons[epoch] = beacon;
        emit BeaconDrawn(epoch, beacon);
    }

    /// @inheritdoc IValidatorSet
    function penalizeMissedReveal(uint64 epoch, address validator) external {
        uint64 current = currentEpoch();
        if (epoch >= current) revert EpochNotOver(epoch, current);
        if (_commitments[epoch][validator] == bytes32(0)) revert NotCommitted(validator, epoch);
        delete _commitments[epoch][validator];
        _cut(epoch, validator);
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
    function committeeSize() external view returns (uint256) {
        return _committeeSize;
    }

    /// @inheritdoc IValidatorSet
    function beaconOf(uint64 epoch) external view returns (bytes32) {
        return _beacons[epoch];
    }

    /// @inheritdoc IValidatorSet
    function isDrawn(uint64 epoch, address node, address validator) external view returns (bool) {
        bytes32 beacon = _beacons[epoch];
        if (beacon == bytes32(0)) revert NoBeacon(epoch);
        uint256 weight = weightOf(validator, epoch);
        if (weight == 0) return false;
        if (_validatorCount(epoch) <= _committeeSize) return true;
        uint256 share = weight * _committeeSize;
        uint256 total = totalWeight(epoch);
        if (share >= total) return true;
        uint256 ticket = uint128(uint256(keccak256(abi.encode(beacon, node, validator))));
        return ticket < Math.mulDiv(share, 1 << 128, total);
    }

    /// @inheritdoc IValidatorSet
    function maxValidityEpochs() external view returns (uint256) {
        return _maxValidityEpochs;
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
    function provenOfMany(address[] calldata nodes) external view returns (ProvenNode[] memory proven) {
        proven = new ProvenNode[](nodes.length);
        for (uint256 i = 0; i < nodes.length; ++i) {
            proven[i] = provenOf(nodes[i]);
        }
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
        address node = leaf.node;
        if (!path.leadsTo(root, leaf.hash())) return abi.encodeWithSelector(InvalidProof.selector, epoch, node);
        uint48 provenEpoch = _proven[node].provenEpoch();
        if (epoch <= provenEpoch) {
            return abi.encodeWithSelector(StaleProof.selector, node, provenEpoch, epoch);
        }
        if (leaf.pass) {
            uint64 current = currentEpoch();
            uint64 expiryEpoch = leaf.expiryEpoch;
            if (expiryEpoch < current) {
                return abi.encodeWithSelector(ProofExpired.selector, node, expiryEpoch, current);
            }
            if (expiryEpoch > epoch + _maxValidityEpochs) {
                return abi.encodeWithSelector(ExpiryTooFar.selector, node, expiryEpoch, epoch + _maxValidityEpochs);
            }
        }
        uint48 registration = _registry.registrationOf(node);
        if (registration == 0) return abi.encodeWithSelector(NodeNotRegistered.selector, node);
        _record(epoch, node, leaf, registration);
    }

    /// @dev The epochs fit 48 bits: an accepted epoch is not in the future, and the expiry was checked against it.
    function _record(uint64 epoch, address node, Leaf calldata leaf, uint48 registration) private {
        if (leaf.pass) {
            _proven[node] = ProvenSlots.pack(leaf, epoch, registration);
            emit NodeProven(epoch, node, leaf.classId, leaf.gpuCount, leaf.vramGib, leaf.expiryEpoch);
        } else {
            _proven[node] = ProvenSlots.packFailure(epoch, registration);
            emit NodeUnproven(epoch, node);
        }
    }

    function _requireCurrent(uint64 epoch) private view {
        uint64 current = currentEpoch();
        if (epoch != current) revert WrongEpoch(epoch, current);
    }

    function _requireCommitPhase(uint64 epoch) private view {
        _requireCurrent(epoch);
        uint256 until = (uint256(epoch) * _epochSeconds) + _epochSeconds / 2 - 1;
        if (block.timestamp > until) revert CommitPhaseOver(epoch, until);
    }
}
