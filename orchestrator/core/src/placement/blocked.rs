//! Shapes that wait for capacity, by what a node must have to take them: one that grows is asked only for what it could
//! take, oldest first.
//!
//! Each shape is filed under its *anchors* and its GPUs. An anchor is one thing that every node that fits must have: one
//! of the values that a constraint allows, a label that must exist, or nothing in particular.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use lode_protocol::task::{Constraint, ConstraintOperator};

use super::super::node::Node;
use super::labels::{PROVIDER, is_reserved, provider};
use super::requirement::Requirement;
use crate::state::shape::ShapeId;

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Anchor {
    Any,
    Key(String),
    Value(String, String),
}

impl Anchor {
    /// What every node that fits has; more than one: it has one of them.
    fn of(requirement: &Requirement) -> Vec<Anchor> {
        let constraints = &requirement.constraints;
        // One version has many spellings.
        let named = constraints.iter().find(|constraint| {
            constraint.operator == ConstraintOperator::In && !Constraint::is_version(&constraint.key)
        });
        if let Some(named) = named {
            let address = matches!(named.key.as_str(), "node" | PROVIDER);
            let value = |value: &String| if address { value.to_ascii_lowercase() } else { value.clone() };
            let values: BTreeSet<String> = named.values.iter().map(value).collect();
            return values.into_iter().map(|value| Anchor::Value(named.key.clone(), value)).collect();
        }
        let exists = constraints.iter().find(|constraint| {
            constraint.operator == ConstraintOperator::Exists && !is_reserved(&constraint.key)
        });
        vec![exists.map_or(Anchor::Any, |constraint| Anchor::Key(constraint.key.clone()))]
    }

    /// Everything that a node has.
    pub(super) fn of_node(node: &Node) -> Vec<Anchor> {
        let value = |key: &str, value: &str| Anchor::Value(key.to_owned(), value.to_owned());
        let mut anchors = vec![
            Anchor::Any,
            value("node", &node.id.to_string().to_ascii_lowercase()),
            value("architecture", &node.hardware.architecture),
            value("os", &node.hardware.os),
        ];
        anchors.extend(provider(node).map(|provider| Anchor::Value(PROVIDER.to_owned(), provider)));
        for (key, label) in node.hardware.labels.iter().filter(|(key, _)| !is_reserved(key)) {
            anchors.push(Anchor::Key(key.clone()));
            anchors.push(value(key, label));
        }
        anchors
    }
}

/// Ticket of the replica that waits longest, and its shape.
pub(super) type Aged = (u64, ShapeId);

/// The numbers of a shape, so that it need not be looked up to be turned away.
#[derive(Clone, Copy, Debug)]
pub(super) struct Numbers {
    cpus: u64,
    memory: u64,
    disk: u64,
}

impl Numbers {
    fn fit(self, node: &Node) -> bool {
        self.cpus <= node.free_cpus() && self.memory <= node.free_memory() && self.disk <= node.free_disk()
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Blocked {
    by_anchor: BTreeMap<(Anchor, u32), BTreeMap<Aged, Numbers>>,
    by_gpus: BTreeMap<u32, BTreeSet<Aged>>,
}

impl Blocked {
    pub(super) fn insert(&mut self, aged: Aged, requirement: &Requirement) {
        let Requirement { gpus, cpus, memory, disk, .. } = *requirement;
        for anchor in Anchor::of(requirement) {
            let numbers = Numbers { cpus, memory, disk };
            self.by_anchor.entry((anchor, gpus)).or_default().insert(aged, numbers);
        }
        self.by_gpus.entry(gpus).or_default().insert(aged);
    }

    pub(super) fn remove(&mut self, aged: &Aged, requirement: &Requirement) {
        for anchor in Anchor::of(requirement) {
            let key = (anchor, requirement.gpus);
            let Some(shapes) = self.by_anchor.get_mut(&key) else { continue };
            shapes.remove(aged);
            if shapes.is_empty() {
                self.by_anchor.remove(&key);
            }
        }
        let Some(shapes) = self.by_gpus.get_mut(&requirement.gpus) else { return };
        shapes.remove(aged);
        if shapes.is_empty() {
            self.by_gpus.remove(&requirement.gpus);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_gpus.is_empty()
    }

    /// Numbers of GPUs that shapes wait for, up to one.
    pub(super) fn gpus(&self, most: u32) -> impl Iterator<Item = u32> {
        self.by_gpus.range(..=most).map(|(gpus, _)| *gpus)
    }

    /// The oldest shape from a ticket on that waits for so many GPUs.
    pub(super) fn oldest(&self, gpus: u32, from: u64) -> Option<Aged> {
        self.by_gpus.get(&gpus)?.range((from, ShapeId(0))..).next().copied()
    }

    /// All of them.
    pub(super) fn all(&self) -> impl Iterator<Item = ShapeId> {
        self.by_gpus.values().flatten().map(|(_, id)| *id)
    }

    /// Shapes from a ticket on that a node with these anchors could take, the oldest first; with them whether its free
    /// CPU time, memory and disk suffice.
    pub(super) fn for_node<'a>(
        &'a self,
        node: &'a Node,
        anchors: &'a [Anchor],
        gpus: &'a [u32],
        from: u64,
    ) -> impl Iterator<Item = (Aged, bool)> + 'a {
        let mut heads: Vec<_> = anchors
            .iter()
            .flat_map(|anchor| gpus.iter().filter_map(|gpus| self.by_anchor.get(&(anchor.clone(), *gpus))))
            .map(|shapes| shapes.range((Bound::Included((from, ShapeId(0))), Bound::Unbounded)).peekable())
            .collect();
        std::iter::from_fn(move || {
            let (aged, index) = (0..)
                .zip(&mut heads)
                .filter_map(|(index, head)| head.peek().map(|(aged, _)| (**aged, index)))
                .min()?;
            let head: &mut _ = heads.get_mut::<usize>(index)?;
            head.next().map(|(_, numbers)| (aged, numbers.fit(node)))
        })
    }
}
