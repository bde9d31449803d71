//! One node as the orchestrator knows it: who it is, where it stands, what it has, and what is promised on it.
//!
//! Standing (persisted) says what the pool and the node agreed; liveness (not persisted) says whether it is heard.
//! What people see, [`NodeState`], is derived from both. GPU slots are in [`super::hardware`].
//!
//! | standing | next |
//! |---|---|
//! | `Joining` | `Member` (on chain), `Ejected` |
//! | `Member` | `Draining`, `Leaving`, `Ejected`, `Gone`, `Joining` (never beat: ejected on chain, put aside) |
//! | `Draining` | `Member` (undrain), `Leaving`, `Ejected`, `Gone` |
//! | `Leaving` | `Gone` (on chain), `Ejected` |
//! | `Ejected` | `Joining` (readmitted), `Member` (on chain, where nobody here ordered to eject it) |
//! | `Gone` | `Joining` (says hello again), `Member` (on chain) |

use lode_protocol::finding::Finding;
use lode_protocol::ids::{AssignmentId, BootCounter, Generation, GpuUuid, NodeId, Nonce};
use lode_protocol::keys::PublicKey;
use lode_protocol::session::{BeatTerms, Leave, Usage};
use lode_protocol::units::{Millis, Timestamp};
use minicbor::{Decode, Encode};

use super::admission::Admission;
use super::conflict::Conflict;
use super::event::{ChainMembership, MembershipState, Proof, Registration};
use super::hardware::Hardware;
use super::session::{Session, Superseded};
use super::view::NodeState;

/// Hello nonces that are remembered to tell a replayed hello.
const REMEMBERED_NONCES: usize = 8;

/// Something that an outside authority knows and the core may not have heard yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Known<T> {
    /// Not heard yet. Never the same as "no".
    Unknown,
    /// Heard.
    Is(T),
}

/// What the chain says about a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ChainFacts {
    pub(crate) registration: Known<Option<Registration>>,
    pub(crate) membership: Known<ChainMembership>,
    pub(crate) proof: Known<Option<Proof>>,
}

impl ChainFacts {
    pub(crate) const UNKNOWN: ChainFacts =
        ChainFacts { registration: Known::Unknown, membership: Known::Unknown, proof: Known::Unknown };

    pub(crate) fn registration(&self) -> Option<Registration> {
        match self.registration {
            Known::Unknown | Known::Is(None) => None,
            Known::Is(Some(registration)) => Some(registration),
        }
    }

    /// Whether the contract counts the node as a member now.
    pub(crate) fn is_active_member(&self) -> bool {
        match self.membership {
            Known::Unknown => false,
            Known::Is(membership) => membership.state == MembershipState::Member { active: true },
        }
    }

    /// Whether the contract has the node as a member, active or not.
    pub(crate) fn is_member(&self) -> bool {
        match self.membership {
            Known::Unknown => false,
            Known::Is(membership) => matches!(membership.state, MembershipState::Member { .. }),
        }
    }

    /// The proof that counts now.
    pub(crate) fn proof(&self) -> Option<Proof> {
        match self.proof {
            Known::Unknown => None,
            Known::Is(proof) => proof,
        }
    }

    pub(crate) fn proven_class(&self) -> Option<u32> {
        self.proof().map(|proof| proof.class)
    }
}

/// Whether a new member has shown that it works.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub(crate) enum Trial {
    /// Its first complete beat as a member is awaited.
    #[n(0)]
    Awaited {
        #[n(0)]
        since: Timestamp,
        #[n(1)]
        attempts: u32,
    },
    /// It has beaten.
    #[n(1)]
    Passed,
}

/// What the pool and the node agreed.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub(crate) enum Standing {
    #[n(0)]
    Joining(#[n(0)] Admission),
    #[n(1)]
    Member(#[n(0)] Trial),
    #[n(2)]
    Draining {
        #[n(0)]
        move_batch: bool,
    },
    #[n(3)]
    Leaving {
        #[n(0)]
        leave: Leave,
        #[n(1)]
        submitted: bool,
    },
    #[n(4)]
    Ejected {
        #[n(0)]
        message: String,
        #[n(1)]
        at: Timestamp,
        /// Whether it was ordered here. Otherwise the chain said so, and may say otherwise when blocks are replaced.
        #[cbor(n(2), default)]
        ordered: bool,
    },
    #[n(5)]
    Gone,
}

/// Whether a node is heard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Liveness {
    /// Heard in time, last at this monotonic time.
    Alive { heard: Millis },
    /// Silent for a while, last heard then.
    Suspect { heard: Millis },
    /// Silent for a lease, or never heard.
    Lost,
}

/// What is promised to assignments.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Allocated {
    pub(crate) cpus: u64,
    pub(crate) memory: u64,
    pub(crate) disk: u64,
}

/// Something that runs on a node although it is not in its desired set: it holds GPUs until it is gone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Ghost {
    pub(crate) id: AssignmentId,
    pub(crate) gpus: Box<[GpuUuid]>,
}

/// A node.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) public_key: PublicKey,
    pub(crate) standing: Standing,
    pub(crate) liveness: Liveness,
    /// Due time of the one lease timer that counts.
    pub(crate) lease_due: Option<Millis>,
    /// Due time of the one admission timer that counts.
    pub(crate) admission_due: Option<Millis>,
    /// Due time of the one timer for ghosts that counts.
    pub(crate) ghosts_due: Option<Millis>,
    /// What the node was last told; its lease is measured by it.
    pub(crate) terms: BeatTerms,
    pub(crate) facts: ChainFacts,
    pub(crate) boot: BootCounter,
    pub(crate) nonces: Vec<Nonce>,
    pub(crate) generation: Generation,
    pub(crate) session: Option<Session>,
    pub(crate) superseded: Option<Superseded>,
    pub(crate) conflict: Conflict,
    pub(crate) hardware: Hardware,
    pub(crate) allocated: Allocated,
    /// Non-final assignments, sorted.
    pub(crate) active: Vec<AssignmentId>,
    pub(crate) ghosts: Vec<Ghost>,
    pub(crate) usage: Option<Usage>,
    pub(crate) findings: Box<[Finding]>,
    pub(crate) heard_at: Option<Timestamp>,
    /// Assignments that failed by the node's fault since one last ran; decides between equal nodes.
    pub(crate) recent_faults: u8,
    /// Whether the store has a row of it.
    pub(crate) stored: bool,
    /// Whether it counts against the limit of unregistered nodes.
    pub(crate) stranger: bool,
    /// State that was last told to the event log.
    pub(crate) shown: Option<NodeState>,
}

impl Node {
    pub(crate) fn new(id: NodeId, public_key: PublicKey, standing: Standing, terms: BeatTerms) -> Self {
        Node {
            id,
            public_key,
            standing,
            liveness: Liveness::Lost,
            lease_due: None,
            admission_due: None,
            ghosts_due: None,
            terms,
            facts: ChainFacts::UNKNOWN,
            boot: BootCounter(0),
            nonces: Vec::new(),
            generation: Generation(0),
            session: None,
            superseded: None,
            conflict: Conflict::None,
            hardware: Hardware::default(),
            allocated: Allocated::default(),
            active: Vec::new(),
            ghosts: Vec::new(),
            usage: None,
            findings: Box::default(),
            heard_at: None,
            recent_faults: 0,
            stored: false,
            stranger: false,
            shown: None,
        }
    }

    /// What people see.
    pub(crate) fn state(&self) -> NodeState {
        match &self.standing {
            Standing::Ejected { .. } | Standing::Gone => NodeState::Ejected,
            Standing::Joining(_) if !self.conflict.is_confirmed() => NodeState::Joining,
            Standing::Joining(_)
            | Standing::Member(_)
            | Standing::Draining { .. }
            | Standing::Leaving { .. }
                if self.conflict.is_confirmed() =>
            {
                NodeState::Conflicted
            }
            Standing::Joining(_) => NodeState::Joining,
            Standing::Member(_) => match self.liveness {
                Liveness::Alive { .. } => NodeState::Alive,
                Liveness::Suspect { .. } => NodeState::Suspect,
                Liveness::Lost => NodeState::Lost,
            },
            Standing::Draining { .. } | Standing::Leaving { .. } => match self.liveness {
                Liveness::Alive { .. } | Liveness::Suspect { .. } => NodeState::Draining,
                Liveness::Lost => NodeState::Lost,
            },
        }
    }

    /// Whether it is heard in time.
    pub(crate) fn is_alive(&self) -> bool {
        match self.liveness {
            Liveness::Alive { .. } => true,
            Liveness::Suspect { .. } | Liveness::Lost => false,
        }
    }

    /// Whether it has told, in its present session, what runs on it: only then may a set be sent to it.
    pub(crate) fn has_reported(&self) -> bool {
        self.session.as_ref().is_some_and(Session::has_reported)
    }

    /// Whether a row of it belongs into the store: strangers without registration do not.
    pub(crate) fn is_durable(&self) -> bool {
        match self.standing {
            Standing::Joining(_) => {
                self.stored || self.facts.registration().is_some() || !self.active.is_empty()
            }
            Standing::Member(_)
            | Standing::Draining { .. }
            | Standing::Leaving { .. }
            | Standing::Ejected { .. }
            | Standing::Gone => true,
        }
    }

    pub(crate) fn add_active(&mut self, id: AssignmentId) {
        if let Err(position) = self.active.binary_search(&id) {
            self.active.insert(position, id);
        }
    }

    pub(crate) fn remove_active(&mut self, id: &AssignmentId) {
        if let Ok(position) = self.active.binary_search(id) {
            self.active.remove(position);
        }
    }

    pub(crate) fn remember_nonce(&mut self, nonce: Nonce) {
        if self.nonces.len() >= REMEMBERED_NONCES {
            self.nonces.remove(0);
        }
        self.nonces.push(nonce);
    }

    pub(crate) fn free_cpus(&self) -> u64 {
        u64::from(self.hardware.cpus.0).saturating_sub(self.allocated.cpus)
    }

    pub(crate) fn free_memory(&self) -> u64 {
        self.hardware.memory.0.saturating_sub(self.allocated.memory)
    }

    pub(crate) fn free_disk(&self) -> u64 {
        self.hardware.disk.0.saturating_sub(self.allocated.disk)
    }

    /// Whether something that is not supposed to run holds this GPU.
    pub(crate) fn is_haunted(&self, gpu: &GpuUuid) -> bool {
        self.ghosts.iter().any(|ghost| ghost.gpus.contains(gpu))
    }
}
