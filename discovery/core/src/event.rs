//! What happens to a directory.

use lode_protocol::descriptor::VerifiedDescriptor;
use lode_protocol::ids::{NodeId, ProviderId};

/// Names a publication to whoever waits for its answer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RequestId(pub u64);

/// Names a question to the chain.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct QuestionId(pub u64);

/// Names what is being made durable.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SaveId(pub u64);

/// What the chain says of a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ChainWord {
    /// It does not know it.
    NotRegistered,
    /// It is this provider's, whose stake is short.
    NotEligible(ProviderId),
    /// It is this provider's, whose stake covers all of its nodes.
    Vouched(ProviderId),
}

/// What may be otherwise on chain than it was.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Moved {
    /// Anything: following begins, or blocks were replaced.
    Everything,
    /// What concerns these.
    These {
        /// Nodes that were registered, released or replaced.
        nodes: Vec<NodeId>,
        /// Providers whose stake or whose number of nodes changed.
        providers: Vec<ProviderId>,
    },
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// Time passed.
    Tick,
    /// A descriptor that was stored before the start, with its provider of then. Listed until the chain says otherwise.
    Loaded {
        /// What was stored, verified again.
        descriptor: Box<VerifiedDescriptor>,
        /// Its provider, by the chain of then.
        provider: ProviderId,
    },
    /// A node describes itself.
    Published {
        /// Names it in the answer.
        request: RequestId,
        /// What it says.
        descriptor: Box<VerifiedDescriptor>,
    },
    /// Something happened on chain: what was read before may be wrong.
    ChainMoved(Moved),
    /// The chain answered a question.
    ChainAnswered {
        /// Which.
        question: QuestionId,
        /// Of each node what was said.
        said: Vec<(NodeId, ChainWord)>,
    },
    /// The chain did not answer a question: nothing is known.
    ChainSilent {
        /// Which.
        question: QuestionId,
        /// Why.
        message: String,
    },
    /// It is durable.
    Saved(SaveId),
    /// It is not.
    NotSaved {
        /// Which.
        save: SaveId,
        /// Why.
        message: String,
    },
}
