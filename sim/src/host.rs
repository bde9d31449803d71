//! A host: its key, its hardware, its worker while that runs, and all that outlives it.

use lode_orchestrator_core::event::ConnectionId;
use lode_protocol::descriptor::NodeDescriptor;
use lode_protocol::hardware::{GpuSpec, NodeSpecs};
use lode_protocol::hash::Digest;
use lode_protocol::ids::{BootCounter, NodeId};
use lode_protocol::keys::SigningKey;
use lode_protocol::units::{Bytes, MilliCpus, Timestamp};
use lode_worker_core::Worker;
use lode_worker_core::effect::{Action, Message, Ticket};
use lode_worker_core::journal::Table;

use crate::dice::Dice;
use crate::directory::publishing::Publisher;
use crate::disk::Disk;
use crate::engine::Engine;
use crate::validator::conduct::Conduct;
use crate::validator::proofs::NodeRun;
use crate::world::key;

/// A host with its worker.
#[derive(Debug)]
pub struct Node {
    /// Its key.
    pub key: SigningKey,
    /// Its id.
    pub id: NodeId,
    /// Its hardware.
    pub specs: NodeSpecs,
    /// Its core, while it runs.
    pub core: Option<Worker>,
    /// How often its worker has been started.
    pub boot: u64,
    pub(crate) started: u64,
    /// Its journal.
    pub disk: Disk<Table, (Ticket, Vec<Action>)>,
    pub(crate) writing: bool,
    /// Its containers.
    pub engine: Engine,
    /// Milliseconds by which its wall clock is off.
    pub skew: i64,
    /// Its connection.
    pub connection: Option<ConnectionId>,
    pub(crate) connections: u64,
    pub(crate) follows: bool,
    pub(crate) last_beat: Option<(Message, Digest)>,
    pub(crate) described: u64,
    /// Whether what it sends is lost, and what is sent to it.
    pub no_way_up: bool,
    /// See `no_way_up`.
    pub no_way_down: bool,
    /// The last trouble of each kind.
    pub last_partition: u64,
    /// See `last_partition`.
    pub last_silence: u64,
    /// See `last_partition`.
    pub last_full: u64,
    /// When something went wrong here last.
    pub impaired_at: u64,
    /// When its power is back.
    pub power_at: u64,
    pub(crate) next_tick: u64,
    pub(crate) leaves: u64,
    /// What it tells the directory.
    pub publisher: Publisher,
    /// How it proves its GPUs.
    pub conduct: Conduct,
    /// The last time it was made to behave otherwise.
    pub last_conduct: u64,
    /// Beats of it that are still to tell of what it does not run.
    pub(crate) lies: u32,
    /// The run that its GPUs are in.
    pub(crate) run: Option<NodeRun>,
}

impl Node {
    /// A host that has never run a worker.
    pub fn new(number: usize, seed: u64) -> Self {
        let key = key(0x10, number);
        let mut dice = Dice::new(seed, 100 + u64::try_from(number).unwrap_or(0));
        let gpus = dice.between(1, 3);
        let specs = NodeSpecs {
            cpus: MilliCpus(16_000),
            memory: Bytes::gibi(64),
            disk: Bytes::gibi(100),
            gpus: (0..gpus)
                .map(|gpu| GpuSpec {
                    uuid: format!("GPU-{number:08x}-{gpu:04x}").parse().expect("a GPU's name"),
                    model: Some("NVIDIA H200".to_owned()),
                    memory: Some(Bytes::gibi(141)),
                    compute_capability: Some((9, 0)),
                    pci_bus_id: None,
                    parent: None,
                })
                .collect(),
            engine_version: Some("20.10.24".to_owned()),
            os: "debian".to_owned(),
            architecture: "amd64".to_owned(),
            ..NodeSpecs::default()
        };
        Node {
            id: NodeId(key.address()),
            key,
            specs,
            core: None,
            boot: 0,
            started: 0,
            disk: Disk::default(),
            writing: false,
            engine: Engine::default(),
            skew: 0,
            connection: None,
            connections: 0,
            follows: false,
            last_beat: None,
            described: 0,
            no_way_up: false,
            no_way_down: false,
            last_partition: 0,
            last_silence: 0,
            last_full: 0,
            impaired_at: 0,
            power_at: 0,
            next_tick: 0,
            leaves: 0,
            publisher: Publisher::default(),
            conduct: Conduct::Honest,
            last_conduct: 0,
            lies: 0,
            run: None,
        }
    }

    /// Something goes or went wrong here: what takes time to settle begins anew.
    pub fn impaired(&mut self, now: u64) {
        self.impaired_at = now;
    }

    pub(crate) fn descriptor(&self) -> NodeDescriptor {
        NodeDescriptor {
            node: self.id,
            specs: self.specs.clone(),
            addresses: vec![],
            sealing_key: None,
            agent_version: "0.1.0".to_owned(),
            boot: BootCounter(self.boot),
            sequence: self.described,
            issued_at: Timestamp(0),
            expires_at: Timestamp(u64::MAX),
        }
    }
}
