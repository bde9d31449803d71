//! What the chain is being asked, and what waits for its answers.
//!
//! An answer counts only if nothing happened on chain to what it is about since the question was put; else it is put
//! again. There is one question about a node at a time. Publications go before nodes that are looked at again.

use std::collections::{BTreeMap, BTreeSet};

use lode_protocol::descriptor::VerifiedDescriptor;
use lode_protocol::ids::{NodeId, ProviderId};
use lode_protocol::units::Millis;

use crate::effect::Effect;
use crate::event::{QuestionId, RequestId};

/// Nodes in one question.
const BATCH: usize = 500;
/// Questions for publications at one time: more share the next one.
const MOST_URGENT: usize = 8;
/// Wait after a question that was not answered, before known nodes are asked about again.
const RETRY: Millis = Millis::seconds(2);

/// A publication that waits.
#[derive(Clone, Debug)]
pub(crate) struct Publication {
    pub(crate) request: RequestId,
    pub(crate) descriptor: VerifiedDescriptor,
}

#[derive(Debug)]
struct Asked {
    nodes: Vec<NodeId>,
    urgent: bool,
    /// Number of the last thing that had happened on chain.
    after: u64,
}

/// Questions, in flight and to come.
#[derive(Debug, Default)]
pub(crate) struct Questions {
    next: u64,
    asked: BTreeMap<QuestionId, Asked>,
    /// Nodes in flight, and whether the answer is void already.
    in_flight: BTreeMap<NodeId, bool>,
    waiting: BTreeMap<NodeId, Vec<Publication>>,
    waiting_count: usize,
    urgent: BTreeSet<NodeId>,
    due: BTreeSet<NodeId>,
    not_before: Millis,
    /// Whether what is known of the chain is kept up to date.
    following: bool,
    moves: u64,
    /// Providers to whom something happened while questions were in flight.
    touched: BTreeMap<ProviderId, u64>,
}

impl Questions {
    /// Whether the chain's last word about a node cannot be relied on.
    pub(crate) fn is_doubtful(&self, node: &NodeId) -> bool {
        !self.following
            || self.due.contains(node)
            || self.urgent.contains(node)
            || self.in_flight.contains_key(node)
    }

    /// Publications that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting_count
    }

    /// A publication waits for what the chain says.
    pub(crate) fn wait(&mut self, publication: Publication) {
        let node = publication.descriptor.node();
        self.waiting.entry(node).or_default().push(publication);
        self.waiting_count += 1;
        if !self.in_flight.contains_key(&node) {
            self.due.remove(&node);
            self.urgent.insert(node);
        }
    }

    /// Publications of a node wait no longer.
    pub(crate) fn take(&mut self, node: &NodeId) -> Vec<Publication> {
        let taken = self.waiting.remove(node).unwrap_or_default();
        self.waiting_count -= taken.len();
        taken
    }

    /// Something happened to a node that is known, or asked about.
    pub(crate) fn moved(&mut self, node: NodeId, known: bool) {
        match self.in_flight.get_mut(&node) {
            Some(void) => *void = true,
            None if known && !self.urgent.contains(&node) => drop(self.due.insert(node)),
            None => {}
        }
    }

    /// Something happened to a provider: of nodes that are asked about nobody knows yet whose they are.
    pub(crate) fn moved_provider(&mut self, provider: ProviderId) {
        self.moves += 1;
        if !self.asked.is_empty() {
            self.touched.insert(provider, self.moves);
        }
    }

    /// Everything may be otherwise.
    pub(crate) fn moved_everything(&mut self, known: impl IntoIterator<Item = NodeId>) {
        self.following = true;
        for void in self.in_flight.values_mut() {
            *void = true;
        }
        for node in known {
            self.moved(node, true);
        }
    }

    /// A question has its answer: the nodes it was about, each with whether the answer counts.
    pub(crate) fn answered(
        &mut self,
        question: QuestionId,
        provider: impl Fn(&NodeId) -> Option<ProviderId>,
    ) -> Vec<(NodeId, bool)> {
        let Some(asked) = self.asked.remove(&question) else { return Vec::new() };
        let mut answered = Vec::new();
        for node in asked.nodes {
            let void = self.in_flight.remove(&node).unwrap_or(true);
            let touched = provider(&node).and_then(|provider| self.touched.get(&provider));
            answered.push((node, !void && touched.is_none_or(|at| *at <= asked.after)));
        }
        if self.asked.is_empty() {
            self.touched.clear();
        }
        answered
    }

    /// Whether publications of a node wait.
    pub(crate) fn is_waited_for(&self, node: &NodeId) -> bool {
        self.waiting.contains_key(node)
    }

    /// A node has to be asked about again.
    pub(crate) fn again(&mut self, node: NodeId) {
        let queue = if self.waiting.contains_key(&node) { &mut self.urgent } else { &mut self.due };
        queue.insert(node);
    }

    /// The chain does not answer: known nodes wait a little.
    pub(crate) fn pause(&mut self, now: Millis) {
        self.not_before = now.plus(RETRY);
    }

    /// Puts what is due and has room.
    pub(crate) fn put(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        while !self.urgent.is_empty()
            && self.asked.values().filter(|asked| asked.urgent).count() < MOST_URGENT
        {
            let nodes = first(&mut self.urgent);
            self.ask(nodes, true, effects);
        }
        if !self.due.is_empty() && now >= self.not_before && self.asked.values().all(|asked| asked.urgent) {
            let nodes = first(&mut self.due);
            self.ask(nodes, false, effects);
        }
    }

    fn ask(&mut self, nodes: Vec<NodeId>, urgent: bool, effects: &mut Vec<Effect>) {
        self.next += 1;
        let question = QuestionId(self.next);
        self.in_flight.extend(nodes.iter().map(|node| (*node, false)));
        self.asked.insert(question, Asked { nodes: nodes.clone(), urgent, after: self.moves });
        effects.push(Effect::AskChain { question, nodes });
    }
}

fn first(queue: &mut BTreeSet<NodeId>) -> Vec<NodeId> {
    std::iter::from_fn(|| queue.pop_first()).take(BATCH).collect()
}
