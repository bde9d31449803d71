//! What the worker says: greetings and beats, made of what the rooms know. The shell seals them.

use lode_protocol::assignment::AssignmentReport;
use lode_protocol::ids::{BootCounter, Nonce, Sequence, SessionId, Term};
use lode_protocol::session::{Heartbeat, Hello, Usage};
use lode_protocol::time::Now;

use crate::Worker;
use crate::effect::{Action, Message};
use crate::event::Description;
use crate::session::Say;

/// The node's description, and what the orchestrator has of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Described {
    pub(crate) current: Option<Description>,
    /// Version that the orchestrator has, and the one on its way.
    told: Option<(BootCounter, u64)>,
    telling: Option<(BootCounter, u64)>,
}

impl Described {
    /// The beat that was out has been answered.
    pub(crate) fn beat_answered(&mut self) {
        if let Some(version) = self.telling.take() {
            self.told = Some(version);
        }
    }
}

impl Worker {
    /// Nothing is said before this boot and the orchestrator's term are durable, nor before there is anything to say
    /// about the node: a message of a boot that nobody remembers could be repeated.
    pub(crate) fn may_speak(&self) -> bool {
        self.durable >= self.speaks_from && self.described.current.is_some()
    }

    /// Says what is due.
    pub(crate) fn speak(&mut self, now: Now) {
        while self.may_speak() {
            match self.session.due(now) {
                None => return,
                Some(Say::Hello(nonce)) => self.say_hello(nonce),
                Some(Say::Beat { session, term, sequence, complete }) => {
                    self.say_beat(now, (session, term), sequence, complete);
                }
                Some(Say::Resend) => self.out.at_once.push(Action::Resend),
                Some(Say::Reconnect) => {
                    self.warn_silence();
                    self.out.at_once.push(Action::Reconnect);
                }
            }
        }
    }

    fn say_hello(&mut self, nonce: Nonce) {
        let Some(description) = &self.described.current else { return };
        let hello = Hello {
            boot: self.boot,
            nonce,
            agent_version: self.config.agent_version.clone(),
            descriptor: description.sealed.clone(),
            takes_tags: Some(true),
        };
        self.described.told = Some(description.version);
        self.described.telling = None;
        self.out.at_once.push(Action::Send(Message::Hello(hello)));
    }

    fn say_beat(&mut self, now: Now, (session, term): (SessionId, Term), sequence: Sequence, complete: bool) {
        let Some(description) = &self.described.current else { return };
        let is_news = self.described.told != Some(description.version);
        self.described.telling = is_news.then_some(description.version);
        let (specs, descriptor) = (description.specs, is_news.then(|| description.sealed.clone()));
        let reports = self.reports(complete);
        self.session.carries(reports.iter().map(|(number, report)| (report.id, *number)).collect());
        self.receipts.beat_sent(session, sequence, now.monotonic, self.assignments.running_on_gpus());
        let beat = Heartbeat {
            session,
            epoch: term,
            boot: self.boot,
            sequence,
            observed: self.assignments.generation(),
            complete,
            assignments: reports.into_iter().map(|(_, report)| report).collect(),
            gpus: self.gpus.statuses.clone(),
            usage: Usage::default(),
            findings: Vec::new(),
            specs,
            descriptor,
            consent: self.membership.consent().cloned(),
            receipts: self.receipts.answers(),
        };
        self.out.at_once.push(Action::Send(Message::Heartbeat(Box::new(beat))));
    }

    /// Reports for a beat with their numbers. What is not durable yet is not said: after a crash it might turn out
    /// otherwise.
    fn reports(&mut self, complete: bool) -> Vec<(u64, AssignmentReport)> {
        match (self.is_durable(), complete) {
            (true, true) => self.assignments.all_reports(),
            (true, false) => self.assignments.news(),
            (false, complete) => {
                self.owes_reports = true;
                if complete { self.assignments.durable_reports() } else { Vec::new() }
            }
        }
    }
}
