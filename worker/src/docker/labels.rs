//! Labels by which a worker knows its own containers again. A task's labels never become container labels.

use std::collections::HashMap;

use lode_protocol::envelope::Realm;
use lode_protocol::ids::{AssignmentId, NodeId};

use crate::core::event::Attempt;

const NODE: &str = "lode.node";
const REALM: &str = "lode.realm";
const ASSIGNMENT: &str = "lode.assignment";
const ATTEMPT: &str = "lode.attempt";

/// Whose containers: this node, in this pool of this deployment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ownership {
    node: NodeId,
    realm: String,
}

impl Ownership {
    /// Containers of `node` in `realm`.
    pub fn new(node: NodeId, realm: Realm) -> Self {
        Self { node, realm: format!("{}:{}:{}", realm.chain, realm.deployment, realm.pool) }
    }

    /// The node.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// Labels of everything that belongs to an assignment.
    pub(super) fn labels(&self, id: &AssignmentId, attempt: Attempt) -> HashMap<String, String> {
        HashMap::from([
            (NODE.to_owned(), self.node.to_string()),
            (REALM.to_owned(), self.realm.clone()),
            (ASSIGNMENT.to_owned(), id.to_string()),
            (ATTEMPT.to_owned(), attempt.0.to_string()),
        ])
    }

    /// Filter for everything of this node and realm.
    pub(super) fn filter(&self) -> HashMap<String, Vec<String>> {
        let labels = vec![format!("{NODE}={}", self.node), format!("{REALM}={}", self.realm)];
        HashMap::from([("label".to_owned(), labels)])
    }

    /// Filter for everything of one assignment.
    pub(super) fn filter_of(&self, id: &AssignmentId) -> HashMap<String, Vec<String>> {
        let mut filter = self.filter();
        filter.entry("label".to_owned()).or_default().push(format!("{ASSIGNMENT}={id}"));
        filter
    }

    /// The assignment that these labels name.
    pub(super) fn assignment(labels: &HashMap<String, String>) -> Option<AssignmentId> {
        labels.get(ASSIGNMENT)?.parse().ok()
    }

    /// Name of an assignment's network, and prefix of its containers' names.
    pub(super) fn name(&self, id: &AssignmentId) -> String {
        let node: String =
            self.node.to_string().chars().skip(2).take(8).collect::<String>().to_ascii_lowercase();
        format!("lode-{node}-{id}")
    }
}
