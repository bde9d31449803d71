//! How everybody else reaches the driver, and what passes between them.

use std::sync::Arc;

use lode_network::ReplyHandle;
use lode_protocol::ids::{Address, NodeId, TaskId};
use tokio::sync::{mpsc, oneshot};

use crate::core::Core;
use crate::core::effect::Answer;
use crate::core::error::Rejected;
use crate::core::event::{ConnectionId, Event, Now};
use crate::known_nodes::KnownNode;

/// A question to the core, with its answer inside: it is answered from the core as it is, and told when that is durable.
pub(crate) type Question = Box<dyn FnOnce(&Core, Now) -> Told + Send>;

/// Tells an answer that was found.
pub(crate) type Told = Box<dyn FnOnce() + Send>;

/// Who waits for a write: is told what became of it at once, with the core as the write left it, and finds there what the
/// answer will say.
pub(crate) type Asker = Box<dyn FnOnce(&Core, Result<Written, WriteError>) -> Answered + Send>;

/// Tells the answer to a write when it is durable, or the error when it may not be. A refusal stays what it is.
pub(crate) type Answered = Box<dyn FnOnce(Option<WriteError>) + Send>;

/// What a person wants.
pub(crate) enum Request {
    /// To change something.
    Write { event: Box<Event>, asker: Asker },
    /// To know something.
    Read(Question),
}

/// What a worker said, verified, or the end of its stream.
#[derive(Debug)]
pub struct Message {
    /// The event; in a box, because queues hold many of them.
    pub event: Box<Event>,
    /// Whose.
    pub node: NodeId,
    /// Over which connection.
    pub connection: ConnectionId,
    /// For the answer; `None` for the end of a stream.
    pub asked: Option<PendingReply>,
}

/// What an answer needs of the message that it answers.
#[derive(Debug)]
pub struct PendingReply {
    /// The way back.
    pub reply: ReplyHandle,
    /// The bytes of the message: a refusal names their hash.
    pub request: Vec<u8>,
    /// What is known of the node, if its answers may be tagged.
    pub known: Option<Arc<KnownNode>>,
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
    /// An answer, or something unasked for.
    Answer {
        /// What is answered; `None`: sent unasked, over the connection.
        asked: Option<PendingReply>,
        /// Over which connection.
        connection: ConnectionId,
        /// To whom.
        node: NodeId,
        /// What.
        answer: Answer,
    },
    /// A refusal.
    Refusal {
        /// What is refused.
        asked: PendingReply,
        /// To whom.
        to: Address,
        /// Why.
        rejected: Rejected,
    },
}

/// Takes what leaves towards workers. Never waits: whoever reads too slowly is dropped there.
pub trait Outlet: std::fmt::Debug + Send + Sync + 'static {
    /// Takes one thing; those of one node come in order.
    fn send(&self, outgoing: Outgoing);
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
        self.write_and_read(event, |_, written| written).await
    }

    /// Changes something, durably, and asks the core as the change left it. Asking by itself afterwards could be refused
    /// (too many requests wait), and who asked would take what was done for not done.
    pub async fn write_and_read<T: Send + 'static>(
        &self,
        event: Event,
        question: impl FnOnce(&Core, Written) -> T + Send + 'static,
    ) -> Result<T, WriteError> {
        let (answer, answered) = oneshot::channel();
        let asker = move |core: &Core, written: Result<Written, WriteError>| -> Answered {
            let found = written.map(|written| question(core, written));
            Box::new(move |error: Option<WriteError>| {
                let told = match (found, error) {
                    (Ok(_), Some(error)) => Err(error),
                    (found, _) => found,
                };
                // Whoever asked may have gone away meanwhile.
                drop(answer.send(told));
            })
        };
        let request = Request::Write { event: Box::new(event), asker: Box::new(asker) };
        self.requests.try_send(request).map_err(refused)?;
        answered.await.map_err(|_| WriteError::Stopped)?
    }

    /// Asks something of the core. The answer comes when everything that it can tell of is durable.
    pub async fn read<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Core, Now) -> T + Send + 'static,
    ) -> Result<T, WriteError> {
        let (answer, answered) = oneshot::channel();
        let ask = move |core: &Core, now: Now| -> Told {
            let found = question(core, now);
            // Whoever asked may have gone away meanwhile.
            Box::new(move || drop(answer.send(found)))
        };
        self.requests.try_send(Request::Read(Box::new(ask))).map_err(refused)?;
        answered.await.map_err(|_| WriteError::Stopped)
    }

    /// Whether the driver has ended.
    pub fn is_closed(&self) -> bool {
        self.messages.is_closed()
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
