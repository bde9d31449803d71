//! What this node did by its own count, and what it is promised for it.
//!
//! The node counts as its orchestrator does: the time between two answered beats of one session in which an assignment
//! ran at both ends, times its GPUs, into the epoch that the answer names. A receipt is signed only if it agrees with
//! that count; whatever is signed is kept with both signatures, so that it can be redeemed on chain should a root leave it
//! out. [`judge`] says what agrees.
//!
//! The count is written every [`CHECKPOINT`]: after a crash the tolerance is wider by as much.

mod judge;
mod record;

use std::collections::BTreeMap;

use lode_protocol::amount::Amount;
use lode_protocol::ids::{Address, AssignmentId, Epoch, Sequence, SessionId};
use lode_protocol::units::Millis;
use lode_protocol::usage::{MeterReading, OfferedReceipt, ReceiptAnswer, ReceiptVerdict};

pub use judge::{JudgeContext, NotSigned};
pub use record::{KeptReceipt, Record};

/// Most time between two writes of the count.
pub const CHECKPOINT: Millis = Millis::seconds(30);
/// Most receipts that are kept.
pub const MOST_KEPT: usize = 512;
/// Epochs whose count is remembered.
const MOST_RECORDS: usize = 64;
/// A receipt should have come by so many epochs later.
const OVERDUE: u64 = 3;

/// An assignment that runs: its restarts and its GPUs.
pub type Running = (AssignmentId, u32, u32);

/// A change of what is remembered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// The count of an epoch.
    Record(Epoch, Option<Record>),
    /// A receipt.
    Receipt(Epoch, Address, Option<Box<KeptReceipt>>),
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Beat {
    session: SessionId,
    sequence: Sequence,
    at: Millis,
    running: Vec<Running>,
}

/// Counts and keeps.
#[derive(Clone, Debug, Default)]
pub struct ReceiptBook {
    records: BTreeMap<Epoch, Record>,
    kept: BTreeMap<(Epoch, Address), KeptReceipt>,
    /// The beat on its way, and the one that was answered last.
    out: Option<Beat>,
    answered: Option<Beat>,
    answers: BTreeMap<(Epoch, Address), ReceiptVerdict>,
    /// Offers that the node's key was asked to sign.
    pending: BTreeMap<(Epoch, Address), OfferedReceipt>,
    written_at: Option<Millis>,
}

impl ReceiptBook {
    /// From what was remembered: what may be missing from the counts widens their tolerance.
    pub fn recover(records: Vec<(Epoch, Record)>, receipts: Vec<KeptReceipt>) -> Self {
        let widened = records.into_iter().map(|(epoch, record)| (epoch, record.after_restart()));
        let kept = receipts.into_iter().map(|kept| ((kept.receipt.epoch, kept.receipt.payee), kept));
        ReceiptBook { records: widened.collect(), kept: kept.collect(), ..ReceiptBook::default() }
    }

    /// A beat went out while these ran. A repeated one is the same beat.
    pub fn beat_sent(&mut self, session: SessionId, sequence: Sequence, at: Millis, running: Vec<Running>) {
        self.out = Some(Beat { session, sequence, at, running });
    }

    /// It was answered, with this reading. `patience` is the silence after which nothing counts, `payee` the provider by
    /// the chain.
    pub fn beat_answered(
        &mut self,
        sequence: Sequence,
        meter: Option<MeterReading>,
        patience: Millis,
        payee: Option<Address>,
    ) -> Vec<Change> {
        let Some(beat) = self.out.take_if(|beat| beat.sequence == sequence) else { return Vec::new() };
        let before = self.answered.replace(beat.clone()).filter(|before| before.session == beat.session);
        let Some(reading) = meter else { return Vec::new() };
        let interval = before.as_ref().map(|before| Millis(beat.at.0.saturating_sub(before.at.0)));
        let interval = interval.filter(|interval| reading.counts && *interval <= patience);
        let fresh = !self.records.contains_key(&reading.epoch);
        let record = self.records.entry(reading.epoch).or_default();
        record.told(&reading, payee);
        if let (Some(before), Some(interval)) = (before, interval) {
            let ran = beat.running.iter().filter(|running| before.running.contains(running));
            record.count(interval, ran.map(|(_, _, gpus)| *gpus).sum());
        }
        let mut changes = Vec::new();
        if fresh {
            changes.extend(self.forget_old());
        }
        let due = self.written_at.is_none_or(|written| beat.at.0.saturating_sub(written.0) >= CHECKPOINT.0);
        if fresh || due {
            self.written_at = Some(beat.at);
            changes.extend(self.record_change(reading.epoch));
        }
        changes
    }

    /// Whether an answer to this receipt is being made: the key is asked, or it is not durable yet.
    pub(crate) fn is_pending(&self, key: (Epoch, Address)) -> bool {
        self.pending.contains_key(&key)
    }

    /// An answer to this receipt is being made.
    pub(crate) fn pend(&mut self, offer: OfferedReceipt) {
        self.pending.insert((offer.receipt.epoch, offer.receipt.payee), offer);
    }

    /// The offer that an answer was being made to.
    pub(crate) fn take_pending(&mut self, key: (Epoch, Address)) -> Option<OfferedReceipt> {
        self.pending.remove(&key)
    }

    fn record_change(&self, epoch: Epoch) -> Option<Change> {
        Some(Change::Record(epoch, Some(self.records.get(&epoch)?.clone())))
    }

    fn forget_old(&mut self) -> Vec<Change> {
        let surplus = self.records.len().saturating_sub(MOST_RECORDS);
        let old: Vec<Epoch> = self.records.keys().take(surplus).copied().collect();
        for epoch in &old {
            self.records.remove(epoch);
        }
        old.into_iter().map(|epoch| Change::Record(epoch, None)).collect()
    }

    /// Which of the offered receipts have not been judged: what is not offered any more needs no answer.
    pub fn unanswered<'a>(&mut self, offers: &'a [OfferedReceipt]) -> Vec<&'a OfferedReceipt> {
        let key = |offer: &OfferedReceipt| (offer.receipt.epoch, offer.receipt.payee);
        self.answers.retain(|known, _| offers.iter().any(|offer| key(offer) == *known));
        offers.iter().filter(|offer| !self.answers.contains_key(&key(offer))).collect()
    }

    /// The receipt was signed: it is to be kept, and answered once it is. `paid` is what the chain has paid the payee.
    pub fn signed(&mut self, kept: KeptReceipt, paid: Option<Amount>) -> Vec<Change> {
        let (epoch, payee) = (kept.receipt.epoch, kept.receipt.payee);
        let mut changes = vec![Change::Receipt(epoch, payee, Some(Box::new(kept.clone())))];
        self.kept.insert((epoch, payee), kept);
        while self.kept.len() > MOST_KEPT {
            let Some(over) = self.dispensable(paid) else { break };
            self.kept.remove(&over);
            changes.push(Change::Receipt(over.0, over.1, None));
        }
        changes.extend(self.settle_record(epoch));
        changes
    }

    /// The oldest receipt that was paid; where there is none, the oldest that a later one of the same payee includes.
    fn dispensable(&self, paid: Option<Amount>) -> Option<(Epoch, Address)> {
        let is_paid = |kept: &KeptReceipt| paid.is_some_and(|paid| kept.receipt.cumulative <= paid);
        let includes = |later: &KeptReceipt, kept: &KeptReceipt| {
            later.receipt.payee == kept.receipt.payee && later.receipt.cumulative > kept.receipt.cumulative
        };
        let included = |kept: &KeptReceipt| self.kept.values().any(|later| includes(later, kept));
        let oldest = |test: &dyn Fn(&KeptReceipt) -> bool| {
            self.kept.iter().find(|(_, kept)| test(kept)).map(|(key, _)| *key)
        };
        oldest(&|kept| is_paid(kept) && included(kept)).or_else(|| oldest(&included))
    }

    /// The receipt was not agreed to.
    pub fn refused(&mut self, epoch: Epoch) -> Vec<Change> {
        self.settle_record(epoch).into_iter().collect()
    }

    fn settle_record(&mut self, epoch: Epoch) -> Option<Change> {
        self.records.get_mut(&epoch)?.settled = true;
        self.record_change(epoch)
    }

    /// What was decided is durable: the next beat says it.
    pub fn answer(&mut self, epoch: Epoch, payee: Address, verdict: ReceiptVerdict) {
        self.answers.insert((epoch, payee), verdict);
    }

    /// What the next beat says.
    pub fn answers(&self) -> Option<Vec<ReceiptAnswer>> {
        let answer = |((epoch, payee), verdict): (&(Epoch, Address), &ReceiptVerdict)| ReceiptAnswer {
            epoch: *epoch,
            payee: *payee,
            verdict: verdict.clone(),
        };
        let answers: Vec<ReceiptAnswer> =
            self.answers.iter().map(answer).take(OfferedReceipt::MAX_AT_ONCE).collect();
        (!answers.is_empty()).then_some(answers)
    }

    /// The latest epoch in which the orchestrator said that something was earned, and never sent a receipt.
    pub fn overdue(&self, now: Epoch) -> Option<Epoch> {
        let missing = |record: &Record| record.earned > Amount::ZERO && !record.settled;
        let due = Epoch(now.0.saturating_sub(OVERDUE));
        self.records.range(..=due).rev().find(|(_, record)| missing(record)).map(|(epoch, _)| *epoch)
    }

    /// Everything that is kept, oldest first.
    pub fn kept(&self) -> impl Iterator<Item = &KeptReceipt> {
        self.kept.values()
    }
}

#[cfg(test)]
mod tests;
