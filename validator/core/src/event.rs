//! What happens to a validator.

use lode_chain_types::{
    AccusationRecord, Amount, BlockRef, Epoch, EpochTiming, Intent, IntentId, LoggedEvent, Outcome,
    ProvenRecord, SettlementParameters, SlashingParameters,
};
use lode_protocol::descriptor::VerifiedDescriptor;
use lode_protocol::hash::Digest;
use lode_protocol::ids::{AccusationId, BootCounter, GpuUuid, NodeId, Nonce, ProviderId};
use lode_protocol::keys::PublicKey;
use lode_protocol::proof::{Answer, Challenge, ProofFailure};
use lode_protocol::units::{Millis, Timestamp};

use super::matter::{Audit, Matter};
use super::opinion::Examination;

/// A node as its own, verified descriptor says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Description {
    /// The node.
    pub node: NodeId,
    /// Its key.
    pub public_key: PublicKey,
    /// GPUs it claims, sorted.
    pub gpus: Vec<GpuUuid>,
    /// Orders descriptors of a node.
    pub version: (BootCounter, u64),
    /// When it stops counting.
    pub expires_at: Timestamp,
}

impl From<&VerifiedDescriptor> for Description {
    fn from(descriptor: &VerifiedDescriptor) -> Self {
        let mut gpus: Vec<_> = descriptor.body().specs.gpus.iter().map(|gpu| gpu.uuid.clone()).collect();
        gpus.sort_unstable();
        Self {
            node: descriptor.node(),
            public_key: descriptor.public_key(),
            gpus,
            version: descriptor.body().version(),
            expires_at: descriptor.expires_at(),
        }
    }
}

/// What the chain says about a node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Facts {
    /// The provider that has registered it.
    pub provider: Option<ProviderId>,
    /// Its latest proof.
    pub proven: Option<ProvenRecord>,
}

/// What accusing somebody takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Price {
    /// Stake that can be accused for; zero if there is none.
    pub amount: Amount,
    /// The bond for it.
    pub bond: Amount,
    /// What the contract may take of this validator's tokens.
    pub allowance: Amount,
    /// This validator's tokens.
    pub balance: Amount,
    /// The open accusation of this provider over this node.
    pub open: Option<AccusationRecord>,
}

/// An answer of a node, as it came.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Heard {
    /// When it was there, by the monotonic clock.
    pub at: Millis,
    /// What it says; the signature is verified.
    pub answer: Answer,
    /// The message itself.
    pub sealed: Vec<u8>,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// Time passed.
    Tick,
    /// A verified descriptor.
    Described(Description),
    /// Something happened on chain.
    Logged(Vec<LoggedEvent>),
    /// The chain's history has changed: nothing that was read counts any more.
    Resync,
    /// The chain was asked about a node.
    Facts {
        /// The node.
        node: NodeId,
        /// What it said.
        facts: Facts,
    },
    /// The validator contract's times.
    Timing(EpochTiming),
    /// How accusations are judged and pools settle.
    Terms {
        /// Accusations.
        slashing: SlashingParameters,
        /// Roots and redemptions.
        settlement: SettlementParameters,
    },
    /// A new block; all events before it were told.
    Head(BlockRef),
    /// Own and total weight of an epoch.
    Standing {
        /// The epoch.
        epoch: Epoch,
        /// Own weight.
        own: Amount,
        /// Sum of all weights.
        total: Amount,
    },
    /// The root that an epoch's quorum agreed on, if there is one yet.
    Root {
        /// The epoch.
        epoch: Epoch,
        /// The root.
        root: Option<Digest>,
    },
    /// An epoch's randomness, if it is drawn.
    Beacon {
        /// The epoch.
        epoch: Epoch,
        /// The randomness.
        beacon: Option<Digest>,
    },
    /// Whether this validator checks a node in an epoch.
    Drawn {
        /// The epoch.
        epoch: Epoch,
        /// The node.
        node: NodeId,
        /// Whether.
        drawn: bool,
    },
    /// The chain was asked about an accusation.
    Accusation {
        /// Its number.
        id: AccusationId,
        /// What the chain knows of it.
        record: Option<AccusationRecord>,
    },
    /// The chain was asked what accusing somebody takes; `None`: it did not answer.
    Price {
        /// Whom.
        node: NodeId,
        /// What it takes.
        price: Option<Price>,
    },
    /// Evidence was looked at.
    Examined {
        /// Of which accusation.
        id: AccusationId,
        /// What came of it.
        examination: Examination,
    },
    /// A promise of a pool was looked at.
    Audited {
        /// Which.
        matter: Matter,
        /// What came of it.
        audit: Audit,
    },
    /// A node can be spoken to.
    Connected(NodeId),
    /// It cannot any more.
    Disconnected(NodeId),
    /// A challenge was signed and sent.
    Sent {
        /// To whom.
        node: NodeId,
        /// What it says.
        challenge: Challenge,
        /// What names it in answers.
        digest: Digest,
        /// The message itself.
        sealed: Vec<u8>,
    },
    /// A node spoke; the message is verified.
    Answered {
        /// The node.
        node: NodeId,
        /// What it said, and when.
        heard: Heard,
    },
    /// An opening was checked.
    Verified {
        /// The node.
        node: NodeId,
        /// The run.
        run: Nonce,
        /// The GPU.
        gpu: GpuUuid,
        /// What came of it.
        verdict: RunVerdict,
    },
    /// An intent reached its end.
    Settled {
        /// Its name.
        id: IntentId,
        /// What it was.
        intent: Intent,
        /// What became of it.
        outcome: Outcome,
    },
    /// An intent could not be kept.
    NotSubmitted,
}

/// What came of a check.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RunVerdict {
    /// Right.
    Passed,
    /// Wrong.
    Failed {
        /// Which check.
        failure: ProofFailure,
        /// The file that shows it to others, where the node signed something false.
        file: Option<Vec<u8>>,
    },
    /// The check itself broke: nothing is known about the node.
    Crashed,
}
