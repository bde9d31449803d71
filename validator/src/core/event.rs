//! What happens to a validator, and what it does about it.

use lode_contracts::{Amount, BlockRef, Epoch, EpochTiming, Intent, IntentId, Outcome, ProvenRecord};
use lode_gpu_proof::{Challenge as Choice, Commit, EpochInputs, ProofClass, SessionSeed};
use lode_program::finding::Finding;
use lode_protocol::hash::Digest;
use lode_protocol::ids::{Address, BootCounter, ChainId, GpuUuid, NodeId, Nonce, ValidatorId};
use lode_protocol::keys::PublicKey;
use lode_protocol::proof::{Answer, Challenge, GpuVerdict, ProofFailure};
use lode_protocol::units::{Millis, Timestamp};
use serde::Serialize;

use super::attestation::Attestation;
use super::leaf::NodeResult;

/// Milliseconds on the validator's own monotonic clock: what proofs are timed by.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Moment(pub u64);

impl Moment {
    /// Later by `span`.
    pub fn plus(self, span: Millis) -> Self {
        Moment(self.0.saturating_add(span.0))
    }

    /// How much later `self` is; zero if it is not.
    pub fn since(self, earlier: Moment) -> Millis {
        Millis(self.0.saturating_sub(earlier.0))
    }
}

/// How this validator works.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its address.
    pub validator: ValidatorId,
    /// EIP-155 id of the chain.
    pub chain: ChainId,
    /// The contract that proofs are bound to.
    pub deployment: Address,
    /// Class that is proven.
    pub class: ProofClass,
    /// Epochs a proof counts; 0 is as many as the contract allows.
    pub validity_epochs: u64,
    /// Wait after a run without success; it doubles while a node keeps failing.
    pub retry: Millis,
    /// Runs at once.
    pub concurrent_runs: usize,
}

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

/// What the chain says about a node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Facts {
    /// Whether a provider has registered it.
    pub registered: bool,
    /// Its latest proof.
    pub proven: Option<ProvenRecord>,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// Time passed.
    Tick {
        /// The wall clock, for lifetimes of descriptors.
        wall: Timestamp,
    },
    /// A verified descriptor.
    Described(Description),
    /// Something on chain concerns these nodes.
    Touched(Vec<NodeId>),
    /// The chain's history has changed: nothing that was read counts any more.
    Resync,
    /// The chain was asked about a node.
    Facts {
        /// The node.
        node: NodeId,
        /// What it said.
        facts: Facts,
    },
    /// The contract's times.
    Timing(EpochTiming),
    /// A new block.
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
    /// A node can be spoken to.
    Connected(NodeId),
    /// It cannot any more.
    Disconnected(NodeId),
    /// It spoke; the message is verified.
    Answered {
        /// The node.
        node: NodeId,
        /// When the message was there.
        at: Moment,
        /// What it said.
        answer: Answer,
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
    Failed(ProofFailure),
    /// The check itself broke: nothing is known about the node.
    Crashed,
}

/// A check to be made on a thread of its own.
#[derive(Clone, Debug)]
pub struct VerifyJob {
    /// The node.
    pub node: NodeId,
    /// The run.
    pub run: Nonce,
    /// The GPU.
    pub gpu: GpuUuid,
    /// Class.
    pub class: ProofClass,
    /// What keys the epoch's matrix.
    pub inputs: EpochInputs,
    /// The session.
    pub seed: SessionSeed,
    /// What was committed to.
    pub commit: Commit,
    /// What was asked.
    pub choice: Choice,
    /// What was shown.
    pub opening: Vec<u8>,
}

/// A change that must survive a restart.
#[derive(Clone, Debug)]
pub enum Change {
    /// A result that waits to be attested.
    PutResult(NodeResult),
    /// It is attested, or void.
    DeleteResult(NodeId),
    /// The attestation under way.
    PutAttestation(Attestation),
    /// There is none.
    DeleteAttestation,
}

/// What to do.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Make it durable before all that follows.
    Save(Change),
    /// Say this to a node.
    Send {
        /// The node.
        node: NodeId,
        /// The challenge.
        challenge: Challenge,
    },
    /// Check an opening.
    Verify(Box<VerifyJob>),
    /// Put this on chain.
    Submit(Intent),
    /// This outcome was dealt with.
    Acknowledge(IntentId),
    /// Ask the chain about nodes.
    ReadFacts(Vec<NodeId>),
    /// Ask the chain for an epoch's weights.
    ReadStanding(Epoch),
    /// Ask the chain for an epoch's root.
    ReadRoot(Epoch),
    /// Tell the operator.
    Raise(Finding),
    /// It is over.
    Clear(&'static str, String),
    /// Count a judged run of a node.
    Judged {
        /// The node.
        node: NodeId,
        /// One judgement per GPU.
        gpus: Vec<GpuVerdict>,
    },
}

/// How the validator does, for people.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct Status {
    /// The running epoch, by the latest block.
    pub epoch: Option<Epoch>,
    /// Own weight in it.
    pub weight: Option<Amount>,
    /// Nodes with GPUs that are known.
    pub nodes: Vec<NodeStatus>,
    /// Results that wait to be attested.
    pub pending: usize,
    /// The epoch being attested and how far it is.
    pub attesting: Option<(Epoch, String)>,
}

/// How one node does.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct NodeStatus {
    /// The node.
    pub node: NodeId,
    /// Whether it can be spoken to.
    pub connected: bool,
    /// GPUs it claims.
    pub gpus: usize,
    /// Whether the chain says that it is proven now.
    pub proven: bool,
    /// Whether a run goes on.
    pub running: bool,
    /// How its latest run ended: the judgements, or why there are none.
    pub last: Option<String>,
}
