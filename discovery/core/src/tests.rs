//! The core against a chain, a disk and a follower that keep their own books.

use std::collections::{BTreeMap, BTreeSet};

use lode_protocol::cursor::Cursor;
use lode_protocol::descriptor::{NodeDescriptor, Scope, VerifiedDescriptor, open};
use lode_protocol::envelope::{Addressing, Audience, Realm, seal};
use lode_protocol::hardware::{GpuSpec, NodeSpecs};
use lode_protocol::ids::{Address, BootCounter, ChainId, NodeId, PoolId, ProviderId};
use lode_protocol::keys::SigningKey;
use lode_protocol::time::Now;
use lode_protocol::units::{Bytes, Millis, Timestamp};

use super::*;

mod listing;
mod random;
mod steps;

const START: Timestamp = Timestamp(1_800_000_000_000);
const LIFETIME: Millis = Millis::seconds(3_600);
const MINUTE: Millis = Millis::seconds(60);
/// More than any page has.
const ANY_BYTES: usize = usize::MAX;

fn key(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32]).unwrap()
}

fn node(number: u8) -> NodeId {
    NodeId(key(number).address())
}

fn provider(number: u8) -> ProviderId {
    ProviderId(Address([number; 20]))
}

fn settings() -> Settings {
    Settings {
        incarnation: 7,
        retained_changes: 1_000,
        nodes: 100,
        publications_per_node: 30,
        refusals_stand: MINUTE,
    }
}

/// What a descriptor says besides who and when.
#[derive(Clone, Debug)]
struct Says {
    version: (u64, u64),
    lifetime: Millis,
    gpus: usize,
    model: &'static str,
    memory: Bytes,
    label: Option<(&'static str, &'static str)>,
}

impl Default for Says {
    fn default() -> Self {
        Says {
            version: (1, 1),
            lifetime: LIFETIME,
            gpus: 1,
            model: "NVIDIA H200",
            memory: Bytes::gibi(141),
            label: None,
        }
    }
}

fn described(number: u8, now: Timestamp, says: &Says) -> VerifiedDescriptor {
    let gpu = |index: usize| GpuSpec {
        uuid: format!("GPU-{number}-{index}").parse().unwrap(),
        model: Some(says.model.to_owned()),
        memory: Some(says.memory),
        compute_capability: None,
        pci_bus_id: None,
        parent: None,
    };
    let labels = says.label.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    let specs = NodeSpecs {
        gpus: (0..says.gpus).map(gpu).collect(),
        labels: labels.collect(),
        ..NodeSpecs::default()
    };
    let descriptor = NodeDescriptor {
        node: node(number),
        specs,
        addresses: Vec::new(),
        sealing_key: None,
        agent_version: "0".to_owned(),
        boot: BootCounter(says.version.0),
        sequence: says.version.1,
        issued_at: now,
        expires_at: now.plus(says.lifetime),
    };
    let realm = Realm { chain: ChainId(31_337), deployment: Address([5; 20]), pool: PoolId(1) };
    let addressing = Addressing { audience: Audience::Any, realm, now, lifetime: says.lifetime };
    let sealed = seal(&key(number), addressing, &descriptor).bytes;
    open(&sealed, Scope::Deployment(realm), None, now).unwrap()
}

/// A core with a chain and a disk that answer when they are told to.
struct Bench {
    core: Core,
    now: Now,
    /// What the chain says of each node; nothing is "not registered".
    chain: BTreeMap<NodeId, ChainWord>,
    questions: Vec<(QuestionId, Vec<NodeId>)>,
    saves: Vec<(SaveId, Vec<Stored>)>,
    disk: BTreeMap<NodeId, (ProviderId, Vec<u8>)>,
    answers: BTreeMap<RequestId, Result<(), Rejected>>,
    requests: u64,
}

impl Bench {
    fn with(settings: &Settings) -> Self {
        let now = Now { wall: START, monotonic: Millis(0) };
        Bench {
            core: Core::new(settings),
            now,
            chain: BTreeMap::new(),
            questions: Vec::new(),
            saves: Vec::new(),
            disk: BTreeMap::new(),
            answers: BTreeMap::new(),
            requests: 0,
        }
    }

    /// Its chain is followed already.
    fn new() -> Self {
        let mut bench = Self::with(&settings());
        bench.give(Event::ChainMoved(Moved::Everything)).unwrap();
        bench
    }

    fn vouch(&mut self, number: u8, by: u8) {
        self.chain.insert(node(number), ChainWord::Vouched(provider(by)));
    }

    fn give(&mut self, event: Event) -> Result<(), Rejected> {
        for effect in self.core.step(self.now, event)? {
            match effect {
                Effect::Save { save, changes } => self.saves.push((save, changes)),
                Effect::AskChain { question, nodes } => self.questions.push((question, nodes)),
                Effect::Answer { request, outcome } => {
                    assert_eq!(self.answers.insert(request, outcome), None, "a publication is answered once");
                }
            }
        }
        self.core.listing().check();
        Ok(())
    }

    fn publish(&mut self, number: u8, says: &Says) -> Result<RequestId, Rejected> {
        let descriptor = described(number, self.now.wall, says);
        self.publish_again(descriptor)
    }

    fn publish_again(&mut self, descriptor: VerifiedDescriptor) -> Result<RequestId, Rejected> {
        self.requests += 1;
        let request = RequestId(self.requests);
        self.give(Event::Published { request, descriptor: Box::new(descriptor) })?;
        Ok(request)
    }

    /// The chain answers the oldest question by what it says now.
    fn answer_chain(&mut self) {
        let (question, nodes) = self.questions.remove(0);
        let said = self.what_it_says(&nodes);
        self.give(Event::ChainAnswered { question, said }).unwrap();
    }

    fn what_it_says(&self, nodes: &[NodeId]) -> Vec<(NodeId, ChainWord)> {
        let word = |node: &NodeId| self.chain.get(node).copied().unwrap_or(ChainWord::NotRegistered);
        nodes.iter().map(|node| (*node, word(node))).collect()
    }

    fn keep(&mut self) {
        let (save, changes) = self.saves.remove(0);
        for change in changes {
            match change {
                Stored::Put { node, provider, sealed } => drop(self.disk.insert(node, (provider, sealed))),
                Stored::Delete(node) => drop(self.disk.remove(&node)),
            }
        }
        self.give(Event::Saved(save)).unwrap();
    }

    fn fail(&mut self) {
        let (save, _) = self.saves.remove(0);
        self.give(Event::NotSaved { save, message: "the disk is full".to_owned() }).unwrap();
    }

    /// Until nothing is open any more.
    fn settle(&mut self) {
        while !self.questions.is_empty() || !self.saves.is_empty() {
            if !self.questions.is_empty() {
                self.answer_chain();
            }
            if !self.saves.is_empty() {
                self.keep();
            }
        }
    }

    fn pass(&mut self, span: Millis) {
        self.now = Now { wall: self.now.wall.plus(span), monotonic: self.now.monotonic.plus(span) };
        self.give(Event::Tick).unwrap();
    }

    fn listed(&self) -> BTreeSet<NodeId> {
        self.core.listing().after(None).map(|(node, _)| *node).collect()
    }

    fn cursor(&self) -> Cursor {
        self.core.listing().cursor()
    }
}
