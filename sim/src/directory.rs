//! The directory's shell: publications come in over the network, the chain is followed and asked, rows become durable in
//! the order in which they are told, and answers go out.

pub mod invariants;
pub mod publishing;
mod strangers;

use std::collections::BTreeMap;

use lode_chain_types::{ChainEvent, RegistryEvent};
use lode_discovery_core::{
    ChainWord, Core, Effect, Effects, Event, Moved, QuestionId, Rejected, RequestId, SaveId, Settings, Stored,
};
use lode_protocol::hash::Digest;
use lode_protocol::ids::{Address, NodeId, ProviderId};
use lode_protocol::units::Millis;

use self::invariants::Books;
use self::publishing::Publication;
use crate::chain::{HOSTILE, PROVIDER};
use crate::disk::Disk;
use crate::happening::Happening;
use crate::world::World;

/// Time between two ticks.
const TICK: u64 = 1_000;
/// Changes that followers find: few, so that some have to read everything again.
const RETAINED: usize = 20;
/// Publications per minute of one node.
const PER_MINUTE: u32 = 40;
/// Nodes of strangers that are registered as any others.
pub const HOSTILE_NODES: usize = 3;

/// Something of the directory, of this boot.
#[derive(Clone, Debug)]
pub enum DirectoryHappening {
    /// It is started.
    Starts,
    /// Time is told.
    Tick(u64),
    /// Its disk has dealt with a batch.
    Stored(u64),
    /// It hears of the chain's blocks.
    Hears(u64),
    /// The chain answers a question: by what it said then, or by what it says now.
    Answers(u64, QuestionId, Vec<NodeId>, Option<Vec<(NodeId, ChainWord)>>),
    /// Somebody publishes.
    Publication(Box<Publication>),
}

/// The program.
#[derive(Debug, Default)]
pub struct Directory {
    /// Its core, while it runs.
    pub core: Option<Core>,
    /// How often it has been started.
    pub boot: u64,
    started: u64,
    /// Its store.
    pub disk: Disk<(), SaveId>,
    writing: bool,
    /// Milliseconds by which its wall clock is off.
    pub skew: i64,
    /// The last time its disk was filled.
    pub last_full: u64,
    /// The last block whose events it was told.
    told: Option<Digest>,
    requests: u64,
    waiting: BTreeMap<RequestId, Publication>,
    /// What the invariants remember.
    pub(crate) books: Books,
}

impl World {
    /// One thing of the directory happens.
    pub(crate) fn directory_happens(&mut self, what: DirectoryHappening) {
        let boot = self.directory.boot;
        match what {
            DirectoryHappening::Starts => self.start_directory(),
            DirectoryHappening::Tick(of) if of == boot && self.directory.core.is_some() => {
                self.directory_event(Event::Tick);
                self.watch_listing();
                self.after(TICK, Happening::Directory(DirectoryHappening::Tick(boot)));
            }
            DirectoryHappening::Stored(of) if of == boot && self.directory.core.is_some() => {
                self.directory_stored();
            }
            DirectoryHappening::Hears(of) if of == boot => self.directory_hears(),
            DirectoryHappening::Answers(of, question, nodes, said) if of == boot => {
                self.chain_answers_directory(question, &nodes, said);
            }
            DirectoryHappening::Publication(publication) => self.directory_receives(*publication),
            // Of an earlier boot.
            DirectoryHappening::Tick(_)
            | DirectoryHappening::Stored(_)
            | DirectoryHappening::Hears(_)
            | DirectoryHappening::Answers(..) => {}
        }
    }

    fn start_directory(&mut self) {
        if self.directory.core.is_some() {
            return;
        }
        let directory = &mut self.directory;
        directory.boot += 1;
        directory.started = self.now;
        directory.writing = false;
        directory.told = None;
        directory.waiting.clear();
        let boot = directory.boot;
        directory.core = Some(Core::new(&Settings {
            incarnation: boot,
            retained_changes: RETAINED,
            nodes: self.nodes.len() + HOSTILE_NODES,
            publications_per_node: PER_MINUTE,
            refusals_stand: Millis::seconds(60),
        }));
        self.note(|| format!("directory starts, boot {boot}"));
        self.listing_starts();
        self.load_directory();
        self.check_listing();
        self.after(1, Happening::Directory(DirectoryHappening::Tick(boot)));
        let after = self.dice.between(20, 800);
        self.directory_follows(after);
    }

    fn load_directory(&mut self) {
        let rows: Vec<(Vec<u8>, Vec<u8>)> =
            self.directory.disk.rows.iter().map(|(((), key), value)| (key.clone(), value.clone())).collect();
        let now = self.directory_clocks();
        for (key, value) in rows {
            let Some((provider, sealed)) = value.split_first_chunk::<20>() else {
                return self.witness.breaks("what was stored can be read", format!("{value:?}"));
            };
            let provider = ProviderId(Address(*provider));
            let loaded = self.open(sealed, now.wall).map(Box::new).and_then(|descriptor| {
                let core = self.directory.core.as_mut()?;
                core.step(now, Event::Loaded { descriptor, provider }).ok()
            });
            // By its clock it does not count, or not yet: the shell keeps such rows. (It looks at them again while it runs;
            // here the next start does.)
            if loaded.is_none() {
                self.listing_drops(&key);
            }
        }
    }

    /// Its process dies.
    pub fn crash_directory(&mut self, down: u64) {
        if self.directory.core.take().is_none() {
            return;
        }
        let pending = u64::try_from(self.directory.disk.pending.len()).unwrap_or(0);
        let kept = usize::try_from(self.dice.between(0, pending)).unwrap_or(0);
        self.directory.disk.crash(kept);
        self.after(down, Happening::Directory(DirectoryHappening::Starts));
    }

    pub(crate) fn directory_clocks(&self) -> lode_protocol::time::Now {
        self.clocks(self.directory.started, self.directory.skew)
    }

    pub(crate) fn directory_event(&mut self, event: Event) -> Option<Rejected> {
        let now = self.directory_clocks();
        self.directory.books.saw(now.wall);
        let core = self.directory.core.as_mut()?;
        self.public_steps += 1;
        let refused = match core.step(now, event) {
            Ok(effects) => {
                self.directory_effects(effects);
                None
            }
            Err(rejected) => Some(rejected),
        };
        self.check_listing();
        refused
    }

    fn directory_effects(&mut self, effects: Effects) {
        for effect in effects {
            match effect {
                Effect::Save { save, changes } => {
                    let writes = changes.into_iter().map(row).collect();
                    self.directory.disk.pending.push_back((writes, save));
                    self.store_directory();
                }
                Effect::AskChain { question, nodes } => {
                    let boot = self.directory.boot;
                    let said = self.dice.chance(500).then(|| self.words(&nodes));
                    let after = self.dice.between(20, 1_500);
                    let answers = DirectoryHappening::Answers(boot, question, nodes, said);
                    self.after(after, Happening::Directory(answers));
                }
                Effect::Answer { request, outcome } => {
                    if let Some(publication) = self.directory.waiting.remove(&request) {
                        self.directory_answers(&publication, &outcome);
                    }
                }
            }
        }
    }

    fn store_directory(&mut self) {
        let directory = &mut self.directory;
        if directory.writing || directory.disk.pending.is_empty() {
            return;
        }
        directory.writing = true;
        let (boot, takes) = (directory.boot, self.dice.between(1, 25));
        self.after(takes, Happening::Directory(DirectoryHappening::Stored(boot)));
    }

    fn directory_stored(&mut self) {
        self.directory.writing = false;
        if self.directory.disk.full {
            if let Some((_, save)) = self.directory.disk.pending.pop_front() {
                self.directory_event(Event::NotSaved { save, message: "no space is left".to_owned() });
            }
        } else if let Some(save) = self.directory.disk.finish() {
            self.directory_event(Event::Saved(save));
        }
        self.store_directory();
    }

    /// It hears of blocks in a while.
    pub(crate) fn directory_follows(&mut self, after: u64) {
        let boot = self.directory.boot;
        self.after(after, Happening::Directory(DirectoryHappening::Hears(boot)));
    }

    /// Blocks since the last one that it was told; everything may be otherwise where that one was replaced.
    fn directory_hears(&mut self) {
        let Some(head) = self.chain.head().filter(|_| self.chain.answers && self.directory.core.is_some())
        else {
            return;
        };
        let history = &self.chain.history;
        let known = |told: &Digest| history.iter().rposition(|(block, _)| block.hash == *told);
        let moved = match self.directory.told.map(|told| known(&told)) {
            None | Some(None) => Some(Moved::Everything),
            Some(Some(position)) => {
                let events = history.iter().skip(position + 1).flat_map(|(_, events)| events);
                moved_by(events.map(|logged| &logged.event))
            }
        };
        self.directory.told = Some(head.hash);
        if let Some(moved) = moved {
            self.directory_event(Event::ChainMoved(moved));
        }
    }

    /// What the chain says of nodes now.
    pub(crate) fn words(&self, nodes: &[NodeId]) -> Vec<(NodeId, ChainWord)> {
        nodes.iter().map(|node| (*node, self.word(node))).collect()
    }

    /// What the chain says of a node now.
    pub(crate) fn word(&self, node: &NodeId) -> ChainWord {
        match self.number_of(*node) {
            Some(number) if self.chain.facts[&number].registered => ChainWord::Vouched(ProviderId(PROVIDER)),
            Some(_) => ChainWord::NotRegistered,
            None if !self.is_hostile(node) => ChainWord::NotRegistered,
            None if self.chain.staked => ChainWord::Vouched(ProviderId(HOSTILE)),
            None => ChainWord::NotEligible(ProviderId(HOSTILE)),
        }
    }

    fn chain_answers_directory(
        &mut self,
        question: QuestionId,
        nodes: &[NodeId],
        said: Option<Vec<(NodeId, ChainWord)>>,
    ) {
        if !self.chain.answers {
            let message = "no answer".to_owned();
            self.directory_event(Event::ChainSilent { question, message });
            return;
        }
        let said = said.unwrap_or_else(|| self.words(nodes));
        self.directory_event(Event::ChainAnswered { question, said });
    }

    /// A publication has arrived.
    fn directory_receives(&mut self, publication: Publication) {
        if self.directory.core.is_none() {
            return;
        }
        let now = self.directory_clocks();
        let Some(descriptor) = self.open(&publication.sealed, now.wall) else {
            return self.does_not_pass(&publication);
        };
        self.directory.requests += 1;
        let request = RequestId(self.directory.requests);
        self.directory.waiting.insert(request, publication.clone());
        let descriptor = Box::new(descriptor);
        if let Some(rejected) = self.directory_event(Event::Published { request, descriptor }) {
            self.directory.waiting.remove(&request);
            self.directory_answers(&publication, &Err(rejected));
        }
    }
}

fn row(change: Stored) -> ((), Vec<u8>, Option<Vec<u8>>) {
    match change {
        Stored::Put { node, provider, sealed } => {
            let mut value = provider.0.0.to_vec();
            value.extend(sealed);
            ((), node.0.0.to_vec(), Some(value))
        }
        Stored::Delete(node) => ((), node.0.0.to_vec(), None),
    }
}

/// Whose registration or stake events tell of.
fn moved_by<'a>(events: impl Iterator<Item = &'a ChainEvent>) -> Option<Moved> {
    let (mut nodes, mut providers) = (Vec::new(), Vec::new());
    for event in events {
        match event {
            ChainEvent::Registry(
                RegistryEvent::NodeAdded { node, provider, .. }
                | RegistryEvent::NodeRemoved { node, provider, .. },
            ) => {
                nodes.push(*node);
                providers.push(*provider);
            }
            ChainEvent::Registry(RegistryEvent::Staked { provider, .. }) => providers.push(*provider),
            ChainEvent::Registry(_)
            | ChainEvent::Pools(_)
            | ChainEvent::Validators(_)
            | ChainEvent::Slashing(_)
            | ChainEvent::Rewards(_) => {}
        }
    }
    let any = !nodes.is_empty() || !providers.is_empty();
    any.then_some(Moved::These { nodes, providers })
}
