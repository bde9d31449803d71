//! What follows a task over nodes is the task's; what follows a node over tasks is the node's.

use lode_protocol::assignment::{AssignmentState, EndPhase, Reason};
use lode_protocol::ids::{AssignmentId, NodeId, TaskId};
use lode_protocol::task::{TaskSpec, ValidTaskSpec};

use super::super::effect::Action;
use super::super::faults::Trust;
use super::super::view::{Filter, ReplicaState, TaskState};
use super::world::{World, assignment, spec};

/// It fails where it was placed.
fn fail(world: &mut World, id: AssignmentId, reason: Reason) -> NodeId {
    let node = world.node_of(id);
    let number = world.number_of(node);
    world.beat(number);
    world.workers[number].set(&id, AssignmentState::Failed, Some(reason));
    world.beat(number);
    node
}

/// It gets to run where it was placed.
fn run(world: &mut World, id: AssignmentId) {
    let number = world.number_of(world.node_of(id));
    world.beat(number);
    for _ in 0..3 {
        if world.state(id) != AssignmentState::Running {
            world.work(number);
        }
    }
    assert_eq!(world.state(id), AssignmentState::Running);
}

fn image(name: &str) -> ValidTaskSpec {
    let text = format!("name = \"t\"\nkind = \"batch\"\nimage = \"{name}:1\"\n");
    TaskSpec::from_toml(&text).unwrap().validate().unwrap()
}

fn task_state(world: &World, task: TaskId) -> TaskState {
    world.core.task(&task).unwrap().summary.state
}

fn replica_state(world: &World, task: TaskId) -> ReplicaState {
    world.core.task(&task).unwrap().replica_states[0]
}

/// Whether the finding about a node stands.
fn is_failing(world: &World, node: NodeId) -> bool {
    let told = |action: &Action| match action {
        Action::RaiseFinding(finding) if finding.code.as_str() == "node/failing" => {
            (finding.subject == node.to_string()).then_some(true)
        }
        Action::ClearFinding { code, subject } if code.as_str() == "node/failing" => {
            (*subject == node.to_string()).then_some(false)
        }
        _ => None,
    };
    world.actions.iter().rev().find_map(told).unwrap_or(false)
}

fn nothing_is_held_against_anybody(world: &World) {
    for worker in &world.workers {
        let faults = &world.core.nodes[&worker.id].faults;
        assert_eq!((faults.unexplained(), faults.trust), (0, Trust::Given), "{faults:?}");
        assert!(!is_failing(world, worker.id));
    }
}

#[test]
fn the_same_failure_on_two_nodes_is_the_tasks_and_ends_it_once_and_no_nodes_standing_falls() {
    for reason in [Reason::EngineError, Reason::GpuUnavailable, Reason::HostOutOfMemory] {
        let mut world = World::members(3, 1);
        let task = world.submit(1, spec("batch", "[resources]\ngpus = 1\n"));
        let first = fail(&mut world, assignment(task, 0, 1), reason);
        assert_eq!(replica_state(&world, task), ReplicaState::BackOff, "one node may be to blame");
        world.wait_beating(5_000, &[0, 1, 2]);
        let second = fail(&mut world, assignment(task, 0, 2), reason);
        assert_ne!(first, second);
        assert_eq!(task_state(&world, task), TaskState::Failed);
        let end = world.core.assignment(&assignment(task, 0, 2)).unwrap();
        assert_eq!(end.reason, Some(Reason::FailsOnEveryNode));
        assert!(end.detail.contains(&first.to_string()), "it names the other node: {}", end.detail);
        nothing_is_held_against_anybody(&world);
        world.wait_beating(30_000, &[0, 1, 2]);
        assert!(world.core.assignment(&assignment(task, 0, 3)).is_none(), "it is not tried a third time");
    }
}

#[test]
fn a_gpu_that_was_in_use_or_broke_before_the_task_met_it_is_no_evidence_against_the_task() {
    for (reason, phase, ends) in [
        (Reason::GpuUnavailable, EndPhase::Preparing, false),
        (Reason::GpuUnavailable, EndPhase::Starting, true),
        (Reason::GpuLost, EndPhase::Starting, false),
        (Reason::GpuLost, EndPhase::Running, true),
    ] {
        let mut world = World::members(2, 1);
        world.workers.iter_mut().for_each(|worker| worker.phase = Some(phase));
        let task = world.submit(1, spec("batch", "[resources]\ngpus = 1\n"));
        fail(&mut world, assignment(task, 0, 1), reason);
        world.wait_beating(5_000, &[0, 1]);
        fail(&mut world, assignment(task, 0, 2), reason);
        assert_eq!(task_state(&world, task) == TaskState::Failed, ends, "{reason:?} {phase:?}");
        nothing_is_held_against_anybody(&world);
    }
}

#[test]
fn words_do_not_matter_and_another_phase_is_another_failure() {
    let mut world = World::members(2, 0);
    let task = world.submit(1, spec("batch", ""));
    fail(&mut world, assignment(task, 0, 1), Reason::EngineError);
    world.wait_beating(5_000, &[0, 1]);
    world.workers.iter_mut().for_each(|worker| worker.phase = Some(EndPhase::Creating));
    fail(&mut world, assignment(task, 0, 2), Reason::EngineError);
    assert_eq!(replica_state(&world, task), ReplicaState::BackOff);
}

#[test]
fn what_befalls_hosts_is_no_evidence_against_a_task_however_often_it_comes() {
    for reason in [Reason::EngineRestarted, Reason::HostRestarted, Reason::StoppedOnHost] {
        let mut world = World::members(2, 0);
        let task = world.submit(1, spec("batch", ""));
        for incarnation in 1..=4 {
            fail(&mut world, assignment(task, 0, incarnation), reason);
            assert_eq!(replica_state(&world, task), ReplicaState::BackOff, "{reason:?} {incarnation}");
            world.wait_beating(40_000, &[0, 1]);
        }
        run(&mut world, assignment(task, 0, 5));
    }
}

#[test]
fn what_fails_for_several_tasks_on_one_node_is_the_nodes_and_keeps_work_away_until_a_trial_runs() {
    let mut world = World::members(2, 0);
    let failing = world.workers[0].id;
    let here = format!("[[constraints]]\nkey = \"node\"\noperator = \"in\"\nvalues = [\"{failing}\"]\n");
    let tasks = [1, 2].map(|number| world.submit(number, spec("batch", &here)));
    fail(&mut world, assignment(tasks[0], 0, 1), Reason::RuntimeUnavailable);
    assert!(!is_failing(&world, failing), "one task may be to blame");
    fail(&mut world, assignment(tasks[1], 0, 1), Reason::RuntimeUnavailable);
    assert!(is_failing(&world, failing));

    let other = world.submit(3, spec("batch", ""));
    assert_eq!(world.node_of(assignment(other, 0, 1)), world.workers[1].id);
    let tried = |world: &World, incarnation| {
        let is_there = |task: &&TaskId| world.core.assignment(&assignment(**task, 0, incarnation)).is_some();
        tasks.iter().filter(is_there).copied().collect::<Vec<_>>()
    };
    world.wait_beating(10_000, &[0, 1]);
    assert_eq!(tried(&world, 2), [], "their back-off is over, and the node gets no work");
    let explained = world.core.explain(&tasks[0], world.now).unwrap();
    let withheld = explained.filters.iter().find(|row| row.filter == Filter::NotFailing);
    assert_eq!(withheld.map(|row| row.nodes), Some(1), "{explained:?}");

    world.wait_beating(10_000, &[0, 1]);
    let [trial] = tried(&world, 2)[..] else { panic!("one at a time") };
    fail(&mut world, assignment(trial, 0, 2), Reason::RuntimeUnavailable);
    world.wait_beating(20_000, &[0, 1]);
    let second_try = |world: &World| {
        let is_live = |id: &AssignmentId| !world.state(*id).is_final();
        let all = tasks.iter().flat_map(|task| (2..6).map(|number| assignment(*task, 0, number)));
        all.filter(|id| world.core.assignment(id).is_some()).filter(is_live).collect::<Vec<_>>()
    };
    assert_eq!(second_try(&world), [], "it waits longer after a trial that failed");
    world.wait_beating(20_000, &[0, 1]);
    let [again] = second_try(&world)[..] else { panic!("one at a time") };
    assert!(is_failing(&world, failing), "it has not run yet");
    run(&mut world, again);
    assert!(!is_failing(&world, failing));
    assert_eq!(second_try(&world).len(), 2, "it gets work again");
}

#[test]
fn a_trial_that_ends_for_another_reason_makes_way_for_the_next_one() {
    let mut world = World::members(1, 0);
    let tasks = [1, 2].map(|number| world.submit(number, spec("batch", "")));
    for task in tasks {
        fail(&mut world, assignment(task, 0, 1), Reason::DiskFull);
    }
    world.wait_beating(20_000, &[0]);
    let live = |world: &World, task: TaskId| {
        let second = assignment(task, 0, 2);
        world.core.assignment(&second).is_some_and(|known| !known.state.is_final())
    };
    let on_trial = tasks.into_iter().find(|task| live(&world, *task)).expect("one tries the node");
    let other = tasks.into_iter().find(|task| *task != on_trial).unwrap();
    assert!(!live(&world, other));
    world.ok(super::super::event::Event::TaskStop(on_trial));
    world.beat(0);
    world.beat(0);
    assert!(live(&world, other), "the next one tries it");
}

#[test]
fn nodes_that_fail_for_every_image_are_poor_witnesses_and_do_not_end_ever_more_tasks() {
    let mut world = World::members(3, 0);
    let broken = [world.workers[0].id, world.workers[1].id];
    for (number, name) in [(1, "x"), (2, "y")] {
        let task = world.submit(number, image(name));
        for incarnation in [1, 2] {
            let node = fail(&mut world, assignment(task, 0, incarnation), Reason::EngineError);
            assert!(broken.contains(&node));
            world.wait_beating(5_000, &[0, 1, 2]);
        }
        assert_eq!(task_state(&world, task), TaskState::Failed, "nothing else is known yet");
    }
    let task = world.submit(3, image("z"));
    for incarnation in [1, 2] {
        fail(&mut world, assignment(task, 0, incarnation), Reason::EngineError);
        assert_eq!(
            replica_state(&world, task),
            ReplicaState::BackOff,
            "the nodes have failed for others too"
        );
        world.wait_beating(10_000, &[0, 1, 2]);
    }
    assert_eq!(world.node_of(assignment(task, 0, 3)), world.workers[2].id);
    run(&mut world, assignment(task, 0, 3));
}

#[test]
fn every_task_ends_even_if_there_are_poor_witnesses_only() {
    let mut world = World::members(2, 0);
    for (number, name) in [(1, "x"), (2, "y"), (3, "z")] {
        let task = world.submit(number, image(name));
        for incarnation in 1..=8 {
            if task_state(&world, task) == TaskState::Failed {
                break;
            }
            fail(&mut world, assignment(task, 0, incarnation), Reason::EngineError);
            world.wait_beating(120_000, &[0, 1]);
        }
        assert_eq!(task_state(&world, task), TaskState::Failed, "{name}");
    }
    nothing_is_held_against_anybody(&world);
}

#[test]
fn a_task_that_runs_elsewhere_is_not_to_blame_for_nodes_that_cannot_start_it() {
    let mut world = World::members(3, 0);
    let task = world.submit(1, spec("batch", "replicas = 2\n"));
    run(&mut world, assignment(task, 0, 1));
    fail(&mut world, assignment(task, 1, 1), Reason::EngineError);
    world.wait_beating(5_000, &[0, 1, 2]);
    fail(&mut world, assignment(task, 1, 2), Reason::EngineError);
    let states = world.core.task(&task).unwrap().replica_states;
    assert_eq!(states, [ReplicaState::Active, ReplicaState::BackOff]);
}

#[test]
fn who_starts_a_task_again_is_given_two_nodes_again() {
    let mut world = World::members(2, 0);
    let task = world.submit(1, spec("batch", ""));
    for incarnation in [1, 2] {
        fail(&mut world, assignment(task, 0, incarnation), Reason::EngineError);
        world.wait_beating(5_000, &[0, 1]);
    }
    assert_eq!(task_state(&world, task), TaskState::Failed);
    world.ok(super::super::event::Event::TaskStart(task));
    fail(&mut world, assignment(task, 0, 3), Reason::EngineError);
    assert_eq!(replica_state(&world, task), ReplicaState::BackOff);
}
