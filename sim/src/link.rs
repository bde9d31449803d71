//! A worker's connection to its orchestrator, and what goes over it.

use lode_orchestrator_core::event::ConnectionId;
use lode_protocol::hash::Digest;
use lode_protocol::session::Desired;
use lode_worker_core::effect::Message;
use lode_worker_core::event::{Event, Heard, Sent, SentMessage};

use crate::happening::Happening;
use crate::orchestrator::digest_of;
use crate::wire::{Body, Up};
use crate::world::World;

impl World {
    pub(crate) fn hang_up(&mut self, number: usize) {
        if let Some(connection) = self.nodes[number].connection.take()
            && !self.nodes[number].no_way_up
        {
            let after = self.dice.between(1, 500);
            self.after(after, Happening::Hangup(number, connection));
        }
    }

    /// A worker tries to reach its orchestrator.
    pub fn connect(&mut self, number: usize, boot: u64) {
        let node = &self.nodes[number];
        if boot != node.boot || node.core.is_none() || !node.follows || node.connection.is_some() {
            return;
        }
        if node.no_way_up || node.no_way_down || self.orchestrator.core.is_none() {
            let failed = Event::ConnectFailed { endpoint: "pool".to_owned(), detail: "no way".to_owned() };
            self.worker_event(number, failed);
            let after = self.dice.between(500, 2_000);
            return self.after(after, Happening::Connect(number, boot));
        }
        let node = &mut self.nodes[number];
        node.connections += 1;
        let connection = ConnectionId(u64::try_from(number).unwrap_or(0) << 32 | node.connections);
        node.connection = Some(connection);
        self.worker_event(number, Event::Connected);
    }

    /// Its connection has broken.
    pub fn worker_disconnected(&mut self, number: usize, connection: ConnectionId) {
        let node = &mut self.nodes[number];
        if node.connection != Some(connection) {
            return;
        }
        node.connection = None;
        let boot = node.boot;
        self.worker_event(number, Event::Disconnected);
        let after = self.dice.between(100, 1_000);
        self.after(after, Happening::Connect(number, boot));
    }

    pub(crate) fn send_up(&mut self, number: usize, message: Message) {
        let (what, digest) = match &message {
            Message::Hello(hello) => (SentMessage::Hello, digest_of(hello)),
            Message::Heartbeat(beat) => (SentMessage::Heartbeat(beat.sequence), digest_of(&**beat)),
            Message::Leave(leave) => (SentMessage::Leave, digest_of(leave)),
        };
        if matches!(message, Message::Heartbeat(_)) {
            self.nodes[number].last_beat = Some((message.clone(), digest));
        }
        self.carry(number, message, digest);
        self.worker_event(number, Event::Sent(Sent { what, digest, bytes: digest }));
    }

    pub(crate) fn carry(&mut self, number: usize, message: Message, digest: Digest) {
        let lies = self.lies_of(number, &message);
        let node = &self.nodes[number];
        let (Some(connection), false) = (node.connection, node.no_way_up) else { return };
        let (body, descriptor) = match message {
            Message::Hello(hello) => (Body::Hello(hello), Some(node.descriptor())),
            Message::Heartbeat(mut beat) => {
                beat.assignments.extend(lies);
                let descriptor = beat.descriptor.is_some().then(|| node.descriptor());
                (Body::Heartbeat(beat), descriptor)
            }
            Message::Leave(leave) => (Body::Leave(leave), None),
        };
        let up = Up { from: node.id, public_key: node.key.public(), connection, digest, descriptor, body };
        self.note(|| format!("worker {number} says {}", up.body.brief()));
        for takes in self.journeys() {
            self.after(takes, Happening::Up(Box::new(up.clone())));
        }
    }

    /// A message has come.
    pub fn worker_hears(&mut self, number: usize, connection: ConnectionId, heard: Heard) {
        if self.nodes[number].connection == Some(connection) {
            self.note(|| format!("worker {number} hears {}", brief_of(&heard)));
            self.worker_event(number, Event::Heard(heard));
        }
    }
}

fn brief_of(heard: &Heard) -> String {
    match heard {
        Heard::Granted(granted) => format!("a session of term {}: {:?}", granted.epoch.0, granted.membership),
        Heard::Instruction(instruction) => {
            let desired = match &instruction.desired {
                Desired::Unchanged => "nothing new".to_owned(),
                Desired::Full { generation, orders } => format!("set {} of {}", generation.0, orders.len()),
            };
            format!("{:?}: {desired}, {:?}", instruction.channel, instruction.membership)
        }
        Heard::Refused(refusal) => format!("refused: {} {}", refusal.code, refusal.message),
    }
}
