//! What settlement asks of the chain: the pool's money, the validators' roots, what became of ours, and which epoch runs.
//!
//! Like all facts these are read, never pieced together from events. A new epoch makes them worth reading again, because
//! what may be promised and what can still be vetoed change by time alone; the core hears of the epoch after them.

use lode_contracts::{BudgetRecord, ChainError, ChainEvent, ChainReader, Epoch, RewardsEvent, RootState};
use lode_protocol::ids::PoolId;
use lode_protocol::units::{Millis, Timestamp};

use crate::core::event::{ChainBudget, ChainEpoch, Event, RootFate};

/// How many epochs back a root of the validators is looked for at start.
const LOOK_BACK: u64 = 48;

/// An epoch and the head's time in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Running {
    epoch: Epoch,
    head: Timestamp,
    ends: Timestamp,
}

/// Mutable part.
#[derive(Clone, Debug, Default)]
pub(super) struct Settling {
    /// Whether anything of this is wanted.
    pub(super) wanted: bool,
    dirty: bool,
    running: Option<Running>,
    /// Epoch that the core was told last.
    told: Option<Epoch>,
    /// Epoch whose root is followed.
    followed: Option<Epoch>,
    /// When the pending root can be vetoed no longer.
    final_at: Option<Timestamp>,
    /// Latest accepted root of the validators, and up to which epoch was looked.
    accepted: Option<Epoch>,
    looked: Option<Epoch>,
    /// Time in which a root can be posted.
    posting: Option<Millis>,
}

impl Settling {
    pub(super) fn is_dirty(&self) -> bool {
        self.wanted && self.dirty
    }

    pub(super) fn mark(&mut self) {
        self.dirty = true;
    }

    /// Blocks were replaced: what the validators had accepted is looked for again.
    pub(super) fn look_again(&mut self) {
        self.dirty = true;
        self.accepted = None;
        self.looked = None;
    }

    pub(super) fn follow(&mut self, epoch: Epoch) {
        self.followed = Some(epoch);
        self.dirty = true;
    }

    pub(super) fn happened(&mut self, event: &ChainEvent, ours: PoolId) {
        match event {
            ChainEvent::Rewards(RewardsEvent::Funded { pool, .. })
            | ChainEvent::Rewards(RewardsEvent::SpendCapChanged { pool, .. })
            | ChainEvent::Rewards(RewardsEvent::BudgetWithdrawn { pool, .. })
            | ChainEvent::Rewards(RewardsEvent::RootPosted { pool, .. })
            | ChainEvent::Rewards(RewardsEvent::RootVetoed { pool, .. })
            | ChainEvent::Rewards(RewardsEvent::RootRefuted { pool, .. })
            | ChainEvent::Rewards(RewardsEvent::Claimed { pool, .. })
            | ChainEvent::Rewards(RewardsEvent::RedemptionRequested { pool, .. })
            | ChainEvent::Rewards(RewardsEvent::RedemptionVetoed { pool, .. })
            | ChainEvent::Rewards(RewardsEvent::Redeemed { pool, .. }) => self.dirty |= *pool == ours,
            _ => {}
        }
    }

    /// The head is here.
    pub(super) fn at(&mut self, epoch: Epoch, head: Timestamp, ends: Timestamp) {
        self.running = Some(Running { epoch, head, ends });
        self.dirty |= self.told != Some(epoch) || self.final_at.is_some_and(|at| at <= head);
    }

    /// Reads everything and says it in the core's words, in the order in which it is to be told.
    pub(super) async fn read(
        &mut self,
        reader: &dyn ChainReader,
        pool: PoolId,
    ) -> Result<Vec<Event>, ChainError> {
        // The follower has no head yet.
        let Some(running) = self.running else { return Ok(Vec::new()) };
        let posting = match self.posting {
            Some(posting) => posting,
            None => {
                let terms = reader.settlement_terms().await?;
                *self.posting.insert(Millis::seconds(terms.posting_seconds))
            }
        };
        let before = Epoch(running.epoch.0.saturating_sub(1));
        self.look_for_accepted(reader, before).await?;
        let record = reader.budget(pool).await?;
        let spendable = reader.spendable(pool, running.epoch).await?;
        let spendable_before = reader.spendable(pool, before).await?;
        self.final_at = match record.pending_epoch {
            Some(pending) => reader.posted_root(pool, pending).await?.map(|root| root.final_at),
            None => None,
        };
        let BudgetRecord { free, locked, posted, paid, final_epoch, pending_epoch, .. } = record;
        let budget = ChainBudget {
            free,
            locked,
            posted,
            paid,
            spendable,
            spendable_before,
            latest: pending_epoch.or(final_epoch),
            in_veto: pending_epoch.is_some(),
            proven: self.accepted,
        };
        let mut events = vec![Event::ChainBudget(budget)];
        if let Some(epoch) = self.followed
            && let Some(root) = reader.posted_root(pool, epoch).await?
        {
            let fate = match root.state {
                RootState::Pending => RootFate::Pending,
                RootState::Final => RootFate::Final,
                RootState::Vetoed => RootFate::Vetoed,
            };
            events.push(Event::ChainRoot { epoch, fate });
        }
        if self.told != Some(running.epoch) {
            let length = Millis::seconds(reader.epoch_timing().await?.epoch_seconds);
            self.told = Some(running.epoch);
            let ends_in = running.ends.since(running.head);
            events.push(Event::ChainEpoch(ChainEpoch { epoch: running.epoch, ends_in, length, posting }));
        }
        self.dirty = false;
        Ok(events)
    }

    /// A root is accepted within its own epoch or never: what was looked at need not be looked at again.
    async fn look_for_accepted(&mut self, reader: &dyn ChainReader, before: Epoch) -> Result<(), ChainError> {
        let from =
            self.looked.map_or(before.0.saturating_sub(LOOK_BACK), |looked| looked.0.saturating_add(1));
        for number in (from..=before.0).rev() {
            if reader.root_of(Epoch(number)).await?.is_some() {
                self.accepted = Some(Epoch(number));
                break;
            }
        }
        self.looked = Some(before);
        Ok(())
    }
}
