//! Receipts: what the node agrees to is signed, kept, and said; what it does not agree to is said too.

use std::sync::Arc;

use lode_protocol::amount::Amount;
use lode_protocol::assignment::AssignmentState;
use lode_protocol::ids::{Epoch, NodeId};
use lode_protocol::keys::SigningKey;
use lode_protocol::proof::ProofClassId;
use lode_protocol::settlement::{Receipt, rewards_domain};
use lode_protocol::usage::{
    MeterReading, OfferedReceipt, ReceiptAnswer, ReceiptVerdict, UsageLine, UsageStatement,
};
use lode_worker::core::receipts::KeptReceipt;
use lode_worker::local::server::LocalRequest;
use tokio::sync::oneshot;

use super::life::member;
use super::node::{Node, PROVIDER, REWARDS, order};
use super::orchestrator::Orchestrator;

fn reading(epoch: u64) -> MeterReading {
    MeterReading { epoch: Epoch(epoch), gpu_millis: 0, earned: Amount(1), counts: true }
}

fn offer(orchestrator: &Orchestrator, node: NodeId, key: &SigningKey, gpu_millis: u64) -> OfferedReceipt {
    let line =
        UsageLine { class: ProofClassId(1), order: None, price_per_gpu_hour: Amount::tokens(2), gpu_millis };
    let usage = UsageStatement {
        pool: orchestrator.realm.pool,
        epoch: Epoch(1),
        node,
        payee: PROVIDER.0,
        lines: vec![line],
    };
    let amount = usage.amount().unwrap();
    let receipt = Receipt {
        pool: usage.pool,
        epoch: usage.epoch,
        node,
        payee: usage.payee,
        usage: usage.digest(),
        amount,
        cumulative: amount,
    };
    let domain = rewards_domain(orchestrator.realm.chain, REWARDS);
    OfferedReceipt { signature: key.sign_recoverable(&receipt.digest(&domain)), receipt, usage }
}

/// Runs a service on a GPU through some counted beats of epoch 1, then lets epoch 2 begin.
async fn work(orchestrator: &mut Orchestrator) {
    orchestrator.meter = Some(reading(1));
    let mut order = order("kind = \"service\"\n[resources]\ngpus = 1\n");
    order.gpus = vec!["GPU-11".parse().unwrap()];
    orchestrator.want(std::slice::from_ref(&order));
    let state = |seen: &Orchestrator| seen.reports.get(&order.id).map(|report| report.state);
    orchestrator.until("running", |seen| state(seen) == Some(AssignmentState::Running)).await;
    orchestrator.answer_beats(5).await;
    orchestrator.meter = Some(reading(2));
    orchestrator.answer_beats(2).await;
}

fn last_answer(seen: &Orchestrator) -> Option<ReceiptAnswer> {
    seen.beats.last()?.receipts.as_ref()?.first().cloned()
}

async fn kept(node: &Node) -> Vec<KeptReceipt> {
    let (reply, answer) = oneshot::channel();
    node.local.send(LocalRequest::Receipts(reply)).await.unwrap();
    answer.await.unwrap()
}

#[tokio::test]
async fn a_receipt_that_agrees_is_signed_kept_and_said_until_it_is_not_offered_any_more() {
    let (mut orchestrator, node, engine, store) = member().await;
    work(&mut orchestrator).await;
    let key = orchestrator.key.clone();
    let offered = offer(&orchestrator, node.identity.node(), &key, 500);
    orchestrator.offers = vec![offered.clone()];
    orchestrator.until("answered", |seen| last_answer(seen).is_some()).await;
    let answer = last_answer(&orchestrator).unwrap();
    let ReceiptVerdict::Signed(signature) = answer.verdict else { panic!("{answer:?}") };
    let digest = offered.receipt.digest(&rewards_domain(orchestrator.realm.chain, REWARDS));
    assert_eq!(signature.recover(&digest), Ok(node.identity.address()));
    orchestrator.offers.clear();
    orchestrator.until("quiet", |seen| last_answer(seen).is_none()).await;

    // It is on disk, with both signatures.
    let (identity, view) = (node.identity.clone(), node.chain.borrow().clone());
    node.stop().await;
    let again = Node::start(identity, Arc::new(engine.clone()), &store, view).await;
    let expected = KeptReceipt {
        receipt: offered.receipt,
        usage: offered.usage,
        orchestrator_signature: offered.signature,
        node_signature: signature,
    };
    assert_eq!(kept(&again).await, [expected]);
}

#[tokio::test]
async fn a_receipt_of_another_key_or_for_work_that_was_not_done_gets_no_signature_and_is_said() {
    let (mut orchestrator, node, _, _) = member().await;
    work(&mut orchestrator).await;
    let own = orchestrator.key.clone();
    let stranger = SigningKey::from_bytes(&[43; 32]).unwrap();
    for (key, gpu_millis, code) in
        [(&stranger, 500, "receipt/bad-signature"), (&own, 36_000_000, "receipt/too-much")]
    {
        orchestrator.offers.clear();
        orchestrator.until("quiet", |seen| last_answer(seen).is_none()).await;
        orchestrator.offers = vec![offer(&orchestrator, node.identity.node(), key, gpu_millis)];
        orchestrator.until("answered", |seen| last_answer(seen).is_some()).await;
        let verdict = last_answer(&orchestrator).unwrap().verdict;
        assert!(
            matches!(&verdict, ReceiptVerdict::Refused { code: given, .. } if *given == code),
            "{verdict:?}"
        );
        assert!(node.has_finding(code));
    }
    assert_eq!(kept(&node).await, []);
}

#[tokio::test]
async fn earnings_that_are_not_counted_or_never_promised_are_said() {
    let (mut orchestrator, node, _, _) = member().await;
    work(&mut orchestrator).await;
    orchestrator.meter = Some(MeterReading { counts: false, ..reading(2) });
    orchestrator.until("said", |_| node.has_finding("receipt/not-counted")).await;
    orchestrator.meter = Some(reading(5));
    orchestrator.until("overdue", |_| node.has_finding("receipt/missing")).await;
    assert!(!node.has_finding("receipt/not-counted"));
}
