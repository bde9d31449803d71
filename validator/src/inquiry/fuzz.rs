//! The fuzz target `audit`: books as a hostile pool publishes them, judged.

use std::collections::BTreeMap;

use lode_contracts::{Amount, EarningsLeaf, Epoch, ProvenRecord};
use lode_protocol::ids::{Address, ChainId, NodeId, PoolId};
use lode_protocol::proof::ProofClassId;
use lode_protocol::published::{EpochDocument, PublishedReceipt};
use lode_protocol::settlement::{Receipt, rewards_domain};
use lode_protocol::units::Timestamp;
use lode_protocol::usage::UsageStatement;

use super::audit::{Books, Earned, ProvenAt, Terms, check, leaves, tree};
use crate::core::{Audit, PostedRoot};

/// Two documents in a row: the books of a root, and those of the one before. They are judged as they are, and with receipts
/// that say what their usage says, as a pool makes them that means to be believed.
///
/// # Panics
/// If a defect was found.
pub fn audit(bytes: &[u8]) {
    let mut documents = serde_json::Deserializer::from_slice(bytes).into_iter::<EpochDocument>();
    let Some(Ok(mut now)) = documents.next() else { return };
    let before = documents.next().and_then(Result::ok).and_then(|before| leaves(&before.payees).ok());
    // The leaves before are those of a final root: they make a tree.
    let before = before.filter(|leaves| tree(leaves).is_ok());
    judge(&now, before.as_ref());
    for PublishedReceipt { receipt, usage, .. } in &mut now.receipts {
        let UsageStatement { pool, epoch, node, payee, .. } = *usage;
        let amount = usage.amount().unwrap_or(receipt.amount);
        *receipt = Receipt { pool, epoch, node, payee, usage: usage.digest(), amount, ..*receipt };
    }
    judge(&now, before.as_ref());
}

/// Books as what they make, and as if another root had been posted.
fn judge(now: &EpochDocument, before: Option<&Vec<EarningsLeaf>>) {
    let Ok(made) = leaves(&now.payees).and_then(|leaves| tree(&leaves)) else { return };
    let posted = PostedRoot {
        pool: now.pool,
        epoch: now.epoch,
        root: made.root(),
        total: made.total(),
        depth: made.depth(),
        final_at: Timestamp(0),
    };
    let orchestrator = now.receipts.first().and_then(|first| {
        let domain = rewards_domain(ChainId(1), Address([9; 20]));
        first.orchestrator_signature.recover(&first.receipt.digest(&domain)).ok()
    });
    let books = || Books {
        payees: now.payees.clone(),
        earned: earned(now, orchestrator.unwrap_or(Address::ZERO)),
        previous: before.cloned(),
    };
    let verdict = check(&posted, books());
    let paid = |leaves: &Vec<EarningsLeaf>| {
        leaves.iter().fold(0_u128, |sum, leaf| sum.saturating_add(leaf.cumulative.0))
    };
    if verdict == Audit::Right {
        let had = before.map_or(0, paid);
        let added = now.receipts.iter().fold(0_u128, |sum, one| sum.saturating_add(one.receipt.amount.0));
        assert_eq!(made.total().0, had.saturating_add(added), "what is right adds up");
    }
    let other = PostedRoot { total: Amount(made.total().0 ^ 1), ..posted };
    assert!(!matches!(check(&other, books()), Audit::Right), "another total is never right");
}

fn earned(now: &EpochDocument, orchestrator: Address) -> Earned {
    let terms = Terms {
        pool: PoolId(1),
        epochs: (now.covers_from.unwrap_or(now.epoch), now.epoch),
        orchestrator,
        domain: rewards_domain(ChainId(1), Address([9; 20])),
    };
    let record = ProvenRecord {
        class: ProofClassId(1),
        gpu_count: 1,
        vram_gib: 1,
        walk_score: 1,
        gemm_score: 1,
        proven_epoch: Epoch(0),
        expiry_epoch: Epoch(u64::MAX),
        registration: 1,
        current: true,
    };
    let proven: BTreeMap<NodeId, ProvenAt> =
        now.receipts.iter().map(|one| (one.receipt.node, Some(record))).collect();
    let mut earned = Earned::default();
    earned.add(&now.receipts, &terms, &proven);
    earned
}

#[cfg(test)]
mod tests {
    #[test]
    fn no_books_of_a_hostile_pool_break_the_auditor_and_what_it_calls_right_adds_up() {
        lode_testkit::fuzz::short_run("audit", 2_000, super::audit);
    }
}
