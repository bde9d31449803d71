//! Whose an end is: the engine's, the host's, somebody's hand, or the task's own.

use lode_protocol::assignment::{AssignmentState, EndPhase, Fault, Reason};
use lode_protocol::ids::AssignmentId;

use super::support::{World, assignment, order};
use crate::event::{ContainerId, EngineEvent, EngineFailure, Event, ObservedState};

const SERVICE: &str = "kind = \"service\"\n";

fn running(world: &mut World, task: u128, extra: &str) -> AssignmentId {
    let id = assignment(task, 1);
    let mut orders = world.orchestrator.orders.clone();
    orders.push(order(id, &[], extra));
    world.desire(orders);
    assert_eq!(world.state(id), Some((AssignmentState::Running, None)));
    id
}

#[test]
fn what_a_stopping_engine_ended_has_not_succeeded_and_is_the_nodes_fault_whatever_it_wrote_down() {
    for code in [0, 137, 143, 255] {
        let mut world = World::new();
        let (batch, service) = (running(&mut world, 1, ""), running(&mut world, 2, SERVICE));
        world.stop_engine(code);
        for id in [batch, service] {
            let (state, _) = world.state(id).unwrap();
            assert!(!state.is_final(), "nothing is said of it while the engine is away");
        }
        world.start_engine();
        world.list();
        for id in [batch, service] {
            assert_eq!(world.state(id), Some((AssignmentState::Failed, Some(Reason::EngineRestarted))));
            let report = &world.orchestrator.stored[&id];
            assert_eq!(report.reason.and_then(Reason::fault), Some(Fault::Node));
            assert_eq!((report.exit_code, report.phase), (None, Some(EndPhase::Running)));
            assert!(report.detail.contains(&format!("exit code {code}")), "{}", report.detail);
        }
        assert_eq!(world.starts, 2, "it runs elsewhere, by the orchestrator's word");
    }
}

#[test]
fn an_end_that_an_engine_tells_while_it_stops_waits_until_it_is_known_whether_it_lives_on() {
    let mut world = World::new();
    let id = running(&mut world, 1, "");
    let container = world.container_of(&id).unwrap();
    // It has ended the container, says so, and takes no new callers.
    world.stop_engine(0);
    let Some((_, ObservedState::Exited(exit))) = world.containers.get(&container).cloned() else { panic!() };
    world.take(Event::Engine(EngineEvent::Exited(id, container, exit)));
    assert_eq!(world.state(id), Some((AssignmentState::Running, None)), "no verdict yet");
    world.start_engine();
    world.list();
    assert_eq!(world.state(id), Some((AssignmentState::Failed, Some(Reason::EngineRestarted))));
}

#[test]
fn an_engine_that_was_only_silent_changes_nothing_about_an_end() {
    let mut world = World::new();
    let id = running(&mut world, 1, "");
    world.set_down(true);
    world.exit_task(id, 0);
    assert_eq!(world.state(id), Some((AssignmentState::Running, None)));
    world.set_down(false);
    world.list();
    assert_eq!(world.state(id), Some((AssignmentState::Succeeded, Some(Reason::Completed))));
    assert_eq!(world.orchestrator.stored[&id].exit_code, Some(0));
}

#[test]
fn power_that_was_lost_with_the_worker_is_the_hosts_and_no_exit_code_of_the_task() {
    for code in [0, 255] {
        let mut world = World::new();
        let id = running(&mut world, 1, "");
        world.stop_engine(code);
        world.run.boot = "boot 1".to_owned();
        world.down = false;
        world.restart_worker();
        assert_eq!(world.state(id), Some((AssignmentState::Failed, Some(Reason::HostRestarted))));
        assert_eq!(world.orchestrator.stored[&id].exit_code, None);
    }
}

#[test]
fn an_end_of_its_own_while_the_worker_was_away_counts_under_the_same_engine() {
    let mut world = World::new();
    let id = running(&mut world, 1, "");
    let container = world.container_of(&id).unwrap();
    world.exit(&container, 0);
    world.restart_worker();
    assert_eq!(world.state(id), Some((AssignmentState::Succeeded, Some(Reason::Completed))));
}

#[test]
fn a_container_that_outlives_its_engine_ends_by_itself_afterwards() {
    let mut world = World::new();
    let id = running(&mut world, 1, "");
    // Live-restore: another engine, the same container.
    world.set_down(true);
    world.start_engine();
    world.list();
    assert_eq!(world.state(id), Some((AssignmentState::Running, None)));
    world.exit_task(id, 0);
    assert_eq!(world.state(id), Some((AssignmentState::Succeeded, Some(Reason::Completed))));
}

#[test]
fn what_was_started_after_an_unnoticed_restart_of_the_engine_ends_by_itself() {
    let mut world = World::new();
    world.run.run.push('+');
    let id = running(&mut world, 1, "");
    world.exit_task(id, 0);
    assert_eq!(world.state(id), Some((AssignmentState::Succeeded, Some(Reason::Completed))));
}

#[test]
fn what_waited_for_a_restart_while_the_engine_was_away_is_started_again() {
    let mut world = World::new();
    let id = running(&mut world, 1, SERVICE);
    world.exit_task(id, 1);
    assert_eq!(world.state(id).unwrap().1, Some(Reason::CrashLoop));
    world.stop_engine(0);
    world.start_engine();
    world.list();
    world.wait(10_000);
    assert_eq!(world.state(id), Some((AssignmentState::Running, None)));
    world.exit_task(id, 1);
    assert_eq!(world.state(id).unwrap().1, Some(Reason::CrashLoop), "that end is its own again");
}

#[test]
fn a_stop_by_hand_on_the_host_is_no_success_and_not_the_tasks_fault() {
    let mut world = World::new();
    let id = running(&mut world, 1, "");
    world.by_hand = Some("15".to_owned());
    world.exit_task(id, 0);
    assert_eq!(world.state(id), Some((AssignmentState::Failed, Some(Reason::StoppedOnHost))));
    assert_eq!(Reason::StoppedOnHost.fault(), Some(Fault::Node));
}

#[test]
fn a_container_that_vanished_while_its_end_was_looked_at_is_made_anew() {
    let mut world = World::new();
    let id = running(&mut world, 1, SERVICE);
    let container: ContainerId = world.container_of(&id).unwrap();
    let exit = crate::event::Exit { code: 0, out_of_memory: false };
    world.containers.remove(&container);
    world.take(Event::Engine(EngineEvent::Exited(id, container, exit)));
    assert_eq!(world.state(id), Some((AssignmentState::Running, None)));
    assert_eq!(world.starts, 2);
}

#[test]
fn how_far_it_had_come_tells_failures_with_one_reason_apart() {
    let mut world = World::new();
    world.start_failure = Some(EngineFailure::Other("cgroup".to_owned()));
    let id = assignment(1, 1);
    world.desire(vec![order(id, &[], "")]);
    assert_eq!(world.orchestrator.stored[&id].reason, Some(Reason::EngineError));
    assert_eq!(world.orchestrator.stored[&id].phase, Some(EndPhase::Starting));
    world.pull_failure = Some(EngineFailure::Other("broken store".to_owned()));
    let id = assignment(2, 1);
    world.desire(vec![order(id, &[], "")]);
    assert_eq!(world.orchestrator.stored[&id].phase, Some(EndPhase::Preparing));
}

#[test]
fn a_missing_runtime_and_an_image_that_was_removed_are_the_nodes_fault() {
    for (failure, reason) in [
        (EngineFailure::Runtime("no runc".to_owned()), Reason::RuntimeUnavailable),
        (EngineFailure::ImageRemoved("pruned".to_owned()), Reason::ImageRemoved),
    ] {
        let mut world = World::new();
        world.start_failure = Some(failure);
        let id = assignment(1, 1);
        world.desire(vec![order(id, &[], "")]);
        assert_eq!(world.state(id), Some((AssignmentState::Failed, Some(reason))));
        assert_eq!(reason.fault(), Some(Fault::Node));
    }
}
