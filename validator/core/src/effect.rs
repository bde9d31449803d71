//! What a validator does about what happens.

use lode_chain_types::{Amount, Epoch, Intent, IntentId};
use lode_gpu_proof::{Challenge as Choice, Commit, EpochInputs, ProofClass, SessionSeed};
use lode_protocol::finding::Finding;
use lode_protocol::hash::Digest;
use lode_protocol::ids::{AccusationId, GpuUuid, NodeId, Nonce, ProviderId};
use lode_protocol::proof::{Challenge, GpuVerdict};

use super::attestation::Attestation;
use super::leaf::NodeResult;
use super::matter::{Look, Matter};
use super::opening::OpeningRecord;
use super::opinion::{Charge, Opinion};
use super::report::Report;
use super::suspicion::Suspicion;

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
    /// The messages, for the case that it is false.
    pub record: Option<OpeningRecord>,
}

/// A change that must survive a restart.
#[derive(Clone, Debug)]
pub enum Change {
    /// A result that waits to be attested.
    PutResult(NodeResult),
    /// It is attested, or void.
    DeleteResult(NodeId),
    /// The attestation under way, or that the last one is over.
    PutAttestation(Attestation),
    /// A file that is shown to whoever asks.
    PutFile {
        /// Orders files by age.
        number: u64,
        /// Names it.
        hash: Digest,
        /// Its content.
        bytes: Vec<u8>,
    },
    /// It is shown no more.
    DeleteFile {
        /// As it was put.
        number: u64,
        /// As it was put.
        hash: Digest,
    },
    /// A forger, and how far its accusation is.
    PutSuspicion(Suspicion),
    /// It is dealt with.
    DeleteSuspicion(NodeId),
    /// What evidence shows.
    PutOpinion(Opinion),
    /// The accusation is over.
    DeleteOpinion(AccusationId),
    /// A deed that was punished.
    PutPunished(Digest, AccusationId),
}

/// What to do, in this order.
pub type Effects = Vec<Effect>;

/// One thing to do.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Make it durable before all that follows.
    Save(Change),
    /// Say this to a node; `Event::Sent` tells what was signed.
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
    /// Ask the chain for an epoch's beacon.
    ReadBeacon(Epoch),
    /// Ask the chain which of these nodes this validator checks in an epoch.
    ReadDrawn(Epoch, Vec<NodeId>),
    /// Ask the chain about an accusation.
    ReadAccusation(AccusationId),
    /// Ask the chain what accusing a provider for its node takes.
    ReadPrice {
        /// The node.
        node: NodeId,
        /// Its provider.
        provider: ProviderId,
        /// Stake to accuse for, if there is as much.
        amount: Amount,
    },
    /// Fetch evidence and compare it with the charge.
    Examine(Box<Charge>),
    /// Fetch an answer and show it to people.
    ShowAnswer {
        /// The accusation.
        id: AccusationId,
        /// Digest of the answer.
        answer: Digest,
        /// Where it lies.
        uri: String,
    },
    /// Rebuild what a pool promises.
    Audit(Matter, Look),
    /// Tell the operator.
    Raise(Finding),
    /// It is over.
    Clear(&'static str, String),
    /// Say it in the log: nobody needs to act on it.
    Report(Report),
    /// Count a judged run of a node.
    Judged {
        /// The node.
        node: NodeId,
        /// One judgement per GPU.
        gpus: Vec<GpuVerdict>,
    },
}
