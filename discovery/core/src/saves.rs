//! What is being made durable, who waits for it, and what could not be.

use std::collections::{BTreeMap, BTreeSet};

use lode_protocol::ids::NodeId;
use lode_protocol::units::Millis;

use crate::effect::{Effect, Stored};
use crate::event::{RequestId, SaveId};

/// Changes in one save.
const BATCH: usize = 500;
/// Wait before what could not be stored is tried again.
const RETRY: Millis = Millis::seconds(2);

#[derive(Debug, Default)]
struct InFlight {
    nodes: Vec<NodeId>,
    requests: Vec<RequestId>,
}

/// The store's side of the directory.
#[derive(Debug, Default)]
pub(crate) struct Saves {
    next: u64,
    in_flight: BTreeMap<SaveId, InFlight>,
    /// The last save of each node that is in flight.
    last: BTreeMap<NodeId, SaveId>,
    /// To be saved by this step.
    dirty: BTreeSet<NodeId>,
    /// Who waits for what this step saves.
    requests: BTreeMap<NodeId, Vec<RequestId>>,
    /// Not as the store has it, and not in flight.
    unsaved: BTreeSet<NodeId>,
    waiting: usize,
    not_before: Millis,
}

impl Saves {
    /// A node's row is to be written.
    pub(crate) fn mark(&mut self, node: NodeId) {
        self.unsaved.remove(&node);
        self.dirty.insert(node);
    }

    /// Publications that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }

    /// A publication is answered when its node's row is durable; true if it is already.
    pub(crate) fn wait(&mut self, node: NodeId, request: RequestId) -> bool {
        if self.unsaved.contains(&node) {
            self.mark(node);
        }
        if self.dirty.contains(&node) {
            self.requests.entry(node).or_default().push(request);
        } else if let Some(save) = self.last.get(&node).and_then(|save| self.in_flight.get_mut(save)) {
            save.requests.push(request);
        } else {
            return true;
        }
        self.waiting += 1;
        false
    }

    /// Time passed: what could not be stored is tried again.
    pub(crate) fn retry(&mut self, now: Millis) {
        if now >= self.not_before {
            self.dirty.extend(std::mem::take(&mut self.unsaved));
        }
    }

    /// Saves what was marked; `row` is a node's row as it is now.
    pub(crate) fn put(&mut self, row: impl Fn(&NodeId) -> Stored, effects: &mut Vec<Effect>) {
        while !self.dirty.is_empty() {
            let nodes: Vec<NodeId> = std::iter::from_fn(|| self.dirty.pop_first()).take(BATCH).collect();
            self.next += 1;
            let save = SaveId(self.next);
            effects.push(Effect::Save { save, changes: nodes.iter().map(&row).collect() });
            let requests = nodes.iter().filter_map(|node| self.requests.remove(node)).flatten().collect();
            self.last.extend(nodes.iter().map(|node| (*node, save)));
            self.in_flight.insert(save, InFlight { nodes, requests });
        }
    }

    /// It is durable; who waited for that.
    pub(crate) fn saved(&mut self, save: SaveId) -> Vec<RequestId> {
        let Some(InFlight { nodes, requests }) = self.in_flight.remove(&save) else { return Vec::new() };
        for node in nodes {
            if self.last.get(&node) == Some(&save) {
                self.last.remove(&node);
            }
        }
        self.waiting -= requests.len();
        requests
    }

    /// It is not; who waited for it.
    pub(crate) fn failed(&mut self, now: Millis, save: SaveId) -> Vec<RequestId> {
        let Some(InFlight { nodes, requests }) = self.in_flight.remove(&save) else { return Vec::new() };
        for node in nodes {
            // A later save of the node, if there is one, brings the row up to date by itself.
            if self.last.get(&node) == Some(&save) {
                self.last.remove(&node);
                self.unsaved.insert(node);
            }
        }
        self.not_before = now.plus(RETRY);
        self.waiting -= requests.len();
        requests
    }
}
