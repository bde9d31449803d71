//! The driver's half that deals with receipts: it signs what the keeper agrees to, and keeps it before it says so.

use lode_program::Finding;
use lode_protocol::amount::Amount;
use lode_protocol::ids::{Address, Epoch, Sequence, SessionId};
use lode_protocol::session::BeatTerms;
use lode_protocol::usage::{MeterReading, OfferedReceipt, ReceiptVerdict};
use lode_store::Batch;

use super::{Driver, Held};
use crate::core::receipts::{Change, KeptReceipt, NotSigned, Terms};
use crate::core::session;
use crate::journal;

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

impl Driver {
    /// A beat goes out: what runs while it does is counted when it is answered.
    pub(super) fn note_beat(&mut self, session: SessionId, sequence: Sequence) {
        let at = self.now().monotonic;
        let running = self.assignments.running_on_gpus();
        self.receipts.beat_sent(session, sequence, at, running);
    }

    pub(super) fn on_metered(&mut self, sequence: Sequence, meter: Option<MeterReading>, terms: BeatTerms) {
        let provider = self.provider();
        let changes = self.receipts.beat_answered(sequence, meter, terms.suspect_after, provider);
        self.remember_receipts(changes, Vec::new());
        let Some(reading) = meter else { return };
        if reading.counts || self.assignments.running_on_gpus().is_empty() {
            self.findings.clear_code("receipt/not-counted");
        } else {
            self.findings.raise(
                Finding::warning("receipt/not-counted", "what runs here is not being paid for now").remedy(
                    "usually the node's proof has run out: validators prove it by themselves when its GPUs are idle",
                ),
            );
        }
        match self.receipts.overdue(reading.epoch) {
            None => {
                self.findings.clear_code("receipt/missing");
            }
            Some(epoch) => {
                let message = format!(
                    "the orchestrator said that this node earned something in epoch {epoch}, and has sent no receipt"
                );
                self.findings.raise(
                    Finding::warning("receipt/missing", message)
                        .remedy("ask the pool's owner; see /v1/epochs"),
                );
            }
        }
    }

    pub(super) fn on_offered(&mut self, offers: &[OfferedReceipt], terms: BeatTerms) {
        let known = self.inputs.chain.borrow().known.clone();
        let judged_by = Terms {
            pool: self.identity.realm.pool,
            node: self.identity.node(),
            domain: self.rewards_domain,
            orchestrator: known.as_ref().map(|known| known.orchestrator),
            lease: terms.lost_after,
        };
        let unanswered: Vec<OfferedReceipt> = self.receipts.unanswered(offers).into_iter().cloned().collect();
        for offer in unanswered {
            let (epoch, payee) = (offer.receipt.epoch, offer.receipt.payee);
            match self.receipts.judge(&offer, &judged_by) {
                Ok(()) => {
                    let paid = known.as_ref().filter(|known| known.provider_address() == Some(payee));
                    let paid = paid.and_then(|known| known.paid);
                    self.sign_receipt(offer, paid);
                }
                // Offered again with the next answer.
                Err(NotSigned::Unknown) => {}
                Err(NotSigned::Refused { code, message }) => {
                    tracing::warn!(%code, %epoch, %message, "a receipt was not signed");
                    self.findings.raise(
                        Finding::error(code.clone(), format!("the receipt of epoch {epoch} was not signed: {message}"))
                            .remedy("ask the pool's owner; what the receipt says is paid all the same, `lode-worker receipts` shows what was agreed"),
                    );
                    let changes = self.receipts.refused(epoch);
                    let verdict = ReceiptVerdict::Refused { code, message };
                    self.remember_receipts(changes, vec![Held::Receipt(epoch, payee, verdict)]);
                }
            }
        }
    }

    fn sign_receipt(&mut self, offer: OfferedReceipt, paid: Option<Amount>) {
        let OfferedReceipt { receipt, usage, signature } = offer;
        let node_signature = self.identity.key.sign_recoverable(&receipt.digest(&self.rewards_domain));
        tracing::info!(epoch = %receipt.epoch, amount = %receipt.amount, "signed a receipt");
        for code in REFUSALS {
            self.findings.clear_code(code);
        }
        let (epoch, payee) = (receipt.epoch, receipt.payee);
        let kept = KeptReceipt { receipt, usage, orchestrator_signature: signature, node_signature };
        let changes = self.receipts.signed(kept, paid);
        let verdict = ReceiptVerdict::Signed(node_signature);
        self.remember_receipts(changes, vec![Held::Receipt(epoch, payee, verdict)]);
    }

    fn remember_receipts(&mut self, changes: Vec<Change>, then: Vec<Held>) {
        if changes.is_empty() && then.is_empty() {
            return;
        }
        let mut batch = Batch::new();
        for change in &changes {
            journal::apply_receipt(&mut batch, change);
        }
        self.commits.push(batch, then);
    }

    /// What was decided about a receipt is durable: say it.
    pub(super) fn receipt_is_durable(&mut self, epoch: Epoch, payee: Address, verdict: ReceiptVerdict) {
        self.receipts.answer(epoch, payee, verdict);
        self.step_session(session::Event::News);
    }

    fn provider(&self) -> Option<Address> {
        self.inputs.chain.borrow().known.as_ref()?.provider_address()
    }
}
