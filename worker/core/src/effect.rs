//! What the worker's core wants done.
//!
//! Persist before you send, by construction: the shell makes `changes` durable, and lets `actions` out only once the
//! changes of this step and of every step before it are. `at_once` rests on no change: a sign of life goes out while
//! the disk is full. What is durable the shell says with [`crate::event::Event::Stored`]; it decides what a beat may
//! report.

use lode_protocol::assignment::PublishedPort;
use lode_protocol::error_code::ErrorCode;
use lode_protocol::finding::Finding;
use lode_protocol::ids::{Address, AssignmentId};
use lode_protocol::image::ImageReference;
use lode_protocol::session::{AssignmentSpec, Heartbeat, Hello, Leave};
use lode_protocol::task::{ProbeAction, PullPolicy};
use lode_protocol::units::Millis;

use crate::event::{Attempt, ContainerId, Statement};
use crate::journal::Change;
pub use crate::ticket::Ticket;

/// Everything that follows from one event.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Effects {
    /// To be durable, together, before `actions`.
    pub changes: Vec<Change>,
    /// The latest step that changed something: this one, if `changes` has any. To be said in
    /// [`crate::event::Event::Stored`] when they are durable.
    pub ticket: Ticket,
    /// To be done now, in order.
    pub at_once: Vec<Action>,
    /// To be done, in order, once everything up to `ticket` is durable.
    pub actions: Vec<Action>,
}

impl Effects {
    /// Whether nothing follows.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.at_once.is_empty() && self.actions.is_empty()
    }
}

/// Something to be done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Have the engine do something; its result comes back as [`crate::event::Event::Engine`]. What concerns one
    /// assignment is done one after the other, in order.
    Engine(Command),
    /// Seal this for the orchestrator and send it, then say [`crate::event::Event::Sent`].
    Send(Message),
    /// Send the last beat again, byte for byte.
    Resend,
    /// Tear the transport down and build it anew.
    Reconnect,
    /// Be connected to this orchestrator. If that replaces a connection to another one, say
    /// [`crate::event::Event::Disconnected`].
    Follow {
        /// Address of its key.
        orchestrator: Address,
        /// Where it listens, as the pool's owner wrote it: check before use.
        endpoints: String,
    },
    /// Sign with the node's key, then say [`crate::event::Event::Signed`].
    Sign(Statement),
    /// Output that is wanted (sealed requests), where the orchestrator cannot open a stream.
    PostLogs(Vec<Vec<u8>>),
    /// A condition holds from now on.
    Raise(Finding),
    /// No condition of this code holds any longer.
    Clear(ErrorCode),
    /// Answer to [`crate::event::Event::LeaveWanted`]: the wish survives a restart now.
    LeaveNoted {
        /// Number of the wish.
        request: u64,
        /// The signed leave.
        leave: Leave,
        /// Whether there is a session to send it in now.
        connected: bool,
    },
}

/// What is said to the orchestrator.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Message {
    /// A greeting.
    Hello(Hello),
    /// A sign of life. `usage` and `findings` are for the shell to fill in.
    Heartbeat(Box<Heartbeat>),
    /// The node leaves.
    Leave(Leave),
}

/// An image to be made available.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WantedImage {
    /// What is to be fetched.
    pub image: ImageReference,
    /// What the task names: the same, or what that was when the task was pinned.
    pub named: ImageReference,
    /// When to ask the registry.
    pub policy: PullPolicy,
}

impl WantedImage {
    /// What a task names, as it names it.
    #[must_use]
    pub fn as_named(image: ImageReference, policy: PullPolicy) -> Self {
        Self { named: image.clone(), image, policy }
    }
}

/// Everything the engine needs to know to create a container.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ContainerPlan {
    /// Which assignment it is.
    pub id: AssignmentId,
    /// Which try.
    pub attempt: Attempt,
    /// What to run, and on which GPUs, exactly.
    pub order: AssignmentSpec,
    /// Image as the engine knows it after the pull.
    pub image: String,
    /// Ports to publish.
    pub ports: Vec<PublishedPort>,
}

/// Something for the container engine to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// List every container of this node and pool. One is out at a time.
    Scan,
    /// Look how much room there is for images.
    Survey,
    /// Remove an image by this name, unless something uses it.
    RemoveImage(ImageReference),
    /// Fetch an image.
    Pull {
        /// For which assignment.
        id: AssignmentId,
        /// Which try.
        attempt: Attempt,
        /// What to fetch.
        image: WantedImage,
        /// Time to wait before (after a failed try).
        delay: Millis,
    },
    /// Create a container and its network. A container of an older try is removed first.
    Create(Box<ContainerPlan>),
    /// Start a container (again).
    Start {
        /// Which assignment.
        id: AssignmentId,
        /// Which try.
        attempt: Attempt,
        /// Which container.
        container: ContainerId,
    },
    /// Report when this container ends. Idempotent.
    Watch {
        /// Which assignment.
        id: AssignmentId,
        /// Which container.
        container: ContainerId,
    },
    /// SIGTERM, then SIGKILL after the grace. The end is reported by the watch, a failure as
    /// [`crate::event::EngineEvent::StopFailed`].
    Stop {
        /// Which assignment.
        id: AssignmentId,
        /// Which container.
        container: ContainerId,
        /// Time between the two signals.
        grace: Millis,
    },
    /// Find out how a container came to its end. Tells nothing before the engine takes new callers: what a stopping engine
    /// does to containers must not be taken for what they did.
    Examine {
        /// Which assignment.
        id: AssignmentId,
        /// Which container.
        container: ContainerId,
    },
    /// Keep what a container has written: it is about to be removed. Idempotent; trouble with it does not stop the
    /// removal.
    KeepOutput {
        /// Which assignment.
        id: AssignmentId,
        /// Which container.
        container: ContainerId,
    },
    /// Remove every container and network of this assignment. Idempotent.
    Remove {
        /// Which assignment.
        id: AssignmentId,
    },
    /// Remove one container that is ours by its labels but unknown to the journal.
    RemoveStray(ContainerId),
    /// Ask whether a container is ready, or alive. One is out at a time for each container.
    Probe {
        /// Which assignment.
        id: AssignmentId,
        /// Which container.
        container: ContainerId,
        /// What to ask.
        action: ProbeAction,
        /// Ports by name.
        ports: Vec<PublishedPort>,
        /// How long to wait for the answer.
        timeout: Millis,
    },
}

impl Command {
    /// Whether it may run before anything is durable. A scan changes nothing; the pull of a first try leaves nothing
    /// that must be remembered, and nothing of that assignment can be on its way before it.
    pub(crate) fn rests_on_nothing(&self) -> bool {
        match self {
            Self::Scan | Self::Survey | Self::Pull { attempt: Attempt(0), .. } => true,
            Self::Pull { .. }
            | Self::RemoveImage(_)
            | Self::Create(_)
            | Self::Start { .. }
            | Self::Watch { .. }
            | Self::Stop { .. }
            | Self::Examine { .. }
            | Self::KeepOutput { .. }
            | Self::Remove { .. }
            | Self::RemoveStray(_)
            | Self::Probe { .. } => false,
        }
    }
}
