//! Proposes nodes for a shape, tightest fit first.
//!
//! Of the sets that a shape's constraints name the smallest is searched (all nodes where they name none), kind by kind,
//! from the fewest free GPUs on. What the index knows decides without the node: kind, labels, provider, free GPUs, CPU
//! time, memory and disk. A search that runs out of effort goes on later where it stopped: nodes that have grown
//! meanwhile are asked for themselves (see [`super::queue`]), so that it misses none.

use lode_protocol::ids::{Address, NodeId};
use lode_protocol::task::ConstraintOperator;

use super::effort::Effort;
use super::index::{Index, Listing};
use super::kinds::KindId;
use super::labels::{Clause, SetId};
use super::places::{Flow, Place, Places, Room, Scan};
use super::requirement::Requirement;

/// Which set is searched.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Source {
    All,
    /// These, which have no node in common.
    Sets(Vec<SetId>),
    /// The nodes that the constraints name by themselves.
    Nodes(Vec<NodeId>),
}

/// Where a search was interrupted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Cursor {
    source: Source,
    /// Index of the set that is searched at this level.
    set: usize,
    at: Place,
}

/// How a search ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Search {
    /// Whoever asks has seen enough, or everything.
    Ended,
    /// No more effort; it goes on from here.
    Interrupted(Cursor),
}

impl Index {
    /// Proposes nodes of these kinds until `visit` has seen enough.
    pub(super) fn search(
        &self,
        requirement: &Requirement,
        kinds: &[KindId],
        from: Option<&Cursor>,
        effort: &mut Effort,
        mut visit: impl FnMut(&NodeId, &mut Effort) -> Flow,
    ) -> Search {
        let clauses: Vec<Clause> =
            requirement.constraints.iter().filter_map(|constraint| self.labels.clause(constraint)).collect();
        let mut visit = |listing: &Listing, effort: &mut Effort| {
            if !clauses.iter().all(|clause| clause.holds(&listing.sets)) {
                return Flow::Continue;
            }
            effort.visit();
            visit(&listing.node, effort)
        };
        // A search whose kind is gone begins anew.
        let from = from.filter(|cursor| kinds.contains(&cursor.at.kind));
        let source = from.map_or_else(|| self.source(requirement, &clauses), |cursor| cursor.source.clone());
        let sets: Vec<&Places> = match &source {
            Source::All => vec![&self.order],
            Source::Sets(ids) => ids.iter().filter_map(|id| self.labels.places(*id)).collect(),
            Source::Nodes(ids) => {
                for id in ids {
                    effort.look();
                    let Some(listing) = self.listing_of(id).filter(|known| kinds.contains(&known.place.kind))
                    else {
                        continue;
                    };
                    if visit(listing, effort) == Flow::Enough {
                        break;
                    }
                }
                return Search::Ended;
            }
        };
        let skipped = from
            .map_or(0, |cursor| kinds.iter().position(|kind| *kind == cursor.at.kind).unwrap_or_default());
        let mut resume = from.map(|cursor| (cursor.set, cursor.at));
        for kind in kinds.iter().skip(skipped) {
            match self.walk(*kind, &sets, requirement, resume.take(), effort, &mut visit) {
                Walk::Done => {}
                Walk::Enough => return Search::Ended,
                Walk::Interrupted { set, at } => {
                    return Search::Interrupted(Cursor { source, set, at });
                }
            }
        }
        Search::Ended
    }

    /// Walks one kind, level by level of free GPUs.
    fn walk(
        &self,
        kind: KindId,
        sets: &[&Places],
        requirement: &Requirement,
        resume: Option<(usize, Place)>,
        effort: &mut Effort,
        visit: &mut impl FnMut(&Listing, &mut Effort) -> Flow,
    ) -> Walk {
        let cpus = u32::try_from(requirement.cpus).unwrap_or(u32::MAX);
        let needs = Room::of(requirement.memory, requirement.disk);
        let (mut first_set, mut first_place) = (0, None);
        let mut level = requirement.gpus;
        if let Some((set, at)) = resume {
            (first_set, first_place, level) = (set, Some(at), at.free_gpus);
        }
        loop {
            let Some(above) = level.checked_add(1) else { return Walk::Done };
            let end = Place::first(kind, above, 0);
            for (number, places) in sets.iter().enumerate().skip(std::mem::take(&mut first_set)) {
                let from = first_place.take().unwrap_or_else(|| Place::first(kind, level, cpus));
                let scan = places.scan(&from, &end, needs, effort, |place, effort| {
                    self.listing(place.node).map_or(Flow::Continue, |listing| visit(listing, effort))
                });
                match scan {
                    Scan::Done => {}
                    Scan::Enough => return Walk::Enough,
                    Scan::Interrupted(at) => return Walk::Interrupted { set: number, at },
                }
            }
            let next =
                sets.iter().filter_map(|places| places.first_at(&end)).filter(|place| place.kind == kind);
            match next.map(|place| place.free_gpus).min() {
                Some(next) => level = next,
                None => return Walk::Done,
            }
        }
    }

    /// The smallest set in which every fitting node is.
    fn source(&self, requirement: &Requirement, clauses: &[Clause]) -> Source {
        let named = requirement
            .constraints
            .iter()
            .find(|constraint| constraint.key == "node" && constraint.operator == ConstraintOperator::In);
        if let Some(named) = named {
            let mut nodes: Vec<NodeId> = named
                .values
                .iter()
                .filter_map(|value| value.to_ascii_lowercase().parse::<Address>().ok())
                .map(NodeId)
                .collect();
            nodes.sort_unstable();
            nodes.dedup();
            return Source::Nodes(nodes);
        }
        let size = |ids: &[SetId]| -> usize {
            ids.iter().filter_map(|id| self.labels.places(*id)).map(Places::len).sum()
        };
        let smallest = clauses
            .iter()
            .filter_map(|clause| match clause {
                Clause::In(sets) => Some((size(sets), sets)),
                Clause::NotIn(_) => None,
            })
            .min_by_key(|(size, _)| *size);
        match smallest {
            Some((size, sets)) if size < self.order.len() => Source::Sets(sets.clone()),
            Some(_) | None => Source::All,
        }
    }
}

/// How the walk of one kind ended.
enum Walk {
    Done,
    Enough,
    Interrupted { set: usize, at: Place },
}
