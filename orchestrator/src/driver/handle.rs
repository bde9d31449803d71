//! How everybody else reaches the driver, and what passes between them.

use lode_network::ReplyHandle;
use lode_protocol::amount::Amount;
use lode_protocol::hash::Digest;
use lode_protocol::ids::{Epoch, NodeId, TaskId};
use tokio::sync::{mpsc, oneshot};

use crate::core::Core;
use crate::core::effect::Answer;
use crate::core::error::Rejected;
use crate::core::event::{ConnectionId, Event, Now};

/// A question to the core, with its answer inside.
pub(crate) type Question = Box<dyn FnOnce(&Core, Now) + Send>;

/// What a person wants.
pub(crate) enum Request {
    /// To change something.
    Write { event: Box<Event>, answer: oneshot::Sender<Result<Written, WriteError>> },
    /// To know something.
    Read(Question),
    /// The pool's terms on chain, which future invites name.
    Terms(Digest),
}

/// What a worker said, verified, or the end of its stream.
#[derive(Debug)]
pub struct Message {
    /// The event.
    pub event: Event,
    /// Whose.
    pub node: NodeId,
    /// Over which connection.
    pub connection: ConnectionId,
    /// keccak-256 of the bytes, for a refusal.
    pub request: Digest,
    /// For the answer; `None` for the end of a stream.
    pub reply: Option<ReplyHandle>,
}

/// What became of a write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Written {
    /// It is done.
    Done,
    /// A task was submitted.
    Task {
        /// Its id, which is an older one where the idempotency key was known.
        id: TaskId,
        /// Whether it is new.
        created: bool,
    },
}

/// Why a write was not done.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WriteError {
    /// The core refuses it; nothing has changed.
    #[error(transparent)]
    Rejected(#[from] Rejected),
    /// The store cannot keep it now.
    #[error("{message}")]
    Store {
        /// `store/…`
        code: &'static str,
        /// In words.
        message: String,
        /// Whether it may yet take effect: it was under way when the store failed.
        undecided: bool,
    },
    /// Too many requests wait.
    #[error("too many requests wait")]
    Busy,
    /// The program stops.
    #[error("the orchestrator is stopping")]
    Stopped,
}

/// What leaves towards workers.
#[derive(Debug)]
pub enum Outgoing {
    /// An answer, or something unasked for (without a handle).
    Answer {
        /// The handle of the message that is answered.
        reply: Option<ReplyHandle>,
        /// Over which connection.
        connection: ConnectionId,
        /// To whom.
        node: NodeId,
        /// keccak-256 of the bytes that are answered.
        request: Digest,
        /// What.
        answer: Answer,
    },
    /// A refusal.
    Refusal {
        /// The handle of the message that is refused.
        reply: ReplyHandle,
        /// To whom, where that is known.
        to: Option<lode_protocol::ids::Address>,
        /// keccak-256 of the refused bytes.
        request: Digest,
        /// Why.
        rejected: Rejected,
    },
}

/// What leaves towards the chain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ChainOrder {
    /// Tell everything about a node, now and whenever it changes.
    Follow(NodeId),
    /// Stop that.
    Unfollow(NodeId),
    /// Let a node join.
    Join {
        /// What both sides sign.
        invite: lode_protocol::join::Invite,
        /// The node's signature.
        consent: lode_protocol::keys::EthereumSignature,
    },
    /// Remove a node.
    Eject(NodeId),
    /// Let a node go.
    Leave {
        /// Who.
        node: NodeId,
        /// Its signed wish.
        leave: lode_protocol::session::Leave,
    },
    /// Post a root of earnings.
    Root {
        /// Its epoch.
        epoch: Epoch,
        /// Hash of the tree's top.
        root: Digest,
        /// Sum of all leaves.
        total: Amount,
        /// Height of the tree.
        depth: u8,
        /// Epoch of the validators' root that vouches for the nodes.
        proven_epoch: Epoch,
    },
    /// Tell how the root of this epoch stands, now and whenever that changes.
    FollowRoot(Epoch),
}

/// Reaches the driver. Clones reach the same one.
#[derive(Clone, Debug)]
pub struct Handle {
    pub(super) requests: mpsc::Sender<Request>,
    pub(super) messages: mpsc::Sender<Message>,
    pub(super) facts: mpsc::Sender<Event>,
}

impl Handle {
    /// Changes something, durably.
    pub async fn write(&self, event: Event) -> Result<Written, WriteError> {
        let (answer, answered) = oneshot::channel();
        self.requests.try_send(Request::Write { event: Box::new(event), answer }).map_err(refused)?;
        answered.await.map_err(|_| WriteError::Stopped)?
    }

    /// Asks something of the core, between two groups.
    pub async fn read<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Core, Now) -> T + Send + 'static,
    ) -> Result<T, WriteError> {
        let (answer, answered) = oneshot::channel();
        let ask = move |core: &Core, now: Now| {
            // Whoever asked may have gone away meanwhile.
            let _ = answer.send(question(core, now));
        };
        self.requests.try_send(Request::Read(Box::new(ask))).map_err(refused)?;
        answered.await.map_err(|_| WriteError::Stopped)
    }

    /// Future invites name these terms.
    pub async fn adopt_terms(&self, terms: Digest) {
        // The program stops when the driver is gone.
        let _ = self.requests.send(Request::Terms(terms)).await;
    }

    /// Hands over what a worker said; waits for room. False: the driver has ended.
    pub async fn message(&self, message: Message) -> bool {
        self.messages.send(message).await.is_ok()
    }

    /// Hands over a fact; waits for room. False: the driver has ended.
    pub async fn fact(&self, event: Event) -> bool {
        self.facts.send(event).await.is_ok()
    }
}

fn refused(error: mpsc::error::TrySendError<Request>) -> WriteError {
    match error {
        mpsc::error::TrySendError::Full(_) => WriteError::Busy,
        mpsc::error::TrySendError::Closed(_) => WriteError::Stopped,
    }
}
