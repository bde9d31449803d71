//! What is in its veto window, and whose turn it is to be looked at.
//!
//! Pools take turns: one look at a pool at a time, and so many looks at all. A pool that was never looked at goes first,
//! then whoever has waited longest since its last look; of those who have waited equally, whose window closes first. So
//! slow pools hold up themselves, however many there are, and nobody else for longer than one round, whose looks are short.

use std::collections::{BTreeMap, BTreeSet};

use lode_protocol::ids::{Address, PoolId};
use lode_protocol::units::{Millis, Timestamp};

use super::matter::{Look, Matter};

/// Roots, and redemptions, that are watched at one time, in memory of some tens of megabytes. Each costs its pool gas.
pub(super) const MOST: usize = 100_000;
/// What could not be looked at by the last eighth of its window counts as what nobody can look at: a veto has to be mined
/// yet.
const LAST_PART: u64 = 8;

/// There is one pending root per pool, and one pending redemption per pool and payee.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Key {
    Root(PoolId),
    Redemption(PoolId, Address),
}

impl Key {
    pub(super) fn of(matter: &Matter) -> Self {
        match matter {
            Matter::Root(posted) => Key::Root(posted.pool),
            Matter::Redemption(request) => Key::Redemption(request.pool, request.payee),
        }
    }

    fn pool(&self) -> PoolId {
        match self {
            Key::Root(pool) | Key::Redemption(pool, _) => *pool,
        }
    }
}

/// How far one is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    /// To be looked at, not before this moment.
    Waiting(Millis),
    Looking,
    /// It adds up.
    Holds,
    /// What was to be done about it is submitted.
    Answered,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) matter: Matter,
    pub(super) state: State,
    /// Why it could not be seen when it was last looked at.
    pub(super) unavailable: Option<String>,
    /// By then it must have been seen, by the chain's clock. Unknown until the next block.
    pub(super) deadline: Option<Timestamp>,
}

impl Entry {
    /// Whether it has not been seen by the time when it must have been; `window` is how long it can be vetoed.
    pub(super) fn is_missed(&mut self, head: Timestamp, window: Millis) -> bool {
        let closes_at = self.matter.closes_at();
        let last = closes_at.minus(Millis(window.0 / LAST_PART));
        // What is told late, after a restart for example, is looked at before it is called unseen.
        let half = head.plus(Millis(closes_at.since(head).0 / 2));
        let deadline = *self.deadline.get_or_insert(last.max(half));
        let unseen = matches!(self.state, State::Waiting(_) | State::Looking);
        unseen && head >= deadline
    }
}

/// All of one kind.
#[derive(Debug)]
pub(super) struct Docket {
    pub(super) entries: BTreeMap<Key, Entry>,
    /// Looks at one time.
    at_once: usize,
    looking: BTreeSet<PoolId>,
    /// When the latest look at a pool began.
    turns: BTreeMap<PoolId, Millis>,
}

impl Docket {
    pub(super) fn new(at_once: usize) -> Self {
        Self { entries: BTreeMap::new(), at_once, looking: BTreeSet::new(), turns: BTreeMap::new() }
    }

    /// Watches one, in the place of the pool's (and payee's) one before. False: there are too many.
    pub(super) fn watch(&mut self, matter: Matter) -> bool {
        let key = Key::of(&matter);
        if self.entries.len() >= MOST && !self.entries.contains_key(&key) {
            return false;
        }
        let state = State::Waiting(Millis::default());
        self.entries.insert(key, Entry { matter, state, unavailable: None, deadline: None });
        true
    }

    /// Forgets those whose window is closed, and turns of pools that have nothing left to look at.
    pub(super) fn close(&mut self, head: Timestamp) {
        self.entries.retain(|_, entry| head < entry.matter.closes_at());
        let pools: BTreeSet<PoolId> = self.entries.keys().map(Key::pool).collect();
        self.turns.retain(|pool, _| pools.contains(pool));
    }

    /// A look is over.
    pub(super) fn looked(&mut self, matter: &Matter) {
        self.looking.remove(&Key::of(matter).pool());
    }

    /// Whose turn it is now, as far as there are turns.
    pub(super) fn next(&mut self, now: Millis) -> Vec<(Matter, Look)> {
        let free = self.at_once.saturating_sub(self.looking.len());
        if free == 0 {
            return Vec::new();
        }
        // Of each pool what closes first.
        let mut due: BTreeMap<PoolId, (Timestamp, Key)> = BTreeMap::new();
        for (key, entry) in &self.entries {
            let pool = key.pool();
            let is_due = matches!(entry.state, State::Waiting(from) if from <= now);
            if is_due && !self.looking.contains(&pool) {
                let this = (entry.matter.closes_at(), *key);
                let first = due.entry(pool).or_insert(this);
                *first = this.min(*first);
            }
        }
        let mut order: Vec<(Option<Millis>, Timestamp, Key)> = due
            .into_iter()
            .map(|(pool, (closes_at, key))| (self.turns.get(&pool).copied(), closes_at, key))
            .collect();
        order.sort_unstable();
        let mut next = Vec::new();
        for (_, _, key) in order.into_iter().take(free) {
            let Some(entry) = self.entries.get_mut(&key) else { continue };
            entry.state = State::Looking;
            self.looking.insert(key.pool());
            self.turns.insert(key.pool(), now);
            let look = if entry.unavailable.is_none() { Look::First } else { Look::Again };
            next.push((entry.matter, look));
        }
        next
    }
}
