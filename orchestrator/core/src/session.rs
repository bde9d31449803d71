//! Sessions: how a worker gets one, and which of its messages count.
//!
//! A session is a random id under the leader's epoch. The boot counter is persisted and only grows. The same
//! (session, sequence, digest) is answered again; the same sequence with another digest is `session/replay`; a lower one
//! is `session/stale`; a message of an unknown session is told to reopen. Two sessions that both live are
//! [`super::conflict`]'s business; keys that the chain does not vouch for get none ([`super::strangers`]).

use lode_protocol::descriptor::NodeDescriptor;
use lode_protocol::ids::{NodeId, Nonce, SessionId};
use lode_protocol::keys::PublicKey;
use lode_protocol::session::{Granted, Hello};

use super::Core;
use super::admission::Admission;
use super::effect::{Action, Answer, ChainCommand};
use super::error::Rejected;
use super::event::{ConnectionId, Link};
use super::node::{Liveness, Node, NodeLifecycle};
use super::pace::said_by_hello;
use super::state::session::{Session, Superseded, Talk};

/// What a hello amounts to.
enum Verdict {
    Accept,
    /// The hello that opened the present session, again.
    Again,
    /// A sign of life of a process that does not hold the session.
    SecondProcess(Rejected),
}

impl Core {
    pub(crate) fn hello(
        &mut self,
        node: NodeId,
        public_key: PublicKey,
        hello: &Hello,
        descriptor: &NodeDescriptor,
        link: Link,
        session: SessionId,
    ) -> Result<(), Rejected> {
        match self.judge_hello(&node, hello)? {
            Verdict::Accept => {
                self.open_session(node, public_key, hello, link, session);
                self.note_said(&node, said_by_hello(hello));
                self.describe(&node, descriptor);
                self.renew_lease(&node);
                self.evaluate_admission(&node);
            }
            // The link stays: whoever replays a hello gets its answer, and nothing after it.
            Verdict::Again => {}
            Verdict::SecondProcess(rejected) => {
                self.strike(&node);
                self.act(Action::Reply {
                    connection: link.connection,
                    node,
                    answer: Answer::Refused(rejected),
                });
                return Ok(());
            }
        }
        self.reply_granted(node, link.connection, hello.nonce);
        Ok(())
    }

    fn judge_hello(&self, id: &NodeId, hello: &Hello) -> Result<Verdict, Rejected> {
        let Some(node) = self.nodes.get(id) else { return Ok(Verdict::Accept) };
        if let NodeLifecycle::Ejected { message, .. } = &node.standing {
            return Err(ejected(message));
        }
        let rival = self.holds_live_session(node);
        if hello.boot < node.progress.boot {
            let refusal = Rejected::unauthenticated(
                "session/stale-boot",
                format!(
                    "the worker started {} times, but {} starts are known",
                    hello.boot, node.progress.boot
                ),
                "use the node's own, latest data directory; a copy of it must not run",
            );
            return if rival { Ok(Verdict::SecondProcess(refusal)) } else { Err(refusal) };
        }
        if node.progress.nonces.contains(&hello.nonce) {
            let current = node.session.as_ref();
            let again = current.is_some_and(|open| open.nonce == hello.nonce && open.boot == hello.boot);
            return if again {
                Ok(Verdict::Again)
            } else {
                Err(Rejected::unauthenticated(
                    "session/replay",
                    "this hello has been answered before",
                    "ask for a session with a fresh nonce",
                )
                .reopening())
            };
        }
        if node.conflict.is_confirmed() && rival {
            return Ok(Verdict::SecondProcess(self.conflicted()));
        }
        self.judge_pace(node, said_by_hello(hello))?;
        Ok(Verdict::Accept)
    }

    pub(crate) fn conflicted(&self) -> Rejected {
        Rejected::denied(
            "node/conflicted",
            "two processes use this node's key",
            "stop one of them; the node heals once it has been silent for a lease",
        )
        .retry_after(self.config.terms.lost_after)
    }

    /// Whether a session of this node is in use.
    fn holds_live_session(&self, node: &Node) -> bool {
        node.session.is_some()
            && match node.liveness {
                Liveness::Alive | Liveness::Suspect => true,
                Liveness::Lost => false,
            }
    }

    fn open_session(
        &mut self,
        id: NodeId,
        public_key: PublicKey,
        hello: &Hello,
        link: Link,
        session: SessionId,
    ) {
        if !self.nodes.contains_key(&id) {
            let standing = NodeLifecycle::Joining(Admission::new(self.now.wall));
            let terms = self.beat_terms();
            self.nodes.insert(id, Box::new(Node::new(id, public_key, standing, terms)));
            self.strangers.forget(&id);
            self.command_chain(ChainCommand::FollowNode(id));
        }
        let wall = self.now.wall;
        let Some(node) = self.nodes.get_mut(&id) else { return };
        if let NodeLifecycle::Gone = node.standing {
            node.enter(NodeLifecycle::Joining(Admission::new(wall)));
        }
        let last = node.pulse.talk.last.map(|last| last.sequence);
        node.superseded = node.session.take().map(|old| Superseded { id: old.id, last });
        node.started(hello.boot, hello.nonce);
        node.hardware.forget_health();
        node.session = Some(Session { id: session, boot: hello.boot, nonce: hello.nonce, reported: false });
        node.pulse.talk = Talk { link: Some(link), ..Talk::default() };
    }

    fn reply_granted(&mut self, id: NodeId, connection: ConnectionId, nonce: Nonce) {
        let terms = self.beat_terms();
        let epoch = self.epoch;
        let membership = self.membership(&id);
        let Some(mut node) = self.nodes.quiet(&id) else { return };
        node.pulse().terms = terms;
        self.ledger.widest = self.ledger.widest.max(terms.suspect_after);
        let Some(session) = self.nodes.get(&id).and_then(|node| node.session.as_ref()) else { return };
        let granted = Granted { nonce, session: session.id, epoch, terms, membership };
        self.act(Action::Reply { connection, node: id, answer: Answer::Granted(granted) });
    }

    pub(crate) fn connection_closed(&mut self, id: &NodeId, connection: ConnectionId) {
        let Some(mut node) = self.nodes.quiet(id) else { return };
        let talk = &mut node.pulse().talk;
        if talk.link.is_some_and(|link| link.connection == connection) {
            talk.link = None;
        }
    }

    /// Takes over a descriptor, if it is newer than the known one.
    pub(crate) fn describe(&mut self, id: &NodeId, descriptor: &NodeDescriptor) {
        let least = self.config.requirements.gpu_memory;
        if descriptor.node == *id
            && self.nodes.get(id).is_some_and(|node| node.hardware.is_outdated_by(descriptor))
            && let Some(node) = self.nodes.get_mut(id)
        {
            node.describe(descriptor, least);
        }
    }
}

pub(crate) fn ejected(message: &str) -> Rejected {
    Rejected::denied(
        "node/ejected",
        format!("the pool removed this node: {message}"),
        "stop everything of this pool; ask the pool's owner to readmit the node",
    )
}
