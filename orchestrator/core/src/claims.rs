//! One GPU, one listing: what follows when two nodes name the same UUID at the same time.
//!
//! A UUID is what a worker says, and nobody can see from here which of two is right. So the incumbent keeps its work and
//! gets more: of those that are heard the one that has work on the GPU, else the member, else the one that named it first.
//! The other one gets none for that GPU, and people are told of both. When one of the two is silent, or names it no more,
//! the other has it: hardware moves from host to host.
//!
//! Not durable: after a restart those that are heard first name theirs first, and work on a GPU comes before that.

use std::collections::{BTreeMap, BTreeSet};

use lode_protocol::error_code::ErrorCode;
use lode_protocol::finding::Finding;
use lode_protocol::hash::Digest;
use lode_protocol::ids::{Address, GpuUuid, NodeId};

use super::Core;
use super::effect::Action;
use super::hardware::Withheld;
use super::lease::is_in_pool;
use super::node::{Liveness, Node, NodeLifecycle};

const CODE: &str = "gpu/claimed-twice";
/// GPUs that a finding names.
const NAMED: usize = 4;

/// Who names which GPU.
#[derive(Clone, Debug, Default)]
pub(crate) struct Claims {
    /// Order in which GPUs were named, by the GPU's fingerprint and the node.
    tickets: BTreeMap<(u64, NodeId), u64>,
    next: u64,
    claimants: BTreeMap<NodeId, Claimant>,
    contests: BTreeMap<GpuUuid, Contest>,
    told: BTreeSet<NodeId>,
}

/// What a node names, as it was looked at last.
#[derive(Clone, Debug)]
struct Claimant {
    basis: Basis,
    gpus: Box<[u64]>,
}

/// What a node's claims follow from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Basis {
    specs: Digest,
    member: bool,
}

/// A GPU that several nodes name.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Contest {
    incumbent: NodeId,
    others: BTreeSet<NodeId>,
}

/// Who has a GPU comes first: work on it, membership, the ticket.
type Rank = (bool, bool, u64, NodeId);

impl Contest {
    fn nodes(&self) -> impl Iterator<Item = &NodeId> {
        std::iter::once(&self.incumbent).chain(&self.others)
    }
}

impl Basis {
    /// `None`: the node claims nothing now. Who is not registered could claim anything at no cost.
    fn of(node: &Node) -> Option<Basis> {
        let out = matches!(node.standing, NodeLifecycle::Ejected { .. } | NodeLifecycle::Gone);
        let known = node.facts.registration().is_some() || is_in_pool(&node.standing);
        if out || !known || node.liveness == Liveness::Lost {
            return None;
        }
        Some(Basis { specs: node.hardware.specs, member: is_in_pool(&node.standing) })
    }
}

impl Core {
    /// Brings up to date what a node claims, and what follows for the others.
    pub(crate) fn settle_claims(&mut self, id: &NodeId) {
        let basis = self.nodes.get(id).and_then(|node| Basis::of(node));
        if self.claims.claimants.get(id).map(|known| known.basis) == basis {
            return;
        }
        let before: Box<[u64]> = self.claims.claimants.remove(id).map(|known| known.gpus).unwrap_or_default();
        self.withhold(id, &BTreeMap::new());
        let now = match basis.and_then(|_| self.nodes.get(id)) {
            Some(node) => described(node),
            None => Box::default(),
        };
        for gone in before.iter().filter(|gpu| !now.contains(gpu)) {
            self.claims.tickets.remove(&(*gone, *id));
        }
        for gpu in &now {
            let next = self.claims.next;
            self.claims.tickets.entry((*gpu, *id)).or_insert(next);
        }
        self.claims.next = self.claims.next.saturating_add(1);
        let affected: BTreeSet<u64> = before.iter().chain(&now).copied().collect();
        if let Some(basis) = basis {
            self.claims.claimants.insert(*id, Claimant { basis, gpus: now });
        }
        let mut concerned = BTreeSet::new();
        for gpu in affected {
            self.settle_gpu(gpu, &mut concerned);
        }
        for node in concerned {
            self.tell_contests(&node);
        }
    }

    /// Decides anew who has the GPUs of one fingerprint: one, but for a coincidence.
    fn settle_gpu(&mut self, gpu: u64, concerned: &mut BTreeSet<NodeId>) {
        let (first, last) = (NodeId(Address([0; 20])), NodeId(Address([u8::MAX; 20])));
        let claimants: Vec<(NodeId, u64)> =
            self.claims.tickets.range((gpu, first)..=(gpu, last)).map(|((_, id), at)| (*id, *at)).collect();
        if claimants.len() < 2 && self.claims.contests.is_empty() {
            return;
        }
        let mut ranked: BTreeMap<GpuUuid, BTreeSet<Rank>> = BTreeMap::new();
        for (id, ticket) in claimants {
            let Some(node) = self.nodes.get(&id) else { continue };
            let slots = node.hardware.gpus.iter();
            for slot in slots.filter(|slot| slot.described && fingerprint(&slot.uuid) == gpu) {
                let rank = (slot.holder.is_none(), !is_in_pool(&node.standing), ticket, id);
                ranked.entry(slot.uuid.clone()).or_default().insert(rank);
            }
        }
        let known: Vec<GpuUuid> =
            self.claims.contests.keys().filter(|uuid| fingerprint(uuid) == gpu).cloned().collect();
        for uuid in known.into_iter().filter(|uuid| !ranked.contains_key(uuid)) {
            let over = self.claims.contests.remove(&uuid);
            concerned.extend(over.iter().flat_map(Contest::nodes));
        }
        for (uuid, claims) in ranked {
            let mut order = claims.iter().map(|(_, _, _, id)| *id);
            let Some(incumbent) = order.next() else { continue };
            let contest = Contest { incumbent, others: order.collect() };
            for id in contest.nodes() {
                let by = (*id != incumbent).then_some(incumbent);
                self.withhold(id, &BTreeMap::from([(uuid.clone(), by)]));
            }
            let before = match contest.others.is_empty() {
                true => self.claims.contests.remove(&uuid),
                false => self.claims.contests.insert(uuid.clone(), contest.clone()),
            };
            if before.as_ref() != Some(&contest) {
                concerned.extend(before.iter().flat_map(Contest::nodes));
                concerned.extend(contest.nodes().filter(|_| !contest.others.is_empty()));
            }
        }
    }

    /// Notes on a node which of these GPUs others have; those that are not named here are left as they are, all are free
    /// where none is.
    fn withhold(&mut self, id: &NodeId, gpus: &BTreeMap<GpuUuid, Option<NodeId>>) {
        let wanted = |uuid: &GpuUuid, known: Option<Withheld>| match (gpus.is_empty(), gpus.get(uuid), known)
        {
            (_, _, Some(Withheld::TooSmall)) => known,
            (true, _, _) => None,
            (false, Some(by), _) => by.map(Withheld::ClaimedBy),
            (false, None, _) => known,
        };
        let slots = self.nodes.get(id).map(|node| node.hardware.gpus.as_slice()).unwrap_or_default();
        if slots.iter().all(|slot| wanted(&slot.uuid, slot.withheld) == slot.withheld) {
            return;
        }
        let Some(node) = self.nodes.get_mut(id) else { return };
        for slot in &mut node.hardware.gpus {
            slot.withheld = wanted(&slot.uuid, slot.withheld);
        }
    }

    fn tell_contests(&mut self, id: &NodeId) {
        let subject = id.to_string();
        let (mut denied, mut kept) = (Vec::new(), Vec::new());
        for (uuid, contest) in &self.claims.contests {
            if contest.others.contains(id) {
                denied.push(format!("{uuid} (node {})", contest.incumbent));
            } else if contest.incumbent == *id {
                let others: Vec<String> =
                    contest.others.iter().map(|other| format!("node {other}")).collect();
                kept.push(format!("{uuid} ({})", list(&others)));
            }
        }
        let mut parts = Vec::new();
        if !denied.is_empty() {
            parts.push(format!(
                "This node names GPUs that another node named before, and gets no work for them: {}.",
                list(&denied)
            ));
        }
        if !kept.is_empty() {
            parts.push(format!(
                "GPUs of this node are named by another node too; it keeps its work: {}.",
                list(&kept)
            ));
        }
        if parts.is_empty() {
            if self.claims.told.remove(id) {
                self.act(Action::ClearFinding { code: ErrorCode::new(CODE), subject });
            }
            return;
        }
        self.claims.told.insert(*id);
        let finding = Finding::error(CODE, parts.join(" ")).about(subject);
        self.act(Action::RaiseFinding(finding.remedy(
            "Ask both providers: a GPU is in one host. A virtual machine that was cloned with its GPU needs one of its own; who names the GPUs of others is to be ejected.",
        )));
    }
}

/// Fingerprints of the GPUs that a node's descriptor names.
fn described(node: &Node) -> Box<[u64]> {
    node.hardware.gpus.iter().filter(|slot| slot.described).map(|slot| fingerprint(&slot.uuid)).collect()
}

fn list(names: &[String]) -> String {
    let mut text = names.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    if let Some(more) = names.len().checked_sub(NAMED).filter(|more| *more > 0) {
        text += &format!(" and {more} more");
    }
    text
}

/// FNV-1a. Two GPUs of one fingerprint are told apart by their UUIDs.
fn fingerprint(uuid: &GpuUuid) -> u64 {
    uuid.as_str().bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
