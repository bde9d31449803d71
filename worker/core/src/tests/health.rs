//! Services that are no longer ready or alive, containers that cannot be stopped, hosts that are full.

use lode_protocol::assignment::{AssignmentState, Fault, Reason};
use lode_protocol::ids::AssignmentId;

use super::support::{World, assignment, order};
use crate::event::{ContainerId, EngineEvent, EngineFailure, Event, ObservedState};

const PORT: &str = "[[ports]]\nname = \"http\"\ncontainer = 80\n";
const READINESS: &str =
    "[readiness]\ncheck = { tcp = { port = \"http\" } }\ninterval = \"1s\"\ndeadline = \"10s\"\n";
const LIVENESS: &str = "[liveness]\ncheck = { tcp = { port = \"http\" } }\ninterval = \"1s\"\nfailures = 2\n";

fn service(parts: &[&str]) -> String {
    format!("kind = \"service\"\n{PORT}{}", parts.concat())
}

fn refused() -> Result<(), String> {
    Err("connection refused".to_owned())
}

/// Lets time come for the next check, and answers it.
fn answer(world: &mut World, id: AssignmentId, result: Result<(), String>) {
    world.wait(1_000);
    world.probed(id, result);
}

fn detail(world: &World, id: AssignmentId) -> String {
    world.core.view().assignments.iter().find(|report| report.id == id).unwrap().detail.clone()
}

fn ready(world: &mut World, id: AssignmentId, spec: &str) {
    world.desire(vec![order(id, &[0], spec)]);
    if spec.contains("readiness") {
        world.probed(id, Ok(()));
    }
    assert_eq!(world.state(id), Some((AssignmentState::Running, None)));
}

#[test]
fn a_service_that_is_no_longer_ready_is_not_called_running_until_it_is_again() {
    let mut world = World::new();
    let id = assignment(1, 1);
    ready(&mut world, id, &service(&[READINESS]));
    for _ in 0..2 {
        answer(&mut world, id, refused());
        assert_eq!(world.state(id), Some((AssignmentState::Running, None)), "it may be a hiccup");
    }
    answer(&mut world, id, refused());
    assert_eq!(world.state(id), Some((AssignmentState::Starting, None)));
    assert_eq!(world.orchestrator.stored[&id].state, AssignmentState::Starting, "it is told");
    assert_eq!(detail(&world, id), "no longer ready: connection refused");
    answer(&mut world, id, Ok(()));
    assert_eq!(world.state(id), Some((AssignmentState::Running, None)));
    assert_eq!(detail(&world, id), "");
    assert_eq!((world.starts, world.stops), (1, 0));
}

#[test]
fn a_service_that_does_not_become_ready_again_in_time_fails_with_the_reason() {
    let mut world = World::new();
    let id = assignment(1, 1);
    ready(&mut world, id, &service(&[READINESS]));
    for _ in 0..13 {
        answer(&mut world, id, refused());
    }
    assert_eq!(world.state(id), Some((AssignmentState::Failed, Some(Reason::NeverReady))));
    assert_eq!(detail(&world, id), "not ready within 10s: connection refused");
}

#[test]
fn readiness_that_was_lost_stays_lost_over_a_restart_of_the_worker() {
    let mut world = World::new();
    let id = assignment(1, 1);
    ready(&mut world, id, &service(&[READINESS]));
    for _ in 0..3 {
        answer(&mut world, id, refused());
    }
    world.restart_worker();
    assert_eq!(world.state(id), Some((AssignmentState::Starting, None)));
    world.probed(id, Ok(()));
    assert_eq!(world.state(id), Some((AssignmentState::Running, None)));
    assert_eq!((world.starts, world.stops), (1, 0), "the container is the same");
}

#[test]
fn a_service_that_is_not_alive_is_stopped_and_started_again_whatever_its_exit_code() {
    let mut world = World::new();
    let id = assignment(1, 1);
    ready(&mut world, id, &service(&[LIVENESS]));
    answer(&mut world, id, refused());
    answer(&mut world, id, Ok(()));
    answer(&mut world, id, refused());
    assert_eq!(world.stops, 0, "two failures in a row it takes");
    answer(&mut world, id, refused());
    assert_eq!(world.stops, 1);
    assert_eq!(world.state(id), Some((AssignmentState::Starting, Some(Reason::CrashLoop))));
    world.wait(10_000);
    assert_eq!(world.state(id), Some((AssignmentState::Running, None)));
    let report = world.core.view().assignments.remove(0);
    assert_eq!((world.starts, report.restarts, report.detail.as_str()), (2, 1, ""));
}

#[test]
fn a_service_that_is_not_alive_and_may_not_be_started_again_fails_as_its_own_fault() {
    let mut world = World::new();
    let id = assignment(1, 1);
    ready(&mut world, id, &service(&[LIVENESS, "[restart]\npolicy = \"never\"\n"]));
    answer(&mut world, id, refused());
    answer(&mut world, id, refused());
    let (state, reason) = world.state(id).unwrap();
    assert_eq!((state, reason), (AssignmentState::Failed, Some(Reason::Unhealthy)));
    assert_eq!(reason.and_then(Reason::fault), Some(Fault::Task));
    assert!(detail(&world, id).contains("2 times in a row: connection refused"));
}

#[test]
fn checks_that_an_absent_engine_could_not_ask_say_nothing() {
    let mut world = World::new();
    let id = assignment(1, 1);
    ready(&mut world, id, &service(&[READINESS, LIVENESS]));
    let container = world.container_of(&id).unwrap();
    for _ in 0..10 {
        world.wait(1_000);
        let silent = EngineFailure::Unavailable("down".to_owned());
        world.take(Event::Engine(EngineEvent::Unprobed(id, container.clone(), silent)));
        world.list();
    }
    assert_eq!(world.state(id), Some((AssignmentState::Running, None)));
    assert_eq!(world.stops, 0);
}

#[test]
fn a_container_that_cannot_be_stopped_is_told_held_on_to_and_tried_again() {
    let mut world = World::new();
    let (id, next) = (assignment(1, 1), assignment(2, 1));
    world.desire(vec![order(id, &[0], "")]);
    world.stop_failure = Some(EngineFailure::Other("did not receive an exit event".to_owned()));
    world.desire(vec![order(next, &[0], "")]);
    assert!(world.findings.contains("docker/cannot-stop"));
    let report = &world.orchestrator.stored[&id];
    assert_eq!(report.state, AssignmentState::Stopping);
    assert!(report.detail.contains("still runs") && report.detail.contains("exit event"), "{report:?}");
    assert_eq!(world.state(next), Some((AssignmentState::Assigned, None)), "the GPU is held back");
    let stops = world.stops;
    for _ in 0..10 {
        world.wait(15_000);
    }
    assert!(world.stops >= stops + 10, "it is tried again and again");
    assert!(world.findings.contains("docker/cannot-stop"));

    world.stop_failure = None;
    world.wait(15_000);
    world.wait(15_000);
    assert_eq!(world.state(next), Some((AssignmentState::Running, None)));
    assert!(!world.findings.contains("docker/cannot-stop"));
    assert_eq!(world.state(id), None);
}

#[test]
fn an_engine_that_restarts_in_the_middle_of_a_stop_is_asked_again_and_blames_no_container() {
    let mut world = World::new();
    let id = assignment(1, 1);
    world.desire(vec![order(id, &[0], "")]);
    world.down = true;
    world.stop_failure = Some(EngineFailure::Unavailable("broken pipe".to_owned()));
    world.desire(vec![]);
    assert!(world.findings.contains("docker/unavailable"));
    assert!(!world.findings.contains("docker/cannot-stop"), "nothing is known of the container");
    world.stop_failure = None;
    world.down = false;
    world.list();
    assert_eq!(world.state(id), None);
    let running = world.containers.values().any(|(_, state)| *state == ObservedState::Running);
    assert!(!running);
}

#[test]
fn what_cannot_be_removed_is_told_and_tried_again_until_it_is_gone() {
    let mut world = World::new();
    let id = assignment(1, 1);
    world.desire(vec![order(id, &[0], "")]);
    world.exit_task(id, 0);
    world.remove_failure = Some(EngineFailure::Other("device or resource busy".to_owned()));
    world.desire(vec![]);
    assert!(world.findings.contains("docker/cannot-remove"));
    world.list();
    assert!(world.findings.contains("docker/cannot-remove"));
    world.remove_failure = None;
    world.list();
    assert!(!world.findings.contains("docker/cannot-remove"));
    assert_eq!(world.state(id), None);

    let stray = ContainerId("stray".to_owned());
    world.containers.insert(stray.clone(), (assignment(9, 1), ObservedState::Created));
    world.remove_failure = Some(EngineFailure::Other("device or resource busy".to_owned()));
    world.list();
    assert!(world.findings.contains("docker/cannot-remove"));
    world.remove_failure = None;
    world.list();
    world.list();
    assert!(!world.findings.contains("docker/cannot-remove") && world.containers.is_empty());
}

#[test]
fn a_full_host_refuses_without_blame_and_says_so_until_it_has_room() {
    let mut world = World::new();
    let id = assignment(1, 1);
    world.create_failure = Some(EngineFailure::NoRoom("no part of 10.213.0.0/16 is free".to_owned()));
    world.desire(vec![order(id, &[], "")]);
    let (state, reason) = world.state(id).unwrap();
    assert_eq!((state, reason), (AssignmentState::Failed, Some(Reason::NodeFull)));
    assert_eq!(reason.and_then(Reason::fault), None, "it is nobody's fault");
    assert!(detail(&world, id).contains("10.213.0.0/16"));
    assert!(world.findings.contains("docker/no-room"));
    world.create_failure = None;
    world.desire(vec![order(assignment(2, 1), &[], "")]);
    assert!(!world.findings.contains("docker/no-room"));
}
