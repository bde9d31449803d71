//! Nodes whose clock differs from ours: their messages are refused, so that nobody would hear of it but them.
//!
//! Only of nodes that hold a session, over connections whose key is proven: what a stranger says of its clock is no finding.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use lode_program::finding::{Finding, FindingSet};
use lode_protocol::envelope::EnvelopeError;
use lode_protocol::ids::NodeId;

const CODE: &str = "clock/differs";
/// Nodes that a finding is kept of: more of them have one reason, and it is here.
const MOST: usize = 256;

/// The nodes that were refused because of their clock, and not heard since.
#[derive(Debug)]
pub struct Skews {
    findings: FindingSet,
    nodes: Mutex<BTreeSet<NodeId>>,
    /// How many: every message asks.
    count: AtomicUsize,
}

impl Skews {
    /// That of nobody, yet.
    pub fn new(findings: FindingSet) -> Self {
        Self { findings, nodes: Mutex::default(), count: AtomicUsize::new(0) }
    }

    /// A message of the node was refused.
    pub(super) fn refused(&self, node: NodeId, error: &EnvelopeError) {
        let Some(difference) = error.clock_difference() else { return };
        let mut nodes = self.nodes();
        if nodes.len() >= MOST && !nodes.contains(&node) {
            return;
        }
        nodes.insert(node);
        self.count.store(nodes.len(), Ordering::Relaxed);
        let message = format!(
            "the clock of node {node} is {difference} this machine's, so that its messages are refused ({})",
            error.code()
        );
        self.findings.raise(
            Finding::warning(CODE, message).about(node.to_string()).remedy(
                "Synchronise both clocks (chrony or systemd-timesyncd); what runs on the node goes on.",
            ),
        );
    }

    /// The node is heard, or has gone.
    pub(super) fn settled(&self, node: NodeId) {
        if self.count.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut nodes = self.nodes();
        if nodes.remove(&node) {
            self.findings.clear(CODE, &node.to_string());
        }
        self.count.store(nodes.len(), Ordering::Relaxed);
    }

    fn nodes(&self) -> MutexGuard<'_, BTreeSet<NodeId>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use lode_program::Clock;
    use lode_protocol::ids::Address;
    use lode_protocol::units::Timestamp;

    use super::*;

    #[test]
    fn a_node_whose_clock_is_ahead_is_one_finding_until_it_is_heard() {
        let findings = FindingSet::new(Clock::system());
        let skews = Skews::new(findings.clone());
        let (node, other) = (NodeId(Address([1; 20])), NodeId(Address([2; 20])));
        let ahead = EnvelopeError::NotYetValid { issued_at: Timestamp(145_000), now: Timestamp(100_000) };
        skews.refused(node, &ahead);
        skews.refused(node, &ahead);
        skews.refused(other, &EnvelopeError::BadSignature);
        let raised: Vec<_> = findings.list().into_iter().map(|row| row.finding).collect();
        assert_eq!(raised.len(), 1, "{raised:?}");
        assert!(raised[0].message.contains("is 45s ahead of this machine's"), "{raised:?}");
        skews.settled(other);
        assert_eq!(findings.list().len(), 1);
        skews.settled(node);
        assert!(findings.list().is_empty());
        for number in 0..=255 {
            skews.refused(NodeId(Address([number; 20])), &ahead);
            skews.refused(NodeId(Address([number; 20])), &ahead);
        }
        skews.refused(NodeId(Address([0xab; 20])), &ahead);
        assert_eq!(findings.list().len(), MOST);
    }
}
