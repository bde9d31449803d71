// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IStakeVault} from "./IStakeVault.sol";

/// @title Accusations, answers and verdicts
/// @notice Anybody who bonds tokens accuses a provider of something that is proven by evidence. Part of the provider's
/// stake is locked, the evidence lies open for a while, then the accused can answer, then validators vote. Guilty by
/// more than two thirds of all weight but the accuser's: the locked part goes to the treasury, less a capped fee for the
/// accuser, who gets the bond back. Anything else, silence included, acquits: the accused gets the bond.
/// @dev Phases, from `openedAt`: evidence [0, evidenceSeconds), answer [.., + answerSeconds), vote [.., +
/// voteSeconds), then `resolve` by anybody. An answer is taken in the evidence and answer phases. Weights are those of
/// the epoch in which the accusation was opened. EIP-712 domain: name "Lode Slashing", version "1", chainId,
/// verifyingContract. Type: `Answer(uint64 accusationId,bytes32 answerHash,string answerUri,uint64 deadline)` signed by
/// the accused provider. The bond and what was slashed are paid when the verdict is carried out; what the token refuses
/// to pay to one party is owed to it, and does not hold up the others.
interface ISlashing is IStakeVault {
    /// @notice What can be slashed for. Being slow is not among it: timing un-proves a node (ValidatorSet), no more.
    enum Offence {
        None,
        ForgedProof,
        ForgedReceipt,
        ForeignHardware
    }

    /// @notice Where an accusation is in its life.
    enum Phase {
        None,
        Evidence,
        Answer,
        Vote,
        Decided,
        Guilty,
        Acquitted
    }

    /// @notice An accusation as the chain knows it.
    /// @param accuser who bonded
    /// @param provider whose stake is at stake
    /// @param node by which node the offence was done
    /// @param offence what it was
    /// @param phase where it is now
    /// @param amount stake that is locked and would be slashed
    /// @param bond the accuser's
    /// @param openedAt unix seconds
    /// @param epoch whose weights count
    /// @param guiltyWeight weight of the votes for guilty
    /// @param innocentWeight weight of the votes for innocent
    /// @param evidenceHash digest of the evidence
    /// @param answerHash digest of the answer; zero when there is none
    struct Accusation {
        address accuser;
        address provider;
        address node;
        Offence offence;
        Phase phase;
        uint128 amount;
        uint128 bond;
        uint64 openedAt;
        uint64 epoch;
        uint256 guiltyWeight;
        uint256 innocentWeight;
        bytes32 evidenceHash;
        bytes32 answerHash;
    }

    /// @notice What can be configured, once.
    /// @param treasury where slashed stake goes
    /// @param minBond least bond
    /// @param bondBasisPoints bond per amount accused, basis points
    /// @param maxSlashBasisPoints most of a provider's stake that one accusation can take, basis points
    /// @param feeBasisPoints the accuser's part of what was slashed, basis points; at most 1,000
    /// @param maxFee most that the accuser gets
    /// @param detectionSeconds how long after the deed an offence is expected to be found
    /// @param evidenceSeconds length of the evidence phase
    /// @param answerSeconds length of the answer phase
    /// @param voteSeconds length of the vote phase
    /// @param executionSeconds how long after the vote the verdict is expected to be executed
    struct Terms {
        address treasury;
        uint128 minBond;
        uint16 bondBasisPoints;
        uint16 maxSlashBasisPoints;
        uint16 feeBasisPoints;
        uint128 maxFee;
        uint64 detectionSeconds;
        uint64 evidenceSeconds;
        uint64 answerSeconds;
        uint64 voteSeconds;
        uint64 executionSeconds;
    }

    /// @notice An accusation was opened; the evidence lies where `evidenceUri` says.
    event Accused(
        uint64 indexed accusationId,
        address indexed provider,
        address indexed node,
        address accuser,
        Offence offence,
        uint256 amount,
        uint256 bond,
        uint64 epoch,
        bytes32 evidenceHash,
        string evidenceUri
    );
    event Answered(uint64 indexed accusationId, address indexed provider, bytes32 answerHash, string answerUri);
    event Voted(uint64 indexed accusationId, address indexed validator, bool guilty, uint256 weight);
    event FoundGuilty(
        uint64 indexed accusationId, address indexed provider, uint256 slashed, uint256 fee, uint256 toTreasury
    );
    event Acquitted(uint64 indexed accusationId, address indexed provider, uint256 bond);
    /// @notice The token refused to pay `to`: `amount` more is owed, `owed` in all. `collect` pays it.
    event PaymentOwed(address indexed to, uint256 amount, uint256 owed);
    event Collected(address indexed to, uint256 amount);

    /// @notice A constructor argument is out of range.
    error InvalidParameter(bytes32 parameter, uint256 given);
    /// @notice Stake could leave before an offence is judged: the unbonding delay must cover detection, all phases and
    /// execution.
    error UnbondingTooShort(uint256 delay, uint256 required);
    error ZeroDigest();
    error InvalidOffence();
    error TextTooLong(bytes32 parameter, uint256 length, uint256 maximum);
    /// @notice Nobody accuses himself.
    error SelfAccusation(address provider);
    /// @notice The treasury accuses nobody: it would be paid all that is slashed.
    error TreasuryCannotAccuse(address treasury);
    /// @notice An accusation of this provider over this node is open that asks for as much or more.
    error AlreadyAccused(address node, uint64 accusationId);
    /// @notice One accusation can take at most `maximum`.
    error AmountTooLarge(uint256 amount, uint256 maximum);
    error AccusationNotFound(uint64 accusationId);
    error WrongPhase(uint64 accusationId, Phase actual);
    error NotAccused(uint64 accusationId, address caller);
    error AlreadyAnswered(uint64 accusationId);
    error SignatureExpired(uint64 deadline);
    error InvalidAnswerSignature(uint64 accusationId);
    /// @notice The caller has no weight in the accusation's epoch, or is the accuser.
    error NoVote(uint64 accusationId, address validator);
    error AlreadyVoted(uint64 accusationId, address validator);
    /// @notice Nothing is owed.
    error NothingOwed(address to);

    /// @notice Opens an accusation; the bond (`bondFor(amount)`) comes from the caller's allowance. While one is open over
    /// the same provider and node, only one that asks for more can be opened: nobody shields a node by having a friend
    /// accuse it of little.
    /// @param amount stake to lock, at most `maxSlash(provider)`
    /// @param evidenceHash digest of the evidence
    /// @param evidenceUri where it lies, at most `MAX_URI_BYTES`
    function accuse(
        address provider,
        address node,
        Offence offence,
        uint128 amount,
        bytes32 evidenceHash,
        string calldata evidenceUri
    ) external returns (uint64 accusationId);

    /// @notice The accused provider answers, once.
    function answer(uint64 accusationId, bytes32 answerHash, string calldata answerUri) external;

    /// @notice Anybody submits an answer that the accused provider signed.
    function answerBySignature(
        uint64 accusationId,
        bytes32 answerHash,
        string calldata answerUri,
        uint64 deadline,
        bytes calldata signature
    ) external;

    /// @notice A validator votes, once.
    function vote(uint64 accusationId, bool guilty) external;

    /// @notice Anybody has the verdict carried out once the vote phase is over.
    function resolve(uint64 accusationId) external;

    /// @notice Anybody has what is owed paid to whom it is owed.
    function collect(address to) external returns (uint256 amount);

    function registry() external view returns (address);
    function validators() external view returns (address);
    function terms() external view returns (Terms memory);
    function accusationCount() external view returns (uint64);
    function accusationOf(uint64 accusationId) external view returns (Accusation memory);
    /// @notice The open accusation of a provider over a node that the next one must exceed: the latest. Zero when it is
    /// decided, also while smaller ones that it was opened beside are not.
    function openAccusation(address provider, address node) external view returns (uint64 accusationId);
    /// @notice What the token refused to pay so far.
    function owedTo(address to) external view returns (uint256);
    /// @notice What an accusation of `amount` must bond.
    function bondFor(uint128 amount) external view returns (uint256);
    /// @notice Most that one more accusation of this provider can lock.
    function maxSlash(address provider) external view returns (uint256);
}
