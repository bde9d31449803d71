//! Listed nodes by what they are looked for: pool, models of their GPUs, labels. A query walks the smallest set that
//! can hold what it wants, not every node.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use lode_protocol::descriptor::VerifiedDescriptor;
use lode_protocol::ids::{NodeId, PoolId};
use lode_protocol::units::Bytes;

use crate::listing::Listed;
use crate::query::Query;

/// Sets that are walked side by side: a word that more models contain is not rare, and each step looks at every set.
const MOST_SETS: usize = 32;

/// Models that are looked through for a word. Where there are more, every node is looked at instead, page by page.
const MOST_MODELS: usize = 10_000;

type Nodes = BTreeSet<NodeId>;

/// The sets. None of them is empty.
#[derive(PartialEq, Eq, Debug, Default)]
pub(crate) struct Index {
    by_pool: BTreeMap<PoolId, Nodes>,
    /// By model in lower case.
    by_model: BTreeMap<Arc<str>, Nodes>,
    by_label: BTreeMap<(String, String), Nodes>,
}

/// Where to look.
#[derive(Debug)]
pub(crate) enum Candidates<'a> {
    /// At every listed node.
    All,
    /// At the nodes of these sets.
    Of(Vec<&'a Nodes>),
}

impl Candidates<'_> {
    fn size(&self, all: usize) -> usize {
        match self {
            Candidates::All => all,
            Candidates::Of(sets) => sets.iter().map(|set| set.len()).sum(),
        }
    }

    /// Sets that each step looks at.
    pub(crate) fn sets(&self) -> usize {
        match self {
            Candidates::All => 0,
            Candidates::Of(sets) => sets.len(),
        }
    }

    /// The first of these sets' nodes after `after`; `None` for all nodes, which are not here.
    pub(crate) fn next(&self, after: Option<NodeId>) -> Option<NodeId> {
        let Candidates::Of(sets) = self else { return None };
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        sets.iter().filter_map(|set| set.range((from, Bound::Unbounded)).next().copied()).min()
    }
}

impl Index {
    /// Model and memory of each GPU; models share the index's texts.
    pub(crate) fn gpus_of(&self, descriptor: &VerifiedDescriptor) -> Vec<(Option<Arc<str>>, Bytes)> {
        let mut fresh: BTreeSet<Arc<str>> = BTreeSet::new();
        let gpus = descriptor.body().specs.gpus.iter().map(|gpu| {
            let model = gpu.model.as_ref().map(|model| {
                let lower = model.to_lowercase();
                let known = self.by_model.get_key_value(lower.as_str()).map(|(model, _)| model);
                let known = known.or_else(|| fresh.get(lower.as_str())).cloned();
                known.unwrap_or_else(|| {
                    let model: Arc<str> = lower.into();
                    fresh.insert(Arc::clone(&model));
                    model
                })
            });
            (model, gpu.memory.unwrap_or(Bytes(0)))
        });
        gpus.collect()
    }

    pub(crate) fn insert(&mut self, node: NodeId, listed: &Listed) {
        self.by_pool.entry(listed.descriptor.pool()).or_default().insert(node);
        for model in listed.gpus.iter().filter_map(|(model, _)| model.as_ref()) {
            self.by_model.entry(Arc::clone(model)).or_default().insert(node);
        }
        for (key, value) in &listed.descriptor.body().specs.labels {
            self.by_label.entry((key.clone(), value.clone())).or_default().insert(node);
        }
    }

    pub(crate) fn remove(&mut self, node: NodeId, listed: &Listed) {
        remove(self.by_pool.entry(listed.descriptor.pool()), node);
        for model in listed.gpus.iter().filter_map(|(model, _)| model.as_ref()) {
            remove(self.by_model.entry(Arc::clone(model)), node);
        }
        for (key, value) in &listed.descriptor.body().specs.labels {
            remove(self.by_label.entry((key.clone(), value.clone())), node);
        }
    }

    /// The fewest of `all` listed nodes that have all that match among them.
    pub(crate) fn candidates(&self, query: &Query, all: usize) -> Candidates<'_> {
        let mut found = vec![Candidates::All];
        if let Some(pool) = query.pool {
            let pools = BTreeSet::from([PoolId(0), pool]);
            found.push(Candidates::Of(pools.iter().filter_map(|pool| self.by_pool.get(pool)).collect()));
        }
        if let Some(wanted) = query.wanted_model()
            && self.by_model.len() <= MOST_MODELS
        {
            let models = self.by_model.iter().filter(|(model, _)| model.contains(&wanted));
            let sets: Vec<&Nodes> = models.map(|(_, nodes)| nodes).take(MOST_SETS + 1).collect();
            if sets.len() <= MOST_SETS {
                found.push(Candidates::Of(sets));
            }
        }
        for label in &query.labels {
            found.push(Candidates::Of(self.by_label.get(label).into_iter().collect()));
        }
        found.into_iter().min_by_key(|candidates| candidates.size(all)).unwrap_or(Candidates::All)
    }

    #[cfg(test)]
    pub(crate) fn check(&self, nodes: &BTreeMap<NodeId, Listed>) {
        let mut built = Self::default();
        for (node, listed) in nodes {
            built.insert(*node, listed);
        }
        assert_eq!(*self, built);
    }
}

fn remove<K: Ord>(entry: Entry<'_, K, Nodes>, node: NodeId) {
    if let Entry::Occupied(mut nodes) = entry {
        nodes.get_mut().remove(&node);
        if nodes.get().is_empty() {
            nodes.remove();
        }
    }
}
