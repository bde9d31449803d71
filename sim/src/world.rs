//! The world: a clock, a queue of what happens when, and whoever it happens to. Nothing here decides anything for Lode:
//! the cores do; this moves what they say from one to the other, late, twice or not at all.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use lode_protocol::hash::Digest;
use lode_protocol::ids::{Address, ChainId, PoolId};
use lode_protocol::join::pools_domain;
use lode_protocol::keys::SigningKey;
use lode_protocol::settlement::rewards_domain;
use lode_protocol::time::Now;
use lode_protocol::units::{Millis, Timestamp};

use crate::chain::Chain;
use crate::dice::Dice;
use crate::directory::publishing::Signed;
use crate::directory::{Directory, DirectoryHappening};
use crate::happening::{Happening, Weather};
use crate::host::Node;
use crate::invariants::{Broken, Witness};
use crate::orchestrator::Orchestrator;
use crate::plan::{Deed, Plan, Scale, Who};
use crate::validator::conduct::Conduct;
use crate::validator::{Validator, ValidatorHappening};
use crate::validator_set::{TIMING, ValidatorSet};

/// The chain's id, and the addresses of its contracts.
pub const CHAIN: ChainId = ChainId(31_337);
/// See [`CHAIN`].
pub const POOLS: Address = Address([9; 20]);
/// See [`CHAIN`].
pub const REWARDS: Address = Address([8; 20]);
/// The pool.
pub const POOL: PoolId = PoolId(1);
/// Wall time at the start.
const EPOCH: u64 = 1_800_000_000_000;
/// Time between blocks.
const BLOCK: u64 = 2_000;

/// Everything.
#[derive(Debug)]
pub struct World {
    /// True time since the start.
    pub now: u64,
    /// Events that the cores of orchestrator and workers took: these decide how long a run is.
    pub steps: u64,
    /// Events that those of directory and validators took.
    pub public_steps: u64,
    /// What comes.
    queue: BTreeMap<(u64, u64), Happening>,
    order: u64,
    /// All chance of the run.
    pub dice: Dice,
    /// How big it is.
    pub scale: Scale,
    /// What was planned.
    pub plan: Plan,
    /// The pool's key.
    pub pool_key: SigningKey,
    /// The pool's program.
    pub orchestrator: Orchestrator,
    /// The hosts.
    pub nodes: Vec<Node>,
    /// The chain.
    pub chain: Chain,
    /// How messages travel.
    pub weather: Weather,
    pub(crate) troubles: u64,
    pub(crate) last_weather: u64,
    pub(crate) last_rpc: u64,
    /// The public directory.
    pub directory: Directory,
    /// Every descriptor that was signed.
    pub(crate) signed: Signed,
    /// Descriptors that strangers have signed.
    pub(crate) strangers: u64,
    /// The validators.
    pub validators: Vec<Validator>,
    /// Roots that the orchestrator has posted.
    pub(crate) honest_roots: BTreeSet<Digest>,
    /// What is checked after every step.
    pub witness: Witness,
    /// What happened, for people; empty unless it is wanted.
    pub trace: VecDeque<String>,
    /// Whether to write it.
    pub tracing: bool,
}

/// Lines of a trace that are kept.
const TRACE: usize = 4_000;

impl World {
    /// A world in which nothing has happened.
    pub fn new(plan: Plan, scale: Scale, tracing: bool) -> Self {
        let pool_key = key(0x70, 0);
        let nodes: Vec<Node> = (0..plan.nodes).map(|number| Node::new(number, plan.seed)).collect();
        let validators: Vec<Validator> = (0..plan.validators).map(Validator::new).collect();
        let mut set = ValidatorSet::new(validators.iter().map(|validator| validator.id).collect());
        let mut dice = Dice::new(plan.seed, 3);
        for node in &nodes {
            let gpus = u16::try_from(node.specs.gpus.len()).unwrap_or(u16::MAX);
            let expiry = TIMING.epoch_at(Timestamp(EPOCH)).plus(dice.between(4, 14));
            set.was_proven(node.id, gpus, expiry);
        }
        let mut world = World {
            now: 0,
            steps: 0,
            public_steps: 0,
            queue: BTreeMap::new(),
            order: 0,
            dice: Dice::new(plan.seed, 1),
            scale,
            chain: Chain::new(nodes.iter().map(|node| node.id), set),
            plan,
            orchestrator: Orchestrator::new(),
            pool_key,
            nodes,
            weather: Weather::default(),
            troubles: 0,
            last_weather: 0,
            last_rpc: 0,
            directory: Directory::default(),
            signed: Signed::default(),
            strangers: 0,
            validators,
            honest_roots: BTreeSet::new(),
            witness: Witness::default(),
            trace: VecDeque::new(),
            tracing,
        };
        world.at(0, Happening::OrchestratorStarts);
        for node in 0..world.nodes.len() {
            let after = world.dice.between(0, 2_000);
            world.at(after, Happening::WorkerStarts(node));
        }
        world.at(0, Happening::Directory(DirectoryHappening::Starts));
        for number in 0..world.validators.len() {
            let after = world.dice.between(0, 2_000);
            world.at(after, Happening::Validator(number, 0, ValidatorHappening::Starts));
        }
        world.at(BLOCK, Happening::Block);
        for number in 0..world.plan.deeds.len() {
            let at = world.plan.deeds[number].0;
            world.at(at, Happening::Deed(number));
        }
        world
    }

    /// EIP-712 domain of the pools.
    pub fn pools_domain() -> lode_protocol::eip712::Domain {
        pools_domain(CHAIN, POOLS)
    }

    /// EIP-712 domain of the rewards.
    pub fn rewards_domain() -> lode_protocol::eip712::Domain {
        rewards_domain(CHAIN, REWARDS)
    }

    /// Has something happen at a time.
    pub fn at(&mut self, time: u64, what: Happening) {
        self.order += 1;
        self.queue.insert((time.max(self.now), self.order), what);
    }

    /// Has something happen in a while.
    pub fn after(&mut self, wait: u64, what: Happening) {
        self.at(self.now + wait, what);
    }

    /// Both clocks of whoever started then, and whose wall clock is off by so much.
    pub fn clocks(&self, started: u64, skew: i64) -> Now {
        let wall = (EPOCH + self.now).saturating_add_signed(skew);
        Now { wall: Timestamp(wall), monotonic: Millis(self.now - started + 1_000) }
    }

    /// What a block that is mined now says of the time: whole seconds.
    pub(crate) fn block_time(&self) -> Timestamp {
        Timestamp((EPOCH + self.now) / 1_000 * 1_000)
    }

    /// Writes a line of the trace.
    pub fn note(&mut self, line: impl FnOnce() -> String) {
        if self.tracing {
            if self.trace.len() == TRACE {
                self.trace.pop_front();
            }
            self.trace.push_back(format!("{:>8.3}s  {}", seconds(self.now), line()));
        }
    }

    /// Whether things still go wrong.
    pub fn chaos(&self) -> bool {
        self.now < self.scale.chaos
    }

    /// Runs to the end.
    ///
    /// # Errors
    /// What must hold does not.
    pub fn run(&mut self) -> Result<(), Broken> {
        let end = self.scale.chaos + self.scale.calm;
        let mut calm = false;
        while let Some(((time, _), what)) = self.queue.pop_first() {
            if time > end {
                break;
            }
            self.now = time;
            if !calm && !self.chaos() {
                calm = true;
                self.settle_down();
            }
            self.happen(what);
            if let Some(broken) = self.witness.broken.take() {
                return Err(broken);
            }
            // Longer runs than asked for are cut where chaos is; calm always has its time.
            if self.chaos() && self.steps >= self.scale.steps * 2 / 3 {
                self.scale.chaos = self.now;
                return self.run_calm();
            }
        }
        self.everything_has_settled()
    }

    fn run_calm(&mut self) -> Result<(), Broken> {
        self.run()
    }

    fn settle_down(&mut self) {
        self.note(|| "-- from now on nothing goes wrong".to_owned());
        self.weather = Weather::default();
        for node in &mut self.nodes {
            node.no_way_up = false;
            node.no_way_down = false;
            node.engine.silent = false;
            node.disk.full = false;
            node.conduct = Conduct::Honest;
            node.lies = 0;
        }
        self.orchestrator.disk.full = false;
        self.empty_disk(Who::Directory);
        for number in 0..self.validators.len() {
            self.empty_disk(Who::Validator(number));
        }
        self.chain.answers = true;
        self.watchers_start_over();
        for node in 0..self.nodes.len() {
            if !self.chain.facts[&node].registered {
                self.chain.submit(crate::chain::Transaction::Register(node, true));
            }
            self.nodes[node].impaired(self.now);
            self.store_worker(node);
        }
        self.store_orchestrator();
        self.after(10, Happening::OrchestratorReads(self.orchestrator.boot));
    }

    fn happen(&mut self, what: Happening) {
        match what {
            Happening::Deed(number) => {
                let deed = self.plan.deeds[number].1.clone();
                if self.chaos() || is_wish(&deed) {
                    self.note(|| format!("!! {deed}"));
                    self.do_deed(deed);
                }
            }
            Happening::OrchestratorStarts => self.start_orchestrator(),
            Happening::OrchestratorTick(boot) => self.tick_orchestrator(boot),
            Happening::OrchestratorStored(boot) => self.orchestrator_stored(boot),
            Happening::OrchestratorReads(boot) => self.read_chain(boot),
            Happening::Up(up) => self.orchestrator_hears(*up),
            Happening::Hangup(node, connection) => self.orchestrator_hangup(node, connection),
            Happening::WorkerStarts(node) => self.start_worker(node),
            Happening::WorkerTick(node, boot) => self.tick_worker(node, boot),
            Happening::WorkerStored(node, boot) => self.worker_stored(node, boot),
            Happening::WorkerReads(node, boot) => self.worker_reads_chain(node, boot),
            Happening::Connect(node, boot) => self.connect(node, boot),
            Happening::Disconnected(node, connection) => self.worker_disconnected(node, connection),
            Happening::Down(node, connection, heard) => self.worker_hears(node, connection, *heard),
            Happening::Engine(node, boot, command) => self.engine_does(node, boot, *command),
            Happening::EngineSays(node, boot, event) => self.engine_says(node, boot, *event),
            Happening::Ends(node, container) => self.program_ends(node, &container),
            Happening::Stopped(node, container) => self.program_stopped(node, &container),
            Happening::Block => {
                self.mine();
                self.after(BLOCK, Happening::Block);
            }
            Happening::Directory(what) => self.directory_happens(what),
            Happening::Validator(number, boot, what) => self.validator_happens(number, boot, what),
            Happening::Publish(node, boot) => self.publish(node, boot),
            Happening::Answered(node, boot, number, taken) => {
                self.publication_answered(node, boot, number, taken);
            }
            Happening::Dial(node, boot) => self.dial(node, boot),
            Happening::Challenged(validator, node, connection, what) => {
                self.node_challenged(validator, node, connection, *what);
            }
            Happening::Says(node, boot, validator, connection, said) => {
                self.node_speaks(node, boot, validator, connection, said);
            }
            Happening::Over(trouble) => self.trouble_over(trouble),
        }
    }

    /// How long a message takes, once for each time that it arrives; empty if it is lost.
    pub fn journeys(&mut self) -> Vec<u64> {
        let weather = self.weather;
        if self.dice.chance(weather.loss) {
            return Vec::new();
        }
        let times = if self.dice.chance(weather.doubled) { 2 } else { 1 };
        (0..times).map(|_| self.dice.between(1, 20 + weather.delay)).collect()
    }

    fn everything_has_settled(&mut self) -> Result<(), Broken> {
        let wrong = self.unsettled();
        match wrong {
            None => Ok(()),
            Some(broken) => Err(broken),
        }
    }

    /// The set of nodes that are up and can talk.
    pub fn healthy(&self) -> BTreeSet<usize> {
        let good_weather = self.weather.loss == 0 && self.weather.delay < 500;
        (0..self.nodes.len())
            .filter(|_| good_weather)
            .filter(|node| {
                let known = &self.nodes[*node];
                known.core.is_some()
                    && !known.no_way_up
                    && !known.no_way_down
                    && !known.engine.silent
                    && !known.disk.full
            })
            .collect()
    }
}

/// What people want goes on in calm weather too.
fn is_wish(deed: &Deed) -> bool {
    matches!(deed, Deed::Submit { .. })
}

#[expect(clippy::cast_precision_loss, reason = "shown to people")]
fn seconds(millis: u64) -> f64 {
    millis as f64 / 1_000.0
}

/// The key of somebody.
///
/// # Panics
/// Never: no byte pattern made here is outside of the curve's order.
pub fn key(kind: u8, number: usize) -> SigningKey {
    let mut bytes = [kind; 32];
    bytes[31] = u8::try_from(number % 250).unwrap_or(0) + 1;
    SigningKey::from_bytes(&bytes).expect("below the order of the curve")
}
