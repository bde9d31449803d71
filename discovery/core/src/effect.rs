//! What a directory does about what happens.

use lode_protocol::ids::{NodeId, ProviderId};

use crate::event::{QuestionId, RequestId, SaveId};
use crate::rejected::Rejected;

/// What to do, in this order.
pub type Effects = Vec<Effect>;

/// One thing to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Make it durable as a whole, in the order in which it is told; [`crate::Event::Saved`] or
    /// [`crate::Event::NotSaved`] tells how that went.
    Save {
        /// Names it.
        save: SaveId,
        /// At most one change for each node.
        changes: Vec<Stored>,
    },
    /// Ask the chain about these nodes; [`crate::Event::ChainAnswered`] or [`crate::Event::ChainSilent`] tells.
    AskChain {
        /// Names it.
        question: QuestionId,
        /// About whom.
        nodes: Vec<NodeId>,
    },
    /// A publication's end.
    Answer {
        /// Which.
        request: RequestId,
        /// Taken and durable, or why not.
        outcome: Result<(), Rejected>,
    },
}

/// A change of what is stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Stored {
    /// This is the node's.
    Put {
        /// Whose.
        node: NodeId,
        /// Its provider, by the chain.
        provider: ProviderId,
        /// The descriptor as it was signed.
        sealed: Vec<u8>,
    },
    /// The node has none any more.
    Delete(NodeId),
}
