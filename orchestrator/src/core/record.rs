//! Rows of the store: CBOR with numbered fields, numbers are never reused. Keys are big-endian, so that rows of one task
//! lie together.

use lode_protocol::ids::{
    AssignmentId, BootCounter, Generation, Incarnation, LeaderEpoch, NodeId, Nonce, ReplicaId, TaskId,
};
use lode_protocol::keys::PublicKey;
use lode_protocol::task::ValidTaskSpec;
use lode_protocol::units::Timestamp;
use minicbor::{Decode, Encode};

use super::node::{Node, Standing};
use super::settlement::{SignedOrder, order_of};
use super::task::{Goal, Task};

/// Key of the one row of the meta table.
pub(crate) const META_KEY: &[u8] = b"core";

#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub(crate) struct Meta {
    #[n(0)]
    pub(crate) epoch: LeaderEpoch,
}

#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub(crate) struct NodeRow {
    #[n(0)]
    pub(crate) public_key: PublicKey,
    #[cbor(n(1), with = "minicbor::bytes")]
    pub(crate) descriptor: Vec<u8>,
    #[n(2)]
    pub(crate) standing: Standing,
}

impl NodeRow {
    pub(crate) fn of(node: &Node) -> Self {
        NodeRow {
            public_key: node.public_key,
            descriptor: node.hardware.descriptor.to_vec(),
            standing: node.standing.clone(),
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub(crate) struct Progress {
    #[n(0)]
    pub(crate) boot: BootCounter,
    #[n(1)]
    pub(crate) generation: Generation,
    #[n(2)]
    pub(crate) nonces: Vec<Nonce>,
}

impl Progress {
    pub(crate) fn of(node: &Node) -> Self {
        Progress { boot: node.boot, generation: node.generation, nonces: node.nonces.clone() }
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub(crate) struct TaskRow {
    #[n(0)]
    pub(crate) spec: ValidTaskSpec,
    #[n(1)]
    pub(crate) created: Timestamp,
    #[n(2)]
    pub(crate) goal: Goal,
    #[n(3)]
    pub(crate) pinned_image: Option<String>,
    #[n(4)]
    pub(crate) idempotency_key: Option<String>,
    #[n(5)]
    pub(crate) order: Option<SignedOrder>,
}

impl TaskRow {
    pub(crate) fn of(task: &Task) -> Self {
        TaskRow {
            spec: task.spec.clone(),
            created: task.created,
            goal: task.goal,
            pinned_image: task.pinned_image.clone(),
            idempotency_key: task.idempotency_key.clone(),
            order: order_of(task),
        }
    }
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
