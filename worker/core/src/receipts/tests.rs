use lode_protocol::hash::Digest;
use lode_protocol::ids::{ChainId, Incarnation, NodeId, PoolId, ReplicaId, TaskId};
use lode_protocol::keys::SigningKey;
use lode_protocol::proof::ProofClassId;
use lode_protocol::settlement::{Receipt, rewards_domain};
use lode_protocol::usage::{UsageLine, UsageStatement};

use super::*;

const PAYEE: Address = Address([6; 20]);
const PATIENCE: Millis = Millis::seconds(30);

fn orchestrator() -> SigningKey {
    SigningKey::from_bytes(&[2; 32]).unwrap()
}

fn terms() -> JudgeContext {
    JudgeContext {
        pool: PoolId(3),
        node: NodeId(Address([1; 20])),
        domain: rewards_domain(ChainId(1), Address([8; 20])),
        orchestrator: Some(orchestrator().address()),
        lease: Millis::seconds(60),
    }
}

fn running(number: u128, restarts: u32, gpus: u32) -> Running {
    let replica = ReplicaId { task: TaskId(uuid::Uuid::from_u128(number)), replica: 0 };
    (AssignmentId { replica, incarnation: Incarnation(1) }, restarts, gpus)
}

fn reading(epoch: u64, counts: bool) -> MeterReading {
    MeterReading { epoch: Epoch(epoch), gpu_millis: 0, earned: Amount(1), counts }
}

/// A keeper with its clock.
#[derive(Default)]
struct Node {
    keeper: ReceiptBook,
    at: u64,
    sequence: u64,
    session: u8,
}

impl Node {
    /// A beat `seconds` after the one before, answered.
    fn beat(&mut self, seconds: u64, reading: MeterReading, running: &[Running]) -> Vec<Change> {
        self.at += seconds * 1_000;
        self.sequence += 1;
        let session = SessionId([self.session; 16]);
        self.keeper.beat_sent(session, Sequence(self.sequence), Millis(self.at), running.to_vec());
        self.keeper.beat_answered(Sequence(self.sequence), Some(reading), PATIENCE, Some(PAYEE))
    }

    /// An hour of beats with this running.
    fn hour(&mut self, epoch: u64, running: &[Running]) {
        self.beat(10, reading(epoch, true), running);
        for _ in 0..360 {
            self.beat(10, reading(epoch, true), running);
        }
    }

    fn counted(&self, epoch: u64) -> u64 {
        self.keeper.records[&Epoch(epoch)].gpu_millis
    }
}

fn offer(epoch: u64, gpu_millis: u64, cumulative: u64) -> OfferedReceipt {
    let usage = UsageStatement {
        pool: PoolId(3),
        epoch: Epoch(epoch),
        node: terms().node,
        payee: PAYEE,
        lines: vec![UsageLine {
            class: ProofClassId(1),
            order: None,
            price_per_gpu_hour: Amount::tokens(1),
            gpu_millis,
        }],
    };
    let receipt = Receipt {
        pool: usage.pool,
        epoch: usage.epoch,
        node: usage.node,
        payee: usage.payee,
        usage: usage.digest(),
        amount: usage.amount().unwrap(),
        cumulative: Amount::tokens(cumulative),
    };
    sign(receipt, usage)
}

fn sign(receipt: Receipt, usage: UsageStatement) -> OfferedReceipt {
    let signature = orchestrator().sign_recoverable(&receipt.digest(&terms().domain));
    OfferedReceipt { receipt, usage, signature }
}

fn kept(offer: OfferedReceipt) -> KeptReceipt {
    KeptReceipt {
        receipt: offer.receipt,
        usage: offer.usage,
        orchestrator_signature: offer.signature,
        node_signature: offer.signature,
    }
}

fn code(judged: Result<(), NotSigned>) -> String {
    match judged {
        Ok(()) => "signed".to_owned(),
        Err(NotSigned::Unknown) => "unknown".to_owned(),
        Err(NotSigned::Refused { code, .. }) => code.to_string(),
    }
}

#[test]
fn time_counts_between_answered_beats_at_both_of_which_something_ran() {
    let mut node = Node::default();
    node.beat(10, reading(1, true), &[running(1, 0, 2)]);
    node.beat(10, reading(1, true), &[running(1, 0, 2), running(2, 0, 1)]);
    assert_eq!(node.counted(1), 20_000, "what has just begun counts from the next beat on");
    node.beat(10, reading(1, true), &[running(2, 0, 1)]);
    assert_eq!(node.counted(1), 30_000, "what has ended counts to the beat before");
    node.beat(10, reading(1, true), &[running(2, 1, 1)]);
    assert_eq!(node.counted(1), 30_000, "a restart in between does not count");
}

#[test]
fn silence_a_new_session_and_time_that_does_not_count_are_not_counted() {
    let mut node = Node::default();
    let work = [running(1, 0, 1)];
    node.beat(10, reading(1, true), &work);
    node.beat(31, reading(1, true), &work);
    assert_eq!(node.counted(1), 0, "longer than the orchestrator's patience");
    node.session = 1;
    node.beat(10, reading(1, true), &work);
    assert_eq!(node.counted(1), 0, "a new session begins anew");
    node.beat(10, reading(1, false), &work);
    assert_eq!(node.counted(1), 0, "the orchestrator says that the node is not proven");
    node.beat(10, reading(2, true), &work);
    assert_eq!((node.counted(1), node.counted(2)), (0, 10_000), "the answer names the epoch");
}

#[test]
fn a_receipt_that_agrees_with_the_count_is_signed_and_one_that_does_not_is_refused() {
    let mut node = Node::default();
    node.hour(1, &[running(1, 0, 2)]);
    let own = node.counted(1);
    assert_eq!(own, 7_200_000);
    for (said, verdict) in [
        (own, "signed"),
        (own - 200_000, "signed"),
        (own + 200_000, "signed"),
        (own - 400_000, "receipt/too-little"),
        (own + 400_000, "receipt/too-much"),
        (0, "receipt/too-little"),
    ] {
        assert_eq!(code(node.keeper.judge(&offer(1, said, 5), &terms())), verdict, "{said}");
    }
}

#[test]
fn every_way_in_which_a_receipt_can_be_wrong_has_its_name() {
    let mut node = Node::default();
    node.hour(1, &[running(1, 0, 1)]);
    node.hour(2, &[running(1, 0, 1)]);
    let good = offer(2, 3_600_000, 5);
    let judge = |offer: &OfferedReceipt| code(node.keeper.judge(offer, &terms()));
    assert_eq!(judge(&good), "signed");
    let foreign = Receipt { node: NodeId(Address([9; 20])), ..good.receipt };
    assert_eq!(judge(&sign(foreign, good.usage.clone())), "receipt/foreign");
    let forged =
        OfferedReceipt { receipt: Receipt { cumulative: Amount(0), ..good.receipt }, ..good.clone() };
    assert_eq!(judge(&forged), "receipt/bad-signature");
    let mismatch = Receipt { usage: Digest([1; 32]), ..good.receipt };
    assert_eq!(judge(&sign(mismatch, good.usage.clone())), "receipt/mismatch");
    assert_eq!(judge(&offer(7, 3_600_000, 5)), "receipt/unknown-work");
    let mut usage = good.usage.clone();
    usage.payee = Address([7; 20]);
    let stolen = Receipt { payee: usage.payee, usage: usage.digest(), ..good.receipt };
    assert_eq!(judge(&sign(stolen, usage)), "receipt/wrong-payee");
    let mut unknown = terms();
    unknown.orchestrator = None;
    assert_eq!(code(node.keeper.judge(&good, &unknown)), "unknown", "who the orchestrator is says the chain");
    let mut other = terms();
    other.orchestrator = Some(Address([5; 20]));
    assert_eq!(
        code(node.keeper.judge(&good, &other)),
        "receipt/bad-signature",
        "the key was changed on chain"
    );
}

#[test]
fn a_total_that_takes_back_what_was_promised_is_refused() {
    let mut node = Node::default();
    node.hour(1, &[running(1, 0, 1)]);
    node.hour(2, &[running(1, 0, 1)]);
    node.keeper.signed(kept(offer(1, 3_600_000, 10)), None);
    assert_eq!(code(node.keeper.judge(&offer(2, 3_600_000, 10), &terms())), "receipt/total-shrunk");
    assert_eq!(code(node.keeper.judge(&offer(2, 3_600_000, 11), &terms())), "signed");
}

#[test]
fn after_a_restart_the_tolerance_is_wider_by_what_may_be_lost() {
    let mut node = Node::default();
    node.hour(1, &[running(1, 0, 1)]);
    let record = node.keeper.records[&Epoch(1)].clone();
    let said = record.gpu_millis + 150_000;
    assert_eq!(code(node.keeper.judge(&offer(1, said, 5), &terms())), "receipt/too-much");
    let again = ReceiptBook::recover(vec![(Epoch(1), record)], vec![]);
    assert_eq!(code(again.judge(&offer(1, said, 5), &terms())), "signed");
}

#[test]
fn the_count_is_written_at_once_in_a_new_epoch_and_then_at_intervals() {
    let mut node = Node::default();
    let writes: Vec<usize> =
        (0..7).map(|_| node.beat(10, reading(1, true), &[running(1, 0, 1)]).len()).collect();
    assert_eq!(writes, [1, 0, 0, 1, 0, 0, 1]);
    assert_eq!(node.beat(10, reading(2, true), &[]).len(), 1);
}

#[test]
fn receipts_are_bounded_and_the_oldest_paid_ones_go_first() {
    let mut keeper = ReceiptBook::default();
    let mut dropped = Vec::new();
    for number in 0..=MOST_KEPT as u64 {
        for change in keeper.signed(kept(offer(number, 3_600_000, number + 1)), Some(Amount::tokens(1))) {
            if let Change::Receipt(epoch, _, None) = change {
                dropped.push(epoch.0);
            }
        }
    }
    assert_eq!(dropped, [0]);
    assert_eq!(keeper.kept().count(), MOST_KEPT);
    let changes = keeper.signed(kept(offer(9_999, 3_600_000, 9_999)), None);
    assert!(
        changes.contains(&Change::Receipt(Epoch(1), PAYEE, None)),
        "a later one includes it: {changes:?}"
    );
    let latest = keeper.kept().map(|kept| kept.receipt.cumulative).max();
    assert_eq!(latest, Some(Amount::tokens(9_999)), "what is not included elsewhere stays");
}

#[test]
fn an_answer_is_said_until_its_receipt_is_not_offered_any_more() {
    let mut keeper = ReceiptBook::default();
    let offers = [offer(1, 1, 1), offer(2, 1, 1)];
    assert_eq!(keeper.unanswered(&offers).len(), 2);
    keeper.answer(Epoch(1), PAYEE, ReceiptVerdict::Signed(offers[0].signature));
    assert_eq!(keeper.unanswered(&offers), [&offers[1]]);
    assert_eq!(keeper.answers().map(|answers| answers.len()), Some(1));
    assert_eq!(keeper.unanswered(&offers[1..]), [&offers[1]]);
    assert_eq!(keeper.answers(), None);
}

#[test]
fn earnings_without_a_receipt_are_overdue_after_some_epochs() {
    let mut node = Node::default();
    node.hour(1, &[running(1, 0, 1)]);
    assert_eq!(node.keeper.overdue(Epoch(3)), None);
    assert_eq!(node.keeper.overdue(Epoch(4)), Some(Epoch(1)));
    node.keeper.refused(Epoch(1));
    assert_eq!(node.keeper.overdue(Epoch(9)), None);
}
