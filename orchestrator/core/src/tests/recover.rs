use lode_protocol::assignment::AssignmentState;
use lode_protocol::session::Desired;

use super::super::Core;
use super::super::effect::{Action, Answer, ChainCommand, Table};
use super::super::event::*;
use super::super::view::{NodeState, TaskState};
use super::invariants;
use super::world::{World, assignment, config, spec};

#[test]
fn a_restarted_orchestrator_stops_nothing_and_hears_the_workers_first() {
    let mut world = World::members(2, 2);
    let task = world.submit(1, spec("service", "replicas = 2\n[resources]\ngpus = 1\n"));
    for _ in 0..4 {
        world.work(0);
        world.work(1);
    }
    assert_eq!(world.core.task(&task).unwrap().summary.state, TaskState::Running);
    let epoch = world.core.epoch();
    world.restart_core();
    assert_eq!(world.core.epoch().0, epoch.0 + 1);
    invariants::check(&world.core);
    invariants::check_store(&world.core, &world.store);
    assert_eq!(world.core.task(&task).unwrap().summary.state, TaskState::Running);
    // A full lease for everybody.
    world.wait(25_000);
    let node = world.workers[0].id;
    assert_eq!(world.core.node(&node).unwrap().summary.state, NodeState::Alive);
    let hello = world.hello_event(0);
    let granted = world.ok(hello);
    assert!(granted.actions.iter().all(|action| !matches!(
        action,
        Action::Push { .. } | Action::Reply { answer: Answer::Instruction { .. }, .. }
    )));
    let effects = world.beat(0);
    assert!(effects.actions.iter().any(|action| matches!(
        action,
        Action::Reply { answer: Answer::Instruction { instruction, .. }, .. } if instruction.desired == Desired::Unchanged
    )), "the worker works towards the very set that the store has");
    assert_eq!(world.workers[0].containers.len(), 1);
    world.hello(1);
    world.beat(1);
    assert_eq!(world.core.task(&task).unwrap().summary.state, TaskState::Running);
}

#[test]
fn a_restored_backup_is_outnumbered_by_what_the_workers_know() {
    let mut world = World::members(1, 1);
    let task = world.submit(1, spec("service", "[resources]\ngpus = 1\n"));
    let backup = world.store.clone();
    for _ in 0..3 {
        world.ok(Event::TaskStop(task));
        world.beat(0);
        world.beat(0);
        world.ok(Event::TaskStart(task));
        world.work(0);
    }
    let newest = *world.workers[0].containers.keys().last().unwrap();
    assert!(newest.incarnation.0 > 1);
    let observed = world.workers[0].observed.unwrap();
    world.store = backup;
    world.restart_core();
    world.chain_up();
    world.hello(0);
    world.facts(0, MembershipState::Member { active: true }, 1);
    world.beat(0);
    assert!(world.workers[0].observed.unwrap() > observed, "the worker listens to the new set");
    world.wait_beating(300_000, &[0]);
    let live: Vec<_> = world
        .core
        .task(&task)
        .unwrap()
        .assignments
        .into_iter()
        .filter(|view| !view.state.is_final())
        .collect();
    assert!(live.len() == 1 && (live[0].id > newest || live[0].id == assignment(task, 0, 1)), "{live:?}");
    invariants::check(&world.core);
}

#[test]
fn one_bad_row_is_skipped_and_named_and_the_rest_goes_on() {
    let mut world = World::members(2, 1);
    let task = world.submit(1, spec("service", "[resources]\ngpus = 1\n"));
    let victim = world.node_of(assignment(task, 0, 1));
    let mut store = world.store.clone();
    store.insert((Table::Nodes, super::super::record::node_key(&victim)), vec![0xff]);
    let rows = store.iter().map(|((table, key), value)| (*table, key.clone(), value.clone()));
    let mut core = Core::recover(config(), rows).unwrap();
    assert_eq!(core.skipped_rows().len(), 1);
    core.step(world.now, Event::Started).unwrap();
    assert_eq!(core.assignment(&assignment(task, 0, 1)).unwrap().state, AssignmentState::Lost);
    invariants::check(&core);
    store.insert((Table::Meta, super::super::record::META_KEY.to_vec()), vec![0xff]);
    let rows = store.iter().map(|((table, key), value)| (*table, key.clone(), value.clone()));
    assert!(Core::recover(config(), rows).is_err(), "a term is never used twice");
}

#[test]
fn a_consent_that_was_stored_is_submitted_again_after_a_restart() {
    let mut world = World::new(config(), vec![super::world::Worker::new(1, super::world::specs(1, 1))]);
    world.hello(0);
    world.facts(0, MembershipState::Never, 0);
    world.beat(0);
    world.beat(0);
    let join = |action: &Action| matches!(action, Action::Chain(ChainCommand::SubmitJoin { .. }));
    assert_eq!(world.actions.iter().filter(|action| join(action)).count(), 1);
    world.restart_core();
    assert_eq!(world.actions.iter().filter(|action| join(action)).count(), 2);
}

#[test]
fn what_the_pool_requires_is_durable_with_the_step_that_hears_of_it() {
    let mut world = World::new(config(), vec![super::world::Worker::new(1, super::world::specs(1, 1))]);
    world.hello(0);
    world.facts(0, MembershipState::Never, 0);
    world.beat(0);
    let old = world.workers[0].invite.expect("an invite comes with the answer");
    let hash = lode_protocol::hash::Digest([5; 32]);
    world.ok(Event::RequirementsChanged(hash));
    let (table, key) = Core::REQUIREMENTS;
    let row = &world.store[&(table, key.to_vec())];
    assert_eq!(Core::read_requirements(row), Ok(hash));
    assert!(Core::read_requirements(&[0xff]).is_err());
    // The next invite is sent at once; consent to the older one is refused.
    let new = world.workers[0].invite.expect("another invite was sent");
    assert_eq!((old.terms, new.terms), (config().requirements_hash, hash));
    world.workers[0].invite = Some(old);
    let event = world.beat_event(0);
    assert_eq!(world.code(event), "join/consent-mismatch");
    world.workers[0].invite = Some(new);
    world.beat(0);
    assert!(world.actions.iter().any(
        |action| matches!(action, Action::Chain(ChainCommand::SubmitJoin { invite, .. }) if *invite == new)
    ));
    let effects = world.ok(Event::RequirementsChanged(hash));
    assert!(effects.is_empty(), "what is known already changes nothing");
}
