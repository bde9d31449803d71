//! What a validator learns of chain and directory: blocks with their events, answers to questions, descriptors page by
//! page.

use std::collections::{BTreeMap, BTreeSet};

use lode_chain_types::{Epoch, SettlementParameters, SlashingParameters};
use lode_discovery_core::Query;
use lode_protocol::amount::Amount;
use lode_protocol::cursor::Cursor;
use lode_protocol::directory::{DirectoryChange, DirectoryEntry};
use lode_protocol::hash::Digest;
use lode_protocol::ids::{NodeId, ProviderId};
use lode_protocol::units::{Millis, Timestamp};
use lode_validator_core::{Description, Event, Facts};

use super::ValidatorHappening;
use crate::chain::PROVIDER;
use crate::directory::publishing::Version;
use crate::earnings::VETO_SECONDS;
use crate::validator_set::TIMING;
use crate::world::World;

/// How far back something can have happened that a validator must know: a veto window.
const WINDOW: Millis = Millis::seconds(VETO_SECONDS + 12);
/// Entries on one page of the directory.
const PAGE: usize = 3;
/// Wait before a question is put again that must be answered.
const AGAIN: u64 = 1_000;

/// A question to the chain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Question {
    /// About nodes.
    Facts(Vec<NodeId>),
    /// About weights.
    Standing(Epoch),
    /// About a root.
    Root(Epoch),
    /// About a beacon.
    Beacon(Epoch),
    /// Whom this validator checks.
    Drawn(Epoch, Vec<NodeId>),
}

/// Where a validator is in the directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Reading {
    /// Nowhere yet.
    #[default]
    Start,
    /// After this node; changes go on at the first page's cursor.
    Pages(NodeId, Cursor),
    /// It has read everything, and changes up to here.
    Changes(Cursor),
}

/// What it follows, and how far.
#[derive(Debug, Default)]
pub struct Following {
    told: Option<Digest>,
    /// Time of the latest block that it was told.
    pub(crate) head: Timestamp,
    reading: Reading,
    /// The newest descriptor of each node that it was shown.
    pub(crate) known: BTreeMap<NodeId, Version>,
}

impl World {
    /// Everybody who follows the chain hears of its blocks a little later.
    pub(crate) fn followers_hear(&mut self) {
        let after = self.dice.between(10, 400);
        self.directory_follows(after);
        for number in 0..self.validators.len() {
            let after = self.dice.between(10, 400);
            self.later(after, number, ValidatorHappening::HearsChain);
        }
    }

    /// Blocks since the last one; all of the window where that one was replaced.
    pub(crate) fn validator_hears_chain(&mut self, number: usize) {
        let Some(head) = self.chain.head().filter(|_| self.chain.answers) else { return };
        let mut events = Vec::new();
        let history = &self.chain.history;
        let known = |told: &Digest| history.iter().rposition(|(block, _)| block.hash == *told);
        let from = match self.validators[number].following.told.map(|told| known(&told)) {
            Some(Some(position)) => position + 1,
            told @ (Some(None) | None) => {
                if told.is_none() {
                    events.extend([Event::Timing(TIMING), terms()]);
                    events.extend(self.outcomes_again(number));
                } else {
                    events.push(Event::Resync);
                }
                let begins = head.timestamp.minus(WINDOW);
                history.iter().position(|(block, _)| block.timestamp >= begins).unwrap_or(0)
            }
        };
        let logged: Vec<_> =
            history.iter().skip(from).flat_map(|(_, events)| events.iter().cloned()).collect();
        if !logged.is_empty() {
            events.push(Event::Logged(logged));
        }
        events.push(Event::Head(head));
        let following = &mut self.validators[number].following;
        following.told = Some(head.hash);
        following.head = following.head.max(head.timestamp);
        let outcomes = self.outcomes(number);
        if self.dice.chance(500) {
            events.extend(outcomes);
        } else {
            events.splice(0..0, outcomes);
        }
        for event in events {
            self.validator_event(number, event);
        }
    }

    /// Puts a question to the chain.
    pub(crate) fn ask_chain(&mut self, number: usize, question: Question) -> Option<Event> {
        let after = self.dice.between(10, 500);
        self.later(after, number, ValidatorHappening::Answered(question));
        None
    }

    /// The chain answers, or not: what must be answered is asked again.
    pub(crate) fn chain_answers_validator(&mut self, number: usize, question: Question) {
        let head = self.chain.head().filter(|_| self.chain.answers);
        let Some(head) = head else {
            if matches!(question, Question::Facts(_) | Question::Drawn(..)) {
                self.later(AGAIN, number, ValidatorHappening::Answered(question));
            }
            return;
        };
        match question {
            Question::Facts(nodes) => {
                for node in nodes {
                    let facts = self.facts_of(&node, head.timestamp);
                    self.validator_event(number, Event::Facts { node, facts });
                }
            }
            Question::Standing(epoch) => {
                let total = Amount::tokens(self.chain.set.count());
                self.validator_event(number, Event::Standing { epoch, own: Amount::tokens(1), total });
            }
            Question::Root(epoch) => {
                let root = self.chain.set.root(epoch);
                self.validator_event(number, Event::Root { epoch, root });
            }
            Question::Beacon(epoch) => {
                let beacon = self.chain.set.beacon(epoch);
                self.validator_event(number, Event::Beacon { epoch, beacon });
            }
            // Without a beacon the call fails: it is asked again when the beacon is told.
            Question::Drawn(epoch, nodes) if self.chain.set.beacon(epoch).is_some() => {
                for node in nodes {
                    self.validator_event(number, Event::Drawn { epoch, node, drawn: true });
                }
            }
            Question::Drawn(..) => {}
        }
    }

    fn facts_of(&self, node: &NodeId, at: Timestamp) -> Facts {
        let facts = self.host(*node).map(|host| &self.chain.facts[&host]);
        let registered = facts.filter(|facts| facts.registered);
        let registration = registered.map_or(0, |facts| facts.registration);
        Facts {
            provider: registered.map(|_| ProviderId(PROVIDER)),
            proven: self.chain.set.proven(node, registration, at),
        }
    }

    /// Reads on in the directory: one answer at a time.
    pub(crate) fn validator_looks_at_directory(&mut self, number: usize) {
        let after = self.dice.between(500, 3_000);
        self.later(after, number, ValidatorHappening::LooksAtDirectory);
        // A request that is lost is made again.
        if self.journeys().is_empty() {
            return;
        }
        let Some(core) = &self.directory.core else { return };
        let listing = core.listing();
        let page = |after| Query { after, limit: PAGE, ..Query::default() }.run(listing);
        let (entries, next) = match self.validators[number].following.reading {
            Reading::Start => {
                let page = page(None);
                (page.nodes, reading(page.next, page.cursor))
            }
            Reading::Pages(after, first) => {
                let page = page(Some(after));
                (page.nodes, reading(page.next, first))
            }
            Reading::Changes(cursor) => {
                let page = listing.changes(Some(cursor), PAGE, usize::MAX);
                let next = if page.resync { Reading::Start } else { Reading::Changes(page.cursor) };
                (page.changes.into_iter().filter_map(updated).collect(), next)
            }
        };
        self.validators[number].following.reading = next;
        for entry in entries {
            self.validator_learns(number, &entry);
        }
    }

    fn validator_learns(&mut self, number: usize, entry: &DirectoryEntry) {
        let wall = self.validator_clocks(number).wall;
        let Some(descriptor) = self.open(&entry.descriptor, wall) else { return };
        let version = descriptor.body().version();
        let known = self.validators[number].following.known.entry(descriptor.node()).or_insert(version);
        *known = version.max(*known);
        self.validator_event(number, Event::Described(Description::from(&descriptor)));
    }

    /// Nodes that are listed, and that a validator was not shown although nothing went wrong for long.
    pub(crate) fn not_followed(&self, number: usize) -> BTreeSet<NodeId> {
        let Some(core) = &self.directory.core else { return BTreeSet::new() };
        let validator = &self.validators[number];
        // A directory whose clock is far off lists what its followers cannot read yet, and nothing newer.
        if !self.agree(validator.skew, self.directory.skew) {
            return BTreeSet::new();
        }
        let missing = core.listing().after(None).filter(|(node, listed)| {
            let signed_at = listed.descriptor.body().issued_at;
            let now = self.validator_clocks(number).wall;
            let readable = signed_at <= now && now < listed.descriptor.expires_at();
            let known = validator.following.known.get(node);
            // The newest may be on its way. How old it is says the clock that it was signed by.
            readable
                && self.age_of(**node, signed_at) > Millis::seconds(20)
                && known != Some(&listed.descriptor.body().version())
        });
        missing.map(|(node, _)| *node).collect()
    }

    fn age_of(&self, node: NodeId, signed_at: Timestamp) -> Millis {
        let now = self.host(node).map_or(signed_at, |number| self.clocks(0, self.nodes[number].skew).wall);
        now.since(signed_at)
    }
}

fn reading(next: Option<NodeId>, first: Cursor) -> Reading {
    match next {
        Some(after) => Reading::Pages(after, first),
        None => Reading::Changes(first),
    }
}

fn updated(change: DirectoryChange) -> Option<DirectoryEntry> {
    match change {
        DirectoryChange::Updated { entry } => Some(*entry),
        DirectoryChange::Removed { .. } => None,
    }
}

fn terms() -> Event {
    Event::Terms {
        slashing: SlashingParameters {
            min_bond: Amount::tokens(1),
            bond_basis_points: 1_000,
            max_slash_basis_points: 5_000,
            fee_basis_points: 500,
            max_fee: Amount::tokens(10),
            detection_seconds: 60,
            evidence_seconds: 12,
            answer_seconds: 12,
            vote_seconds: 12,
            execution_seconds: 12,
        },
        settlement: SettlementParameters {
            posting_seconds: 240,
            veto_seconds: VETO_SECONDS,
            withdrawal_seconds: 600,
            max_proven_age_epochs: 12,
        },
    }
}
