//! What can happen to the core. Everything is verified, opened and size-checked before it becomes an event: `node` is
//! always the verified signer, never a field of a body. Entropy (session ids, task ids) comes with the event.

use lode_protocol::amount::Amount;
use lode_protocol::descriptor::NodeDescriptor;
use lode_protocol::error_code::ErrorCode;
use lode_protocol::hash::Digest;
use lode_protocol::ids::{Address, Epoch, NodeId, ProviderId, SessionId, TaskId};
use lode_protocol::image::PinnedImage;
use lode_protocol::keys::PublicKey;
use lode_protocol::origin::Origin;
use lode_protocol::session::{Heartbeat, Hello, Leave};
use lode_protocol::task::ValidTaskSpec;
pub use lode_protocol::time::Now;
use lode_protocol::units::Millis;

use super::settlement::SignedSpendAuthorization;

/// Names one connection (or one request) of a peer; chosen by the shell, never reused while the program runs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ConnectionId(pub u64);

/// How a message came in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Link {
    /// The connection; answers go back over it.
    pub connection: ConnectionId,
    /// Whether the orchestrator can send over it unasked (a stream can, an HTTPS request cannot).
    pub can_push: bool,
}

/// Whether what the core knows of the chain may be acted upon.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ChainView {
    /// The follower is at the head, and the facts of every followed node have been delivered.
    Fresh,
    /// The chain cannot be read, or the follower is behind: no joins, invites or placements; running work is untouched.
    Stale,
}

/// The pool as the chain has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChainPool {
    /// Whether nodes may join.
    pub running: bool,
    /// Most members; 0 is no limit.
    pub max_nodes: u32,
    /// Members now.
    pub member_count: u32,
    /// Who owns it: a tenant whose orders count.
    pub owner: Address,
}

/// A node in the registry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Registration {
    /// Its provider.
    pub provider: ProviderId,
    /// Whether stake covers it and nothing forbids that it joins pools.
    pub eligible: bool,
    /// Whether its provider lets its nodes join this pool.
    pub approved: bool,
}

/// Where a node stands in this pool's contract.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MembershipState {
    /// Never joined.
    Never,
    /// Joined. `active` is the contract's word: same registration as joined, stake suffices, provider not banned.
    Member {
        /// Whether the membership counts now.
        active: bool,
    },
    /// Left by itself.
    Left,
    /// Removed by the pool; may be invited again.
    Ejected,
    /// Removed for good.
    Banned,
}

/// A node's membership on chain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChainMembership {
    /// Where it stands.
    pub state: MembershipState,
    /// How often it has joined: the counter of the next invite.
    pub join_counter: u64,
}

/// A node's proof of hardware that counts now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Proof {
    /// Class that was proven; higher is stronger.
    pub class: u32,
    /// How many GPUs took part.
    pub gpu_count: u32,
}

/// The validators' epoch that runs by the chain's time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChainEpoch {
    /// Its number.
    pub epoch: Epoch,
    /// How long it still runs, when the event is made.
    pub ends_in: Millis,
    /// How long epochs are.
    pub length: Millis,
    /// How long after an epoch's end its root can be posted.
    pub posting: Millis,
}

/// The pool's money, and what settlement asks of the chain besides.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChainBudget {
    /// Funded and not promised.
    pub free: Amount,
    /// Promised and not paid.
    pub locked: Amount,
    /// Total of the latest root that was not vetoed.
    pub posted: Amount,
    /// Everything that was ever paid.
    pub paid: Amount,
    /// What a root of the running epoch may promise, by the spend cap.
    pub spendable: Amount,
    /// What a root of the epoch before may promise.
    pub spendable_before: Amount,
    /// Epoch of the latest root that was not vetoed.
    pub latest: Option<Epoch>,
    /// Whether that root can still be vetoed: no other one is taken meanwhile.
    pub in_veto: bool,
    /// Latest epoch before the running one in which the validators agreed on a root.
    pub proven: Option<Epoch>,
}

/// Where a posted root of earnings is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RootFate {
    /// It can be vetoed.
    Pending,
    /// It stands.
    Final,
    /// It is void.
    Vetoed,
}

/// What becomes of batch work on a node that is drained.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BatchOnDrain {
    /// It runs to its end.
    Finish,
    /// It is stopped and started anew elsewhere.
    Move,
}

/// What is known of a task's image when it is submitted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ImageResolution {
    /// The registry has said which content is meant: `name@sha256:…`.
    Pinned(PinnedImage),
    /// It has not: the first worker that says what it runs pins the task.
    Unpinned(Unpinned),
}

/// Why a task is not pinned.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unpinned {
    /// `image/…`
    pub code: ErrorCode,
    /// In words.
    pub message: String,
}

/// Something that happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// The program started: first event after [`super::Core::new`] or [`super::Core::recover`]. Takes a new epoch.
    Started,
    /// Time has passed. To come at [`super::Core::next_deadline`] and at least once a second.
    Tick,
    /// A node asks for a session.
    HelloReceived {
        /// Verified signer.
        node: NodeId,
        /// Its public key.
        public_key: PublicKey,
        /// The body.
        hello: Hello,
        /// The descriptor inside it, opened, signed by the same node.
        descriptor: NodeDescriptor,
        /// How it came.
        link: Link,
        /// Fresh random id for the session, should one be granted.
        session: SessionId,
        /// From where, if that is known.
        origin: Option<Origin>,
    },
    /// A node beats.
    BeatReceived {
        /// Verified signer.
        node: NodeId,
        /// Digest of the beat as signed.
        digest: Digest,
        /// The body.
        heartbeat: Heartbeat,
        /// The descriptor inside it, opened, signed by the same node.
        descriptor: Option<NodeDescriptor>,
        /// How it came.
        link: Link,
    },
    /// A node leaves.
    LeaveReceived {
        /// Verified signer.
        node: NodeId,
        /// The body.
        leave: Leave,
        /// How it came.
        link: Link,
    },
    /// A connection over which this node had spoken is gone.
    ConnectionClosed {
        /// Whose.
        node: NodeId,
        /// Which.
        connection: ConnectionId,
    },
    /// Discovery knows a descriptor (opened, signed by its node). Nodes that never said hello are ignored.
    DescriptorLearned {
        /// The descriptor.
        descriptor: NodeDescriptor,
    },
    /// Whether the chain's facts may be acted upon.
    ChainViewed(ChainView),
    /// The pool on chain.
    ChainPool(ChainPool),
    /// A node in the registry; `None`: the chain says that it is not registered.
    ChainNode {
        /// Which.
        node: NodeId,
        /// Its registration.
        registration: Option<Registration>,
    },
    /// Answer to [`super::effect::ChainCommand::LookUpNode`]; may come unasked.
    NodeLookedUp {
        /// Whom.
        node: NodeId,
        /// Whether the registry has it.
        registered: bool,
    },
    /// The pool's requirements on chain have this hash now.
    RequirementsChanged(Digest),
    /// A node's membership. Also what confirms a join, an ejection and a leave.
    ChainMembership {
        /// Which.
        node: NodeId,
        /// Its membership.
        membership: ChainMembership,
    },
    /// A node's proof; `None`: the chain says that no proof counts now. To be sent again when a proof expires.
    ChainProven {
        /// Which.
        node: NodeId,
        /// Its proof.
        proof: Option<Proof>,
    },
    /// A join that the core wanted did not come about (reverted, or the outbox gave it up).
    JoinFailed {
        /// Whose.
        node: NodeId,
        /// Counter of the invite.
        counter: u64,
        /// Stable code.
        code: ErrorCode,
        /// In words.
        message: String,
    },
    /// The running epoch. To be sent when another one runs.
    ChainEpoch(ChainEpoch),
    /// The pool's money. To be sent when it changes.
    ChainBudget(ChainBudget),
    /// A root that was submitted is on chain, and stands so.
    ChainRoot {
        /// Its epoch.
        epoch: Epoch,
        /// How it stands.
        fate: RootFate,
    },
    /// A root that the core wanted posted was not taken.
    RootFailed {
        /// Its epoch.
        epoch: Epoch,
        /// In words.
        message: String,
    },
    /// A user submits a task.
    TaskSubmitted {
        /// Fresh id (UUID version 7).
        id: TaskId,
        /// What to run.
        spec: ValidTaskSpec,
        /// What it may cost, signed by whoever pays; verified by the core.
        order: Option<SignedSpendAuthorization>,
        /// Chosen by the client: the same key and spec name the same task.
        idempotency_key: Option<String>,
        /// What is known of its image.
        image: ImageResolution,
    },
    /// A user stops a task.
    TaskStop(TaskId),
    /// A user starts a stopped or ended task again.
    TaskStart(TaskId),
    /// A user deletes a task; what runs of it is stopped first.
    TaskDelete(TaskId),
    /// Place nothing new on a node and empty it.
    NodeDrain {
        /// Which.
        node: NodeId,
        /// What becomes of batch work.
        batch: BatchOnDrain,
    },
    /// End of a drain.
    NodeUndrain(NodeId),
    /// Remove a node from the pool.
    NodeEject {
        /// Which.
        node: NodeId,
        /// Why, in words; told to the node.
        message: String,
    },
    /// Let an ejected or given-up node try to join again.
    NodeReadmit(NodeId),
}
