//! The end of an epoch: usage becomes receipts.
//!
//! When the chain's time is in a later epoch, that one is counted into from then on, and the meters of the older one are
//! turned into receipts, some hundred nodes at a time; a node that goes on working is settled before its next count. Each
//! node's receipts, its payees' earnings and the end of its meter are one commit, so that a crash in the middle goes on
//! where it was. Epochs in which the chain was not heard have no receipts of their own: their work is in the one that was
//! open.

use std::ops::Bound;

use lode_protocol::amount::Amount;
use lode_protocol::envelope::encode;
use lode_protocol::ids::{Epoch, NodeId};
use lode_protocol::settlement::Receipt;
use lode_protocol::units::Millis;
use lode_protocol::usage::UsageStatement;

use super::super::Core;
use super::super::effect::{Action, OccurrenceKind, Table};
use super::super::event::ChainEpoch;
use super::super::timers::{Timer, after};
use super::ledger::Closing;
use super::record::{EpochRow, Offer, ReceiptRow, RootStanding, receipt_key};

/// Nodes that are settled in one step, at most.
const SLICE: usize = 256;
/// Time between two slices: others are served in between.
const PAUSE: Millis = Millis(1);
/// Bytes of a line of usage, about.
const LINE: usize = 96;
/// Receipts of one node that wait for its answer, at most; older ones are kept with the orchestrator's signature alone.
const MOST_OFFERS: usize = 8;

impl Core {
    /// An epoch runs by the chain's time.
    pub(crate) fn chain_epoch_seen(&mut self, seen: ChainEpoch) {
        if self.config.settlement.is_none() {
            return;
        }
        self.ledger.timing = Some(seen);
        self.ledger.timing_at = self.now.monotonic;
        let progress = &mut self.ledger.progress;
        match progress.open {
            None => {
                progress.open = Some(seen.epoch);
            }
            Some(open) if seen.epoch > open => {
                progress.open = Some(seen.epoch);
                progress.closed = Some(Epoch(seen.epoch.0.saturating_sub(1)));
                // A crash or a later epoch may come before all its receipts are written: it is told all the same.
                progress.untold = progress.untold.or(Some(open));
                self.forget_orders(None);
                self.start_closing();
            }
            // A reorganisation at the border: what is over stays over.
            Some(_) => {}
        }
        self.money_may_be_free();
        self.consider_posting();
    }

    /// Settles all meters of older epochs, beginning now.
    pub(crate) fn start_closing(&mut self) {
        self.ledger.closing = Closing::After(None);
        self.close_some();
    }

    pub(crate) fn close_some(&mut self) {
        let (Closing::After(after_node), Some(open)) = (self.ledger.closing, self.ledger.progress.open)
        else {
            return;
        };
        let from = after_node.map_or(Bound::Unbounded, Bound::Excluded);
        let slice: Vec<NodeId> =
            self.ledger.meters.range((from, Bound::Unbounded)).take(SLICE).map(|(id, _)| *id).collect();
        let mut last = after_node;
        for node in &slice {
            if !self.has_room() {
                break;
            }
            self.close_meter(node, open);
            last = Some(*node);
        }
        if slice.len() < SLICE && last == slice.last().copied().or(after_node) {
            self.ledger.closing = Closing::Done;
            self.closed();
        } else {
            self.ledger.closing = Closing::After(last);
            self.timers.set(after(self.now.monotonic, PAUSE), Timer::Close);
        }
    }

    /// All receipts are written.
    fn closed(&mut self) {
        let progress = &mut self.ledger.progress;
        if let (Some(first), Some(open)) = (progress.untold.take(), progress.open) {
            let told: Vec<OccurrenceKind> = self
                .ledger
                .epochs
                .range(first..)
                .take_while(|(epoch, _)| **epoch < open)
                .map(|(epoch, row)| OccurrenceKind::EpochClosed {
                    epoch: *epoch,
                    receipts: row.receipts,
                    amount: row.amount,
                })
                .collect();
            for occurrence in told {
                self.log(occurrence);
            }
        }
        self.prune_epochs();
        // Rounding may have set something free.
        self.money_may_be_free();
        self.consider_posting();
    }

    /// Makes receipts of a node's usage, if it is of an epoch before `open`.
    pub(crate) fn close_meter(&mut self, node: &NodeId, open: Epoch) {
        if self.ledger.meters.get(node).is_none_or(|meter| meter.epoch >= open) {
            return;
        }
        let Some(meter) = self.ledger.take_meter(node) else { return };
        self.scratch.ledger.meters.insert(*node);
        self.scratch.ledger.spent.extend(meter.tasks.iter().copied());
        for (payee, lines) in meter.by_payee() {
            let usage =
                UsageStatement { pool: self.config.pool, epoch: meter.epoch, node: *node, payee, lines };
            // Prices are bounded so that this always fits.
            let amount = usage.amount().unwrap_or(Amount::MAX);
            if amount == Amount::ZERO {
                continue;
            }
            let cumulative = self.ledger.earn(payee, amount);
            let receipt = Receipt {
                pool: usage.pool,
                epoch: usage.epoch,
                node: *node,
                payee,
                usage: usage.digest(),
                amount,
                cumulative,
            };
            self.issue(receipt, usage);
        }
    }

    fn issue(&mut self, receipt: Receipt, usage: UsageStatement) {
        let row = ReceiptRow { receipt, usage: usage.clone(), node_signature: None, refused: None };
        self.keep_receipt(&row);
        self.scratch.bytes = self.scratch.bytes.saturating_add(usage.lines.len().saturating_mul(LINE));
        let epoch = self.ledger.epochs.get_or_insert(receipt.epoch, EpochRow::default());
        epoch.receipts = epoch.receipts.saturating_add(1);
        epoch.amount = epoch.amount.saturating_add(receipt.amount);
        let offers = self.ledger.offers.get_or_insert(receipt.node, Vec::new());
        if offers.len() >= MOST_OFFERS {
            offers.remove(0);
        }
        offers.push(Offer { receipt, usage });
    }

    pub(crate) fn keep_receipt(&mut self, row: &ReceiptRow) {
        let key = receipt_key(row.receipt.epoch, row.receipt.node, row.receipt.payee);
        self.change(Table::Receipts, key, Some(encode(row)));
    }

    /// Forgets the oldest epochs beyond what is to be kept, if a root that stands for good has paid for them.
    fn prune_epochs(&mut self) {
        let Some(terms) = &self.config.settlement else { return };
        let stands = |row: &EpochRow| row.root.is_some_and(|root| root.standing == RootStanding::Final);
        let paid = self.ledger.epochs.iter().rev().find(|(_, row)| stands(row)).map(|(epoch, _)| *epoch);
        let Some(paid) = paid else { return };
        let surplus = self.ledger.epochs.len().saturating_sub(terms.kept_epochs);
        let over: Vec<Epoch> =
            self.ledger.epochs.keys().take(surplus).copied().filter(|epoch| *epoch < paid).collect();
        for epoch in &over {
            let row = self.ledger.epochs.remove(epoch);
            for key in row.and_then(|row| row.root).iter().flat_map(|root| root.keys(*epoch)) {
                self.change(Table::Roots, key, None);
            }
        }
        if let Some(last) = over.last() {
            self.act(Action::DropReceipts { before: last.plus(1) });
        }
    }
}
