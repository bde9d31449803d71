//! How the validator does, for people.

use lode_chain_types::{Amount, Epoch};
use lode_protocol::ids::NodeId;
use serde::Serialize;

/// How the validator does.
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
    /// Accusations under way, by anybody.
    pub accusations: usize,
    /// Files of evidence that are shown to whoever asks.
    pub files: usize,
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
