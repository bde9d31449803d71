//! Streams per node are counted: they share its connection with its beats.

use std::time::Duration;

use lode_protocol::ids::{NodeId, Nonce};

use super::{LogFailure, LogHub, failure};

/// Streams per node at one time.
const STREAMS_PER_NODE: usize = 32;
/// How long a reader waits for one of them to end. Those who catch up with others need theirs only for a moment.
const WAIT: Duration = Duration::from_secs(20);

/// Counts a stream, and forgets it when dropped.
#[derive(Debug)]
pub(super) struct StreamPermit {
    hub: LogHub,
    node: NodeId,
    stream: Nonce,
}

impl StreamPermit {
    /// Takes a place, or waits for one.
    pub(super) async fn take(hub: &LogHub, node: NodeId, stream: Nonce) -> Result<Self, LogFailure> {
        let taken = tokio::time::timeout(WAIT, async {
            loop {
                // Listens before it looks: a place that is freed in between is not missed.
                let freed = hub.freed.notified();
                if let Some(place) = Self::try_take(hub, node, stream) {
                    return place;
                }
                freed.await;
            }
        });
        taken.await.map_err(|_| {
            let message = format!(
                "{STREAMS_PER_NODE} readers have streams of their own to node {node} already; try again later"
            );
            failure("logs/too-many-readers", message)
        })
    }

    fn try_take(hub: &LogHub, node: NodeId, stream: Nonce) -> Option<Self> {
        let mut state = hub.state();
        let open = state.open.entry(node).or_default();
        if *open >= STREAMS_PER_NODE {
            return None;
        }
        *open += 1;
        Some(StreamPermit { hub: hub.clone(), node, stream })
    }
}

impl Drop for StreamPermit {
    fn drop(&mut self) {
        let mut state = self.hub.state();
        state.posted.remove(&self.stream);
        if let Some(open) = state.open.get_mut(&self.node) {
            *open = open.saturating_sub(1);
            if *open == 0 {
                state.open.remove(&self.node);
            }
        }
        drop(state);
        self.hub.requests.withdraw(self.node, self.stream);
        self.hub.freed.notify_waiters();
    }
}
