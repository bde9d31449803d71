//! Every call of the contracts as a value: typed, persistable, and the same for the outbox and for one-shot calls.
//!
//! The encoding is CBOR with numbered variants: an outbox written by an older version is still read. Numbers are
//! never reused.

mod encode;
mod parts;

use lode_protocol::hash::Digest;
use lode_protocol::ids::{Address, NodeId, PoolId, ProviderId};
use lode_protocol::join::{Join, LeaveStatement, NodeConsent};
use lode_protocol::keys::EthereumSignature;
use minicbor::{Decode, Encode};

use crate::amount::Amount;
use crate::epoch::Epoch;
use crate::revert::Revert;

pub(crate) use encode::Call;
pub use parts::{AuthorizedNode, Permit, PoolParameters, ProofItem};

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
    /// The sender lets somebody take its tokens.
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
}

impl Intent {
    /// Short name for logs and metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Intent::RegisterProvider { .. } => "register-provider",
            Intent::Stake { .. } => "stake",
            Intent::RequestUnstake { .. } => "request-unstake",
            Intent::Withdraw => "withdraw",
            Intent::AddNode { .. } => "add-node",
            Intent::AddNodes(_) => "add-nodes",
            Intent::ReplaceNode { .. } => "replace-node",
            Intent::RemoveNode(_) => "remove-node",
            Intent::RevokeAuthorizations => "revoke-authorizations",
            Intent::CreatePool(_) => "create-pool",
            Intent::StartPool(_) => "start-pool",
            Intent::EndPool(_) => "end-pool",
            Intent::SetOrchestrator { .. } => "set-orchestrator",
            Intent::SetEndpoints { .. } => "set-endpoints",
            Intent::SetRequirements { .. } => "set-requirements",
            Intent::TransferPool { .. } => "transfer-pool",
            Intent::AcceptPool(_) => "accept-pool",
            Intent::JoinBatch(_) => "join-batch",
            Intent::Leave { .. } => "leave",
            Intent::LeaveBySignature { .. } => "leave-by-signature",
            Intent::Eject { .. } => "eject",
            Intent::BanNode { .. } => "ban-node",
            Intent::UnbanNode { .. } => "unban-node",
            Intent::BanProvider { .. } => "ban-provider",
            Intent::UnbanProvider { .. } => "unban-provider",
            Intent::RegisterValidator { .. } => "register-validator",
            Intent::StakeValidator { .. } => "stake-validator",
            Intent::SetValidatorEndpoint { .. } => "set-validator-endpoint",
            Intent::RequestExit => "request-exit",
            Intent::WithdrawValidator => "withdraw-validator",
            Intent::Commit { .. } => "commit",
            Intent::Reveal { .. } => "reveal",
            Intent::ProveBatch { .. } => "prove-batch",
            Intent::Approve { .. } => "approve",
            Intent::Mint { .. } => "mint",
            Intent::TransferToken { .. } => "transfer-token",
            Intent::TransferNative { .. } => "transfer-native",
        }
    }

    /// Whether doing it twice is worse than doing it once: such intents are never merged with an equal one that is
    /// still pending.
    pub fn adds_up(&self) -> bool {
        matches!(
            self,
            Intent::Stake { .. }
                | Intent::RequestUnstake { .. }
                | Intent::StakeValidator { .. }
                | Intent::CreatePool(_)
                | Intent::Mint { .. }
                | Intent::TransferToken { .. }
                | Intent::TransferNative { .. }
        )
    }

    /// Whether a refusal says that what is wanted is already so.
    pub fn is_fulfilled_by(&self, refusal: &Revert) -> bool {
        match self {
            Intent::Leave { .. } | Intent::LeaveBySignature { .. } | Intent::Eject { .. } => {
                refusal.name == "NotMember"
            }
            Intent::BanNode { .. } => refusal.name == "NodeIsBanned",
            Intent::BanProvider { .. } => refusal.name == "ProviderIsBanned",
            Intent::UnbanNode { .. } | Intent::UnbanProvider { .. } => refusal.name == "NotBanned",
            Intent::RegisterProvider { .. } => refusal.name == "ProviderAlreadyRegistered",
            _ => false,
        }
    }
}
