//! Every call of the contracts as a value: typed, persistable, and the same for the outbox and for one-shot calls.
//!
//! The encoding is CBOR with numbered variants: an outbox written by an older version is still read. Numbers are
//! never reused. Longer than most files: it is one enum, with a variant per call of every contract.

mod economy;
mod encode;
mod meaning;
mod parts;

use lode_protocol::amount::Amount;
use lode_protocol::hash::Digest;
use lode_protocol::ids::{AccusationId, Address, NodeId, PoolId, ProviderId, ValidatorId};
use lode_protocol::join::{Join, LeaveStatement, NodeConsent, PoolApproval};
use lode_protocol::keys::EthereumSignature;
use lode_protocol::settlement::{Answer, Receipt};
use minicbor::{Decode, Encode};

use crate::epoch::Epoch;
use crate::record::Offence;

pub(crate) use encode::Call;
pub use parts::{AuthorizedNode, ClaimItem, Permit, PoolParameters, ProofItem, ProvenEarnings};

/// A call of one of our contracts, or a transfer.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum Intent {
    /// The sender becomes a provider and stakes. Without a permit an allowance must stand.
    #[n(0)]
    RegisterProvider {
        /// Stake.
        #[n(0)]
        amount: Amount,
        /// Permit for the registry.
        #[n(1)]
        permit: Option<Permit>,
    },
    /// The provider stakes more, from its allowance.
    #[n(1)]
    Stake {
        /// How much more.
        #[n(0)]
        amount: Amount,
    },
    /// The provider takes stake out.
    #[n(2)]
    RequestUnstake {
        /// How much.
        #[n(0)]
        amount: Amount,
    },
    /// The provider collects what has unbonded.
    #[n(3)]
    Withdraw,
    /// The sending provider adds a node that consented.
    #[n(4)]
    AddNode {
        /// What the node signed.
        #[n(0)]
        consent: NodeConsent,
        /// Units of compute.
        #[n(1)]
        units: u32,
        /// The node's signature.
        #[n(2)]
        signature: EthereumSignature,
    },
    /// Anybody adds nodes that both sides signed for.
    #[n(5)]
    AddNodes(#[n(0)] Vec<AuthorizedNode>),
    /// The sending provider puts a new key in a node's place.
    #[n(6)]
    ReplaceNode {
        /// The node that goes.
        #[n(0)]
        old: NodeId,
        /// What the new key signed.
        #[n(1)]
        consent: NodeConsent,
        /// The new key's signature.
        #[n(2)]
        signature: EthereumSignature,
    },
    /// The sending provider releases a node.
    #[n(7)]
    RemoveNode(#[n(0)] NodeId),
    /// The sending provider kills its unused authorisations.
    #[n(8)]
    RevokeAuthorizations,
    /// The sender creates a pool.
    #[n(9)]
    CreatePool(#[n(0)] PoolParameters),
    /// The owner opens a pool.
    #[n(10)]
    StartPool(#[n(0)] PoolId),
    /// The owner ends a pool.
    #[n(11)]
    EndPool(#[n(0)] PoolId),
    /// The owner replaces the orchestrator key.
    #[n(12)]
    SetOrchestrator {
        /// The pool.
        #[n(0)]
        pool: PoolId,
        /// The new key.
        #[n(1)]
        orchestrator: Address,
    },
    /// The owner or orchestrator publishes where it listens.
    #[n(13)]
    SetEndpoints {
        /// The pool.
        #[n(0)]
        pool: PoolId,
        /// Where, separated by spaces.
        #[n(1)]
        endpoints: String,
    },
    /// The owner publishes other requirements.
    #[n(14)]
    SetRequirements {
        /// The pool.
        #[n(0)]
        pool: PoolId,
        /// Their hash.
        #[n(1)]
        requirements: Digest,
        /// Where they can be read.
        #[n(2)]
        uri: String,
    },
    /// The owner offers a pool; `None` takes the offer back.
    #[n(15)]
    TransferPool {
        /// The pool.
        #[n(0)]
        pool: PoolId,
        /// To whom.
        #[n(1)]
        to: Option<Address>,
    },
    /// The proposed owner takes a pool.
    #[n(16)]
    AcceptPool(#[n(0)] PoolId),
    /// Anybody submits joins.
    #[n(17)]
    JoinBatch(#[n(0)] Vec<Join>),
    /// The node or its provider leaves.
    #[n(18)]
    Leave {
        /// The pool.
        #[n(0)]
        pool: PoolId,
        /// The node.
        #[n(1)]
        node: NodeId,
    },
    /// Anybody submits a signed leave.
    #[n(19)]
    LeaveBySignature {
        /// What was signed.
        #[n(0)]
        statement: LeaveStatement,
        /// Of the node or its provider.
        #[n(1)]
        signature: EthereumSignature,
    },
    /// The owner or orchestrator puts a node out.
    #[n(20)]
    Eject {
        /// The pool.
        #[n(0)]
        pool: PoolId,
        /// The node.
        #[n(1)]
        node: NodeId,
    },
    /// The owner keeps a node out.
    #[n(21)]
    BanNode {
        /// The pool.
        #[n(0)]
        pool: PoolId,
        /// The node.
        #[n(1)]
        node: NodeId,
    },
    /// The owner lets a node come back.
    #[n(22)]
    UnbanNode {
        /// The pool.
        #[n(0)]
        pool: PoolId,
        /// The node.
        #[n(1)]
        node: NodeId,
    },
    /// The owner keeps a provider's nodes out.
    #[n(23)]
    BanProvider {
        /// The pool.
        #[n(0)]
        pool: PoolId,
        /// The provider.
        #[n(1)]
        provider: ProviderId,
    },
    /// The owner lets a provider's nodes count again.
    #[n(24)]
    UnbanProvider {
        /// The pool.
        #[n(0)]
        pool: PoolId,
        /// The provider.
        #[n(1)]
        provider: ProviderId,
    },
    /// The sender becomes a validator. Without a permit an allowance must stand.
    #[n(25)]
    RegisterValidator {
        /// Bond.
        #[n(0)]
        amount: Amount,
        /// Permit for the validator set.
        #[n(1)]
        permit: Option<Permit>,
        /// Where it listens.
        #[n(2)]
        endpoint: String,
    },
    /// The validator bonds more, from its allowance.
    #[n(26)]
    StakeValidator {
        /// How much more.
        #[n(0)]
        amount: Amount,
    },
    /// The validator listens elsewhere.
    #[n(27)]
    SetValidatorEndpoint {
        /// Where.
        #[n(0)]
        endpoint: String,
    },
    /// The validator goes.
    #[n(28)]
    RequestExit,
    /// The validator collects its bond.
    #[n(29)]
    WithdrawValidator,
    /// The validator commits.
    #[n(30)]
    Commit {
        /// The epoch.
        #[n(0)]
        epoch: Epoch,
        /// See [`crate::commitment`].
        #[n(1)]
        commitment: Digest,
    },
    /// The validator reveals.
    #[n(31)]
    Reveal {
        /// The epoch.
        #[n(0)]
        epoch: Epoch,
        /// The root.
        #[n(1)]
        root: Digest,
        /// The salt of the commitment.
        #[n(2)]
        salt: Digest,
    },
    /// Anybody shows leaves of an accepted root.
    #[n(32)]
    ProveBatch {
        /// The epoch.
        #[n(0)]
        epoch: Epoch,
        /// Leaves and paths.
        #[n(1)]
        items: Vec<ProofItem>,
    },
    /// The sender lets somebody take its tokens, of the kind that is staked.
    #[n(33)]
    Approve {
        /// Who may.
        #[n(0)]
        spender: Address,
        /// How much.
        #[n(1)]
        amount: Amount,
    },
    /// The owner of a development token makes some.
    #[n(34)]
    Mint {
        /// For whom.
        #[n(0)]
        to: Address,
        /// How much.
        #[n(1)]
        amount: Amount,
    },
    /// The sender gives tokens away.
    #[n(35)]
    TransferToken {
        /// To whom.
        #[n(0)]
        to: Address,
        /// How much.
        #[n(1)]
        amount: Amount,
    },
    /// The sender gives the chain's coin away.
    #[n(36)]
    TransferNative {
        /// To whom.
        #[n(0)]
        to: Address,
        /// How much.
        #[n(1)]
        amount: Amount,
    },
    /// The deployer of the registry names the deployment's `Slashing` as the contract that may lock and slash stake.
    #[n(37)]
    SetSlasher,
    /// The sending provider lets its nodes join a pool, or not any more.
    #[n(38)]
    SetPoolApproval {
        /// The pool.
        #[n(0)]
        pool: PoolId,
        /// Whether its nodes may join.
        #[n(1)]
        approved: bool,
    },
    /// Anybody submits a provider's signed approval.
    #[n(39)]
    SetPoolApprovalBySignature {
        /// What the provider signed.
        #[n(0)]
        statement: PoolApproval,
        /// The provider's signature.
        #[n(1)]
        signature: EthereumSignature,
    },
    /// Anybody fixes the running epoch's randomness, in the epoch's first half.
    #[n(40)]
    DrawBeacon {
        /// The epoch.
        #[n(0)]
        epoch: Epoch,
    },
    /// Anybody has the bond of a validator cut that committed in a past epoch and never revealed.
    #[n(41)]
    PenalizeMissedReveal {
        /// The epoch.
        #[n(0)]
        epoch: Epoch,
        /// The validator.
        #[n(1)]
        validator: ValidatorId,
    },
    /// Anybody adds to a pool's budget, in its reward token. Without a permit an allowance must stand; permits work
    /// where the reward token is the deployment's own.
    #[n(42)]
    FundPool {
        /// The pool.
        #[n(0)]
        pool: PoolId,
        /// How much.
        #[n(1)]
        amount: Amount,
        /// Permit for `Rewards`.
        #[n(2)]
        permit: Option<Permit>,
    },
    /// The owner says how much one epoch may promise.
    #[n(43)]
    SetSpendCap {
        /// The pool.
        #[n(0)]
        pool: PoolId,
        /// How much; zero promises nothing.
        #[n(1)]
        cap: Amount,
    },
    /// The owner asks for budget back that is not promised. A further request replaces the one under way.
    #[n(44)]
    RequestBudgetWithdrawal {
        /// The pool.
        #[n(0)]
        pool: PoolId,
        /// How much.
        #[n(1)]
        amount: Amount,
    },
    /// The owner takes the budget that it asked for, once the delay is over.
    #[n(45)]
    WithdrawBudget {
        /// The pool.
        #[n(0)]
        pool: PoolId,
        /// Who gets it.
        #[n(1)]
        to: Address,
    },
    /// The orchestrator posts an epoch's root of earnings.
    #[n(46)]
    PostRoot {
        /// The pool.
        #[n(0)]
        pool: PoolId,
        /// The epoch: over, and later than the latest one posted.
        #[n(1)]
        epoch: Epoch,
        /// Hash of the tree's top.
        #[n(2)]
        root: Digest,
        /// Sum of all leaves.
        #[n(3)]
        total: Amount,
        /// Height of the tree.
        #[n(4)]
        depth: u8,
        /// Epoch of the validators' root under which the work's nodes are proven.
        #[n(5)]
        proven_epoch: Epoch,
    },
    /// A validator asks for a pending root to be dropped.
    #[n(47)]
    VetoRoot {
        /// The pool.
        #[n(0)]
        pool: PoolId,
        /// The root's epoch.
        #[n(1)]
        epoch: Epoch,
        /// Digest of why.
        #[n(2)]
        evidence: Digest,
    },
    /// Anybody shows that the pending root gives the payee at a place less than the latest final one did.
    #[n(48)]
    RefuteRoot {
        /// The pool.
        #[n(0)]
        pool: PoolId,
        /// The payee's place.
        #[n(1)]
        index: u64,
        /// What the final root says at that place.
        #[n(2)]
        proven: ProvenEarnings,
        /// What the pending root says at that place; of no account when its tree has no such place.
        #[n(3)]
        other: ProvenEarnings,
    },
    /// Anybody has a payee paid.
    #[n(49)]
    Claim(#[n(0)] ClaimItem),
    /// Anybody has payees paid; an item that is refused is reported by `ClaimFailed`.
    #[n(50)]
    ClaimBatch(#[n(0)] Vec<ClaimItem>),
    /// Anybody submits a receipt that no root has paid.
    #[n(51)]
    Redeem {
        /// The receipt.
        #[n(0)]
        receipt: Receipt,
        /// Of the pool's orchestrator key.
        #[n(1)]
        orchestrator_signature: EthereumSignature,
        /// Of the node's key.
        #[n(2)]
        node_signature: EthereumSignature,
    },
    /// A validator asks for a pending redemption to be dropped.
    #[n(52)]
    VetoRedemption {
        /// The pool.
        #[n(0)]
        pool: PoolId,
        /// Who would be paid.
        #[n(1)]
        payee: Address,
        /// Digest of why.
        #[n(2)]
        evidence: Digest,
    },
    /// Anybody has a redemption paid whose veto window is over.
    #[n(53)]
    SettleRedemption {
        /// The pool.
        #[n(0)]
        pool: PoolId,
        /// Who is paid.
        #[n(1)]
        payee: Address,
    },
    /// The sender accuses a provider; the bond comes from its allowance for `Slashing`.
    #[n(54)]
    Accuse {
        /// Whose stake is at stake.
        #[n(0)]
        provider: ProviderId,
        /// By which node the offence was done.
        #[n(1)]
        node: NodeId,
        /// What it was.
        #[n(2)]
        offence: Offence,
        /// Stake to hold.
        #[n(3)]
        amount: Amount,
        /// Digest of the evidence.
        #[n(4)]
        evidence: Digest,
        /// Where the evidence lies.
        #[n(5)]
        uri: String,
    },
    /// The accused provider answers, once.
    #[n(55)]
    AnswerAccusation {
        /// Which accusation.
        #[n(0)]
        id: AccusationId,
        /// Digest of the answer.
        #[n(1)]
        answer: Digest,
        /// Where the answer lies.
        #[n(2)]
        uri: String,
    },
    /// Anybody submits an answer that the accused provider signed.
    #[n(56)]
    AnswerAccusationBySignature {
        /// What the provider signed.
        #[n(0)]
        statement: Answer,
        /// The provider's signature.
        #[n(1)]
        signature: EthereumSignature,
    },
    /// A validator votes, once.
    #[n(57)]
    VoteAccusation {
        /// Which accusation.
        #[n(0)]
        id: AccusationId,
        /// How.
        #[n(1)]
        guilty: bool,
    },
    /// Anybody has the verdict carried out once the vote is over.
    #[n(58)]
    ResolveAccusation {
        /// Which accusation.
        #[n(0)]
        id: AccusationId,
    },
    /// Anybody has what `Slashing` owes paid to whom it is owed: payments that the token refused when they were due.
    #[n(60)]
    CollectOwed {
        /// To whom.
        #[n(0)]
        to: Address,
    },
    /// The sender lets somebody take its tokens of any kind, such as a pool's reward token.
    #[n(59)]
    ApproveToken {
        /// Which token.
        #[n(0)]
        token: Address,
        /// Who may.
        #[n(1)]
        spender: Address,
        /// How much.
        #[n(2)]
        amount: Amount,
    },
}
