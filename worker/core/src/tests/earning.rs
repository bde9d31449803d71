//! Meter and receipts, through the whole core.

use lode_protocol::amount::Amount;
use lode_protocol::ids::Epoch;
use lode_protocol::proof::ProofClassId;
use lode_protocol::settlement::Receipt;
use lode_protocol::usage::{MeterReading, OfferedReceipt, ReceiptVerdict, UsageLine, UsageStatement};

use super::support::{World, assignment, config, key, order};

fn reading(epoch: u64, counts: bool) -> MeterReading {
    MeterReading { epoch: Epoch(epoch), gpu_millis: 0, earned: Amount(1), counts }
}

fn offer(world: &World, gpu_millis: u64) -> OfferedReceipt {
    let line =
        UsageLine { class: ProofClassId(1), order: None, price_per_gpu_hour: Amount::tokens(2), gpu_millis };
    let usage = UsageStatement {
        pool: config().pool,
        epoch: Epoch(1),
        node: config().node,
        payee: world.chain.provider_address().unwrap(),
        lines: vec![line],
    };
    let amount = usage.amount().unwrap();
    let receipt = Receipt {
        pool: usage.pool,
        epoch: usage.epoch,
        node: usage.node,
        payee: usage.payee,
        usage: usage.digest(),
        amount,
        cumulative: amount,
    };
    let signature = key(2).sign_recoverable(&receipt.digest(&config().rewards_domain));
    OfferedReceipt { receipt, usage, signature }
}

/// A minute of work on a GPU in epoch 1; then epoch 2 has begun.
fn worked() -> World {
    let mut world = World::new();
    world.orchestrator.meter = Some(reading(1, true));
    world.desire(vec![order(assignment(1, 1), &[0], "kind = \"service\"\n")]);
    for _ in 0..7 {
        world.wait(10_000);
    }
    world.orchestrator.meter = Some(reading(2, true));
    world.wait(10_000);
    world
}

fn said(world: &World) -> Option<ReceiptVerdict> {
    Some(world.orchestrator.beats.last()?.receipts.as_ref()?.first()?.verdict.clone())
}

#[test]
fn a_receipt_that_agrees_is_signed_kept_and_said_until_it_is_not_offered_any_more() {
    let mut world = worked();
    let offered = offer(&world, 60_000);
    world.orchestrator.offers = vec![offered.clone()];
    world.wait(10_000);
    world.wait(10_000);
    let Some(ReceiptVerdict::Signed(signature)) = said(&world) else { panic!("{:?}", said(&world)) };
    let digest = offered.receipt.digest(&config().rewards_domain);
    assert_eq!(signature.recover(&digest), Ok(config().node.0));
    world.orchestrator.offers.clear();
    world.wait(10_000);
    world.wait(10_000);
    assert_eq!(said(&world), None);
    world.restart_worker();
    let kept: Vec<_> = world.core.receipts().map(|kept| kept.node_signature).collect();
    assert_eq!(kept, [signature]);
}

#[test]
fn a_signature_that_is_not_durable_is_not_told_and_asked_for_once() {
    let mut world = worked();
    world.disk_full = true;
    world.orchestrator.offers = vec![offer(&world, 60_000)];
    for _ in 0..3 {
        world.wait(10_000);
        assert_eq!(said(&world), None);
    }
    world.disk_full = false;
    world.write();
    world.wait(1);
    assert!(matches!(said(&world), Some(ReceiptVerdict::Signed(_))), "{:?}", said(&world));
    assert_eq!(world.core.receipts().count(), 1);
}

#[test]
fn a_receipt_for_work_that_was_not_done_gets_no_signature_and_both_sides_are_told() {
    let mut world = worked();
    world.orchestrator.offers = vec![offer(&world, 36_000_000)];
    world.wait(10_000);
    world.wait(10_000);
    assert!(
        matches!(said(&world), Some(ReceiptVerdict::Refused { code, .. }) if code == "receipt/too-much"),
        "{:?}",
        said(&world)
    );
    assert!(world.findings.contains("receipt/too-much"));
    assert_eq!(world.core.receipts().count(), 0);
}

#[test]
fn earnings_that_are_not_counted_or_never_promised_are_said() {
    let mut world = worked();
    world.orchestrator.meter = Some(reading(2, false));
    world.wait(10_000);
    assert!(world.findings.contains("receipt/not-counted"));
    world.orchestrator.meter = Some(reading(5, true));
    world.wait(10_000);
    assert!(world.findings.contains("receipt/missing"));
    assert!(!world.findings.contains("receipt/not-counted"));
}
