//! Which of the nodes that fit is best. Lower is better; compared field by field.

use lode_protocol::ids::{AssignmentId, ReplicaId};
use lode_protocol::units::Timestamp;

use super::super::node::Node;
use super::super::task::Replica;
use super::requirement::Requirement;

/// Nodes that fit and are compared, at most: the order of the index makes the first ones good.
pub(crate) const COMPARED: usize = 16;

/// How well a node suits a replica.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Score {
    /// The node said lately that it holds as much as it can.
    full: bool,
    /// The replica failed here lately, by the node's fault.
    avoided: bool,
    /// Replicas of the same task here: they are spread.
    siblings: usize,
    /// Tasks that failed here lately, which nothing explains but the node.
    unexplained: usize,
    /// GPUs that a replica without GPUs would keep company.
    idle_gpus: usize,
}

impl Score {
    /// Nothing speaks against the node: no other one needs to be looked at.
    pub(super) fn is_perfect(self) -> bool {
        !self.full && !self.avoided && self.siblings == 0 && self.unexplained == 0 && self.idle_gpus == 0
    }
}

pub(crate) fn score(
    node: &Node,
    id: &ReplicaId,
    replica: &Replica,
    requirement: &Requirement,
    now: Timestamp,
) -> Score {
    let avoided = replica.avoided.iter().any(|(avoided, until)| *avoided == node.id && *until > now);
    let full = node.pulse.full_until.is_some_and(|until| until > now);
    let idle_gpus = if requirement.gpus == 0 { node.hardware.described().count() } else { 0 };
    Score { full, avoided, siblings: siblings(node, id), unexplained: node.faults.unexplained(), idle_gpus }
}

fn siblings(node: &Node, id: &ReplicaId) -> usize {
    let first = node.active.partition_point(|other: &AssignmentId| other.replica.task < id.task);
    node.active.iter().skip(first).take_while(|other| other.replica.task == id.task).count()
}
