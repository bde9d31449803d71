//! A validator's shell: one event after the other goes into the core; what it saves is durable before anything else of the
//! same step happens, and meanwhile nothing else happens at all.

mod auditing;
pub mod conduct;
pub mod following;
pub mod invariants;
pub mod outbox;
pub mod proofs;
pub mod storage;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use lode_gpu_proof::ProofClass;
use lode_protocol::envelope::Realm;
use lode_protocol::ids::{Address, NodeId, PoolId, ValidatorId};
use lode_protocol::time::Now;
use lode_protocol::units::Millis;
use lode_validator_core::{Core, Effect, Event, Matter, Secret, Settings};

use self::following::{Following, Question};
use self::invariants::Diary;
use self::outbox::Outbox;
use self::proofs::{Check, Link, Said};
use self::storage::Row;
use crate::disk::Disk;
use crate::happening::Happening;
use crate::world::{CHAIN, POOLS, World, key};

/// Time between two ticks.
const TICK: u64 = 1_000;
/// The contract that takes bonds of accusers; nobody is accused here.
const SLASHING: Address = Address([7; 20]);

/// Something of a validator.
#[derive(Clone, Debug)]
pub enum ValidatorHappening {
    /// It is started.
    Starts,
    /// Time is told.
    Tick,
    /// Its disk has finished what it waits for.
    Stored,
    /// It hears of the chain's blocks.
    HearsChain,
    /// It looks at the directory.
    LooksAtDirectory,
    /// The chain answers a question.
    Answered(Question),
    /// A node has reached it.
    Linked(usize, u64),
    /// Its connection with a node is gone.
    Unlinked(usize, u64),
    /// A node's answer arrives.
    Hears(usize, u64, Box<Said>),
    /// An opening was checked.
    Checked(Box<Check>),
    /// A pool's promise was looked at.
    Audited(Matter),
}

/// The program.
#[derive(Debug)]
pub struct Validator {
    /// Its address.
    pub id: ValidatorId,
    /// Its core, while it runs.
    pub core: Option<Core>,
    /// How often it has been started.
    pub boot: u64,
    started: u64,
    /// Its store, and what waits for it.
    pub disk: Disk<Row, Vec<Effect>>,
    writing: bool,
    /// What happened since, with its time.
    inbox: VecDeque<(Now, Event)>,
    /// Its transactions, which have a store of their own.
    pub(crate) outbox: Outbox,
    /// Milliseconds by which its wall clock is off.
    pub skew: i64,
    /// The last time its disk was filled.
    pub last_full: u64,
    pub(crate) following: Following,
    pub(crate) links: BTreeMap<usize, Link>,
    /// Nodes that its core was told are connected.
    pub(crate) connected: BTreeSet<usize>,
    pub(crate) connections: u64,
    /// What the invariants remember.
    pub(crate) diary: Diary,
}

impl Validator {
    /// Never started.
    pub fn new(number: usize) -> Self {
        Validator {
            id: ValidatorId(key(0x50, number).address()),
            core: None,
            boot: 0,
            started: 0,
            disk: Disk::default(),
            writing: false,
            inbox: VecDeque::new(),
            outbox: Outbox::default(),
            skew: 0,
            last_full: 0,
            following: Following::default(),
            links: BTreeMap::new(),
            connected: BTreeSet::new(),
            connections: 0,
            diary: Diary::default(),
        }
    }

    /// Whether nothing waits for its disk.
    pub(crate) fn is_at_rest(&self) -> bool {
        !self.writing && self.inbox.is_empty()
    }

    fn settings(&self) -> Settings {
        Settings {
            validator: self.id,
            realm: Realm { chain: CHAIN, deployment: POOLS, pool: PoolId(0) },
            slashing: SLASHING,
            class: ProofClass::TINY,
            validity_epochs: 0,
            retry: Millis(500),
            concurrent_runs: 4,
            concurrent_audits: 2,
            accusing: None,
        }
    }
}

impl World {
    /// One thing of a validator happens.
    pub(crate) fn validator_happens(&mut self, number: usize, boot: u64, what: ValidatorHappening) {
        if let ValidatorHappening::Starts = what {
            return self.start_validator(number);
        }
        if self.validators[number].boot != boot || self.validators[number].core.is_none() {
            return;
        }
        match what {
            ValidatorHappening::Starts => {}
            ValidatorHappening::Tick => {
                self.validator_event(number, Event::Tick);
                self.check_validator(number);
                self.later(TICK, number, ValidatorHappening::Tick);
            }
            ValidatorHappening::Stored => self.validator_stored(number),
            ValidatorHappening::HearsChain => self.validator_hears_chain(number),
            ValidatorHappening::LooksAtDirectory => self.validator_looks_at_directory(number),
            ValidatorHappening::Answered(question) => self.chain_answers_validator(number, question),
            ValidatorHappening::Linked(node, connection) => self.validator_linked(number, node, connection),
            ValidatorHappening::Unlinked(node, connection) => {
                self.validator_unlinked(number, node, connection);
            }
            ValidatorHappening::Hears(node, connection, said) => {
                self.validator_hears(number, node, connection, *said);
            }
            ValidatorHappening::Checked(check) => self.opening_checked(number, *check),
            ValidatorHappening::Audited(matter) => self.promise_audited(number, matter),
        }
    }

    /// Has something happen to a validator of this boot in a while.
    pub(crate) fn later(&mut self, wait: u64, number: usize, what: ValidatorHappening) {
        let boot = self.validators[number].boot;
        self.after(wait, Happening::Validator(number, boot, what));
    }

    fn start_validator(&mut self, number: usize) {
        if self.validators[number].core.is_some() {
            return;
        }
        let secret = Secret::new(self.dice.bytes());
        let validator = &mut self.validators[number];
        let loaded = match storage::load(&validator.disk.rows) {
            Ok(loaded) => loaded,
            Err(error) => return self.witness.breaks("what was stored can be read", error),
        };
        validator.core = Some(Core::new(validator.settings(), secret, loaded));
        validator.boot += 1;
        validator.started = self.now;
        validator.writing = false;
        validator.inbox.clear();
        validator.links.clear();
        validator.connected.clear();
        validator.following = Following::default();
        let boot = validator.boot;
        self.note(|| format!("validator {number} starts, boot {boot}"));
        self.validator_recovered(number);
        for what in [ValidatorHappening::Tick, ValidatorHappening::HearsChain] {
            let after = self.dice.between(1, 800);
            self.later(after, number, what);
        }
        let after = self.dice.between(100, 3_000);
        self.later(after, number, ValidatorHappening::LooksAtDirectory);
    }

    /// Its process dies.
    pub fn crash_validator(&mut self, number: usize, down: u64) {
        let validator = &mut self.validators[number];
        if validator.core.take().is_none() {
            return;
        }
        let pending = u64::try_from(validator.disk.pending.len()).unwrap_or(0);
        let kept = usize::try_from(self.dice.between(0, pending)).unwrap_or(0);
        self.validators[number].disk.crash(kept);
        self.after(down, Happening::Validator(number, 0, ValidatorHappening::Starts));
    }

    /// A validator's clocks.
    pub(crate) fn validator_clocks(&self, number: usize) -> Now {
        let validator = &self.validators[number];
        self.clocks(validator.started, validator.skew)
    }

    /// Something happens to the core, once what it saves is durable.
    pub(crate) fn validator_event(&mut self, number: usize, event: Event) {
        let now = self.validator_clocks(number);
        let inbox = &mut self.validators[number].inbox;
        // A tick that is missed is not made up for.
        if matches!(event, Event::Tick) && inbox.iter().any(|(_, waiting)| matches!(waiting, Event::Tick)) {
            return;
        }
        inbox.push_back((now, event));
        self.validator_goes_on(number);
    }

    fn validator_goes_on(&mut self, number: usize) {
        while !self.validators[number].writing
            && let Some((then, event)) = self.validators[number].inbox.pop_front()
        {
            // Silence is judged by the time of the tick: what came before it was told before it.
            let now = if matches!(event, Event::Tick) { then } else { self.validator_clocks(number) };
            let Some(core) = self.validators[number].core.as_mut() else { return };
            self.public_steps += 1;
            if let Ok(effects) = core.step(now, event) {
                self.validator_effects(number, effects);
            }
        }
    }

    fn validator_effects(&mut self, number: usize, effects: Vec<Effect>) {
        let (mut writes, mut rest) = (Vec::new(), Vec::new());
        for effect in effects {
            match effect {
                Effect::Save(change) => {
                    self.validator_saves(number, &change);
                    writes.extend(storage::writes(change));
                }
                other => rest.push(other),
            }
        }
        if writes.is_empty() {
            self.validator_acts(number, rest);
        } else {
            let validator = &mut self.validators[number];
            validator.disk.pending.push_back((writes, rest));
            validator.writing = true;
            self.store_validator(number);
        }
    }

    /// Has the disk work, if there is something to do.
    pub fn store_validator(&mut self, number: usize) {
        let validator = &self.validators[number];
        if validator.core.is_some() && !validator.disk.pending.is_empty() && !validator.disk.full {
            let takes = self.dice.between(1, 25);
            self.later(takes, number, ValidatorHappening::Stored);
        }
    }

    fn validator_stored(&mut self, number: usize) {
        let Some(rest) = self.validators[number].disk.finish() else { return };
        self.validators[number].writing = false;
        self.validator_acts(number, rest);
        self.validator_goes_on(number);
    }

    /// Does what the core wants; what that makes happen at once goes before everything else.
    fn validator_acts(&mut self, number: usize, effects: Vec<Effect>) {
        let mut more = Vec::new();
        for effect in effects {
            more.extend(self.validator_acts_once(number, effect));
        }
        let now = self.validator_clocks(number);
        for event in more.into_iter().rev() {
            self.validators[number].inbox.push_front((now, event));
        }
    }

    fn validator_acts_once(&mut self, number: usize, effect: Effect) -> Option<Event> {
        match effect {
            Effect::Save(_) | Effect::Raise(_) | Effect::Clear(..) => None,
            Effect::Send { node, challenge } => self.challenge(number, node, challenge),
            Effect::Verify(job) => {
                self.check_opening(number, &job);
                None
            }
            Effect::Submit(intent) => self.validator_submits(number, intent),
            Effect::Acknowledge(id) => {
                self.validators[number].outbox.acknowledge(id);
                None
            }
            Effect::ReadFacts(nodes) => self.ask_chain(number, Question::Facts(nodes)),
            Effect::ReadStanding(epoch) => self.ask_chain(number, Question::Standing(epoch)),
            Effect::ReadRoot(epoch) => self.ask_chain(number, Question::Root(epoch)),
            Effect::ReadBeacon(epoch) => self.ask_chain(number, Question::Beacon(epoch)),
            Effect::ReadDrawn(epoch, nodes) => self.ask_chain(number, Question::Drawn(epoch, nodes)),
            Effect::Audit(matter, _) => {
                let after = self.dice.between(100, 2_500);
                self.later(after, number, ValidatorHappening::Audited(matter));
                None
            }
            Effect::Report(report) => {
                self.validator_reports(number, &report);
                None
            }
            Effect::Judged { node, gpus } => {
                self.node_judged(number, node, &gpus);
                None
            }
            accusing @ (Effect::ReadAccusation(_)
            | Effect::ReadPrice { .. }
            | Effect::Examine(_)
            | Effect::ShowAnswer { .. }) => {
                let seen = format!("validator {number}: {accusing:?}");
                self.witness.breaks("nobody accuses in this world", seen);
                None
            }
        }
    }

    /// The number of a node that is known to the world; strangers have none.
    pub(crate) fn host(&self, node: NodeId) -> Option<usize> {
        self.number_of(node)
    }
}
