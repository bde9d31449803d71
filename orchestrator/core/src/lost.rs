//! What people are told of silent nodes: each by itself while they are few, all in one sentence when they are many.

use std::collections::BTreeSet;

use lode_protocol::error_code::ErrorCode;
use lode_protocol::finding::Finding;
use lode_protocol::ids::NodeId;

use super::Core;
use super::effect::Action;
use super::view::NodeState;

const LOST: &str = "node/lost";
/// More silent nodes than this are told together.
const MANY: usize = 16;
/// They are told each by itself again when at most this many are left.
const FEW: usize = 8;
/// Nodes that are named where many are told together.
const NAMED: usize = 10;

/// Silent nodes that the pool counts on, and what was told of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lost {
    nodes: BTreeSet<NodeId>,
    changed: bool,
    told: Told,
}

#[derive(Clone, Debug)]
enum Told {
    Each(BTreeSet<NodeId>),
    Together,
}

impl Default for Told {
    fn default() -> Self {
        Told::Each(BTreeSet::new())
    }
}

impl Lost {
    /// Notes what a node's state is now.
    pub(crate) fn note(&mut self, id: &NodeId, state: NodeState) {
        self.changed |= if state == NodeState::Lost { self.nodes.insert(*id) } else { self.nodes.remove(id) };
    }

    /// A node is forgotten.
    pub(crate) fn forget(&mut self, id: &NodeId) {
        self.changed |= self.nodes.remove(id);
    }
}

impl Core {
    /// Tells what has changed since the last step.
    pub(crate) fn tell_lost(&mut self) {
        if !std::mem::take(&mut self.lost.changed) {
            return;
        }
        let together = match &self.lost.told {
            Told::Each(_) => self.lost.nodes.len() > MANY,
            Told::Together => self.lost.nodes.len() > FEW,
        };
        let now = if together { Told::Together } else { Told::Each(self.lost.nodes.clone()) };
        let none = BTreeSet::new();
        let before = std::mem::replace(&mut self.lost.told, now);
        let (told, wanted) = match (&before, &self.lost.told) {
            (Told::Each(told), Told::Each(wanted)) => (told, wanted),
            (Told::Each(told), Told::Together) => (told, &none),
            (Told::Together, Told::Each(wanted)) => (&none, wanted),
            (Told::Together, Told::Together) => (&none, &none),
        };
        let mut actions: Vec<Action> = Vec::new();
        if matches!((&before, together), (Told::Together, false)) {
            actions.push(Action::ClearFinding { code: ErrorCode::new(LOST), subject: String::new() });
        }
        let clear =
            |id: &NodeId| Action::ClearFinding { code: ErrorCode::new(LOST), subject: id.to_string() };
        actions.extend(told.difference(wanted).map(clear));
        actions.extend(wanted.difference(told).map(|id| Action::RaiseFinding(one(id))));
        if together {
            actions.push(Action::RaiseFinding(many(&self.lost.nodes)));
        }
        for action in actions {
            self.act(action);
        }
    }
}

fn one(id: &NodeId) -> Finding {
    Finding::error(LOST, "The node has been silent for a lease. What it ran is placed elsewhere.")
        .about(id.to_string())
        .remedy(
            "Look at the host's power, network and worker; the node comes back by itself when it is heard again.",
        )
}

fn many(nodes: &BTreeSet<NodeId>) -> Finding {
    let named: Vec<String> = nodes.iter().take(NAMED).map(ToString::to_string).collect();
    let count = nodes.len();
    Finding::error(
        LOST,
        format!(
            "{count} nodes have been silent for a lease, among them {}. What they ran is placed elsewhere.",
            named.join(", ")
        ),
    )
    .remedy(
        "Look at what they share: network, power, a release of the worker. Each comes back by itself when it is heard again; `lode node list` names all.",
    )
}
