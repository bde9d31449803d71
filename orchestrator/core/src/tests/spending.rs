use lode_protocol::amount::Amount;
use lode_protocol::assignment::{AssignmentState, Reason};
use lode_protocol::ids::*;
use lode_protocol::keys::SigningKey;
use lode_protocol::settlement::{SpendAuthorization, task_order_domain};
use lode_protocol::task::ValidTaskSpec;

use super::super::effect::{Action, OccurrenceKind};
use super::super::event::*;
use super::super::settlement::SignedSpendAuthorization;
use super::super::view::{Filter, TaskState};
use super::economy::the_budget_bears_what_is_accrued;
use super::settlement::{one, pool, working};
use super::world::{World, assignment, owner, spec, task_id};

const SERVICE: &str = "[resources]\ngpus = 2\n";

fn order(
    spec: &ValidTaskSpec,
    key: &SigningKey,
    change: impl FnOnce(&mut SpendAuthorization),
) -> SignedSpendAuthorization {
    let mut order = SpendAuthorization {
        pool: PoolId(1),
        tenant: key.address(),
        spec: spec.digest(),
        price_per_gpu_hour: Amount::tokens(10),
        budget: Amount::tokens(5),
        deadline: 1_900_000_000,
    };
    change(&mut order);
    let digest = order.digest(&task_order_domain(ChainId(31_337), Address([9; 20])));
    SignedSpendAuthorization { order, signature: key.sign_recoverable(&digest) }
}

fn submit(number: u128, spec: ValidTaskSpec, order: SignedSpendAuthorization) -> Event {
    Event::TaskSubmitted {
        id: task_id(number),
        spec,
        order: Some(order),
        idempotency_key: None,
        image: super::world::unresolved(),
    }
}

fn work_for(world: &mut World, seconds: u64) {
    for _ in 0..seconds / 10 {
        world.wait(10_000);
        for number in 0..world.workers.len() {
            // What the answer to a beat ended is told by another one, before it is forgotten.
            world.keep_beating(number);
            world.keep_beating(number);
            world.workers[number].work();
            world.keep_beating(number);
        }
        the_budget_bears_what_is_accrued(&world.core);
    }
}

fn failed(world: &World, task: TaskId) -> Vec<Filter> {
    let explanation = world.core.explain(&task, world.now).unwrap();
    explanation.filters.iter().map(|row| row.filter).collect()
}

#[test]
fn every_way_in_which_an_order_is_not_good_has_its_name() {
    let mut world = one();
    let service = spec("service", SERVICE);
    let stranger = SigningKey::from_bytes(&[0x66; 32]).unwrap();
    let cases: [(&str, SignedSpendAuthorization); 7] = [
        ("order/mismatch", order(&service, &owner(), |order| order.pool = PoolId(2))),
        ("order/mismatch", order(&spec("batch", ""), &owner(), |_| {})),
        ("order/expired", order(&service, &owner(), |order| order.deadline = 1_799_999_999)),
        ("order/unknown-tenant", order(&service, &stranger, |_| {})),
        ("order/bad-signature", order(&service, &stranger, |order| order.tenant = owner().address())),
        (
            "order/price-too-low",
            order(&service, &owner(), |order| order.price_per_gpu_hour = Amount::tokens(9)),
        ),
        ("order/budget-too-small", order(&service, &owner(), |order| order.budget = Amount(1))),
    ];
    for (code, order) in cases {
        assert_eq!(world.code(submit(1, service.clone(), order)), code);
    }
    let good = order(&service, &owner(), |_| {});
    world.ok(submit(1, service.clone(), good));
    assert_eq!(world.code(submit(2, service.clone(), good)), "order/used");
    world.restart_core();
    world.chain_up();
    assert_eq!(world.code(submit(2, service.clone(), good)), "order/used");
    let mut unpriced = World::members(1, 2);
    assert_eq!(unpriced.code(submit(1, service, good)), "order/pool-unpriced");
}

#[test]
fn a_tenant_of_the_configuration_may_order_and_its_price_caps_what_work_costs() {
    let mut world = one();
    let tenant = SigningKey::from_bytes(&[0x66; 32]).unwrap();
    let service = spec("service", SERVICE);
    let settlement = world.core.config.settlement.as_mut().unwrap();
    settlement.tenants.insert(tenant.address());
    let signed = order(&service, &tenant, |order| order.price_per_gpu_hour = Amount::tokens(11));
    world.ok(submit(1, service, signed));
    for _ in 0..4 {
        world.work(0);
    }
    // The pool's price went up after the order was accepted.
    world.core.config.settlement.as_mut().unwrap().prices.per_gpu_hour = Amount::tokens(20);
    work_for(&mut world, 100);
    world.next_epoch();
    let row = world.receipts().remove(0);
    let line = row.usage.lines[0];
    assert_eq!(line.price_per_gpu_hour, Amount::tokens(11));
    let view = world.core.task(&task_id(1)).unwrap().order.unwrap();
    assert_eq!((line.order, view.tenant), (Some(view.digest), tenant.address()));
    assert!(view.spent >= row.receipt.amount && view.spent.0 - row.receipt.amount.0 <= 1);
}

#[test]
fn a_task_ends_gracefully_before_it_costs_more_than_its_order_allows() {
    let mut world = one();
    let service = spec("service", SERVICE);
    let signed = order(&service, &owner(), |order| order.budget = Amount::tokens(2));
    world.ok(submit(1, service, signed));
    for _ in 0..4 {
        world.work(0);
    }
    // Two tokens are six minutes of two GPUs.
    work_for(&mut world, 600);
    let view = world.core.task(&task_id(1)).unwrap();
    assert_eq!(view.summary.state, TaskState::Stopped);
    let end = world.core.assignment(&assignment(task_id(1), 0, 1)).unwrap();
    assert_eq!((end.state, end.reason), (AssignmentState::Stopped, Some(Reason::BudgetExhausted)));
    let spent = view.order.unwrap().spent;
    assert!(spent <= Amount::tokens(2) && spent > Amount(1_600_000_000_000_000_000), "{spent}");
    assert!(world.occurrences.iter().any(|entry| {
        matches!(entry.kind, OccurrenceKind::TaskBudgetExhausted { task, .. } if task == task_id(1))
    }));
    assert_eq!(world.code(Event::TaskStart(task_id(1))), "order/budget-used-up");
    world.restart_core();
    assert_eq!(world.core.task(&task_id(1)).unwrap().order.unwrap().spent, spent, "it is durable");
    assert_eq!(world.code(Event::TaskStart(task_id(1))), "order/budget-used-up");
    world.ok(Event::TaskDelete(task_id(1)));
    world.restart_core();
}

#[test]
fn without_money_nothing_paid_is_placed_and_the_reason_is_said() {
    let mut world = one();
    world.budget.free = Amount::ZERO;
    world.tell_budget();
    let paid = world.submit(1, spec("service", SERVICE));
    let free = world.submit(2, spec("service", "[resources]\ncpus = 1\n"));
    assert_eq!(failed(&world, paid), [Filter::Budget]);
    assert!(world.core.assignment(&assignment(free, 0, 1)).is_some(), "what costs nothing is placed");
    let summary = world.core.explain(&paid, world.now).unwrap().summary;
    assert!(summary.contains("cannot be paid"), "{summary}");
    assert!(world.core.pool().budget.unwrap().exhausted);
    // Two GPUs for two epochs and one silence cost a little more than forty tokens.
    world.budget.free = Amount::tokens(40);
    world.tell_budget();
    assert_eq!(failed(&world, paid), [Filter::Budget]);
    world.budget.free = Amount::tokens(41);
    world.tell_budget();
    assert!(world.core.assignment(&assignment(paid, 0, 1)).is_some(), "it is placed when it is funded");
    assert!(!world.core.pool().budget.unwrap().exhausted);
}

#[test]
fn the_spend_cap_bounds_work_like_money_does() {
    let mut world = one();
    world.budget.spendable = Amount::tokens(40);
    world.tell_budget();
    let paid = world.submit(1, spec("service", SERVICE));
    assert_eq!(failed(&world, paid), [Filter::Budget]);
    world.budget.spendable = Amount::tokens(41);
    world.tell_budget();
    assert!(world.core.assignment(&assignment(paid, 0, 1)).is_some());
}

#[test]
fn while_nothing_is_known_of_the_budget_nothing_paid_is_placed_and_nothing_is_ended() {
    let (mut world, task) = working();
    world.restart_core();
    world.facts(0, MembershipState::Member { active: true }, 1);
    world.prove(0, 1);
    world.chain_up();
    world.keep_beating(0);
    assert_eq!(world.state(assignment(task, 0, 1)), AssignmentState::Running);
    let other = world.submit(2, spec("service", SERVICE));
    assert_eq!(failed(&world, other), [Filter::Budget]);
    world.tell_budget();
    assert_eq!(failed(&world, other), [Filter::Budget], "how long it must last is not known either");
    world.tell_epoch();
    assert!(world.core.assignment(&assignment(other, 0, 1)).is_some());
}

#[test]
fn work_is_ended_the_newest_first_before_the_budget_is_overdrawn_and_goes_on_when_it_is_funded() {
    let mut world = pool(2);
    world.budget.free = Amount::tokens(105);
    world.tell_budget();
    let first = world.submit(1, spec("service", SERVICE));
    let second = world.submit(2, spec("service", SERVICE));
    for _ in 0..4 {
        world.work(0);
        world.work(1);
    }
    assert_eq!(world.core.pool().tasks[&TaskState::Running], 2, "it lasts for two epochs of four GPUs");
    let mut ended = Vec::new();
    for _ in 0..4 {
        work_for(&mut world, 3_600);
        world.next_epoch();
        if world.submitted().len() > ended.len() {
            world.take_root();
            let epoch = world.submitted().last().unwrap().0;
            world.root_is_final(epoch);
        }
        let state = |task: TaskId| world.core.task(&task).unwrap().summary.state;
        ended.push((state(first), state(second)));
        the_budget_bears_what_is_accrued(&world.core);
    }
    let running = |state: &TaskState| *state == TaskState::Running;
    assert!(ended.iter().any(|(first, second)| running(first) && !running(second)), "{ended:?}");
    let (last_first, last_second) = *ended.last().unwrap();
    assert!(!running(&last_first) && !running(&last_second), "{ended:?}");
    let reason = world.core.assignment(&assignment(second, 0, 1)).unwrap().reason;
    assert_eq!(reason, Some(Reason::BudgetExhausted));
    assert_eq!(failed(&world, first), [Filter::Budget]);
    let raised = |world: &World, code: &str| {
        world.actions.iter().fold(false, |holds, action| match action {
            Action::RaiseFinding(finding) if finding.code == code => true,
            Action::ClearFinding { code: cleared, .. } if *cleared == code => false,
            _ => holds,
        })
    };
    assert!(raised(&world, "budget/exhausted"));
    world.budget.free = Amount::tokens(1_000);
    world.tell_budget();
    for _ in 0..4 {
        work_for(&mut world, 10);
    }
    assert_eq!(world.core.pool().tasks[&TaskState::Running], 2);
    assert!(!raised(&world, "budget/exhausted"));
}

#[test]
fn a_dearer_class_costs_more_and_needs_a_larger_budget() {
    use lode_protocol::proof::ProofClassId;
    let mut world = pool(2);
    let settlement = world.core.config.settlement.as_mut().unwrap();
    settlement.prices.classes.insert(ProofClassId(2), Amount::tokens(30));
    world.prove(1, 2);
    world.budget.free = Amount::tokens(50);
    world.tell_budget();
    let task = world.submit(1, spec("service", SERVICE));
    assert_eq!(
        world.node_of(assignment(task, 0, 1)),
        world.workers[0].id,
        "the budget bears the cheaper one only"
    );
    assert_eq!(world.core.pool().budget.unwrap().burn_per_hour, Amount::tokens(20));
    world.budget.free = Amount::tokens(1_000);
    world.tell_budget();
    world.prove(0, 2);
    assert_eq!(world.core.pool().budget.unwrap().burn_per_hour, Amount::tokens(60), "it is proven anew");
}
