//! What the node does about its meter and its receipts: it counts, judges, has its key sign, keeps, and only then says.

use lode_protocol::finding::Finding;
use lode_protocol::ids::{Address, Epoch, Sequence};
use lode_protocol::keys::EthereumSignature;
use lode_protocol::session::LeaseTiming;
use lode_protocol::settlement::Receipt;
use lode_protocol::usage::{MeterReading, OfferedReceipt, ReceiptVerdict};

use crate::Worker;
use crate::effect::{Action, Ticket};
use crate::event::Statement;
use crate::journal;
use crate::receipts::{Change, JudgeContext, KeptReceipt, NotSigned};

/// Findings about receipts that are refused; a receipt that is signed clears them.
const REFUSALS: [&str; 8] = [
    "receipt/foreign",
    "receipt/bad-signature",
    "receipt/mismatch",
    "receipt/unknown-work",
    "receipt/wrong-payee",
    "receipt/total-shrunk",
    "receipt/too-little",
    "receipt/too-much",
];

/// An answer to a receipt that may be said once its ticket is durable.
#[derive(Clone, Debug)]
pub(crate) struct Unsaid {
    ticket: Ticket,
    epoch: Epoch,
    payee: Address,
    verdict: ReceiptVerdict,
}

impl Worker {
    /// The beat was counted, and so stands the meter; `None`: the pool pays nothing.
    pub(crate) fn metered(&mut self, sequence: Sequence, meter: Option<MeterReading>, timing: LeaseTiming) {
        let payee = self.chain.provider();
        let changes = self.receipts.beat_answered(sequence, meter, timing.suspect_after, payee);
        self.remember(&changes);
        let Some(reading) = meter else { return };
        if reading.counts || self.assignments.running_on_gpus().is_empty() {
            self.notices.clear("receipt/not-counted");
        } else {
            self.notices.raise(
                Finding::warning("receipt/not-counted", "what runs here is not being paid for now").remedy(
                    "usually the node's proof has run out: validators prove it by themselves when its GPUs are idle",
                ),
            );
        }
        match self.receipts.overdue(reading.epoch) {
            None => self.notices.clear("receipt/missing"),
            Some(epoch) => {
                let message = format!(
                    "the orchestrator said that this node earned something in epoch {epoch}, and has sent no receipt"
                );
                self.notices.raise(
                    Finding::warning("receipt/missing", message)
                        .remedy("ask the pool's owner; see /v1/epochs"),
                );
            }
        }
    }

    /// Receipts that the orchestrator has no answer to.
    pub(crate) fn offered(&mut self, offers: &[OfferedReceipt], timing: LeaseTiming) {
        let judged_by = JudgeContext {
            pool: self.config.pool,
            node: self.config.node,
            domain: self.config.rewards_domain,
            orchestrator: self.chain.facts.as_ref().map(|facts| facts.orchestrator),
            lease: timing.lost_after,
        };
        let unanswered: Vec<OfferedReceipt> = self.receipts.unanswered(offers).into_iter().cloned().collect();
        for offer in unanswered {
            let (epoch, payee) = (offer.receipt.epoch, offer.receipt.payee);
            let is_said = self.unsaid.iter().any(|unsaid| (unsaid.epoch, unsaid.payee) == (epoch, payee));
            if is_said || self.receipts.is_pending((epoch, payee)) {
                continue;
            }
            match self.receipts.judge(&offer, &judged_by) {
                Ok(()) => {
                    self.out.at_once.push(Action::Sign(Statement::Receipt(offer.receipt)));
                    self.receipts.pend(offer);
                }
                // Offered again with the next answer.
                Err(NotSigned::Unknown) => {}
                Err(NotSigned::Refused { code, message }) => {
                    self.notices.raise(
                        Finding::error(code.clone(), format!("the receipt of epoch {epoch} was not signed: {message}"))
                            .remedy("ask the pool's owner; what the receipt says is paid all the same, `lode-worker receipts` shows what was agreed"),
                    );
                    let changes = self.receipts.refused(epoch);
                    self.remember(&changes);
                    self.say_when_durable(epoch, payee, ReceiptVerdict::Refused { code, message });
                }
            }
        }
    }

    /// The node's key has signed a receipt: it is kept with both signatures before that is said.
    pub(crate) fn receipt_signed(&mut self, receipt: &Receipt, node_signature: EthereumSignature) {
        let (epoch, payee) = (receipt.epoch, receipt.payee);
        let Some(offer) = self.receipts.take_pending((epoch, payee)) else { return };
        let OfferedReceipt { receipt: offered, usage, signature } = offer;
        if offered != *receipt {
            return;
        }
        for code in REFUSALS {
            self.notices.clear(code);
        }
        let paid = self.chain.facts.as_ref().filter(|facts| facts.provider_address() == Some(payee));
        let paid = paid.and_then(|facts| facts.paid);
        let kept = KeptReceipt { receipt: offered, usage, orchestrator_signature: signature, node_signature };
        let changes = self.receipts.signed(kept, paid);
        self.remember(&changes);
        self.say_when_durable(epoch, payee, ReceiptVerdict::Signed(node_signature));
    }

    fn say_when_durable(&mut self, epoch: Epoch, payee: Address, verdict: ReceiptVerdict) {
        // Changes of this step make its ticket; where there are none, nothing is waited for.
        let ticket = if self.out.changes.is_empty() { self.issued } else { Ticket(self.issued.0 + 1) };
        self.unsaid.push(Unsaid { ticket, epoch, payee, verdict });
    }

    /// What was decided about receipts and is durable now is said with the next beat.
    pub(crate) fn say_verdicts(&mut self) {
        let durable = self.durable;
        let (said, waiting) = self.unsaid.drain(..).partition(|unsaid| unsaid.ticket <= durable);
        self.unsaid = waiting;
        let said: Vec<Unsaid> = said;
        for Unsaid { epoch, payee, verdict, .. } in said {
            self.receipts.answer(epoch, payee, verdict);
            self.session.news();
        }
    }

    fn remember(&mut self, changes: &[Change]) {
        self.out.changes.extend(changes.iter().map(|change| match change {
            Change::Record(epoch, record) => journal::Change::record(*epoch, record.as_ref()),
            Change::Receipt(epoch, payee, kept) => journal::Change::receipt(*epoch, *payee, kept.as_deref()),
        }));
    }
}
