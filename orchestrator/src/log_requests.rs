//! Between the wire and the readers of output, for nodes that are reached over HTTPS: nothing can be sent to them unasked,
//! so that requests wait for their next beat, and they post what was asked for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lode_network::LogReply;
use lode_protocol::ids::{NodeId, Nonce};
use lode_protocol::session::SealedBytes;

/// A piece of a task's output that was posted.
#[derive(Debug)]
pub struct PostedLogs {
    /// The sealed batch.
    pub bytes: Vec<u8>,
    /// Whether it is wanted.
    pub reply: LogReply,
}

/// What waits for whom. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct LogRequests(Arc<Mutex<Waiting>>);

/// Requests by node, each with the stream that it asks for.
type Waiting = HashMap<NodeId, Vec<(Nonce, SealedBytes)>>;

impl LogRequests {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request waits from now on.
    pub(crate) fn put(&self, node: NodeId, stream: Nonce, request: SealedBytes) {
        self.waiting().entry(node).or_default().push((stream, request));
    }

    /// Everything that waits for this node: it goes with its answer.
    pub(crate) fn take(&self, node: NodeId) -> Vec<SealedBytes> {
        let waiting = self.waiting().remove(&node).unwrap_or_default();
        waiting.into_iter().map(|(_, request)| request).collect()
    }

    /// Nobody wants that stream any longer.
    pub(crate) fn withdraw(&self, node: NodeId, stream: Nonce) {
        let mut all = self.waiting();
        if let Some(waiting) = all.get_mut(&node) {
            waiting.retain(|(other, _)| *other != stream);
            if waiting.is_empty() {
                all.remove(&node);
            }
        }
    }
}
