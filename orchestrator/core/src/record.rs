//! Keys of the store's rows, and the one row that is no part of anything else. Nodes, tasks, replicas and assignments are
//! stored as they are in [`super::state`]. Rows are CBOR with numbered fields, numbers are never reused. Keys are big-endian, so that rows of one task
//! lie together.

use lode_protocol::ids::{AssignmentId, Incarnation, NodeId, ReplicaId, TaskId, Term};
use minicbor::{Decode, Encode};

/// Key of the one row of the meta table.
pub(crate) const META_KEY: &[u8] = b"core";

/// Key of the row of the meta table that holds the hash of the pool's requirements, as the chain had them last.
pub(crate) const REQUIREMENTS_KEY: &[u8] = b"requirements";

#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub(crate) struct Meta {
    #[n(0)]
    pub(crate) epoch: Term,
}

pub(crate) fn node_key(id: &NodeId) -> Vec<u8> {
    id.0.0.to_vec()
}

pub(crate) fn read_node_key(key: &[u8]) -> Option<NodeId> {
    Some(NodeId(lode_protocol::ids::Address(key.try_into().ok()?)))
}

pub(crate) fn task_key(id: &TaskId) -> Vec<u8> {
    id.0.as_bytes().to_vec()
}

pub(crate) fn read_task_key(key: &[u8]) -> Option<TaskId> {
    let key: [u8; 16] = key.try_into().ok()?;
    Some(TaskId(uuid::Uuid::from_bytes(key)))
}

pub(crate) fn replica_key(id: &ReplicaId) -> Vec<u8> {
    let mut key = task_key(&id.task);
    key.extend(id.replica.to_be_bytes());
    key
}

pub(crate) fn read_replica_key(key: &[u8]) -> Option<ReplicaId> {
    let (task, replica) = key.split_at_checked(16)?;
    Some(ReplicaId { task: read_task_key(task)?, replica: u32::from_be_bytes(replica.try_into().ok()?) })
}

pub(crate) fn assignment_key(id: &AssignmentId) -> Vec<u8> {
    let mut key = replica_key(&id.replica);
    key.extend(id.incarnation.0.to_be_bytes());
    key
}

pub(crate) fn read_assignment_key(key: &[u8]) -> Option<AssignmentId> {
    let (replica, incarnation) = key.split_at_checked(20)?;
    Some(AssignmentId {
        replica: read_replica_key(replica)?,
        incarnation: Incarnation(u32::from_be_bytes(incarnation.try_into().ok()?)),
    })
}
