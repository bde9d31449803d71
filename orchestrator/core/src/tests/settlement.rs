use lode_protocol::amount::Amount;
use lode_protocol::assignment::{AssignmentState, Reason};
use lode_protocol::envelope::encode;
use lode_protocol::error_code::ErrorCode;
use lode_protocol::ids::*;
use lode_protocol::proof::ProofClassId;
use lode_protocol::usage::ReceiptVerdict;

use super::super::effect::{Action, ChainCommand, Occurrence, OccurrenceKind, Table};
use super::super::event::*;
use super::super::record::node_key;
use super::super::settlement::test_access::{LineKey, Meter};
use super::world::{Worker, World, assignment, event_of, priced, spec, specs};

const SERVICE: &str = "[resources]\ngpus = 2\n";
const CODE: &str = "receipt/too-little";

/// One proven member with four GPUs in a pool that pays, in its first epoch.
pub(super) fn one() -> World {
    pool(1)
}

pub(super) fn pool(count: u8) -> World {
    let workers = (1..=count).map(|number| Worker::new(number, specs(number, 4))).collect();
    let mut world = World::with_members(priced(10), workers);
    for number in 0..usize::from(count) {
        world.prove(number, 1);
    }
    world.next_epoch();
    world
}

/// The same with a service of two GPUs that runs, and has just beaten.
pub(super) fn working() -> (World, TaskId) {
    let mut world = one();
    let task = world.submit(1, spec("service", SERVICE));
    for _ in 0..4 {
        world.work(0);
    }
    assert_eq!(world.state(assignment(task, 0, 1)), AssignmentState::Running);
    (world, task)
}

fn id(world: &World) -> NodeId {
    world.workers[0].id
}

/// Waits and beats every ten seconds.
fn beat_for(world: &mut World, seconds: u64) {
    for _ in 0..seconds / 10 {
        world.wait(10_000);
        world.keep_beating(0);
    }
}

fn raised(world: &World, code: &str) -> bool {
    let mut holds = false;
    for action in &world.actions {
        match action {
            Action::RaiseFinding(finding) if finding.code == code => holds = true,
            Action::ClearFinding { code: cleared, .. } if *cleared == code => holds = false,
            _ => {}
        }
    }
    holds
}

#[test]
fn in_a_quiet_pool_what_is_counted_is_what_ran_but_for_a_beat() {
    let (mut world, _) = working();
    beat_for(&mut world, 1_800);
    let (counted, ran) = (world.metered(id(&world)), world.ran[&id(&world)]);
    assert!(counted <= ran && ran - counted <= 2 * 10_000, "{counted} of {ran}");
    let meter = world.workers[0].meter.unwrap();
    assert_eq!((meter.epoch, meter.gpu_millis, meter.counts), (Epoch(1), counted, true));
    assert_eq!(meter.earned, Amount::tokens(10), "half an hour of two GPUs");
}

#[test]
fn a_killed_node_is_billed_to_its_last_acknowledged_beat() {
    let (mut world, _) = working();
    beat_for(&mut world, 100);
    let counted = world.metered(id(&world));
    world.wait(200_000);
    assert_eq!(world.metered(id(&world)), counted);
    world.workers[0].boot += 1;
    world.hello(0);
    world.beat(0);
    assert_eq!(world.metered(id(&world)), counted, "its return does not bill the time between");
}

#[test]
fn silence_longer_than_the_node_may_be_silent_earns_nothing() {
    let (mut world, _) = working();
    beat_for(&mut world, 100);
    let counted = world.metered(id(&world));
    world.wait(31_000);
    world.beat(0);
    assert_eq!(world.metered(id(&world)), counted);
    world.wait(10_000);
    world.beat(0);
    assert_eq!(world.metered(id(&world)), counted + 20_000);
    // The orchestrator was frozen and did not notice the silence as it went on.
    world.skip(40_000);
    world.keep_beating(0);
    assert_eq!(world.metered(id(&world)), counted + 20_000);
}

#[test]
fn a_beat_that_comes_twice_counts_once() {
    let (mut world, _) = working();
    world.wait(10_000);
    let heartbeat = world.workers[0].next_beat();
    let event = event_of(&world.workers[0], heartbeat);
    world.ok(event.clone());
    let counted = world.metered(id(&world));
    assert_eq!(counted, 20_000);
    world.wait(5_000);
    world.ok(event);
    assert_eq!(world.metered(id(&world)), counted);
    world.wait(5_000);
    world.beat(0);
    assert_eq!(world.metered(id(&world)), 2 * counted);
}

#[test]
fn only_proven_time_counts_and_a_gap_in_between_cuts() {
    let (mut world, _) = working();
    beat_for(&mut world, 100);
    let counted = world.metered(id(&world));
    world.wait(5_000);
    world.ok(Event::ChainProven { node: id(&world), proof: None });
    world.wait(5_000);
    world.beat(0);
    assert_eq!(world.metered(id(&world)), counted, "the proof ended between two beats");
    assert!(!world.workers[0].meter.unwrap().counts);
    beat_for(&mut world, 30);
    world.wait(5_000);
    world.prove(0, 1);
    world.wait(5_000);
    world.beat(0);
    assert_eq!(world.metered(id(&world)), counted, "the proof came between two beats");
    world.wait(10_000);
    world.beat(0);
    assert_eq!(world.metered(id(&world)), counted + 20_000);
}

#[test]
fn no_more_gpus_count_than_were_proven() {
    let (mut world, _) = working();
    let node = id(&world);
    world.ok(Event::ChainProven { node, proof: Some(Proof { class: 1, gpu_count: 1 }) });
    world.beat(0);
    world.wait(10_000);
    world.beat(0);
    assert_eq!(world.metered(node), 10_000);
}

#[test]
fn a_conflicted_node_earns_nothing() {
    let (mut world, _) = working();
    beat_for(&mut world, 50);
    let counted = world.metered(id(&world));
    for _ in 0..2 {
        let mut rival = world.hello_event(0);
        if let Event::HelloReceived { hello, link, .. } = &mut rival {
            hello.boot = BootCounter(0);
            link.connection = ConnectionId(900);
        }
        world.ok(rival);
    }
    assert!(raised(&world, "node/conflicted"));
    world.wait(10_000);
    world.beat(0);
    world.wait(10_000);
    world.beat(0);
    assert_eq!(world.metered(id(&world)), counted);
}

#[test]
fn a_crash_loses_at_most_a_checkpoint_and_counts_nothing_twice() {
    let (mut world, _) = working();
    beat_for(&mut world, 300);
    let (counted, durable) = (world.metered(id(&world)), world.durably_metered(id(&world)));
    assert!(durable <= counted && counted - durable <= 2 * 40_000, "{durable} of {counted}");
    world.restart_core();
    assert_eq!(world.metered(id(&world)), durable);
    world.facts(0, MembershipState::Member { active: true }, 1);
    world.prove(0, 1);
    world.chain_up();
    world.keep_beating(0);
    assert_eq!(world.metered(id(&world)), durable, "a new session begins anew");
    beat_for(&mut world, 20);
    assert_eq!(world.metered(id(&world)), durable + 40_000);
}

#[test]
fn what_has_ended_is_durable_with_its_end() {
    let (mut world, task) = working();
    beat_for(&mut world, 20);
    world.workers[0].set(&assignment(task, 0, 1), AssignmentState::Failed, Some(Reason::ExitedWithError));
    world.beat(0);
    assert_eq!(world.durably_metered(id(&world)), world.metered(id(&world)));
    assert!(world.metered(id(&world)) > 0);
}

#[test]
fn the_end_of_an_epoch_makes_a_receipt_that_both_sides_sign() {
    let (mut world, _) = working();
    beat_for(&mut world, 1_800);
    let counted = world.metered(id(&world));
    world.next_epoch();
    let receipts = world.receipts();
    let [row] = receipts.as_slice() else { panic!("{receipts:?}") };
    assert_eq!((row.usage.gpu_millis(), row.receipt.epoch), (counted, Epoch(1)));
    assert!(row.usage.is_of(&row.receipt));
    assert_eq!(row.receipt.amount, row.receipt.cumulative);
    assert_eq!(row.node_signature, None);
    world.wait(10_000);
    world.beat(0);
    assert_eq!(world.workers[0].offered, [(row.receipt, row.usage.clone())]);
    world.beat(0);
    let signed = world.receipts().remove(0);
    assert!(signed.node_signature.is_some());
    assert_eq!(world.workers[0].offered, [], "what is answered is not offered again");
    let since = world.metered(id(&world)) - counted;
    assert!((20_000..20_100).contains(&since), "the next epoch counts on: {since}");
    assert_eq!(world.workers[0].meter.unwrap().epoch, Epoch(2));
}

#[test]
fn totals_grow_over_nodes_and_epochs_and_places_stay() {
    let mut world = pool(2);
    let other = ProviderId(Address([9; 20]));
    let node = world.workers[1].id;
    world.ok(Event::ChainNode {
        node,
        registration: Some(Registration { provider: other, eligible: true, approved: true }),
    });
    world.submit(1, spec("service", "replicas = 2\n[resources]\ngpus = 4\n"));
    let mut before = Vec::new();
    for epoch in 1..=3 {
        for _ in 0..20 {
            world.wait(10_000);
            world.work(0);
            world.work(1);
        }
        world.next_epoch();
        let leaves = world.core.ledger.leaves().unwrap();
        assert_eq!(leaves.len(), 2);
        for (place, leaf) in before.iter().enumerate() {
            let leaf: &lode_chain_types::EarningsLeaf = leaf;
            assert_eq!(leaves[place].payee, leaf.payee, "epoch {epoch}");
            assert!(leaves[place].cumulative > leaf.cumulative);
        }
        before = leaves;
    }
    for row in world.receipts() {
        let earlier: u128 = world
            .receipts()
            .iter()
            .filter(|other| {
                other.receipt.payee == row.receipt.payee && other.receipt.epoch <= row.receipt.epoch
            })
            .map(|other| other.receipt.amount.0)
            .sum();
        assert_eq!(row.receipt.cumulative, Amount(earlier));
    }
    world.restart_core();
    assert_eq!(world.core.ledger.leaves().unwrap(), before);
}

#[test]
fn work_before_and_after_a_change_of_provider_is_paid_to_each() {
    let (mut world, _) = working();
    beat_for(&mut world, 100);
    let first = world.metered(id(&world));
    let provider = ProviderId(Address([9; 20]));
    let registration = Some(Registration { provider, eligible: true, approved: true });
    world.ok(Event::ChainNode { node: id(&world), registration });
    beat_for(&mut world, 100);
    let second = world.metered(id(&world)) - first;
    assert_eq!(second, 180_000, "the beat across the change counts for nobody");
    world.next_epoch();
    let told: Vec<(Address, u64)> =
        world.receipts().iter().map(|row| (row.receipt.payee, row.usage.gpu_millis())).collect();
    assert_eq!(told, [(Address([7; 20]), first), (Address([9; 20]), second)]);
}

#[test]
fn a_node_that_is_gone_is_paid_with_the_orchestrators_signature_alone() {
    let (mut world, _) = working();
    beat_for(&mut world, 100);
    world.ok(Event::NodeEject { node: id(&world), message: "x".to_owned() });
    world.wait(200_000);
    world.next_epoch();
    let row = world.receipts().remove(0);
    assert_eq!((row.node_signature, row.receipt.node), (None, id(&world)));
    assert_eq!(world.submitted(), [(Epoch(1), row.receipt.cumulative)]);
}

#[test]
fn a_refused_receipt_is_said_and_paid_as_it_stands() {
    let (mut world, _) = working();
    world.workers[0].verdict =
        |_, _| Some(ReceiptVerdict::Refused { code: ErrorCode::new(CODE), message: "I did more".to_owned() });
    beat_for(&mut world, 100);
    world.next_epoch();
    world.beat(0);
    world.beat(0);
    let row = world.receipts().remove(0);
    assert_eq!((row.node_signature, row.refused), (None, Some(ErrorCode::new(CODE))));
    assert!(raised(&world, "receipt/refused"));
    assert_eq!(world.workers[0].offered, []);
    world.workers[0].verdict =
        |worker, receipt| Some(ReceiptVerdict::Signed(worker.key.sign_recoverable(&receipt.usage)));
    beat_for(&mut world, 100);
    world.next_epoch();
    world.beat(0);
    world.beat(0);
    let row = world.receipts().pop().unwrap();
    assert_eq!(row.refused, Some(ErrorCode::new("receipt/bad-signature")), "a signature of something else");
}

#[test]
fn a_root_is_posted_once_and_never_by_a_stale_view() {
    let (mut world, _) = working();
    beat_for(&mut world, 100);
    world.ok(Event::ChainViewed(ChainView::Stale));
    world.next_epoch();
    assert_eq!(world.submitted(), []);
    world.ok(Event::ChainViewed(ChainView::Fresh));
    let total = world.core.ledger.total;
    assert_eq!(world.submitted(), [(Epoch(1), total)]);
    world.tell_epoch();
    world.tell_budget();
    assert_eq!(world.submitted().len(), 1);
    // After a restart it is handed over again: the outbox knows it by its epoch.
    world.restart_core();
    world.chain_up();
    world.tell_budget();
    world.tell_epoch();
    assert_eq!(world.submitted(), [(Epoch(1), total); 2]);
    assert!(world.actions.contains(&Action::Chain(ChainCommand::FollowRoot(Epoch(1)))));
    world.take_root();
    world.restart_core();
    world.chain_up();
    world.tell_budget();
    world.tell_epoch();
    assert_eq!(world.submitted().len(), 2);
}

#[test]
fn while_a_root_can_be_vetoed_work_goes_on_and_the_next_one_covers_it_all() {
    let (mut world, _) = working();
    beat_for(&mut world, 100);
    world.next_epoch();
    let first = world.take_root();
    beat_for(&mut world, 100);
    world.next_epoch();
    beat_for(&mut world, 100);
    world.next_epoch();
    assert_eq!(world.submitted().len(), 1, "one at a time");
    world.root_is_final(first);
    assert_eq!(world.submitted().last(), Some(&(Epoch(3), world.core.ledger.total)));
    let (summary, covers_from) = world.core.epoch_summary(Epoch(3)).unwrap();
    assert_eq!((covers_from, summary.root.unwrap().total), (Some(Epoch(2)), world.core.ledger.total));
}

#[test]
fn what_the_chain_does_not_take_the_next_epochs_root_covers() {
    let (mut world, _) = working();
    beat_for(&mut world, 100);
    world.next_epoch();
    world.ok(Event::RootFailed { epoch: Epoch(1), message: "PostingDeadlinePassed".to_owned() });
    assert!(raised(&world, "settlement/root-failed"));
    world.tell_budget();
    assert_eq!(world.submitted().len(), 1, "not twice for one epoch");
    world.next_epoch();
    assert_eq!(world.submitted().last(), Some(&(Epoch(2), world.core.ledger.total)));
    world.take_root();
    assert!(!raised(&world, "settlement/root-failed"));
}

#[test]
fn the_epoch_that_ended_while_a_root_was_on_its_way_is_posted_when_that_fails() {
    let (mut world, _) = working();
    beat_for(&mut world, 100);
    world.next_epoch();
    beat_for(&mut world, 100);
    world.next_epoch();
    assert_eq!(world.submitted().len(), 1, "one at a time");
    // The budget is as it was, so that nothing else would make it look.
    world.ok(Event::RootFailed { epoch: Epoch(1), message: "PostingDeadlinePassed".to_owned() });
    assert_eq!(world.submitted().last(), Some(&(Epoch(2), world.core.ledger.total)));
}

#[test]
fn a_proof_of_a_later_epoch_vouches_for_no_earlier_root() {
    let (mut world, _) = working();
    world.budget.proven = None;
    beat_for(&mut world, 100);
    world.next_epoch();
    assert!(raised(&world, "settlement/no-proven-root"));
    beat_for(&mut world, 100);
    // The chain tells of money and proofs before it tells that another epoch is over.
    world.budget.proven = Some(Epoch(2));
    world.tell_budget();
    assert_eq!(world.submitted(), []);
    world.next_epoch();
    assert_eq!(world.submitted(), [(Epoch(2), world.core.ledger.total)]);
    assert!(!raised(&world, "settlement/no-proven-root"));
}

#[test]
fn a_vetoed_root_is_said_and_its_earnings_are_posted_again_in_the_next_epoch() {
    let (mut world, _) = working();
    beat_for(&mut world, 100);
    world.next_epoch();
    let before = world.budget;
    let epoch = world.take_root();
    world.budget = ChainBudget { latest: None, in_veto: false, ..before };
    world.tell_budget();
    world.ok(Event::ChainRoot { epoch, fate: RootFate::Vetoed });
    assert!(raised(&world, "settlement/root-vetoed"));
    assert_eq!(world.submitted().len(), 1);
    beat_for(&mut world, 100);
    world.next_epoch();
    assert_eq!(world.submitted().last(), Some(&(Epoch(2), world.core.ledger.total)));
    let again = world.take_root();
    world.root_is_final(again);
    assert!(!raised(&world, "settlement/root-vetoed"));
}

#[test]
fn what_keeps_a_root_from_being_posted_is_said_and_ends_by_itself() {
    let (mut world, _) = working();
    beat_for(&mut world, 100);
    world.budget.proven = None;
    world.next_epoch();
    assert!(raised(&world, "settlement/no-proven-root"));
    world.budget.proven = Some(Epoch(1));
    world.tell_budget();
    assert_eq!(world.submitted().len(), 1);
    assert!(!raised(&world, "settlement/no-proven-root"));
    world.budget.posted = Amount::tokens(500_000);
    world.budget.latest = Some(Epoch(1));
    world.next_epoch();
    assert!(raised(&world, "settlement/behind-chain"), "a restored backup must not take earnings away");
    assert_eq!(world.submitted().len(), 1);
}

#[test]
fn old_epochs_are_forgotten_once_a_root_that_stands_has_paid_for_them() {
    let (mut world, _) = working();
    for _ in 0..9 {
        beat_for(&mut world, 100);
        world.next_epoch();
    }
    assert_eq!(world.core.epochs(None, 100).len(), 9, "nothing is paid for");
    // The first one was submitted long ago; the next one covers everything since.
    for _ in 0..2 {
        let epoch = world.take_root();
        world.root_is_final(epoch);
    }
    beat_for(&mut world, 100);
    world.next_epoch();
    let kept: Vec<u64> = world.core.epochs(None, 100).iter().map(|row| row.epoch.0).collect();
    assert_eq!(kept.len(), 5, "{kept:?}");
    let before = kept.last().copied().unwrap();
    assert!(world.actions.contains(&Action::DropReceipts { before: Epoch(before) }), "{kept:?}");
    let roots = world.store.keys().filter(|(table, _)| *table == Table::Roots);
    let of_epochs: Vec<u64> = roots.map(|(_, key)| u64::from_be_bytes(*key.first_chunk().unwrap())).collect();
    assert!(of_epochs.iter().all(|epoch| kept.contains(epoch)) && !of_epochs.is_empty(), "{of_epochs:?}");
}

#[test]
fn a_pool_without_prices_counts_nothing_and_says_nothing() {
    let mut world = World::members(1, 2);
    world.prove(0, 1);
    world.next_epoch();
    world.submit(1, spec("service", SERVICE));
    for _ in 0..4 {
        world.work(0);
    }
    beat_for(&mut world, 100);
    world.next_epoch();
    assert_eq!((world.metered(id(&world)), world.receipts().len()), (0, 0));
    assert_eq!(world.workers[0].meter, None);
    assert_eq!(world.core.pool().budget, None);
}

#[test]
fn a_node_is_not_invited_before_its_provider_approves_the_pool() {
    let mut world = World::new(super::world::config(), vec![Worker::new(1, specs(1, 1))]);
    let node = id(&world);
    let provider = ProviderId(Address([7; 20]));
    let registered = |approved| Event::ChainNode {
        node,
        registration: Some(Registration { provider, eligible: true, approved }),
    };
    world.hello(0);
    world.ok(registered(false));
    let never = ChainMembership { state: MembershipState::Never, join_counter: 0 };
    world.ok(Event::ChainMembership { node, membership: never });
    world.beat(0);
    assert!(world.workers[0].invite.is_none());
    let membership = world.core.node(&node).unwrap().summary.membership;
    let text = format!("{membership:?}");
    assert!(
        text.contains("node/pool-not-approved") && text.contains("lode provider approve-pool 1"),
        "{text}"
    );
    world.ok(registered(true));
    assert!(world.workers[0].invite.is_some());
    // Taken back before the node has consented: the invite is void.
    world.ok(registered(false));
    let consenting = world.beat_event(0);
    assert_eq!(world.code(consenting), "join/not-invited");
}

#[test]
fn an_epoch_of_many_nodes_is_closed_in_slices_and_a_crash_in_between_closes_each_node_once() {
    let mut world = one();
    put_meters(&mut world, 0..1_000, Epoch(1));
    world.epoch = 2;
    world.tell_epoch();
    let after_one = world.receipts().len();
    assert!(after_one > 0 && after_one < 1_000, "others are served in between: {after_one}");
    assert_eq!(world.submitted(), [], "no root before all receipts are written");
    world.restart_core();
    world.chain_up();
    world.tell_budget();
    world.tell_epoch();
    for _ in 0..10 {
        world.wait(1);
    }
    assert_eq!(world.receipts().len(), 1_000);
    assert_eq!(world.submitted(), [(Epoch(1), Amount::tokens(10_000))]);
    assert_eq!(told_closed(&world), [(Epoch(1), 1_000)], "told once, with what was written before the crash");
    world.restart_core();
    assert_eq!(told_closed(&world).len(), 1, "a later start does not tell it again");
}

#[test]
fn an_epoch_that_ends_while_the_one_before_it_is_being_closed_hides_neither() {
    let mut world = one();
    put_meters(&mut world, 0..1_000, Epoch(1));
    world.epoch = 2;
    world.tell_epoch();
    put_meters(&mut world, 1_000..1_001, Epoch(2));
    world.epoch = 3;
    world.tell_epoch();
    assert_eq!(told_closed(&world), []);
    for _ in 0..10 {
        world.wait(1);
    }
    assert_eq!(told_closed(&world), [(Epoch(1), 1_000), (Epoch(2), 1)]);
}

/// An hour of a GPU's work on each of these nodes, durable.
fn put_meters(world: &mut World, numbers: std::ops::Range<u16>, epoch: Epoch) {
    let key =
        LineKey { payee: Address([7; 20]), class: ProofClassId(1), order: None, price: Amount::tokens(10) };
    for number in numbers {
        let mut address = [3; 20];
        address[..2].copy_from_slice(&number.to_be_bytes());
        let node = NodeId(Address(address));
        let mut meter = Meter::new(epoch);
        meter.add(key, 3_600_000);
        world.store.insert((Table::Meters, node_key(&node)), encode(&meter.to_row()));
        world.core.ledger.put_meter(node, meter);
    }
}

/// Epochs that people were told are closed, with their receipts.
fn told_closed(world: &World) -> Vec<(Epoch, u64)> {
    let closed = |told: &Occurrence| match told.kind {
        OccurrenceKind::EpochClosed { epoch, receipts, .. } => Some((epoch, receipts)),
        _ => None,
    };
    world.occurrences.iter().filter_map(closed).collect()
}
