//! Receipts on their way to their node and back.
//!
//! Every answer to a node carries the receipts that it has not answered, signed by the orchestrator; the node answers with
//! its own signature, or says why it does not agree. A node that is gone is paid all the same: its receipt counts in the
//! root, with the orchestrator's signature alone.

use lode_protocol::error_code::ErrorCode;
use lode_protocol::finding::Finding;
use lode_protocol::ids::NodeId;
use lode_protocol::settlement::{Receipt, rewards_domain};
use lode_protocol::usage::{OfferedReceipt, ReceiptAnswer, ReceiptVerdict, UsageStatement};

use super::super::Core;
use super::super::effect::Action;
use super::super::hardware::cut;
use super::record::ReceiptRow;

const REFUSED: &str = "receipt/refused";
/// Longest reason of a refusal that is told, in bytes.
const MOST_REASON: usize = 300;

impl Core {
    /// What a node is asked to sign now.
    pub(crate) fn offered(&self, id: &NodeId) -> Vec<(Receipt, UsageStatement)> {
        let offers = self.ledger.offers.get(id).map(Vec::as_slice).unwrap_or_default();
        let offered = offers.iter().take(OfferedReceipt::MAX_AT_ONCE);
        offered.map(|offer| (offer.receipt, offer.usage.clone())).collect()
    }

    /// A node has answered. What was not offered, and what is not signed as it should be, changes nothing.
    pub(crate) fn receipts_answered(&mut self, id: &NodeId, answers: &[ReceiptAnswer]) {
        for answer in answers.iter().take(OfferedReceipt::MAX_AT_ONCE) {
            self.receipt_answered(id, answer);
        }
    }

    fn receipt_answered(&mut self, id: &NodeId, answer: &ReceiptAnswer) {
        let Some(terms) = &self.config.settlement else { return };
        let Some(offers) = self.ledger.offers.get(id) else { return };
        let Some(at) = offers
            .iter()
            .position(|offer| offer.receipt.epoch == answer.epoch && offer.receipt.payee == answer.payee)
        else {
            return;
        };
        let (node_signature, refused, reason) = match &answer.verdict {
            ReceiptVerdict::Signed(signature) => {
                let domain = rewards_domain(self.config.chain, terms.rewards_contract);
                let digest = offers.get(at).map(|offer| offer.receipt.digest(&domain)).unwrap_or_default();
                if signature.recover(&digest) == Ok(id.0) {
                    (Some(*signature), None, None)
                } else {
                    let code = ErrorCode::new("receipt/bad-signature");
                    (None, Some(code), Some("its signature is not the node's".to_owned()))
                }
            }
            ReceiptVerdict::Refused { code, message } => {
                (None, Some(code.clone()), Some(cut(message, MOST_REASON).to_owned()))
            }
        };
        let Some(offers) = self.ledger.offers.get_mut(id) else { return };
        let offer = offers.remove(at);
        if offers.is_empty() {
            self.ledger.offers.remove(id);
        }
        match reason {
            Some(reason) => {
                let message =
                    format!("The node does not agree to its receipt of epoch {}: {reason}", answer.epoch);
                self.act(Action::RaiseFinding(
                    Finding::warning(REFUSED, message).about(id.to_string()).remedy(
                        "Compare the worker's findings with `/v1/epochs`; the receipt is paid as it stands.",
                    ),
                ));
            }
            None => self.act(Action::ClearFinding { code: ErrorCode::new(REFUSED), subject: id.to_string() }),
        }
        self.keep_receipt(&ReceiptRow {
            receipt: offer.receipt,
            usage: offer.usage,
            node_signature,
            refused,
        });
    }
}
