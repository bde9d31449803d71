//! Sessions: how a worker gets one, and which of its messages count.
//!
//! A session is a random id under the leader's epoch. The boot counter is persisted and only grows. The same
//! (session, sequence, digest) is answered again; the same sequence with another digest is `session/replay`; a lower one
//! is `session/stale`; a message of an unknown session is told to reopen. Two sessions that both live are
//! [`super::conflict`]'s business.

use lode_protocol::descriptor::NodeDescriptor;
use lode_protocol::hash::Digest;
use lode_protocol::ids::{BootCounter, Generation, NodeId, Nonce, Sequence, SessionId};
use lode_protocol::keys::PublicKey;
use lode_protocol::session::{Granted, Hello};

use super::Core;
use super::admission::Admission;
use super::conflict::Conflict;
use super::effect::{Action, Answer};
use super::error::Rejected;
use super::event::{ConnectionId, Link};
use super::node::{Liveness, Node, Standing};
use super::settlement::LastTold;

/// The last beat that was accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct LastBeat {
    pub(crate) sequence: Sequence,
    pub(crate) digest: Digest,
    pub(crate) observed: Option<Generation>,
}

/// A live session.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Session {
    pub(crate) id: SessionId,
    pub(crate) boot: BootCounter,
    /// Nonce of the hello that opened it.
    pub(crate) nonce: Nonce,
    /// The way to the worker, while one is open.
    pub(crate) link: Option<Link>,
    /// `None` until the first, complete beat.
    pub(crate) last: Option<LastBeat>,
    pub(crate) pushes: Sequence,
    /// Whether an answer has told the worker that it is a member.
    pub(crate) told_member: bool,
    /// What its last beat told the meter.
    pub(crate) told: LastTold,
}

impl Session {
    pub(crate) fn has_reported(&self) -> bool {
        self.last.is_some()
    }

    /// The connection over which something can be sent unasked.
    pub(crate) fn pushable(&self) -> Option<ConnectionId> {
        self.link.filter(|link| link.can_push).map(|link| link.connection)
    }
}

/// The session before the present one: a beat in it shows that its process still lives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Superseded {
    pub(crate) id: SessionId,
    pub(crate) last: Option<Sequence>,
}

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
                self.describe(&node, descriptor);
                self.touch(&node);
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
        let Some(node) = self.nodes.get(id) else {
            return if self.strangers < self.config.limits.strangers {
                Ok(Verdict::Accept)
            } else {
                Err(Rejected::transient(
                    "node/too-many-strangers",
                    "too many nodes without registration wait at this orchestrator",
                    "register the node with its provider on chain, then try again",
                )
                .retry_after(self.config.terms.lost_after))
            };
        };
        if let Standing::Ejected { message, .. } = &node.standing {
            return Err(ejected(message));
        }
        let rival = self.holds_live_session(node);
        if hello.boot < node.boot {
            let refusal = Rejected::unauthenticated(
                "session/stale-boot",
                format!("the worker started {} times, but {} starts are known", hello.boot, node.boot),
                "use the node's own, latest data directory; a copy of it must not run",
            );
            return if rival { Ok(Verdict::SecondProcess(refusal)) } else { Err(refusal) };
        }
        if node.nonces.contains(&hello.nonce) {
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
                Liveness::Alive { .. } | Liveness::Suspect { .. } => true,
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
            let standing = Standing::Joining(Admission::new(self.now.wall));
            let terms = self.beat_terms();
            let mut node = Node::new(id, public_key, standing, terms);
            node.stranger = true;
            self.nodes.insert(id, Box::new(node));
            self.strangers = self.strangers.saturating_add(1);
            self.act(Action::FollowNode(id));
        }
        let wall = self.now.wall;
        let Some(node) = self.nodes.get_mut(&id) else { return };
        if let Standing::Gone = node.standing {
            node.standing = Standing::Joining(Admission::new(wall));
        }
        node.superseded = node
            .session
            .take()
            .map(|old| Superseded { id: old.id, last: old.last.map(|last| last.sequence) });
        if !node.conflict.is_confirmed() && node.boot < hello.boot {
            node.conflict = Conflict::None;
        }
        node.boot = hello.boot;
        node.remember_nonce(hello.nonce);
        node.hardware.forget_health();
        node.session = Some(Session {
            id: session,
            boot: hello.boot,
            nonce: hello.nonce,
            link: Some(link),
            last: None,
            pushes: Sequence(0),
            told_member: false,
            told: LastTold::default(),
        });
        self.scratch.progress.insert(id);
        self.scratch.nodes.insert(id);
        self.scratch.shown.insert(id);
        self.reindex(&id);
    }

    fn reply_granted(&mut self, id: NodeId, connection: ConnectionId, nonce: Nonce) {
        let terms = self.beat_terms();
        let epoch = self.epoch;
        let membership = self.membership(&id);
        let Some(node) = self.nodes.get_mut(&id) else { return };
        node.terms = terms;
        self.ledger.widest = self.ledger.widest.max(terms.suspect_after);
        let Some(session) = &node.session else { return };
        let granted = Granted { nonce, session: session.id, epoch, terms, membership };
        self.act(Action::Reply { connection, node: id, answer: Answer::Granted(granted) });
    }

    pub(crate) fn connection_closed(&mut self, id: &NodeId, connection: ConnectionId) {
        let session = self.nodes.get_mut(id).and_then(|node| node.session.as_mut());
        if let Some(session) =
            session.filter(|open| open.link.is_some_and(|link| link.connection == connection))
        {
            session.link = None;
        }
    }

    /// Takes over a descriptor, if it is newer than the known one.
    pub(crate) fn describe(&mut self, id: &NodeId, descriptor: &NodeDescriptor) {
        let Some(node) = self.nodes.get_mut(id) else { return };
        if descriptor.node == *id && node.hardware.describe(descriptor) {
            self.scratch.nodes.insert(*id);
            self.reindex(id);
            self.wake(id);
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
