// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {StakeVault} from "./StakeVault.sol";
import {IComputeRegistry} from "./interfaces/IComputeRegistry.sol";
import {ISlashing} from "./interfaces/ISlashing.sol";
import {IValidatorSet} from "./interfaces/IValidatorSet.sol";
import {Signature} from "./libraries/Signature.sol";

/// @title Accusations, answers and verdicts
/// @dev Invariants: the vault holds Σ bonds of open accusations + Σ owed; what the registry has locked for a provider is
/// Σ amounts of its open accusations; a validator votes once on an accusation; a verdict is carried out once. Who gets
/// how much is recorded before any token moves, and no call loops over storage.
contract Slashing is ISlashing, StakeVault, EIP712 {
    /// @dev Four slots and the digests. A vote writes a weight only.
    struct AccusationRecord {
        address accuser;
        uint64 openedAt;
        Offence offence;
        // None while open, then Guilty or Acquitted.
        Phase verdict;
        address provider;
        uint64 epoch;
        address node;
        uint128 amount;
        uint128 bond;
        uint256 guiltyWeight;
        uint256 innocentWeight;
        bytes32 evidenceHash;
        bytes32 answerHash;
    }

    /// @notice Longest `evidenceUri` and `answerUri`, bytes.
    uint256 public constant MAX_URI_BYTES = 512;
    /// @notice Most that an accuser can get of what was slashed, basis points.
    uint256 public constant MAX_FEE_BASIS_POINTS = 1_000;

    uint256 private constant _BASIS = 10_000;
    bytes32 private constant _ANSWER_TYPEHASH =
        keccak256("Answer(uint64 accusationId,bytes32 answerHash,string answerUri,uint64 deadline)");

    IComputeRegistry private immutable _registry;
    IValidatorSet private immutable _validators;
    address private immutable _treasury;
    uint128 private immutable _minBond;
    uint128 private immutable _maxFee;
    uint16 private immutable _bondBasisPoints;
    uint16 private immutable _maxSlashBasisPoints;
    uint16 private immutable _feeBasisPoints;
    uint64 private immutable _detectionSeconds;
    uint64 private immutable _evidenceSeconds;
    uint64 private immutable _answerSeconds;
    uint64 private immutable _voteSeconds;
    uint64 private immutable _executionSeconds;

    uint64 private _accusationCount;
    mapping(uint64 accusationId => AccusationRecord) private _accusations;
    mapping(address provider => mapping(address node => uint64)) private _open;
    mapping(uint64 accusationId => mapping(address validator => bool)) private _voted;
    mapping(address to => uint256) private _owed;

    /// @param token_ the ERC-20 that is staked and bonded
    /// @param registry_ the ComputeRegistry that holds the stake; it must name this contract as its slasher
    /// @param validators_ the ValidatorSet that votes
    /// @param terms_ everything else, for good
    constructor(address token_, address registry_, address validators_, Terms memory terms_)
        StakeVault(token_)
        EIP712("Lode Slashing", "1")
    {
        if (registry_ == address(0)) revert ZeroAddress("registry");
        if (validators_ == address(0)) revert ZeroAddress("validators");
        if (terms_.treasury == address(0)) revert ZeroAddress("treasury");
        if (terms_.minBond == 0) revert InvalidParameter("minBond", 0);
        _requireIn("bondBasisPoints", terms_.bondBasisPoints, 0, _BASIS);
        _requireIn("maxSlashBasisPoints", terms_.maxSlashBasisPoints, 1, _BASIS);
        _requireIn("feeBasisPoints", terms_.feeBasisPoints, 0, MAX_FEE_BASIS_POINTS);
        if (terms_.evidenceSeconds == 0) revert InvalidParameter("evidenceSeconds", 0);
        if (terms_.answerSeconds == 0) revert InvalidParameter("answerSeconds", 0);
        if (terms_.voteSeconds == 0) revert InvalidParameter("voteSeconds", 0);

        _registry = IComputeRegistry(registry_);
        if (_registry.token() != token_) revert InvalidParameter("token", uint160(token_));
        uint256 required = uint256(terms_.detectionSeconds) + terms_.evidenceSeconds + terms_.answerSeconds
            + terms_.voteSeconds + terms_.executionSeconds;
        uint256 delay = _registry.unbondingDelay();
        if (delay < required) revert UnbondingTooShort(delay, required);

        _validators = IValidatorSet(validators_);
        _treasury = terms_.treasury;
        _minBond = terms_.minBond;
        _maxFee = terms_.maxFee;
        _bondBasisPoints = terms_.bondBasisPoints;
        _maxSlashBasisPoints = terms_.maxSlashBasisPoints;
        _feeBasisPoints = terms_.feeBasisPoints;
        _detectionSeconds = terms_.detectionSeconds;
        _evidenceSeconds = terms_.evidenceSeconds;
        _answerSeconds = terms_.answerSeconds;
        _voteSeconds = terms_.voteSeconds;
        _executionSeconds = terms_.executionSeconds;
    }

    /// @inheritdoc ISlashing
    /// @dev The node need not serve the provider any more: releasing it must not be a way out.
    function accuse(
        address provider,
        address node,
        Offence offence,
        uint128 amount,
        bytes32 evidenceHash,
        string calldata evidenceUri
    ) external returns (uint64 accusationId) {
        if (offence == Offence.None) revert InvalidOffence();
        if (evidenceHash == bytes32(0)) revert ZeroDigest();
        _requireLength("evidenceUri", evidenceUri);
        _requireAccusable(provider, node, amount);

        accusationId = ++_accusationCount;
        _open[provider][node] = accusationId;
        AccusationRecord storage record = _accusations[accusationId];
        record.accuser = msg.sender;
        record.openedAt = uint64(block.timestamp);
        record.offence = offence;
        record.provider = provider;
        record.epoch = _validators.currentEpoch();
        record.node = node;
        record.amount = amount;
        uint256 bond = bondFor(amount);
        record.bond = uint128(bond);
        record.evidenceHash = evidenceHash;
        _announce(accusationId, record, evidenceUri);
        _registry.lockStake(provider, amount);
        _pull(msg.sender, bond);
    }

    /// @inheritdoc ISlashing
    function answer(uint64 accusationId, bytes32 answerHash, string calldata answerUri) external {
        AccusationRecord storage record = _existing(accusationId);
        if (msg.sender != record.provider) revert NotAccused(accusationId, msg.sender);
        _answer(accusationId, record, answerHash, answerUri);
    }

    /// @inheritdoc ISlashing
    function answerBySignature(
        uint64 accusationId,
        bytes32 answerHash,
        string calldata answerUri,
        uint64 deadline,
        bytes calldata signature
    ) external {
        AccusationRecord storage record = _existing(accusationId);
        if (block.timestamp > deadline) revert SignatureExpired(deadline);
        bytes32 digest = _hashTypedDataV4(
            keccak256(abi.encode(_ANSWER_TYPEHASH, accusationId, answerHash, keccak256(bytes(answerUri)), deadline))
        );
        if (!Signature.isBy(record.provider, digest, signature)) revert InvalidAnswerSignature(accusationId);
        _answer(accusationId, record, answerHash, answerUri);
    }

    /// @inheritdoc ISlashing
    function vote(uint64 accusationId, bool guilty) external {
        AccusationRecord storage record = _existing(accusationId);
        Phase phase = _phaseOf(record);
        if (phase != Phase.Vote) revert WrongPhase(accusationId, phase);
        uint256 weight = _validators.weightOf(msg.sender, record.epoch);
        if (weight == 0 || msg.sender == record.accuser) revert NoVote(accusationId, msg.sender);
        if (_voted[accusationId][msg.sender]) revert AlreadyVoted(accusationId, msg.sender);
        _voted[accusationId][msg.sender] = true;
        if (guilty) record.guiltyWeight += weight;
        else record.innocentWeight += weight;
        emit Voted(accusationId, msg.sender, guilty, weight);
    }

    /// @inheritdoc ISlashing
    function resolve(uint64 accusationId) external {
        AccusationRecord storage record = _existing(accusationId);
        Phase phase = _phaseOf(record);
        if (phase != Phase.Decided) revert WrongPhase(accusationId, phase);
        address provider = record.provider;
        if (_open[provider][record.node] == accusationId) delete _open[provider][record.node];
        if (record.guiltyWeight * 3 > _jurorsWeight(record) * 2) {
            record.verdict = Phase.Guilty;
            _punish(accusationId, record, provider);
        } else {
            record.verdict = Phase.Acquitted;
            uint256 bond = record.bond;
            emit Acquitted(accusationId, provider, bond);
            _registry.unlockStake(provider, record.amount);
            _payOrOwe(provider, bond);
        }
    }

    /// @inheritdoc ISlashing
    function collect(address to) external returns (uint256 amount) {
        amount = _owed[to];
        if (amount == 0) revert NothingOwed(to);
        delete _owed[to];
        emit Collected(to, amount);
        _pay(to, amount);
    }

    /// @inheritdoc ISlashing
    function registry() external view returns (address) {
        return address(_registry);
    }

    /// @inheritdoc ISlashing
    function validators() external view returns (address) {
        return address(_validators);
    }

    /// @inheritdoc ISlashing
    function terms() external view returns (Terms memory) {
        return Terms({
            treasury: _treasury,
            minBond: _minBond,
            bondBasisPoints: _bondBasisPoints,
            maxSlashBasisPoints: _maxSlashBasisPoints,
            feeBasisPoints: _feeBasisPoints,
            maxFee: _maxFee,
            detectionSeconds: _detectionSeconds,
            evidenceSeconds: _evidenceSeconds,
            answerSeconds: _answerSeconds,
            voteSeconds: _voteSeconds,
            executionSeconds: _executionSeconds
        });
    }

    /// @inheritdoc ISlashing
    function accusationCount() external view returns (uint64) {
        return _accusationCount;
    }

    /// @inheritdoc ISlashing
    function accusationOf(uint64 accusationId) external view returns (Accusation memory) {
        AccusationRecord storage record = _existing(accusationId);
        return Accusation({
            accuser: record.accuser,
            provider: record.provider,
            node: record.node,
            offence: record.offence,
            phase: _phaseOf(record),
            amount: record.amount,
            bond: record.bond,
            openedAt: record.openedAt,
            epoch: record.epoch,
            guiltyWeight: record.guiltyWeight,
            innocentWeight: record.innocentWeight,
            evidenceHash: record.evidenceHash,
            answerHash: record.answerHash
        });
    }

    /// @inheritdoc ISlashing
    function openAccusation(address provider, address node) external view returns (uint64) {
        return _open[provider][node];
    }

    /// @inheritdoc ISlashing
    function owedTo(address to) external view returns (uint256) {
        return _owed[to];
    }

    /// @inheritdoc ISlashing
    function bondFor(uint128 amount) public view returns (uint256) {
        return Math.max(_minBond, uint256(amount) * _bondBasisPoints / _BASIS);
    }

    /// @inheritdoc ISlashing
    function maxSlash(address provider) public view returns (uint256) {
        IComputeRegistry.Provider memory record = _registry.providerOf(provider);
        uint256 all = uint256(record.stake) + record.unbonding;
        return Math.min(all * _maxSlashBasisPoints / _BASIS, all - record.locked);
    }

    function _requireAccusable(address provider, address node, uint128 amount) private view {
        if (amount == 0) revert ZeroAmount();
        if (msg.sender == provider) revert SelfAccusation(provider);
        if (msg.sender == _treasury) revert TreasuryCannotAccuse(msg.sender);
        uint64 other = _open[provider][node];
        if (other != 0 && amount <= _accusations[other].amount) revert AlreadyAccused(node, other);
        uint256 maximum = maxSlash(provider);
        if (amount > maximum) revert AmountTooLarge(amount, maximum);
    }

    function _announce(uint64 accusationId, AccusationRecord storage record, string calldata evidenceUri) private {
        emit Accused(
            accusationId,
            record.provider,
            record.node,
            record.accuser,
            record.offence,
            record.amount,
            record.bond,
            record.epoch,
            record.evidenceHash,
            evidenceUri
        );
    }

    function _answer(
        uint64 accusationId,
        AccusationRecord storage record,
        bytes32 answerHash,
        string calldata answerUri
    ) private {
        Phase phase = _phaseOf(record);
        if (phase != Phase.Evidence && phase != Phase.Answer) revert WrongPhase(accusationId, phase);
        if (answerHash == bytes32(0)) revert ZeroDigest();
        _requireLength("answerUri", answerUri);
        if (record.answerHash != bytes32(0)) revert AlreadyAnswered(accusationId);
        record.answerHash = answerHash;
        emit Answered(accusationId, record.provider, answerHash, answerUri);
    }

    /// @dev The stake comes here first, so that a token that refuses the accuser still pays the treasury.
    function _punish(uint64 accusationId, AccusationRecord storage record, address provider) private {
        uint128 amount = record.amount;
        uint256 fee = Math.min(uint256(amount) * _feeBasisPoints / _BASIS, _maxFee);
        emit FoundGuilty(accusationId, provider, amount, fee, amount - fee);
        uint256 balanceBefore = _balance();
        _registry.slash(provider, amount, address(this));
        _requireReceived(balanceBefore, amount);
        _payOrOwe(record.accuser, record.bond + fee);
        _payOrOwe(_treasury, amount - fee);
    }

    /// @dev All weight that may vote. An accuser's is left out, or a validator that accuses would count as a vote for
    /// innocent; those who convict still have, with the accuser's, more than two thirds of all weight.
    function _jurorsWeight(AccusationRecord storage record) private view returns (uint256) {
        uint64 epoch = record.epoch;
        return _validators.totalWeight(epoch) - _validators.weightOf(record.accuser, epoch);
    }

    function _payOrOwe(address to, uint256 amount) private {
        if (_tryPay(to, amount)) return;
        uint256 owed = _owed[to] + amount;
        _owed[to] = owed;
        emit PaymentOwed(to, amount, owed);
    }

    function _phaseOf(AccusationRecord storage record) private view returns (Phase) {
        if (record.verdict != Phase.None) return record.verdict;
        uint256 elapsed = block.timestamp - record.openedAt;
        uint256 until = _evidenceSeconds;
        if (elapsed < until) return Phase.Evidence;
        until += _answerSeconds;
        if (elapsed < until) return Phase.Answer;
        until += _voteSeconds;
        return elapsed < until ? Phase.Vote : Phase.Decided;
    }

    function _existing(uint64 accusationId) private view returns (AccusationRecord storage record) {
        record = _accusations[accusationId];
        if (record.accuser == address(0)) revert AccusationNotFound(accusationId);
    }

    function _requireIn(bytes32 parameter, uint256 given, uint256 least, uint256 most) private pure {
        if (given < least || given > most) revert InvalidParameter(parameter, given);
    }

    function _requireLength(bytes32 parameter, string calldata text) private pure {
        if (bytes(text).length > MAX_URI_BYTES) revert TextTooLong(parameter, bytes(text).length, MAX_URI_BYTES);
    }
}
