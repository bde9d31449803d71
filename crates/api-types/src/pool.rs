//! The pool and its orchestrator.

use std::collections::BTreeMap;

use lode_protocol::amount::Amount;
use lode_protocol::error_code::ErrorCode;
use lode_protocol::ids::{Address, ChainId, PoolId, Term};
use lode_protocol::units::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Finding, NodeState, TaskState};

/// How far a pool is, on chain.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum PoolState {
    /// Takes no joins yet.
    Created,
    /// Takes joins.
    Running,
    /// Over for good.
    Ended,
}

/// The pool as the chain has it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct OnChain {
    /// How far it is.
    pub state: PoolState,
    /// Whose it is.
    pub owner: Address,
    /// Who runs it.
    pub orchestrator: Address,
    /// Nodes in it.
    pub members: u32,
    /// Most nodes; null: no limit.
    pub max_nodes: Option<u32>,
    /// Where workers find the orchestrator, separated by spaces.
    pub endpoints: String,
}

/// The pool's money, in whole tokens.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Budget {
    /// Funded and not promised.
    pub free: Amount,
    /// Promised by roots and not paid.
    pub locked: Amount,
    /// Promised by roots in all.
    pub posted: Amount,
    /// Paid in all.
    pub paid: Amount,
    /// What a root of the running epoch may promise, by the spend cap.
    pub spendable: Amount,
    /// Work that is not part of a posted root yet.
    pub accrued: Amount,
    /// What everything that runs, or is about to, costs per hour.
    pub burn_per_hour: Amount,
    /// How long the money lasts at that; null: nothing costs anything.
    pub runway_seconds: Option<u64>,
    /// Whether paid work waits for money.
    pub exhausted: bool,
}

/// The pool at a glance.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Pool {
    /// Its number.
    pub pool: PoolId,
    /// Its chain.
    pub chain_id: ChainId,
    /// Its `ComputePools` contract.
    pub pools_contract: Address,
    /// Address of this orchestrator.
    pub orchestrator: Address,
    /// This orchestrator's term of office.
    pub term: Term,
    /// Whether the chain's facts may be acted upon.
    pub chain_fresh: bool,
    /// Nodes by state.
    pub nodes: BTreeMap<NodeState, u32>,
    /// Tasks by state.
    pub tasks: BTreeMap<TaskState, u32>,
    /// GPUs of members.
    pub gpus: u32,
    /// Of these, promised to assignments.
    pub gpus_allocated: u32,
    /// Non-final assignments.
    pub assignments: u32,
    /// Replicas that wait for a node.
    pub pending: u32,
    /// Time between two beats that nodes are told now.
    pub beat_interval_ms: u64,
    /// null: the pool pays nothing, or the chain has not been read.
    pub budget: Option<Budget>,
    /// null: the chain has not been read.
    pub on_chain: Option<OnChain>,
}

/// A code with its words.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Trouble {
    /// Stable code.
    pub code: ErrorCode,
    /// In words.
    pub message: String,
}

/// The view of the chain.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ChainState {
    /// Whether its facts may be acted upon.
    pub fresh: bool,
    /// Number of the latest block seen.
    pub head: Option<u64>,
    /// When that block was made.
    pub head_time: Option<Timestamp>,
    /// Time since the last answer.
    pub age_ms: Option<u64>,
    /// Nodes whose facts wait to be read.
    pub waiting: u64,
    /// Why the last reading failed.
    pub failure: Option<Trouble>,
}

/// The store.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct StoreState {
    /// Whether it takes writes.
    pub ok: bool,
    /// Why not: stable code.
    pub code: Option<ErrorCode>,
    /// In words.
    pub message: Option<String>,
}

/// What holds the outbox up.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct OutboxBlocked {
    /// Stable code.
    pub code: ErrorCode,
    /// In words.
    pub message: String,
    /// How often it was tried.
    pub attempts: u32,
}

/// Transactions on their way.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct OutboxState {
    /// How many.
    pub pending: u64,
    /// What holds them up.
    pub blocked: Option<OutboxBlocked>,
}

/// A directory.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct DirectoryState {
    /// Where it is.
    pub url: String,
    /// Whether it answers.
    pub ok: bool,
    /// Why not.
    pub message: Option<String>,
}

/// How the orchestrator does.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// Its version.
    pub version: String,
    /// When it started.
    pub started_at: Timestamp,
    /// Whether it does its work.
    pub ready: bool,
    /// Its term of office.
    pub term: Term,
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// The chain.
    pub chain: ChainState,
    /// The store.
    pub store: StoreState,
    /// Transactions on their way.
    pub outbox: OutboxState,
    /// The directories.
    pub discovery: Vec<DirectoryState>,
    /// Workers with an open stream.
    pub connections: u64,
    /// Where workers reach the orchestrator.
    pub endpoints: Vec<String>,
}
