//! The worker's heart: whether this node belongs to its pool, which containers should exist and which do, what is said
//! to the orchestrator, what was earned.
//!
//! Pure and synchronous: no clock, no randomness, no I/O. [`Worker::step`] takes an [`event::Event`] with both clocks'
//! times and returns [`effect::Effects`]; on `Err` nothing has changed. The shell makes the changes durable, then lets
//! the actions out.
//!
//! Where to change what:
//!
//! | question | file |
//! |---|---|
//! | which containers should exist, which do | [`assignment`], [`assignments`], [`checks`], [`ports`], [`restart`] |
//! | whose a container's end is, and in which words | `assignments::verdict`, [`exit_code`] |
//! | when the engine is asked what exists, what it says | [`scans`], `engine` |
//! | which images go when there is little room | [`images`] |
//! | the conversation: greeting, beats, repetition | [`session`], [`conversation`] |
//! | joining, leaving, the end of a membership | [`membership`], [`invite`], [`chain`] |
//! | what was done by this node's own count, and what is signed of it | [`receipts`], [`earnings`] |
//! | what is durable | [`journal`] |
//! | what people see | [`view`], [`notices`] |

#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))] // pure: see clippy.toml
#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr, clippy::dbg_macro))] // nor does it print

mod assignment;
mod assignments;
pub mod chain;
mod checks;
pub mod config;
mod conversation;
mod earnings;
pub mod effect;
mod engine;
pub mod event;
mod exit_code;
pub mod images;
mod instruction;
mod invite;
pub mod journal;
mod membership;
mod notices;
mod ports;
pub mod receipts;
pub mod rejected;
mod restart;
mod scans;
pub mod session;
mod ticket;
mod time;
pub mod view;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use lode_chain_types::MembershipState;
use lode_protocol::finding::Finding;
use lode_protocol::hardware::{GpuState, GpuStatus};
use lode_protocol::ids::{Address, BootCounter};
use lode_protocol::units::{Millis, Timestamp};

use assignments::Assignments;
use chain::Chain;
use config::Config;
use conversation::Described;
use earnings::Unsaid;
use effect::{Action, Command, Effects, Ticket};
use event::{Event, GpuFault, Now, Statement};
use images::Images;
use journal::{Change, Memory};
use membership::Belonging;
pub use membership::DEPARTURE_PATIENCE;
use notices::Notices;
use receipts::ReceiptBook;
use rejected::Rejected;
use scans::Scans;
use session::Session;

/// What a step has gathered so far.
#[derive(Clone, Debug, Default)]
struct Out {
    changes: Vec<Change>,
    at_once: Vec<Action>,
    commands: Vec<Command>,
    actions: Vec<Action>,
}

/// The GPUs as they were seen last.
#[derive(Clone, Debug, Default)]
struct Gpus {
    statuses: Vec<GpuStatus>,
    looked: bool,
}

/// The state of one worker.
#[derive(Clone, Debug)]
pub struct Worker {
    config: Config,
    started: bool,
    boot: BootCounter,
    assignments: Assignments,
    session: Session,
    described: Described,
    receipts: ReceiptBook,
    /// Answers to receipts that are not durable yet.
    unsaid: Vec<Unsaid>,
    membership: Belonging,
    chain: Chain,
    /// The orchestrator that is to be connected to, and where.
    following: Option<(Address, String)>,
    scans: Scans,
    gpus: Gpus,
    notices: Notices,
    answered_at: Option<Timestamp>,
    /// The latest step that changed something, and the latest one whose changes are durable.
    issued: Ticket,
    durable: Ticket,
    /// Nothing is said before this step is durable.
    speaks_from: Ticket,
    /// There are reports that no beat has carried, because they were not durable yet.
    owes_reports: bool,
    out: Out,
}

impl Worker {
    /// A node that remembers nothing. The first event must be [`Event::Started`].
    pub fn new(config: Config) -> Self {
        Self::recover(config, Memory::default())
    }

    /// From what was remembered; this is one more boot. The first event must be [`Event::Started`].
    pub fn recover(config: Config, memory: Memory) -> Self {
        let boot = memory.boot.next();
        let Memory {
            term,
            generation,
            entries,
            chain,
            leave,
            records,
            receipts,
            images,
            boot: _,
            unreadable: _,
        } = memory;
        let images = Images::recover(images, config.images);
        Self {
            started: false,
            boot,
            assignments: Assignments::recover(entries, generation, config.ports.clone(), images),
            session: Session::new(boot, config.seed, term),
            described: Described::default(),
            receipts: ReceiptBook::recover(records, receipts),
            unsaid: Vec::new(),
            membership: Belonging::recover(chain.as_ref(), leave),
            chain: Chain { facts: chain, fresh: false },
            following: None,
            scans: Scans::new(config.resync_interval),
            gpus: Gpus::default(),
            notices: Notices::default(),
            answered_at: None,
            issued: Ticket(0),
            durable: Ticket(0),
            speaks_from: Ticket(0),
            owes_reports: false,
            out: Out::default(),
            config,
        }
    }

    /// When [`Event::Tick`] is wanted next, on the monotonic clock.
    pub fn next_deadline(&self) -> Option<Millis> {
        let speech = self.session.next_deadline().filter(|_| self.may_speak());
        let membership = self.membership.next_deadline(self.chain.fresh, self.is_durable());
        let all = [speech, membership, self.assignments.next_deadline(), self.scans.next_deadline()];
        all.into_iter().flatten().min()
    }

    /// Whether everything is durable.
    fn is_durable(&self) -> bool {
        self.durable == self.issued
    }

    /// Takes one event.
    ///
    /// # Errors
    /// The event is refused; nothing has changed.
    pub fn step(&mut self, now: Now, event: Event) -> Result<Effects, Rejected> {
        if !self.started && event != Event::Started {
            return Err(Rejected::NotStarted);
        }
        self.apply(now, event)?;
        Ok(self.finish(now))
    }

    fn apply(&mut self, now: Now, event: Event) -> Result<(), Rejected> {
        match event {
            Event::Started => self.start(now),
            Event::Tick => {}
            Event::Stored(ticket) => self.stored(ticket),
            Event::ChainSeen(facts) => self.chain_seen(now, facts),
            Event::ChainSilent => self.chain.fresh = false,
            Event::Described(description) => {
                self.described.current = Some(description);
                self.follow();
                self.session.news();
            }
            Event::Connected => {
                self.notices.clear("orchestrator/unreachable");
                self.session.connected(now);
            }
            Event::Disconnected => self.session.disconnected(),
            Event::ConnectFailed { endpoint, detail } => {
                let words =
                    format!("the orchestrator cannot be reached at {endpoint}; tasks go on: {detail}");
                self.notices.raise(
                    Finding::warning("orchestrator/unreachable", words)
                        .remedy("check this host's way to the network; it is tried again by itself"),
                );
            }
            Event::Heard(heard) => self.heard(now, heard),
            Event::Sent(sent) => self.session.sent(sent),
            Event::Signed(Statement::Consent(invite), signature) => self.consented(invite, signature),
            Event::Signed(Statement::Leave(leave), signature) => self.leave_signed(now, leave, signature),
            Event::Signed(Statement::Receipt(receipt), signature) => self.receipt_signed(&receipt, signature),
            Event::Engine(event) => self.engine(now, event),
            Event::GpusSeen(statuses) => self.gpus_seen(statuses),
            Event::GpuFailed(fault) => self.gpu_failed(&fault),
            Event::LeaveWanted(request) => return self.leave_wanted(now, request),
        }
        Ok(())
    }

    /// What every step ends with.
    fn finish(&mut self, now: Now) -> Effects {
        if self.scans.is_due(now) {
            self.out.commands.push(Command::Scan);
        }
        self.membership_due(now);
        let (changes, news) = self.assignments.conclude(now, &mut self.out.commands);
        self.notices.hold("docker/cannot-stop", self.assignments.unstopped());
        self.notices.hold("docker/cannot-remove", self.assignments.leftovers());
        self.out.changes.extend(changes);
        if !self.out.changes.is_empty() {
            self.issued = Ticket(self.issued.0 + 1);
        }
        // Before what changed is durable a beat could not say it.
        self.owes_reports |= news;
        self.say_verdicts();
        if self.is_durable() {
            self.assignments.note_durable();
            if std::mem::take(&mut self.owes_reports) {
                self.session.news();
            }
        }
        self.speak(now);
        let Out { changes, mut at_once, commands, mut actions } = std::mem::take(&mut self.out);
        for command in commands {
            let room = if command.rests_on_nothing() { &mut at_once } else { &mut actions };
            room.push(Action::Engine(command));
        }
        at_once.extend(self.notices.take());
        Effects { changes, ticket: self.issued, at_once, actions }
    }

    fn start(&mut self, now: Now) {
        if std::mem::replace(&mut self.started, true) {
            return;
        }
        self.out.changes.push(Change::boot(self.boot));
        self.speaks_from = Ticket(self.issued.0 + 1);
        let membership = self.chain.facts.as_ref().map(|facts| facts.membership);
        if membership == Some(MembershipState::Member) || !self.assignments.is_empty() {
            self.scans.touch(now);
        }
        self.follow();
    }

    fn stored(&mut self, ticket: Ticket) {
        self.durable = self.durable.max(ticket.min(self.issued));
    }

    /// Follows the pool's orchestrator by the chain, once this node has something to say about itself.
    fn follow(&mut self) {
        let (Some(facts), Some(_)) = (&self.chain.facts, &self.described.current) else { return };
        let following = (facts.orchestrator, facts.endpoints.clone());
        if self.following.as_ref() == Some(&following) {
            return;
        }
        let (orchestrator, endpoints) = following.clone();
        self.following = Some(following);
        self.out.at_once.push(Action::Follow { orchestrator, endpoints });
    }

    fn gpus_seen(&mut self, statuses: Vec<GpuStatus>) {
        let health = |statuses: &[GpuStatus]| -> Vec<_> {
            statuses.iter().map(|status| (status.uuid.clone(), status.state)).collect()
        };
        let changed = !self.gpus.looked || health(&self.gpus.statuses) != health(&statuses);
        self.gpus = Gpus { statuses, looked: true };
        if changed {
            let may_run = |status: &&GpuStatus| match status.state {
                GpuState::Healthy | GpuState::Suspect => true,
                GpuState::Quarantined | GpuState::Recovering => false,
            };
            let usable = self.gpus.statuses.iter().filter(may_run).map(|status| status.uuid.clone());
            self.assignments.gpus_usable(usable.collect::<BTreeSet<_>>());
            self.session.news();
        }
    }

    fn gpu_failed(&mut self, fault: &GpuFault) {
        self.assignments.on_gpu_failed(fault, &mut self.out.commands);
    }

    fn warn_silence(&mut self) {
        self.notices.raise(
            Finding::warning("orchestrator/silent", "the orchestrator does not answer; tasks go on")
                .remedy("nothing here; a new connection is tried"),
        );
    }
}
