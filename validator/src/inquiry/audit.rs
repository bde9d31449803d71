//! Whether the books of a pool add up. Pure.

use std::collections::BTreeMap;

use lode_contracts::{Amount, EarningsLeaf, EarningsTree, Epoch, ProvenEarnings, ProvenRecord};
use lode_protocol::eip712::Domain;
use lode_protocol::error_code::ErrorCode;
use lode_protocol::ids::{Address, NodeId, PoolId};
use lode_protocol::published::{PublishedPayee, PublishedReceipt};

use crate::core::{Audit, PostedRoot, Regress, RequestedRedemption};

/// The latest proof of a node; `None` was never proven.
pub(super) type ProvenAt = Option<ProvenRecord>;

/// What a root is made of.
#[derive(Debug)]
pub(super) struct Books {
    /// Leaves of the root.
    pub(super) payees: Vec<PublishedPayee>,
    /// What the receipts of its epochs add.
    pub(super) earned: Earned,
    /// Leaves of the final root before it, which make that root.
    pub(super) previous: Option<Vec<EarningsLeaf>>,
}

/// What makes a receipt one of a root's.
#[derive(Debug)]
pub(super) struct Terms {
    pub(super) pool: PoolId,
    /// First and last epoch whose receipts the root adds.
    pub(super) epochs: (Epoch, Epoch),
    pub(super) orchestrator: Address,
    pub(super) domain: Domain,
}

/// What is kept of receipts that were checked.
#[derive(Debug, Default)]
pub(super) struct Earned {
    /// Of each payee what it had after each of its receipts, and what that one added.
    steps: BTreeMap<Address, Vec<(Amount, Amount)>>,
    /// Why the first one that is wrong is.
    wrong: Option<Audit>,
}

impl Earned {
    /// Checks receipts and adds what they say. `proven` knows all of their nodes.
    pub(super) fn add(
        &mut self,
        receipts: &[PublishedReceipt],
        terms: &Terms,
        proven: &BTreeMap<NodeId, ProvenAt>,
    ) {
        for published in receipts {
            if self.wrong.is_none() {
                self.wrong = check_receipt(published, terms, proven).err();
            }
            let PublishedReceipt { receipt, .. } = published;
            self.steps.entry(receipt.payee).or_default().push((receipt.cumulative, receipt.amount));
        }
    }
}

fn wrong(code: &'static str, message: String) -> Audit {
    Audit::Wrong { code: ErrorCode::new(code), message }
}

/// Leaves in the order of their places, without gaps.
pub(super) fn leaves(payees: &[PublishedPayee]) -> Result<Vec<EarningsLeaf>, String> {
    let in_place = |(place, leaf): (u64, &PublishedPayee)| {
        let PublishedPayee { index, payee, cumulative } = *leaf;
        (index == place).then_some(EarningsLeaf { payee, cumulative })
    };
    let leaves: Option<Vec<EarningsLeaf>> = (0..).zip(payees).map(in_place).collect();
    leaves.ok_or_else(|| "the payees are not in the order of their places".to_owned())
}

pub(super) fn tree(leaves: &[EarningsLeaf]) -> Result<EarningsTree, String> {
    EarningsTree::new(leaves.to_vec()).map_err(|error| error.to_string())
}

/// Checks everything that can be checked of a root: first what is on chain, then what it takes away (that is refuted, and
/// needs no quorum), then what came of its receipts.
pub(super) fn check(posted: &PostedRoot, books: Books) -> Audit {
    let made = leaves(&books.payees).and_then(|leaves| Ok((tree(&leaves)?, leaves)));
    let (tree, leaves) = match made {
        Ok(made) => made,
        Err(error) => return wrong("settlement/root-mismatch", error),
    };
    let (root, total, depth) = (tree.root(), tree.total(), tree.depth());
    if (root, total, depth) != (posted.root, posted.total, posted.depth) {
        let message =
            format!("the published leaves make root {root} with a total of {total} and depth {depth}");
        return wrong("settlement/root-mismatch", message);
    }
    let previous = books.previous.as_deref().unwrap_or_default();
    if let Some(audit) = taken(previous, &leaves, &tree) {
        return audit;
    }
    let Earned { steps, wrong } = books.earned;
    wrong.or_else(|| check_sums(previous, &leaves, steps).err()).unwrap_or(Audit::Right)
}

/// The first payee that has less than before, or another one in its place.
fn taken(previous: &[EarningsLeaf], leaves: &[EarningsLeaf], tree: &EarningsTree) -> Option<Audit> {
    let less = |(before, index): (&EarningsLeaf, u64)| {
        let now = usize::try_from(index).ok().and_then(|place| leaves.get(place));
        let kept = now.is_some_and(|now| now.payee == before.payee && now.cumulative >= before.cumulative);
        (!kept && before.cumulative > Amount::ZERO).then_some(index)
    };
    let index = previous.iter().zip(0..).find_map(less)?;
    let earlier = EarningsTree::new(previous.to_vec()).ok().and_then(|earlier| earlier.path(index));
    let Some((leaf, path)) = earlier else {
        return Some(wrong("settlement/regress", format!("the payee at place {index} has less than before")));
    };
    let proven = ProvenEarnings { leaf, path };
    // A place beyond the tree is of no account to the contract; one within it that is empty cannot be shown by a leaf.
    let other = match tree.path(index) {
        Some((leaf, path)) => ProvenEarnings { leaf, path },
        None if index >> tree.depth() > 0 => {
            let leaf = EarningsLeaf { payee: Address::ZERO, cumulative: Amount::ZERO };
            ProvenEarnings { leaf, path: Vec::new() }
        }
        None => {
            let message = format!("the payee at place {index} has vanished");
            return Some(wrong("settlement/regress", message));
        }
    };
    Some(Audit::Regress(Box::new(Regress { index, proven, other })))
}

fn check_receipt(
    published: &PublishedReceipt,
    terms: &Terms,
    proven: &BTreeMap<NodeId, ProvenAt>,
) -> Result<(), Audit> {
    let PublishedReceipt { receipt, usage, orchestrator_signature, node_signature, .. } = published;
    let (node, payee, epoch) = (receipt.node, receipt.payee, receipt.epoch);
    let bad = |code, what: &str| {
        Err(wrong(code, format!("the receipt of node {node} for payee {payee} in epoch {epoch} {what}")))
    };
    let (first, last) = terms.epochs;
    if receipt.pool != terms.pool || epoch < first || epoch > last {
        return bad(
            "settlement/foreign-receipt",
            "is of another pool, or of an epoch that the root does not cover",
        );
    }
    if !usage.is_of(receipt) {
        return bad("settlement/wrong-amount", "does not pay what its usage says");
    }
    let digest = receipt.digest(&terms.domain);
    if orchestrator_signature.recover(&digest) != Ok(terms.orchestrator) {
        return bad("settlement/bad-signature", "is not signed by the pool's orchestrator");
    }
    // A node that is gone, or did not agree, has not signed: it is paid all the same.
    if node_signature.as_ref().is_some_and(|signature| signature.recover(&digest) != Ok(node.0)) {
        return bad("settlement/bad-signature", "bears a signature that is not the node's");
    }
    let proof = proven.get(&node).and_then(Option::as_ref);
    if was_proven(proof, epoch) == Some(false) {
        return bad("settlement/unproven-node", "pays for work of a node that was not proven then");
    }
    Ok(())
}

/// Whether a node was proven in an epoch, by its latest proof; `None` where that is a later one, and nobody can tell.
fn was_proven(latest: Option<&ProvenRecord>, epoch: Epoch) -> Option<bool> {
    let Some(record) = latest else { return Some(false) };
    if record.proven_epoch <= epoch && epoch <= record.expiry_epoch {
        return Some(true);
    }
    // In the epoch of a failure the node may have been proven before it.
    (record.proven_epoch < epoch).then_some(false)
}

/// Each payee has what it had, and what its receipts add, one after the other.
fn check_sums(
    previous: &[EarningsLeaf],
    leaves: &[EarningsLeaf],
    mut earned: BTreeMap<Address, Vec<(Amount, Amount)>>,
) -> Result<(), Audit> {
    let had: BTreeMap<Address, Amount> = previous.iter().map(|leaf| (leaf.payee, leaf.cumulative)).collect();
    for EarningsLeaf { payee, cumulative } in leaves {
        let mut steps = earned.remove(payee).unwrap_or_default();
        // Of equal totals the one that adds something comes first.
        steps.sort_by(|one, other| one.0.cmp(&other.0).then(other.1.cmp(&one.1)));
        let start = had.get(payee).copied().unwrap_or_default();
        let end = steps.into_iter().try_fold(start, |sum, (total, amount)| {
            (sum.0.checked_add(amount.0) == Some(total.0)).then_some(total)
        });
        if end != Some(*cumulative) {
            let message = format!("the receipts of payee {payee} do not lead from {start} to {cumulative}");
            return Err(wrong("settlement/wrong-sum", message));
        }
    }
    match earned.keys().next() {
        Some(payee) => Err(wrong("settlement/wrong-sum", format!("payee {payee} has receipts and no place"))),
        None => Ok(()),
    }
}

/// A redemption for work of a node that was never proven.
pub(super) fn redeemed_without_proof(
    request: &RequestedRedemption,
    proven: &BTreeMap<NodeId, ProvenAt>,
) -> Option<Audit> {
    let proof = proven.get(&request.node).and_then(Option::as_ref);
    let unproven = was_proven(proof, request.epoch) == Some(false);
    unproven.then(|| {
        let message = format!("node {} was not proven in epoch {}", request.node, request.epoch);
        wrong("settlement/unproven-node", message)
    })
}

/// A redemption of what a final root pays already.
pub(super) fn redeemed_though_covered(
    request: &RequestedRedemption,
    epoch: Epoch,
    leaves: &[EarningsLeaf],
) -> Audit {
    let leaf = leaves.iter().find(|leaf| leaf.payee == request.payee);
    match leaf.filter(|leaf| leaf.cumulative >= request.cumulative) {
        Some(leaf) => {
            let message = format!("the root of epoch {epoch} pays {} to the same payee", leaf.cumulative);
            wrong("settlement/covered", message)
        }
        None => Audit::Right,
    }
}

#[cfg(test)]
mod tests;
