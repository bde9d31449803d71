//! Free capacity of all nodes that may get work, ordered so that the best fit comes first.
//!
//! The order is (kind, free GPUs, free CPU time, node): within a kind the first node from the wanted numbers on is the
//! tightest fit, found in O(log n). The same order is kept for the nodes of every label, of every value of it, and of
//! every provider: whatever a shape asks for, the smallest of the sets that it names is searched.
//!
//! The index only proposes; [`super::filter`] decides on the node itself.

use std::collections::BTreeMap;

use lode_protocol::hash::Digest;
use lode_protocol::ids::{NodeId, ProviderId};

use super::super::node::Node;
use super::filter::is_free;
use super::kinds::{KindId, Kinds, Verdict};
use super::labels::{Labels, SetId};
use super::places::{Handle, Place, Places, Room};
use super::requirement::Requirement;

/// What a node's kind and sets follow from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Described {
    specs: Digest,
    provider: Option<ProviderId>,
    class: Option<u32>,
}

impl Described {
    fn of(node: &Node) -> Self {
        Described {
            specs: node.hardware.specs,
            provider: node.facts.registration().map(|registration| registration.provider),
            class: node.facts.proven_class(),
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Listing {
    pub(super) node: NodeId,
    pub(super) place: Place,
    pub(super) sets: Box<[SetId]>,
    described: Described,
}

/// The index.
#[derive(Clone, Debug, Default)]
pub(crate) struct Index {
    pub(super) kinds: Kinds,
    pub(super) order: Places,
    pub(super) labels: Labels,
    handles: BTreeMap<NodeId, Handle>,
    /// By handle.
    listings: Vec<Option<Listing>>,
    unused: Vec<Handle>,
}

impl Index {
    /// Lists a node with its present free capacity; whether it stands elsewhere now.
    pub(crate) fn list(&mut self, node: &Node) -> bool {
        let described = Described::of(node);
        if let Some(handle) = self.handles.get(&node.id).copied()
            && let Some(listing) = listing_mut(&mut self.listings, handle)
            && listing.described == described
        {
            let place = place(node, listing.place.kind, handle);
            let moved = listing.place != place;
            if moved {
                self.order.remove(&listing.place);
                self.order.insert(place);
                self.labels.shift(&listing.sets, &listing.place, place);
                listing.place = place;
            }
            return moved;
        }
        self.unlist(&node.id);
        let handle = self.unused.pop().unwrap_or_else(|| {
            self.listings.push(None);
            Handle(u32::try_from(self.listings.len().saturating_sub(1)).unwrap_or(u32::MAX))
        });
        let place = place(node, self.kinds.acquire(node), handle);
        let sets = self.labels.enter(node, place);
        self.order.insert(place);
        self.handles.insert(node.id, handle);
        if let Some(slot) = slot_mut(&mut self.listings, handle) {
            *slot = Some(Listing { node: node.id, place, sets, described });
        }
        true
    }

    /// Takes a node out.
    pub(crate) fn unlist(&mut self, id: &NodeId) {
        let Some(handle) = self.handles.remove(id) else { return };
        self.unused.push(handle);
        let Some(listing) = slot_mut(&mut self.listings, handle).and_then(Option::take) else { return };
        self.order.remove(&listing.place);
        self.labels.leave(&listing.sets, &listing.place);
        self.kinds.release(listing.place.kind);
    }

    pub(crate) fn is_listed(&self, id: &NodeId) -> bool {
        self.handles.contains_key(id)
    }

    /// GPUs that are free on a listed node.
    pub(super) fn free_gpus(&self, id: &NodeId) -> Option<u32> {
        Some(self.listing_of(id)?.place.free_gpus)
    }

    /// Brings up to date which kinds may fit.
    pub(super) fn judge(&self, requirement: &Requirement, verdict: &mut Verdict) {
        self.kinds.judge(requirement, verdict);
    }

    pub(super) fn listing(&self, handle: Handle) -> Option<&Listing> {
        self.listings.get(usize::try_from(handle.0).ok()?)?.as_ref()
    }

    pub(super) fn listing_of(&self, id: &NodeId) -> Option<&Listing> {
        self.listing(*self.handles.get(id)?)
    }
}

fn slot_mut(listings: &mut [Option<Listing>], handle: Handle) -> Option<&mut Option<Listing>> {
    listings.get_mut(usize::try_from(handle.0).ok()?)
}

fn listing_mut(listings: &mut [Option<Listing>], handle: Handle) -> Option<&mut Listing> {
    slot_mut(listings, handle)?.as_mut()
}

fn place(node: &Node, kind: KindId, handle: Handle) -> Place {
    let free = node.hardware.gpus.iter().filter(|slot| is_free(node, slot)).count();
    Place {
        kind,
        free_gpus: u32::try_from(free).unwrap_or(u32::MAX),
        free_cpus: u32::try_from(node.free_cpus()).unwrap_or(u32::MAX),
        node: handle,
        room: Room::of(node.free_memory(), node.free_disk()),
    }
}
