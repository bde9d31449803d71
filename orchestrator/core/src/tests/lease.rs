use lode_protocol::assignment::{AssignmentState, Reason};
use lode_protocol::units::Millis;

use super::super::effect::{Action, OccurrenceKind};
use super::super::event::Event;
use super::super::view::{NodeState, TaskState};
use super::world::{World, assignment, spec};

#[test]
fn a_silent_node_is_suspect_then_lost_and_its_work_runs_elsewhere() {
    let mut world = World::members(2, 2);
    let task = world.submit(1, spec("service", "[resources]\ngpus = 2\n"));
    let first = assignment(task, 0, 1);
    let lost = world.number_of(world.node_of(first));
    let other = 1 - lost;
    for _ in 0..3 {
        world.work(lost);
    }
    assert_eq!(world.state(first), AssignmentState::Running);
    let node = world.workers[lost].id;
    world.wait_beating(35_000, &[other]);
    assert_eq!(world.core.node(&node).unwrap().summary.state, NodeState::Suspect);
    assert_eq!(world.state(first), AssignmentState::Running, "a suspect node keeps its work");
    world.wait_beating(30_000, &[other]);
    assert_eq!(world.core.node(&node).unwrap().summary.state, NodeState::Lost);
    assert_eq!(world.state(first), AssignmentState::Lost);
    assert_eq!(world.core.assignment(&first).unwrap().reason, Some(Reason::NodeLost));
    let second = assignment(task, 0, 2);
    assert_eq!(world.node_of(second), world.workers[other].id);
    for _ in 0..3 {
        world.work(other);
    }
    assert_eq!(world.core.task(&task).unwrap().summary.state, TaskState::Running);
}

#[test]
fn a_returning_orphan_is_told_to_stop_and_its_reports_change_nothing() {
    let mut world = World::members(2, 2);
    let task = world.submit(1, spec("service", "[resources]\ngpus = 2\n"));
    let first = assignment(task, 0, 1);
    let lost = world.number_of(world.node_of(first));
    let other = 1 - lost;
    for _ in 0..3 {
        world.work(lost);
    }
    world.wait_beating(65_000, &[other]);
    for _ in 0..3 {
        world.work(other);
    }
    // The thawed process goes on with its old session first.
    let late = world.beat_event(lost);
    assert_eq!(world.code(late), "session/unknown");
    world.workers[lost].obedient = false;
    world.hello(lost);
    world.beat(lost);
    assert_eq!(world.state(first), AssignmentState::Lost);
    assert!(world.occurrences.iter().any(|entry| matches!(
        entry.kind,
        OccurrenceKind::ReportRefused { assignment, claimed: AssignmentState::Running, .. } if assignment == first
    )));
    // Until the orphan is gone, its GPUs are not given away.
    let waiting = world.submit(2, spec("batch", "[resources]\ngpus = 2\n"));
    assert_eq!(world.core.assignment(&assignment(waiting, 0, 1)), None);
    world.workers[lost].obedient = true;
    world.beat(lost);
    assert_eq!(world.workers[lost].containers[&first].0, AssignmentState::Stopped);
    world.beat(lost);
    assert_eq!(world.state(first), AssignmentState::Lost);
    assert_eq!(world.node_of(assignment(waiting, 0, 1)), world.workers[lost].id);
    assert_eq!(world.state(assignment(task, 0, 2)), AssignmentState::Running);
}

#[test]
fn a_node_that_returns_within_its_lease_changes_nothing() {
    let mut world = World::members(1, 1);
    let task = world.submit(1, spec("service", ""));
    for _ in 0..3 {
        world.work(0);
    }
    let generation = world.core.node(&world.workers[0].id).unwrap().generation;
    world.wait(45_000);
    world.beat(0);
    let view = world.core.node(&world.workers[0].id).unwrap();
    assert_eq!((view.summary.state, view.generation), (NodeState::Alive, generation));
    assert_eq!(world.state(assignment(task, 0, 1)), AssignmentState::Running);
}

#[test]
fn a_frozen_orchestrator_does_not_take_its_own_silence_for_the_nodes() {
    let mut world = World::members(1, 1);
    let task = world.submit(1, spec("service", ""));
    for _ in 0..3 {
        world.work(0);
    }
    world.skip(600_000);
    world.ok(Event::Tick);
    assert_eq!(world.core.node(&world.workers[0].id).unwrap().summary.state, NodeState::Alive);
    world.beat(0);
    assert_eq!(world.state(assignment(task, 0, 1)), AssignmentState::Running);
    world.wait(61_000);
    assert_eq!(world.core.node(&world.workers[0].id).unwrap().summary.state, NodeState::Lost);
}

#[test]
fn leases_run_on_the_monotonic_clock_whatever_the_wall_clock_does() {
    let mut world = World::members(1, 1);
    world.now.wall = lode_protocol::units::Timestamp(1);
    world.wait_beating(20_000, &[0]);
    world.now.wall = lode_protocol::units::Timestamp(9_000_000_000_000);
    world.wait_beating(20_000, &[0]);
    assert_eq!(world.core.node(&world.workers[0].id).unwrap().summary.state, NodeState::Alive);
}

#[test]
fn the_beat_interval_stretches_with_the_fleet_and_leases_with_it() {
    let mut config = super::world::config();
    config.terms.most_beats_per_second = 1;
    let workers =
        (1..=30).map(|number| super::world::Worker::new(number, super::world::specs(number, 0))).collect();
    let world = World::with_members(config, workers);
    let terms = world.core.beat_terms();
    assert_eq!(terms.interval, Millis::seconds(30));
    assert_eq!(terms.lost_after, Millis::seconds(180));
}

#[test]
fn an_orphan_that_its_node_no_longer_knows_of_frees_its_gpus() {
    let mut world = World::members(2, 2);
    let task = world.submit(1, spec("service", "[resources]\ngpus = 2\n"));
    let lost = world.number_of(world.node_of(assignment(task, 0, 1)));
    let other = 1 - lost;
    for _ in 0..3 {
        world.work(lost);
    }
    world.wait_beating(65_000, &[other]);
    world.workers[lost].obedient = false;
    world.hello(lost);
    world.beat(lost);
    let waiting = world.submit(2, spec("batch", "[resources]\ngpus = 2\n"));
    assert_eq!(world.core.assignment(&assignment(waiting, 0, 1)), None);
    // The host was reinstalled: its worker starts with nothing and says so.
    world.workers[lost].containers.clear();
    world.workers[lost].boot += 1;
    world.hello(lost);
    world.beat(lost);
    assert_eq!(world.node_of(assignment(waiting, 0, 1)), world.workers[lost].id);
}

#[test]
fn what_a_worker_cannot_stop_keeps_its_cpus_and_memory_until_it_is_gone() {
    let mut world = World::members(1, 0);
    let task = world.submit(1, spec("service", "[resources]\ncpus = 10\nmemory = \"40GiB\"\n"));
    for _ in 0..4 {
        world.work(0);
    }
    assert_eq!(world.state(assignment(task, 0, 1)), AssignmentState::Running);
    world.workers[0].obedient = false;
    world.ok(Event::TaskStop(task));
    world.wait_beating(200_000, &[0]);
    assert_eq!(world.state(assignment(task, 0, 1)), AssignmentState::Lost, "it is given up, and runs on");
    let wide = world.submit(2, spec("batch", "[resources]\ncpus = 10\n"));
    let large = world.submit(3, spec("batch", "[resources]\nmemory = \"40GiB\"\n"));
    let small = world.submit(4, spec("batch", ""));
    let placed = |world: &World, task| world.core.assignment(&assignment(task, 0, 1)).is_some();
    assert_eq!([wide, large, small].map(|task| placed(&world, task)), [false, false, true]);
    world.workers[0].containers.clear();
    world.workers[0].boot += 1;
    world.hello(0);
    world.beat(0);
    assert_eq!([wide, large].map(|task| placed(&world, task)), [true, true]);
}

#[test]
fn few_lost_nodes_are_told_each_by_itself_and_many_together() {
    let workers: Vec<_> =
        (1..=20).map(|number| super::world::Worker::new(number, super::world::specs(number, 0))).collect();
    let mut world = World::with_members(super::world::config(), workers);
    let raised = |world: &mut World| {
        let mut held = std::collections::BTreeSet::new();
        for action in &world.actions {
            match action {
                Action::RaiseFinding(finding) if finding.code == "node/lost" => {
                    held.insert(finding.subject.clone());
                }
                Action::ClearFinding { code, subject } if *code == "node/lost" => {
                    held.remove(subject);
                }
                _ => {}
            }
        }
        held
    };
    let three: Vec<usize> = (3..20).collect();
    world.wait_beating(65_000, &three);
    let named: std::collections::BTreeSet<String> =
        world.workers.iter().take(3).map(|worker| worker.id.to_string()).collect();
    assert_eq!(raised(&mut world), named);
    world.wait(65_000);
    assert_eq!(raised(&mut world), std::collections::BTreeSet::from([String::new()]), "all in one");
    for number in 0..18 {
        world.hello(number);
    }
    let named: std::collections::BTreeSet<String> =
        world.workers.iter().skip(18).map(|worker| worker.id.to_string()).collect();
    assert_eq!(raised(&mut world), named);
    world.hello(18);
    world.hello(19);
    assert_eq!(raised(&mut world), std::collections::BTreeSet::new());
}
