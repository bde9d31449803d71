//! Hellos of keys that nothing is known of: the chain is asked before anything else is done for them.
//!
//! `hello → refused, to try again → the chain says that the key is registered → hello → session`. Until then the key is an
//! entry of [`super::state::strangers`] and nothing else: no node, no session, no row, no entry of the log.

use lode_protocol::ids::NodeId;
use lode_protocol::origin::Origin;
use lode_protocol::units::Millis;

use super::Core;
use super::effect::{Action, Answer, ChainCommand};
use super::error::Rejected;
use super::event::Link;
use super::state::strangers::{ASKED_AGAIN, Greeting};

/// The chain's answer takes about this long.
const ANSWER: Millis = Millis::seconds(1);
/// When somebody may have registered a key that was not.
const REGISTRATION: Millis = Millis::seconds(10);

impl Core {
    /// Whether nothing says that the key is worth anything: no node of ours, and not registered as far as the chain was
    /// asked.
    pub(crate) fn is_stranger(&self, id: &NodeId) -> bool {
        !self.nodes.contains_key(id) && !self.strangers.is_registered(id)
    }

    pub(crate) fn greet_stranger(&mut self, node: NodeId, link: Link, origin: Option<Origin>) {
        let greeting = self.strangers.greet(node, origin, self.now.monotonic, &self.config.limits);
        let refusal = match greeting {
            Greeting::Ask => {
                self.command_chain(ChainCommand::LookUpNode(node));
                unanswered()
            }
            Greeting::Asked => unanswered(),
            Greeting::Unregistered => Rejected::denied(
                "node/not-registered",
                "no provider has registered this node",
                "let its provider authorise it (`lode provider authorize`); the worker asks again by itself",
            )
            .retry_after(REGISTRATION),
            Greeting::TooMany => Rejected::transient(
                "node/too-many-unregistered",
                "too many nodes that nothing is known of have said hello from this address",
                "register the node with its provider, then wait a minute; the worker asks again by itself",
            )
            .retry_after(ASKED_AGAIN),
        };
        let answer = Answer::Refused(refusal);
        self.act(Action::Reply { connection: link.connection, node, answer });
    }

    /// The chain has said whether it knows a key.
    pub(crate) fn looked_up(&mut self, node: NodeId, registered: bool) {
        if !self.nodes.contains_key(&node) {
            self.strangers.answered(node, registered, self.now.monotonic, &self.config.limits);
        }
    }
}

fn unanswered() -> Rejected {
    Rejected::transient(
        "node/chain-unknown",
        "the chain is being asked whether this node is registered",
        "nothing needs to be done; the worker asks again by itself",
    )
    .retry_after(ANSWER)
}
