//! A worker's session; who gets one is decided in [`crate::session`].

use lode_protocol::hash::Digest;
use lode_protocol::ids::{AssignmentId, BootCounter, Generation, Nonce, Sequence, SessionId};
use lode_protocol::units::Millis;

use crate::event::{ConnectionId, Link};

/// A live session.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Session {
    pub(crate) id: SessionId,
    pub(crate) boot: BootCounter,
    /// Nonce of the hello that opened it.
    pub(crate) nonce: Nonce,
    /// Whether its first, complete beat has come.
    pub(crate) reported: bool,
}

/// The last beat that was accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct LastBeat {
    pub(crate) sequence: Sequence,
    pub(crate) digest: Digest,
    pub(crate) observed: Option<Generation>,
}

/// What is said in a session: moves with every beat, and neither a row nor placement depends on it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Talk {
    /// The way to the worker, while one is open.
    pub(crate) link: Option<Link>,
    pub(crate) last: Option<LastBeat>,
    pub(crate) pushes: Sequence,
    /// Whether an answer has told the worker that it is a member.
    pub(crate) told_member: bool,
    /// What its last beat told the meter.
    pub(crate) told: LastReported,
    /// Whether it has told of assignments before the pool had given it anything: that was not heard.
    pub(crate) unheard: bool,
}

impl Talk {
    /// The connection over which something can be sent unasked.
    pub(crate) fn pushable(&self) -> Option<ConnectionId> {
        self.link.filter(|link| link.can_push).map(|link| link.connection)
    }
}

/// What a session's last accepted beat told the meter.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct LastReported {
    /// When it came, if time counts from it on.
    pub(crate) since: Option<Millis>,
    /// Assignments told as running, with their restarts. Sorted.
    pub(crate) running: Vec<(AssignmentId, u32)>,
}

/// The session before the present one: a beat in it shows that its process still lives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Superseded {
    pub(crate) id: SessionId,
    pub(crate) last: Option<Sequence>,
}
