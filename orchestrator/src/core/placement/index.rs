//! Free capacity of all nodes that may get work, ordered so that the best fit comes first.
//!
//! Nodes are grouped by *profile*: the set of (model, memory) pairs of their GPUs. A pool has few profiles however many
//! nodes it has. Within a profile the order is (free GPUs, free CPU time, node): the first node from the wanted numbers
//! on is the tightest fit, found in O(log n). Nodes are also listed by label, so that a rare label is not searched for
//! among all nodes.
//!
//! The index only proposes; [`super::filter`] decides on the node itself.

use std::collections::{BTreeMap, BTreeSet};

use lode_protocol::ids::NodeId;

use super::super::hardware::Profile;
use super::super::node::Node;
use super::filter::is_free;
use super::requirement::Requirement;

/// A label's nodes are walked instead of the profiles if there are at most this many of them.
const RARE_LABEL: usize = 1_024;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct ProfileId(u32);

/// Where a node stands in the order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Place {
    profile: ProfileId,
    free_gpus: u32,
    free_cpus: u64,
    node: NodeId,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Listing {
    place: Place,
    labels: Box<[(String, String)]>,
}

/// The index.
#[derive(Clone, Debug, Default)]
pub(crate) struct Index {
    /// By memory, so that smaller GPUs are proposed first.
    profiles: BTreeMap<Profile, ProfileId>,
    order: BTreeSet<Place>,
    labels: BTreeMap<(String, String), BTreeSet<NodeId>>,
    listings: BTreeMap<NodeId, Listing>,
}

impl Index {
    /// Lists a node with its present free capacity.
    pub(crate) fn list(&mut self, node: &Node) {
        let place = self.place(node);
        if let Some(listing) = self.listings.get_mut(&node.id) {
            let same_labels = listing.labels.len() == node.hardware.labels.len()
                && listing.labels.iter().map(|(key, value)| (key, value)).eq(&node.hardware.labels);
            if same_labels {
                if listing.place != place {
                    self.order.remove(&listing.place);
                    self.order.insert(place);
                    listing.place = place;
                }
                return;
            }
        }
        self.unlist(&node.id);
        let labels: Box<[(String, String)]> =
            node.hardware.labels.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        for label in &labels {
            self.labels.entry(label.clone()).or_default().insert(node.id);
        }
        self.order.insert(place);
        self.listings.insert(node.id, Listing { place, labels });
    }

    /// Takes a node out.
    pub(crate) fn unlist(&mut self, id: &NodeId) {
        let Some(listing) = self.listings.remove(id) else { return };
        self.order.remove(&listing.place);
        for label in &listing.labels {
            if let Some(nodes) = self.labels.get_mut(label) {
                nodes.remove(id);
                if nodes.is_empty() {
                    self.labels.remove(label);
                }
            }
        }
    }

    pub(crate) fn is_listed(&self, id: &NodeId) -> bool {
        self.listings.contains_key(id)
    }

    fn place(&mut self, node: &Node) -> Place {
        let profile = &node.hardware.profile;
        let free = node.hardware.gpus.iter().filter(|slot| is_free(node, slot)).count();
        let known = self.profiles.get(profile).copied();
        let profile = known.unwrap_or_else(|| {
            let fresh = ProfileId(u32::try_from(self.profiles.len()).unwrap_or(u32::MAX));
            self.profiles.insert(profile.clone(), fresh);
            fresh
        });
        Place {
            profile,
            free_gpus: u32::try_from(free).unwrap_or(u32::MAX),
            free_cpus: node.free_cpus(),
            node: node.id,
        }
    }

    /// Proposes nodes, tightest fit first, until `visit` says that it has seen enough.
    pub(crate) fn propose(&self, requirement: &Requirement, mut visit: impl FnMut(&NodeId) -> bool) {
        if let Some(rare) = self.rarest_label(requirement) {
            for id in rare {
                if !visit(id) {
                    return;
                }
            }
            return;
        }
        for (profile, id) in &self.profiles {
            if matches(profile, requirement) && !self.walk(*id, requirement, &mut visit) {
                return;
            }
        }
    }

    /// Walks one profile; `false` if `visit` has seen enough.
    fn walk(
        &self,
        profile: ProfileId,
        requirement: &Requirement,
        visit: &mut impl FnMut(&NodeId) -> bool,
    ) -> bool {
        let least_node = NodeId::default();
        let mut level = requirement.gpus;
        loop {
            let from = Place { profile, free_gpus: level, free_cpus: requirement.cpus, node: least_node };
            let mut next_level = None;
            for place in self.order.range(from..) {
                if place.profile != profile {
                    return true;
                }
                if place.free_gpus != level {
                    next_level = Some(place.free_gpus);
                    break;
                }
                if !visit(&place.node) {
                    return false;
                }
            }
            match next_level {
                Some(next) => level = next,
                None => return true,
            }
        }
    }

    /// The nodes of the rarest label that the constraints ask for, if they are few.
    fn rarest_label(&self, requirement: &Requirement) -> Option<Vec<&NodeId>> {
        let mut rarest: Option<Vec<&BTreeSet<NodeId>>> = None;
        let mut fewest = RARE_LABEL;
        for constraint in requirement.required_labels() {
            if matches!(constraint.key.as_str(), "node" | "provider" | "architecture" | "os") {
                continue;
            }
            let sets: Vec<&BTreeSet<NodeId>> = constraint
                .values
                .iter()
                .filter_map(|value| self.labels.get(&(constraint.key.clone(), value.clone())))
                .collect();
            let count = sets.iter().map(|set| set.len()).sum();
            if count <= fewest {
                fewest = count;
                rarest = Some(sets);
            }
        }
        Some(rarest?.into_iter().flatten().collect())
    }
}

/// Whether a node of this profile may have the wanted GPUs at all.
fn matches(profile: &Profile, requirement: &Requirement) -> bool {
    requirement.gpus == 0
        || profile.iter().any(|(memory, model)| {
            requirement.accepts_model(model.as_deref()) && requirement.accepts_memory(*memory)
        })
}
