//! What the pool's owner decides. All durations have defaults; `lode dev` uses a fifth of the leases.

use std::collections::{BTreeMap, BTreeSet};

use lode_protocol::amount::Amount;
use lode_protocol::hash::Digest;
use lode_protocol::ids::{Address, ChainId, PoolId};
use lode_protocol::proof::ProofClassId;
use lode_protocol::units::{Bytes, MilliCpus, Millis};
use serde::Deserialize;

/// Everything that the core must know besides events.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// The chain.
    pub chain: ChainId,
    /// The `ComputePools` contract.
    pub pools_contract: Address,
    /// The pool.
    pub pool: PoolId,
    /// Hash of the pool's requirements and terms, as invites carry it.
    pub terms_hash: Digest,
    /// Leases, deadlines, back-offs.
    pub terms: Terms,
    /// What a node must be to join and to get work.
    pub requirements: Requirements,
    /// What the pool says it can ever have for one replica; `None`: says nothing, and anything may wait.
    pub declared: Option<DeclaredMaximum>,
    /// What work is paid; `None`: nothing is metered, and nobody is paid.
    pub settlement: Option<Settlement>,
    /// Bounds on memory.
    pub limits: Limits,
}

/// What work is paid, and how.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settlement {
    /// The `Rewards` contract.
    pub rewards_contract: Address,
    /// What a GPU costs.
    pub prices: Prices,
    /// Whose orders count besides the pool owner's.
    pub tenants: BTreeSet<Address>,
    /// Usage is durable after this time at the latest: what a crash loses, its payer gains.
    pub checkpoint: Millis,
    /// Epochs whose receipts are kept though they are paid for.
    pub kept_epochs: usize,
}

/// What one GPU costs for one hour.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Prices {
    /// Where the class has no price of its own.
    pub per_gpu_hour: Amount,
    /// By proven class.
    pub classes: BTreeMap<ProofClassId, Amount>,
}

impl Prices {
    /// Highest price that can be set: a million tokens. With it no sum that a pool can come to overflows.
    pub const MOST: Amount = Amount::tokens(1_000_000);

    /// Of a class.
    pub fn of(&self, class: ProofClassId) -> Amount {
        self.classes.get(&class).copied().unwrap_or(self.per_gpu_hour)
    }

    /// Of the dearest class.
    pub fn highest(&self) -> Amount {
        self.classes.values().copied().fold(self.per_gpu_hour, Amount::max)
    }
}

/// Times: `[terms]` of the configuration.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(default)]
pub struct Terms {
    /// Time between beats in a small pool.
    pub beat_interval: Millis,
    /// Silence after which a node is suspect.
    pub suspect_after: Millis,
    /// Silence after which a node is lost.
    pub lost_after: Millis,
    /// Most beats per second the orchestrator wants to take: beyond, all three times above stretch alike.
    pub most_beats_per_second: u32,
    /// How long an invite counts.
    pub invite_lifetime: Millis,
    /// How long a submitted join may take before a new invite is made.
    pub join_deadline: Millis,
    /// How long a connected node may stay without what it needs to be invited (a proof, say) before it is put aside.
    pub admission_deadline: Millis,
    /// How long a new member may take until its first complete beat before it is ejected.
    pub first_beat_deadline: Millis,
    /// How long a node that was put aside or ejected for these reasons waits for its next try.
    pub cooldown: Millis,
    /// How many such tries there are; then somebody must readmit it.
    pub most_attempts: u32,
    /// How long an assignment may stay without any report before it is placed elsewhere.
    pub start_deadline: Millis,
    /// First wait after a failure; doubles with each further one.
    pub retry_first: Millis,
    /// Longest wait after a failure.
    pub retry_most: Millis,
    /// How long a node is avoided for a replica that failed there by the node's fault.
    pub avoid: Millis,
    /// A run that lasted this long forgets earlier failures.
    pub forgive_after: Millis,
}

impl Default for Terms {
    fn default() -> Self {
        Terms {
            beat_interval: Millis::seconds(10),
            suspect_after: Millis::seconds(30),
            lost_after: Millis::seconds(60),
            most_beats_per_second: 5_000,
            invite_lifetime: Millis::seconds(600),
            join_deadline: Millis::seconds(600),
            admission_deadline: Millis::seconds(3_600),
            first_beat_deadline: Millis::seconds(600),
            cooldown: Millis::seconds(900),
            most_attempts: 5,
            start_deadline: Millis::seconds(120),
            retry_first: Millis::seconds(2),
            retry_most: Millis::seconds(300),
            avoid: Millis::seconds(600),
            forgive_after: Millis::seconds(600),
        }
    }
}

/// What a node must be.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Requirements {
    /// Least class that must be proven on chain; `None`: no proof is asked for. Nodes without GPUs, where they are
    /// allowed, have nothing to prove.
    pub proof: Option<u32>,
    /// Whether nodes without GPUs may join.
    pub allow_cpu_only: bool,
    /// Oldest container engine, as (major, minor).
    pub engine: Option<(u32, u32)>,
    /// Fewest GPUs of a node that has any.
    pub gpus: u32,
    /// Least memory of each GPU.
    pub gpu_memory: Bytes,
}

/// The most that one replica can ever get in this pool, as its owner declares it: `[declared]` of the configuration.
/// What is left out is not declared, and counts as boundless.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(default)]
pub struct DeclaredMaximum {
    /// GPUs on one node.
    pub gpus: u32,
    /// Memory of one GPU.
    pub gpu_memory: Bytes,
    /// Models that there are; empty: not declared.
    pub gpu_models: Vec<String>,
    /// CPU time on one node.
    pub cpus: MilliCpus,
    /// Memory on one node.
    pub memory: Bytes,
    /// Disk on one node.
    pub disk: Bytes,
    /// GPUs in the whole pool.
    pub total_gpus: u32,
}

impl Default for DeclaredMaximum {
    fn default() -> Self {
        DeclaredMaximum {
            gpus: u32::MAX,
            gpu_memory: Bytes(u64::MAX),
            gpu_models: Vec::new(),
            cpus: MilliCpus(u32::MAX),
            memory: Bytes(u64::MAX),
            disk: Bytes(u64::MAX),
            total_gpus: u32::MAX,
        }
    }
}

/// Bounds on what others can make the core remember.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Nodes that said hello without being registered on chain.
    pub strangers: u32,
    /// Tasks.
    pub tasks: u32,
    /// Ended assignments that are kept for each replica.
    pub ended_assignments: usize,
    /// Steps that are kept of an assignment's history.
    pub history: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { strangers: 2_000, tasks: 1_000_000, ended_assignments: 5, history: 32 }
    }
}
