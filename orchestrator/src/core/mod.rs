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
//! | who is believed alive | [`lease`] |
//! | who becomes a member, who goes | [`eligibility`], [`admission`], [`consent`], [`chain`], [`departure`] |
//! | what a user wants | [`task`] |
//! | what a worker says, and what follows | [`report`], [`outcome`] |
//! | where something runs | [`placement`] |
//! | what work is worth, and how it is paid | [`settlement`] |
//! | what a worker is told | [`desired`] |
//! | what is durable | [`scratch`], [`record`], [`recover`] |
//! | what people see | [`view`], [`query`] |

mod admission;
mod assignment;
mod beat;
mod chain;
pub mod config;
mod conflict;
mod consent;
mod departure;
mod desired;
pub mod effect;
mod eligibility;
pub mod error;
pub mod event;
mod hardware;
mod lease;
mod node;
mod outcome;
mod placement;
pub mod query;
mod record;
pub mod recover;
mod report;
mod scratch;
mod session;
pub mod settlement;
mod task;
mod timers;
pub mod view;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use lode_protocol::ids::{AssignmentId, LeaderEpoch, NodeId, TaskId};
use lode_protocol::units::{Millis, Timestamp};

use assignment::Assignment;
use config::Config;
use effect::Effects;
use error::Rejected;
use event::{ChainPool, ChainView, Event, Now};
use node::Node;
use placement::{Index, Queue};
use recover::SkippedRow;
use scratch::Scratch;
use settlement::Ledger;
use task::Task;
use timers::{Timer, Timers};

/// The state of one pool.
#[derive(Clone, Debug)]
pub struct Core {
    config: Config,
    epoch: LeaderEpoch,
    now: Now,
    /// No lease runs out because of silence before this time: the orchestrator itself was away.
    lease_floor: Millis,
    chain_view: ChainView,
    chain_pool: Option<ChainPool>,
    nodes: BTreeMap<NodeId, Box<Node>>,
    /// Unregistered nodes, which are bounded.
    strangers: u32,
    /// Nodes whose lease runs: how often they beat depends on it.
    heard_nodes: u32,
    tasks: BTreeMap<TaskId, Task>,
    idempotency: BTreeMap<String, TaskId>,
    assignments: BTreeMap<AssignmentId, Assignment>,
    live_assignments: u32,
    timers: Timers,
    index: Index,
    queue: Queue,
    ledger: Ledger,
    skipped: Vec<SkippedRow>,
    scratch: Scratch,
}

impl Core {
    /// A core without any state. The first event must be [`Event::Started`].
    pub fn new(config: Config) -> Self {
        Core {
            config,
            epoch: LeaderEpoch(0),
            now: Now { wall: Timestamp(0), monotonic: Millis(0) },
            lease_floor: Millis(0),
            chain_view: ChainView::Stale,
            chain_pool: None,
            nodes: BTreeMap::new(),
            strangers: 0,
            heard_nodes: 0,
            tasks: BTreeMap::new(),
            idempotency: BTreeMap::new(),
            assignments: BTreeMap::new(),
            live_assignments: 0,
            timers: Timers::default(),
            index: Index::default(),
            queue: Queue::default(),
            ledger: Ledger::default(),
            skipped: Vec::new(),
            scratch: Scratch::default(),
        }
    }

    /// When [`Event::Tick`] is wanted next, on the monotonic clock.
    pub fn next_deadline(&self) -> Option<Millis> {
        self.timers.next_due()
    }

    /// Takes one event.
    ///
    /// # Errors
    /// The event is refused; nothing has changed and nothing is to be done besides telling whoever sent it.
    pub fn step(&mut self, now: Now, event: Event) -> Result<Effects, Rejected> {
        self.advance_clock(now);
        self.apply(event)?;
        Ok(self.finish())
    }

    fn apply(&mut self, event: Event) -> Result<(), Rejected> {
        match event {
            Event::Started => self.start_term(),
            Event::Tick => self.tick(),
            Event::HelloReceived { node, public_key, hello, descriptor, link, session } => {
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
        while let Some((due, timer)) = self.timers.pop_due(self.now.monotonic) {
            match timer {
                Timer::Lease(node) => self.lease_due(&node, due),
                Timer::Admission(node) => self.admission_timer_due(&node, due),
                Timer::Conflict(node) => self.conflict_due(&node),
                Timer::Ghosts(node) => self.ghosts_due(&node, due),
                Timer::Leave(node) => self.leave_due(&node),
                Timer::Retry(replica) => self.retry_due(&replica),
                Timer::Start(assignment) => self.start_due(&assignment),
                Timer::Stop(assignment) => self.stop_due(&assignment),
                Timer::Checkpoint(node) => self.checkpoint_due(&node, due),
                Timer::Close => self.close_some(),
            }
        }
    }
}
