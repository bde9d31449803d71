//! The orchestrator's heart: who belongs to the pool, what runs where, and what everybody is told.
//!
//! Pure and synchronous: no clock, no randomness, no I/O. [`Core::step`] takes an [`event::Event`] with both clocks'
//! times and returns [`effect::Effects`]; on `Err` nothing has changed. The driver commits the changes, then releases
//! the actions.
//!
//! Where to change what:
//!
//! | question | file |
//! |---|---|
//! | who may speak, in which session | [`session`], [`beat`], [`conflict`] |
//! | what strangers cost, and how much one node may say | [`strangers`], [`pace`] |
//! | who is believed alive | [`lease`] |
//! | who becomes a member, who goes | [`eligibility`], [`admission`], [`consent`], [`chain`], [`departure`] |
//! | what a user wants | [`task`] |
//! | what a worker says, and what follows | [`report`], [`outcome`] |
//! | whose fault it is what fails again | [`evidence`] |
//! | where something runs | [`placement`] |
//! | what work is worth, and how it is paid | [`settlement`] |
//! | what a worker is told | [`desired`] |
//! | what one step may do at most | [`work`] |
//! | what is durable | [`state`], [`scratch`], [`record`], [`rows`], [`recover`], [`term`] |
//! | what people see | [`view`], [`query`] |

#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))] // pure: see clippy.toml
#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr, clippy::dbg_macro))] // nor does it print

mod admission;
mod beat;
mod chain;
mod chain_command;
mod claims;
pub mod config;
mod conflict;
mod consent;
mod departure;
mod desired;
pub mod effect;
mod eligibility;
pub mod error;
pub mod event;
mod evidence;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod lease;
mod lost;
mod outcome;
mod pace;
mod placement;
pub mod query;
mod record;
pub mod recover;
mod report;
mod rows;
mod scratch;
mod session;
pub mod settlement;
mod skipped;
mod state;
mod strangers;
mod task;
mod term;
mod timers;
pub mod view;
mod work;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use lode_protocol::ids::{AssignmentId, NodeId, TaskId, Term};
use lode_protocol::units::{Millis, Timestamp};

use claims::Claims;
use config::Config;
use effect::Effects;
use error::Rejected;
use event::{ChainPool, ChainView, Event, Now};
use lost::Lost;
use placement::{Index, Queue};
use recover::SkippedRow;
use scratch::Scratch;
use settlement::Ledger;
use state::assignment::{self, Assignment};
use state::faults;
use state::hardware;
use state::node::{self, Node};
use state::strangers::Strangers;
use state::task::Tasks;
use state::tracked::Tracked;
use timers::{Timer, Timers};
use work::Backlog;

/// The state of one pool.
#[derive(Clone, Debug)]
pub struct Core {
    config: Config,
    epoch: Term,
    now: Now,
    /// No lease runs out because of silence before this time: the orchestrator itself was away.
    lease_floor: Millis,
    chain_view: ChainView,
    chain_pool: Option<ChainPool>,
    /// Until then nodes may know of later placements than the store.
    recovering_until: Millis,
    nodes: Tracked<NodeId, Box<Node>>,
    strangers: Strangers,
    /// Nodes whose lease runs: how often they beat depends on it.
    heard_nodes: u32,
    tasks: Tasks,
    idempotency: BTreeMap<String, TaskId>,
    assignments: Tracked<AssignmentId, Assignment>,
    live_assignments: u32,
    timers: Timers,
    index: Index,
    queue: Queue,
    ledger: Ledger,
    skipped: Vec<SkippedRow>,
    lost: Lost,
    claims: Claims,
    backlog: Backlog,
    scratch: Scratch,
}

impl Core {
    /// A core without any state. The first event must be [`Event::Started`].
    pub fn new(config: Config) -> Self {
        Core {
            config,
            epoch: Term(0),
            now: Now { wall: Timestamp(0), monotonic: Millis(0) },
            lease_floor: Millis(0),
            chain_view: ChainView::Stale,
            chain_pool: None,
            recovering_until: Millis(0),
            nodes: Tracked::default(),
            strangers: Strangers::default(),
            heard_nodes: 0,
            tasks: Tasks::default(),
            idempotency: BTreeMap::new(),
            assignments: Tracked::default(),
            live_assignments: 0,
            timers: Timers::default(),
            index: Index::default(),
            queue: Queue::default(),
            ledger: Ledger::default(),
            skipped: Vec::new(),
            lost: Lost::default(),
            claims: Claims::default(),
            backlog: Backlog::default(),
            scratch: Scratch::default(),
        }
    }

    /// When [`Event::Tick`] is wanted next, on the monotonic clock: at once while something had no room in a step.
    pub fn next_deadline(&self) -> Option<Millis> {
        if self.is_behind() { Some(self.now.monotonic) } else { self.timers.next_due() }
    }

    /// Takes one event.
    ///
    /// # Errors
    /// The event is refused; nothing has changed and nothing is to be done besides telling whoever sent it.
    pub fn step(&mut self, now: Now, event: Event) -> Result<Effects, Rejected> {
        let before = (self.now, self.lease_floor);
        let ticks = matches!(event, Event::Tick);
        self.advance_clock(now);
        if let Err(rejected) = self.apply(event) {
            // Every event is judged before it changes anything; so the clock is all there is to put back.
            (self.now, self.lease_floor) = before;
            return Err(rejected);
        }
        Ok(self.finish(ticks))
    }

    fn apply(&mut self, event: Event) -> Result<(), Rejected> {
        match event {
            Event::Started => self.start_term(),
            Event::Tick => self.tick(),
            Event::HelloReceived { node, link, origin, .. } if self.is_stranger(&node) => {
                self.greet_stranger(node, link, origin);
            }
            Event::HelloReceived { node, public_key, hello, descriptor, link, session, origin: _ } => {
                return self.hello(node, public_key, &hello, &descriptor, link, session);
            }
            Event::BeatReceived { node, digest, heartbeat, descriptor, link } => {
                return self.beat(node, digest, heartbeat, descriptor.as_ref(), link);
            }
            Event::LeaveReceived { node, leave, link } => return self.leave(&node, leave, link),
            Event::ConnectionClosed { node, connection } => self.connection_closed(&node, connection),
            Event::DescriptorLearned { descriptor } => self.describe(&descriptor.node, &descriptor),
            Event::ChainViewed(view) => self.chain_viewed(view),
            Event::ChainPool(pool) => self.chain_pool_seen(pool),
            Event::NodeLookedUp { node, registered } => self.looked_up(node, registered),
            Event::RequirementsChanged(hash) => self.adopt_requirements(hash),
            Event::ChainNode { node, registration } => self.chain_node(&node, registration),
            Event::ChainMembership { node, membership } => self.chain_membership(&node, membership),
            Event::ChainProven { node, proof } => self.chain_proven(&node, proof),
            Event::JoinFailed { node, counter, code, message } => {
                self.join_failed(&node, counter, &code, &message)
            }
            Event::ChainEpoch(epoch) => self.chain_epoch_seen(epoch),
            Event::ChainBudget(budget) => self.chain_budget_seen(budget),
            Event::ChainRoot { epoch, fate } => self.chain_root_seen(epoch, fate),
            Event::RootFailed { epoch, message } => self.root_failed(epoch, &message),
            Event::TaskSubmitted { id, spec, order, idempotency_key, image } => {
                return self.submit(id, spec, order, idempotency_key, image);
            }
            Event::TaskStop(task) => return self.stop_task(&task),
            Event::TaskStart(task) => return self.start_task(&task),
            Event::TaskDelete(task) => return self.delete_task(&task),
            Event::NodeDrain { node, batch } => return self.drain(&node, batch),
            Event::NodeUndrain(node) => return self.undrain(&node),
            Event::NodeEject { node, message } => return self.eject(&node, message),
            Event::NodeReadmit(node) => return self.readmit(&node),
        }
        Ok(())
    }

    fn tick(&mut self) {
        self.carry_on();
        // What has no room stays due, so that the next tick comes at once.
        while self.has_room()
            && let Some((due, timer)) = self.timers.pop_due(self.now.monotonic)
        {
            match timer {
                Timer::Lease(node) => self.lease_due(&node, due),
                Timer::Admission(node) => self.admission_timer_due(&node, due),
                Timer::Conflict(node) => self.conflict_due(&node),
                Timer::Orphans(node) => self.orphans_due(&node, due),
                Timer::Leave(node) => self.leave_due(&node),
                Timer::Retry(replica) => self.retry_due(&replica),
                Timer::Start(assignment) => self.start_due(&assignment),
                Timer::Stop(assignment) => self.stop_due(&assignment),
                Timer::Trial(node) => self.trial_due(&node),
                Timer::Checkpoint(node) => self.checkpoint_due(&node, due),
                Timer::Close => self.close_some(),
            }
        }
    }
}
