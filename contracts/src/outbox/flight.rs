//! What to do with a transaction in flight, decided from what the chain says. Pure.
//!
//! | mined nonce vs. ours | receipt | then |
//! |---|---|---|
//! | any | yes, confirmed | settled |
//! | any | yes, not confirmed | wait |
//! | equal | none | wait, send again, pay more |
//! | higher | none, several looks | another transaction took the nonce: a new one |
//! | lower | none, several looks | the chain was set back: a new one |

use std::time::Duration;

use super::OutboxConfig;
use crate::Receipt;

/// How many looks in a row must say that our nonce is out of place: one can be an RPC that lags behind another.
const LOOKS_UNTIL_LOST: u32 = 3;

/// What the chain says about a transaction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Observation {
    /// Read before the receipts: a receipt that came in between explains a nonce, never the other way round.
    pub(super) mined_nonce: u64,
    pub(super) receipt: Option<Receipt>,
    pub(super) height: u64,
}

/// How long we have been waiting.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Waiting {
    pub(super) since_sent: Duration,
    pub(super) since_raised: Duration,
    pub(super) out_of_place: u32,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Decision {
    /// Look again later. `out_of_place` is carried into the next look.
    Wait { out_of_place: u32 },
    /// It is mined for good.
    Settle(Receipt),
    /// Send the same bytes again.
    SendAgain,
    /// Replace it by one that pays more.
    PayMore,
    /// Its nonce can never be mined, or was used: begin anew.
    BeginAnew,
}

pub(super) fn decide(config: &OutboxConfig, nonce: u64, seen: Observation, waiting: Waiting) -> Decision {
    if let Some(receipt) = seen.receipt {
        let confirmed = seen.height >= receipt.block.saturating_add(config.confirmations);
        return if confirmed { Decision::Settle(receipt) } else { Decision::Wait { out_of_place: 0 } };
    }
    if seen.mined_nonce != nonce {
        let out_of_place = waiting.out_of_place.saturating_add(1);
        return if out_of_place >= LOOKS_UNTIL_LOST {
            Decision::BeginAnew
        } else {
            Decision::Wait { out_of_place }
        };
    }
    if waiting.since_raised >= Duration::from_millis(config.raise_after_ms) {
        return Decision::PayMore;
    }
    if waiting.since_sent >= Duration::from_millis(config.resend_after_ms) {
        return Decision::SendAgain;
    }
    Decision::Wait { out_of_place: 0 }
}

#[cfg(test)]
mod tests {
    use lode_protocol::hash::Digest;

    use super::*;

    fn receipt(block: u64) -> Receipt {
        Receipt {
            transaction: Digest([1; 32]),
            block,
            block_hash: Digest([2; 32]),
            succeeded: true,
            gas_used: 21_000,
            events: vec![],
        }
    }

    fn seen(mined_nonce: u64, receipt: Option<Receipt>, height: u64) -> Observation {
        Observation { mined_nonce, receipt, height }
    }

    #[test]
    fn a_receipt_counts_once_enough_blocks_stand_on_it() {
        let config = OutboxConfig { confirmations: 2, ..OutboxConfig::default() };
        let early = decide(&config, 7, seen(8, Some(receipt(10)), 11), Waiting::default());
        assert_eq!(early, Decision::Wait { out_of_place: 0 });
        let late = decide(&config, 7, seen(8, Some(receipt(10)), 12), Waiting::default());
        assert_eq!(late, Decision::Settle(receipt(10)));
    }

    #[test]
    fn a_nonce_out_of_place_is_believed_at_the_third_look() {
        let config = OutboxConfig::default();
        for mined in [6, 8] {
            let mut waiting = Waiting::default();
            for look in 1..=2 {
                let decision = decide(&config, 7, seen(mined, None, 10), waiting);
                assert_eq!(decision, Decision::Wait { out_of_place: look });
                waiting.out_of_place = look;
            }
            assert_eq!(decide(&config, 7, seen(mined, None, 10), waiting), Decision::BeginAnew);
        }
    }

    #[test]
    fn a_transaction_that_is_not_mined_is_sent_again_and_then_pays_more() {
        let config = OutboxConfig::default();
        let after = |sent: u64, raised: u64| Waiting {
            since_sent: Duration::from_millis(sent),
            since_raised: Duration::from_millis(raised),
            out_of_place: 0,
        };
        let nothing = || seen(7, None, 10);
        assert_eq!(decide(&config, 7, nothing(), after(9_999, 9_999)), Decision::Wait { out_of_place: 0 });
        assert_eq!(decide(&config, 7, nothing(), after(10_000, 10_000)), Decision::SendAgain);
        assert_eq!(decide(&config, 7, nothing(), after(5_000, 45_000)), Decision::PayMore);
    }
}
