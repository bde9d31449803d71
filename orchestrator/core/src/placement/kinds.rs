//! Kinds of nodes: what GPUs they have, on what they run, what class was proven. A pool has few however many nodes it
//! has, so that what a shape asks for in these is decided once for a kind.

use std::collections::BTreeMap;

use lode_protocol::proof::ProofClassId;

use super::super::hardware::Profile;
use super::super::node::Node;
use super::requirement::{Requirement, meets};

/// Names a kind; never used for another one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct KindId(pub(super) u32);

/// What nodes of a kind have in common. Ordered by the GPUs' memory, so that smaller GPUs are proposed first.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Kind {
    profile: Profile,
    architecture: Box<str>,
    os: Box<str>,
    cuda: Option<Box<str>>,
    driver: Option<Box<str>>,
    class: Option<ProofClassId>,
}

impl Kind {
    fn of(node: &Node) -> Kind {
        Kind {
            profile: node.hardware.profile.clone(),
            architecture: node.hardware.architecture.clone(),
            os: node.hardware.os.clone(),
            cuda: node.hardware.cuda.clone(),
            driver: node.hardware.driver.clone(),
            class: node.facts.proven_class().map(ProofClassId),
        }
    }

    /// Whether a node of this kind can be what is asked for, whatever else it is.
    fn may_fit(&self, requirement: &Requirement) -> bool {
        let gpus = requirement.gpus == 0
            || self
                .profile
                .iter()
                .any(|kind| requirement.accepts_model(kind) && requirement.accepts_memory(kind));
        gpus && requirement.constraints.iter().all(|constraint| match constraint.key.as_str() {
            "architecture" => meets(constraint, Some(&self.architecture)),
            "os" => meets(constraint, Some(&self.os)),
            "cuda" => meets(constraint, self.cuda.as_deref()),
            "driver" => meets(constraint, self.driver.as_deref()),
            _ => true,
        })
    }
}

/// All kinds of which there are nodes.
#[derive(Clone, Debug, Default)]
pub(super) struct Kinds {
    ids: BTreeMap<Kind, (KindId, u32)>,
    kinds: BTreeMap<KindId, Kind>,
    next: u32,
    version: u64,
}

impl Kinds {
    /// The kind of one more node.
    pub(super) fn acquire(&mut self, node: &Node) -> KindId {
        let kind = Kind::of(node);
        if let Some((id, nodes)) = self.ids.get_mut(&kind) {
            *nodes = nodes.saturating_add(1);
            return *id;
        }
        let id = KindId(self.next);
        self.next = self.next.wrapping_add(1);
        self.version += 1;
        self.ids.insert(kind.clone(), (id, 1));
        self.kinds.insert(id, kind);
        id
    }

    /// A node of this kind is gone.
    pub(super) fn release(&mut self, id: KindId) {
        let Some(kind) = self.kinds.get(&id) else { return };
        let Some((_, nodes)) = self.ids.get_mut(kind) else { return };
        *nodes = nodes.saturating_sub(1);
        if *nodes == 0 {
            self.ids.remove(kind);
            self.kinds.remove(&id);
            self.version += 1;
        }
    }

    /// Brings a verdict up to date.
    pub(super) fn judge(&self, requirement: &Requirement, verdict: &mut Verdict) {
        if verdict.version == Some(self.version) {
            return;
        }
        verdict.version = Some(self.version);
        let fitting = self.ids.iter().filter(|(kind, _)| kind.may_fit(requirement));
        verdict.kinds = fitting.map(|(kind, (id, _))| (*id, kind.class)).collect();
    }
}

/// The kinds that may fit a shape, in the order in which they are proposed, with their classes.
#[derive(Clone, Debug, Default)]
pub(super) struct Verdict {
    version: Option<u64>,
    pub(super) kinds: Vec<(KindId, Option<ProofClassId>)>,
}
