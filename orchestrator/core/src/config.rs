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
    pub requirements_hash: Digest,
    /// Leases, deadlines, back-offs.
    pub terms: Tunables,
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

    /// Of the cheapest class.
    pub fn lowest(&self) -> Amount {
        self.classes.values().copied().fold(self.per_gpu_hour, Amount::min)
    }

    /// Of the dearest class.
    pub fn highest(&self) -> Amount {
        self.classes.values().copied().fold(self.per_gpu_hour, Amount::max)
    }
}

/// Times: `[terms]` of the configuration.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tunables {
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
    /// Rows and log entries that one step may change; what is more goes on in the next one.
    pub step_rows: u32,
    /// Bytes that one step may change.
    #[serde(with = "lode_protocol::units::size_text")]
    pub step_bytes: Bytes,
    /// Nodes, or other things, that one step may look at without changing them.
    pub step_visits: u32,
    /// Replicas that one step may place.
    pub step_placements: u32,
    /// How long after a start nodes are believed that they run later placements than the store has: it may be an older
    /// one that was restored.
    pub recovery_window: Millis,
}

impl Default for Tunables {
    fn default() -> Self {
        Tunables {
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
            step_rows: 2_000,
            step_bytes: Bytes(2 << 20),
            step_visits: 10_000,
            step_placements: 250,
            recovery_window: Millis::seconds(600),
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
    /// Least memory of each GPU, as it is sold. Smaller ones are left out; a node that has no others is not taken.
    pub gpu_memory: Bytes,
}

/// The most that one replica can ever get in this pool, as its owner declares it: `[declared]` of the configuration.
/// What is left out is not declared, and counts as boundless.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeclaredMaximum {
    /// GPUs on one node.
    pub gpus: u32,
    /// Memory of one GPU.
    #[serde(with = "lode_protocol::units::size_text")]
    pub gpu_memory: Bytes,
    /// Models that there are; empty: not declared.
    pub gpu_models: Vec<String>,
    /// CPU time on one node.
    pub cpus: MilliCpus,
    /// Memory on one node.
    #[serde(with = "lode_protocol::units::size_text")]
    pub memory: Bytes,
    /// Disk on one node.
    #[serde(with = "lode_protocol::units::size_text")]
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

/// Bounds on what others can make the core remember and do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Keys that said hello and are not known to be registered: about sixty bytes are kept of each, for a minute.
    pub unregistered: u32,
    /// Such keys that the chain is asked about in a minute for one address (IPv6: one /64).
    pub unregistered_per_address: u32,
    /// Tasks.
    pub tasks: u32,
    /// Ended assignments that are kept for each replica.
    pub ended_assignments: usize,
    /// Steps that are kept of an assignment's history.
    pub history: usize,
    /// Reports of one beat that are looked at although nothing of the kind is placed on its node.
    pub foreign_reports: u32,
    /// Beats, hellos and leaves of one node.
    pub messages: Rate,
    /// Reports in its beats.
    pub reports: Rate,
    /// Bytes of texts and descriptions in its beats and hellos: what it can have written.
    pub report_bytes: Rate,
}

/// How much of something one node may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rate {
    /// In the long run.
    pub per_second: u32,
    /// At once.
    pub burst: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            unregistered: 2_000,
            unregistered_per_address: 64,
            tasks: 1_000_000,
            ended_assignments: 5,
            history: 32,
            foreign_reports: 1_024,
            messages: Rate { per_second: 4, burst: 20 },
            reports: Rate { per_second: 256, burst: 4_096 },
            report_bytes: Rate { per_second: 64 << 10, burst: 2 << 20 },
        }
    }
}
