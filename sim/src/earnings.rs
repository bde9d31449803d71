//! Roots of a pool's earnings on chain, as the contract keeps them: one at a time in its veto window, dropped when more
//! than two thirds of the validators ask for it.

use std::collections::BTreeSet;

use lode_chain_types::RewardsEvent;
use lode_protocol::amount::Amount;
use lode_protocol::hash::Digest;
use lode_protocol::ids::{Epoch, ValidatorId};
use lode_protocol::units::{Millis, Timestamp};

use crate::world::POOL;

/// Length of the veto window.
pub const VETO_SECONDS: u64 = 24;

/// A root that somebody posts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Posting {
    /// Its epoch.
    pub epoch: Epoch,
    /// The tree's top.
    pub root: Digest,
    /// All that was ever earned.
    pub total: Amount,
    /// Height of the tree.
    pub depth: u8,
    /// Whether the pool's key was stolen for it.
    pub forged: bool,
}

/// A root in its veto window.
#[derive(Clone, Debug)]
pub struct Pending {
    /// What was posted.
    pub posting: Posting,
    /// When the window closes.
    pub final_at: Timestamp,
    /// Total and epoch of the root before.
    before: (Amount, Option<Epoch>),
    votes: BTreeSet<ValidatorId>,
}

/// The pool's roots.
#[derive(Clone, Debug, Default)]
pub struct Earnings {
    /// Total of the latest root.
    pub posted: Amount,
    /// Epoch of the latest root.
    pub latest: Option<Epoch>,
    /// The latest root, while it can be vetoed.
    pub pending: Option<Pending>,
    /// Epochs whose root was dropped.
    pub vetoed: BTreeSet<Epoch>,
}

impl Earnings {
    /// The window of the pending root is over; tells which root is final now.
    pub fn settle(&mut self, at: Timestamp) -> Option<Posting> {
        let pending = self.pending.take_if(|pending| pending.final_at <= at)?;
        Some(pending.posting)
    }

    /// Somebody with the pool's key posts a root. `None`: the contract refuses it.
    pub fn post(&mut self, posting: Posting, at: Timestamp) -> Option<RewardsEvent> {
        let newer = self.latest.is_none_or(|latest| latest < posting.epoch);
        if self.pending.is_some() || !newer {
            return None;
        }
        let increase = posting.total.checked_sub(self.posted)?;
        let final_at = at.plus(Millis::seconds(VETO_SECONDS));
        let before = (self.posted, self.latest);
        (self.posted, self.latest) = (posting.total, Some(posting.epoch));
        self.vetoed.remove(&posting.epoch);
        self.pending = Some(Pending { posting, final_at, before, votes: BTreeSet::new() });
        let Posting { epoch, root, total, depth, forged: _ } = posting;
        let proven_epoch = Epoch(epoch.0.saturating_sub(1));
        Some(RewardsEvent::RootPosted {
            pool: POOL,
            epoch,
            root,
            total,
            increase,
            depth,
            proven_epoch,
            final_at,
        })
    }

    /// One of `count` validators asks for the pending root to be dropped.
    ///
    /// # Errors
    /// The contract's error.
    pub fn veto(
        &mut self,
        validator: ValidatorId,
        epoch: Epoch,
        evidence: Digest,
        count: u64,
    ) -> Result<Vec<RewardsEvent>, &'static str> {
        let Some(pending) = self.pending.as_mut().filter(|pending| pending.posting.epoch == epoch) else {
            return Err("NoPendingRoot");
        };
        if !pending.votes.insert(validator) {
            return Err("AlreadyVoted");
        }
        let votes = u64::try_from(pending.votes.len()).unwrap_or(u64::MAX);
        let mut events = vec![RewardsEvent::VetoCast {
            pool: POOL,
            epoch,
            validator,
            evidence,
            votes: Amount::tokens(votes),
            total_weight: Amount::tokens(count),
        }];
        if votes * 3 > count * 2 {
            let root = pending.posting.root;
            let released = self.posted.checked_sub(pending.before.0).unwrap_or(Amount::ZERO);
            (self.posted, self.latest) = pending.before;
            self.pending = None;
            self.vetoed.insert(epoch);
            events.push(RewardsEvent::RootVetoed { pool: POOL, epoch, root, released });
        }
        Ok(events)
    }
}
