//! What leaves the orchestrator once it is durable: answers and orders to workers, transactions, log entries.

use lode_orchestrator_core::effect::{Action, Answer, ChainCommand, Occurrence, Table};
use lode_orchestrator_core::error::Rejected;
use lode_orchestrator_core::event::ConnectionId;
use lode_protocol::hash::Digest;
use lode_protocol::ids::{AssignmentId, NodeId};
use lode_protocol::session::Desired;

use crate::chain::Transaction;
use crate::earnings::Posting;
use crate::happening::Happening;
use crate::wire::heard;
use crate::world::World;

/// What goes out once a batch is durable.
#[derive(Clone, Debug, Default)]
pub struct Release {
    pub(crate) occurrences: Vec<Occurrence>,
    pub(crate) actions: Vec<Action>,
    /// Digest of the message that is answered, and over which connection.
    pub(crate) asked: Option<(ConnectionId, Digest)>,
    /// A refusal to whoever asked.
    pub(crate) refused: Option<(usize, ConnectionId, Digest, Rejected)>,
}

impl World {
    pub(crate) fn release(&mut self, release: Release) {
        let Release { occurrences, actions, asked, refused } = release;
        for entry in &occurrences {
            self.note(|| format!("log: {:?}", entry.kind));
            self.witness.happened(entry);
        }
        if let Some((node, connection, digest, rejected)) = refused {
            self.send_down(
                node,
                connection,
                heard(&self.pool_key.clone(), digest, Answer::Refused(rejected)),
            );
        }
        for action in actions {
            self.act(action, asked);
        }
    }

    fn act(&mut self, action: Action, asked: Option<(ConnectionId, Digest)>) {
        match action {
            Action::Reply { connection, node, answer } => {
                let request = asked.filter(|(asked, _)| *asked == connection);
                let digest = request.map(|(_, digest)| digest).unwrap_or_default();
                self.answer(node, connection, digest, answer);
            }
            Action::Push { connection, node, answer } => {
                self.answer(node, connection, Digest::default(), answer);
            }
            Action::Chain(command) => self.command_chain(command),
            Action::TaskAccepted { task, created: _ } => self.witness.accepted(task),
            Action::DropReceipts { .. } | Action::RaiseFinding(_) | Action::ClearFinding { .. } => {}
        }
    }

    fn command_chain(&mut self, command: ChainCommand) {
        match command {
            ChainCommand::FollowNode(node) => {
                self.orchestrator.followed.insert(node);
                self.orchestrator.told.remove(&node);
                let boot = self.orchestrator.boot;
                let after = self.dice.between(20, 800);
                self.after(after, Happening::OrchestratorReads(boot));
            }
            ChainCommand::LookUpNode(node) => {
                self.orchestrator.asked.insert(node);
                let boot = self.orchestrator.boot;
                let after = self.dice.between(20, 800);
                self.after(after, Happening::OrchestratorReads(boot));
            }
            ChainCommand::UnfollowNode(node) => {
                self.orchestrator.followed.remove(&node);
                self.orchestrator.told.remove(&node);
            }
            ChainCommand::SubmitJoin { invite, consent: _ } => {
                if let Some(node) = self.number_of(invite.node) {
                    self.chain.submit(Transaction::Join { node, counter: invite.counter });
                }
            }
            ChainCommand::SubmitEject { node } => {
                if let Some(node) = self.number_of(node) {
                    self.chain.submit(Transaction::Eject(node));
                }
            }
            ChainCommand::SubmitLeave { node, leave } => {
                if let Some(node) = self.number_of(node) {
                    self.chain.submit(Transaction::Leave { node, counter: leave.counter });
                }
            }
            ChainCommand::SubmitRoot { epoch, root, total, depth, proven_epoch: _ } => {
                self.posts(root);
                self.chain.submit(Transaction::Root(Posting { epoch, root, total, depth, forged: false }));
            }
            ChainCommand::FollowRoot(epoch) => self.orchestrator.root = Some(epoch),
        }
    }

    fn answer(&mut self, node: NodeId, connection: ConnectionId, digest: Digest, answer: Answer) {
        let Some(number) = self.number_of(node) else { return };
        if let Answer::Instruction { instruction, .. } = &answer {
            self.what_is_ordered_is_durable(&instruction.desired);
            self.witness.ordered(number, &instruction.desired);
            if let Some(meter) = instruction.meter {
                let truth = self.nodes[number].engine.gpu_millis(self.now);
                self.witness.metered(number, meter.epoch, meter.gpu_millis, truth);
            }
        }
        let message = heard(&self.pool_key.clone(), digest, answer);
        self.send_down(number, connection, message);
    }

    /// A crash right after must not forget an order.
    fn what_is_ordered_is_durable(&mut self, desired: &Desired) {
        let Desired::Full { generation: _, orders } = desired else { return };
        let rows = &self.orchestrator.disk.rows;
        let is_durable = |id: &AssignmentId| rows.contains_key(&(Table::Assignments, record_key(id)));
        if let Some(order) = orders.iter().find(|order| !is_durable(&order.id)) {
            self.witness.breaks("nothing is sent before it is durable", format!("{} is ordered", order.id));
        }
    }

    fn send_down(&mut self, node: usize, connection: ConnectionId, message: lode_worker_core::event::Heard) {
        if self.nodes[node].no_way_down {
            return;
        }
        for takes in self.journeys() {
            self.after(takes, Happening::Down(node, connection, Box::new(message.clone())));
        }
    }
}

/// Key of an assignment's row, as the store's format has it: task ‖ replica ‖ incarnation.
fn record_key(id: &AssignmentId) -> Vec<u8> {
    let mut key = id.replica.task.0.as_bytes().to_vec();
    key.extend(id.replica.replica.to_be_bytes());
    key.extend(id.incarnation.0.to_be_bytes());
    key
}
