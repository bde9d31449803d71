use lode_protocol::assignment::{AssignmentState, Reason};
use lode_protocol::ids::*;

use super::super::effect::{Action, OccurrenceKind};
use super::super::event::{Event, ImageResolution};
use super::super::view::{ReplicaState, TaskState};
use super::world::{World, assignment, event_of, spec, task_id, unresolved};

fn state(world: &World, task: TaskId) -> TaskState {
    world.core.task(&task).unwrap().summary.state
}

#[test]
fn a_batch_task_runs_to_success_and_says_so() {
    let mut world = World::members(2, 1);
    let task = world.submit(1, spec("batch", "replicas = 2\n[resources]\ngpus = 1\n"));
    assert_eq!(state(&world, task), TaskState::Pending);
    world.beat(0);
    world.beat(1);
    for _ in 0..2 {
        world.work(0);
        world.work(1);
    }
    assert_eq!(state(&world, task), TaskState::Running);
    world.work(0);
    assert_eq!(state(&world, task), TaskState::Running);
    world.work(1);
    assert_eq!(state(&world, task), TaskState::Succeeded);
    let steps: Vec<AssignmentState> = world
        .core
        .assignment(&assignment(task, 0, 1))
        .unwrap()
        .history
        .iter()
        .map(|step| step.state)
        .collect();
    assert_eq!(
        steps,
        [
            AssignmentState::Assigned,
            AssignmentState::Pulling,
            AssignmentState::Starting,
            AssignmentState::Running,
            AssignmentState::Succeeded
        ]
    );
}

#[test]
fn a_service_runs_only_when_every_replica_does() {
    let mut world = World::members(2, 1);
    let task = world.submit(1, spec("service", "replicas = 2\n[resources]\ngpus = 1\n"));
    for _ in 0..4 {
        world.work(0);
    }
    assert_eq!(state(&world, task), TaskState::Pending);
    for _ in 0..4 {
        world.work(1);
    }
    assert_eq!(state(&world, task), TaskState::Running);
}

#[test]
fn the_small_answer_about_a_task_is_part_of_the_large_one() {
    let mut world = World::members(2, 1);
    let task = world.submit(1, spec("service", "replicas = 3\n[resources]\ngpus = 1\n"));
    let same = |world: &World| {
        let (small, large) = (world.core.task_summary(&task), world.core.task(&task));
        assert_eq!(small, large.as_ref().map(|view| view.summary.clone()));
        let pinned = large.and_then(|view| view.pinned_image);
        assert_eq!(world.core.pinned_image(&task).map(ToString::to_string), pinned);
        small
    };
    assert_eq!(same(&world).unwrap().replicas.total, 3);
    world.ok(Event::TaskStop(task));
    same(&world);
    world.ok(Event::TaskDelete(task));
    for number in 0..2 {
        world.beat(number);
    }
    same(&world);
    assert_eq!(world.core.task_summary(&task_id(9)), None);
}

#[test]
fn the_fault_decides_whether_a_batch_replica_is_tried_again() {
    let mut world = World::members(2, 1);
    let task = world.submit(1, spec("batch", "[resources]\ngpus = 1\n"));
    let number = world.number_of(world.node_of(assignment(task, 0, 1)));
    world.beat(number);
    world.workers[number].set(&assignment(task, 0, 1), AssignmentState::Failed, Some(Reason::GpuLost));
    world.beat(number);
    assert_eq!(world.core.task(&task).unwrap().replica_states, [ReplicaState::BackOff]);
    let explanation = world.core.explain(&task, world.now).unwrap();
    assert_eq!(explanation.back_offs.len(), 1);
    world.wait_beating(5_000, &[0, 1]);
    let second = assignment(task, 0, 2);
    let other = world.number_of(world.node_of(second));
    assert_ne!(other, number, "the node at fault is avoided");
    world.beat(other);
    world.workers[other].set(&second, AssignmentState::Failed, Some(Reason::ExitedWithError));
    world.beat(other);
    assert_eq!(state(&world, task), TaskState::Failed);
    // Started again, it gets a new incarnation and the same id.
    world.ok(Event::TaskStart(task));
    assert!(world.core.assignment(&assignment(task, 0, 3)).is_some());
}

#[test]
fn a_full_node_is_not_blamed_its_task_runs_elsewhere_and_others_are_kept_away() {
    let mut world = World::members(2, 1);
    let task = world.submit(1, spec("batch", ""));
    let full = world.number_of(world.node_of(assignment(task, 0, 1)));
    world.beat(full);
    world.workers[full].set(&assignment(task, 0, 1), AssignmentState::Failed, Some(Reason::NodeFull));
    world.beat(full);
    assert_eq!(world.core.task(&task).unwrap().replica_states, [ReplicaState::BackOff]);
    let id = world.workers[full].id;
    assert_eq!(world.core.nodes.get(&id).unwrap().faults.unexplained(), 0, "it is nobody's fault");
    let another = world.submit(2, spec("batch", ""));
    assert_ne!(world.number_of(world.node_of(assignment(another, 0, 1))), full, "it is full for everybody");
    world.wait_beating(5_000, &[0, 1]);
    assert_ne!(world.number_of(world.node_of(assignment(task, 0, 2))), full);
    // Where nothing else is left it is asked again.
    let mut world = World::members(1, 1);
    let task = world.submit(1, spec("batch", ""));
    world.beat(0);
    world.workers[0].set(&assignment(task, 0, 1), AssignmentState::Failed, Some(Reason::NodeFull));
    world.beat(0);
    world.wait_beating(5_000, &[0]);
    assert!(world.core.assignment(&assignment(task, 0, 2)).is_some());
}

#[test]
fn a_requirement_that_two_hosts_do_not_meet_ends_no_task_that_a_third_can_run() {
    let mut world = World::members(3, 1);
    let task = world.submit(1, spec("batch", ""));
    let mut tried = Vec::new();
    for incarnation in 1..=2 {
        let id = assignment(task, 0, incarnation);
        let node = world.number_of(world.node_of(id));
        world.beat(node);
        world.workers[node].set(&id, AssignmentState::Failed, Some(Reason::UnmetRequirement));
        world.beat(node);
        let key = world.workers[node].id;
        assert_eq!(world.core.nodes.get(&key).unwrap().faults.unexplained(), 0, "it is nobody's fault");
        tried.push(node);
        world.wait_beating(10_000, &[0, 1, 2]);
    }
    let third = world.number_of(world.node_of(assignment(task, 0, 3)));
    assert!(tried[0] != tried[1] && !tried.contains(&third), "{tried:?}, then {third}");
}

#[test]
fn why_an_assignment_does_not_stop_is_told_while_it_does_not() {
    let mut world = World::members(1, 1);
    let task = world.submit(1, spec("service", "[resources]\ngpus = 1\n"));
    let id = assignment(task, 0, 1);
    for _ in 0..4 {
        world.work(0);
    }
    assert_eq!(world.state(id), AssignmentState::Running);
    world.workers[0].obedient = false;
    world.ok(Event::TaskStop(task));
    world.workers[0].set(&id, AssignmentState::Stopping, Some(Reason::StopRequested));
    world.beat(0);
    let mut beat = world.workers[0].next_beat();
    beat.assignments[0].detail = "its container cannot be stopped".to_owned();
    let event = event_of(&world.workers[0], beat);
    world.ok(event);
    let last = world.core.assignment(&id).unwrap().history.last().unwrap().clone();
    assert_eq!(
        (last.state, last.detail.as_str()),
        (AssignmentState::Stopping, "its container cannot be stopped")
    );
}

#[test]
fn a_service_that_restarts_for_ever_is_moved_with_growing_back_off() {
    let mut world = World::members(1, 1);
    let task = world.submit(1, spec("service", ""));
    let mut waits = vec![];
    for incarnation in 1..=4 {
        let id = assignment(task, 0, incarnation);
        world.beat(0);
        world.workers[0].set(&id, AssignmentState::Failed, Some(Reason::NeverReady));
        world.beat(0);
        waits.push(world.core.explain(&task, world.now).unwrap().back_offs[&0].0 / 1_000);
        world.wait_beating(20_000, &[0]);
    }
    assert_eq!(waits, [2, 4, 8, 16]);
    let limited = world.submit(2, spec("service", "[restart]\npolicy = \"always\"\nmax_restarts = 3\n"));
    world.beat(0);
    world.workers[0].set(&assignment(limited, 0, 1), AssignmentState::Failed, Some(Reason::RestartLimit));
    world.beat(0);
    assert_eq!(state(&world, limited), TaskState::Failed);
}

#[test]
fn stop_start_and_delete_go_through_the_worker() {
    let mut world = World::members(1, 1);
    let task = world.submit(1, spec("service", "[resources]\ngpus = 1\n"));
    for _ in 0..4 {
        world.work(0);
    }
    world.workers[0].obedient = false;
    world.ok(Event::TaskStop(task));
    assert_eq!(state(&world, task), TaskState::Stopping);
    world.beat(0);
    assert_eq!(state(&world, task), TaskState::Stopping, "final when the worker says so");
    world.workers[0].obedient = true;
    world.beat(0);
    world.beat(0);
    assert_eq!(state(&world, task), TaskState::Stopped);
    assert!(world.ok(Event::TaskStop(task)).is_empty());
    world.ok(Event::TaskStart(task));
    for _ in 0..4 {
        world.work(0);
    }
    assert_eq!(
        (state(&world, task), world.state(assignment(task, 0, 2))),
        (TaskState::Running, AssignmentState::Running)
    );
    world.ok(Event::TaskDelete(task));
    assert_eq!(state(&world, task), TaskState::Deleting);
    assert_eq!(world.code(Event::TaskStart(task)), "task/being-deleted");
    world.beat(0);
    assert_eq!(world.core.task(&task), None);
    assert!(world.occurrences.iter().any(|entry| entry.kind == OccurrenceKind::TaskDeleted { task }));
    assert!(world.store.keys().all(|(table, _)| {
        !matches!(
            table,
            super::super::effect::Table::Tasks
                | super::super::effect::Table::Replicas
                | super::super::effect::Table::Assignments
        )
    }));
    assert_eq!(world.code(Event::TaskDelete(task)), "task/not-found");
}

#[test]
fn a_task_that_was_never_placed_stops_and_deletes_at_once() {
    let mut world = World::members(1, 0);
    let task = world.submit(1, spec("batch", "[resources]\ngpus = 1\n"));
    world.ok(Event::TaskStop(task));
    assert_eq!(state(&world, task), TaskState::Stopped);
    world.ok(Event::TaskDelete(task));
    assert_eq!(world.core.task(&task), None);
}

#[test]
fn an_idempotency_key_names_one_task() {
    let mut world = World::members(1, 1);
    let submit = |id, more: &str| Event::TaskSubmitted {
        id: task_id(id),
        spec: spec("batch", more),
        order: None,
        idempotency_key: Some("k".to_owned()),
        image: unresolved(),
    };
    world.ok(submit(1, ""));
    let again = world.ok(submit(2, ""));
    assert_eq!(again.actions, [Action::TaskAccepted { task: task_id(1), created: false }]);
    assert_eq!(world.code(submit(3, "args = [\"other\"]\n")), "task/idempotency-conflict");
    world.restart_core();
    assert_eq!(world.code(submit(3, "args = [\"other\"]\n")), "task/idempotency-conflict");
}

#[test]
fn an_order_that_its_worker_never_mentions_is_placed_elsewhere() {
    let mut world = World::members(2, 1);
    for worker in &mut world.workers {
        worker.obedient = false;
    }
    let task = world.submit(1, spec("batch", "[resources]\ngpus = 1\n"));
    let number = world.number_of(world.node_of(assignment(task, 0, 1)));
    world.wait_beating(125_000, &[0, 1]);
    assert_eq!(world.state(assignment(task, 0, 1)), AssignmentState::Stopping);
    // It never says that it is gone either: it is given up, and the replica goes on.
    world.workers[1 - number].obedient = true;
    world.wait_beating(140_000, &[0, 1]);
    assert_eq!(world.state(assignment(task, 0, 1)), AssignmentState::Lost);
    assert_eq!(world.node_of(assignment(task, 0, 2)), world.workers[1 - number].id);
}

#[test]
fn a_pull_that_waits_for_its_registry_stays_where_it_is_and_its_node_is_not_to_blame() {
    let mut world = World::members(2, 1);
    let task = world.submit(1, spec("service", "[resources]\ngpus = 1\n"));
    let id = assignment(task, 0, 1);
    let node = world.node_of(id);
    let number = world.number_of(node);
    world.beat(number);
    world.workers[number].set(&id, AssignmentState::Pulling, Some(Reason::RegistryLimit));
    world.wait_beating(1_200_000, &[0, 1]);
    let seen = world.core.assignment(&id).unwrap();
    assert_eq!((seen.state, seen.reason), (AssignmentState::Pulling, Some(Reason::RegistryLimit)));
    assert!(world.core.nodes.get(&node).unwrap().faults.is_empty());
    assert!(world.core.assignment(&assignment(task, 0, 2)).is_none(), "nothing was placed elsewhere");
}

#[test]
fn a_node_cannot_report_on_another_nodes_assignment() {
    let mut world = World::members(2, 1);
    let task = world.submit(1, spec("service", "[resources]\ngpus = 1\n"));
    let id = assignment(task, 0, 1);
    let owner = world.number_of(world.node_of(id));
    world.beat(owner);
    let stolen = world.workers[owner].containers.clone();
    world.workers[1 - owner].containers = stolen;
    world.workers[1 - owner].set(&id, AssignmentState::Failed, Some(Reason::ExitedWithError));
    world.beat(1 - owner);
    assert_eq!(world.state(id), AssignmentState::Pulling);
}

#[test]
fn a_task_that_was_resolved_is_ordered_by_content_from_the_first_order_on() {
    let mut world = World::members(1, 1);
    let image = format!("i@sha256:{}", "a".repeat(64));
    let (id, pinned) = (task_id(1), ImageResolution::Pinned(image.parse().unwrap()));
    let effects = world.ok(Event::TaskSubmitted {
        id,
        spec: spec("service", ""),
        order: None,
        idempotency_key: None,
        image: pinned,
    });
    let told = OccurrenceKind::ImagePinned { task: id, image: image.clone(), by: None };
    assert!(effects.occurrences.iter().any(|entry| entry.kind == told), "{:?}", effects.occurrences);
    assert_eq!(world.workers[0].orders[0].pinned_image, Some(image.parse().unwrap()));
    world.restart_core();
    assert_eq!(world.core.task(&id).unwrap().pinned_image, Some(image));
}

#[test]
fn the_first_worker_that_says_what_it_runs_pins_an_unresolved_task_for_further_orders() {
    let mut world = World::members(2, 1);
    let content = |digit: &str| format!("i@sha256:{}", digit.repeat(64));
    let task = world.submit(1, spec("service", "replicas = 2\n[resources]\ngpus = 1\n"));
    let [first, second] = [0, 1].map(|replica| assignment(task, replica, 1));
    let says = |world: &mut World, id, image: &str| {
        let number = world.number_of(world.node_of(id));
        world.workers[number].say_image(&id, image);
        world.beat(number);
    };
    // Neither a tag, nor an id that means something in one engine only, nor another repository's content.
    let bare = format!("sha256:{}", "a".repeat(64));
    for nothing in ["i:1", &bare, &format!("other@{bare}")] {
        says(&mut world, first, nothing);
        assert_eq!(world.core.task(&task).unwrap().pinned_image, None, "{nothing}");
    }
    says(&mut world, first, &content("a"));
    says(&mut world, second, &content("b"));
    assert_eq!(world.core.task(&task).unwrap().pinned_image, Some(content("a")), "the first one stays");
    // What fails is placed anew: by content.
    let number = world.number_of(world.node_of(second));
    world.workers[number].set(&second, AssignmentState::Failed, Some(Reason::ExitedWithError));
    world.beat(number);
    world.wait_beating(60_000, &[0, 1]);
    let orders = world.workers.iter().flat_map(|worker| &worker.orders);
    let again = orders.clone().find(|order| order.id.replica.replica == 1 && order.id != second);
    let pinned = again.expect("it was ordered again").pinned_image.as_ref();
    assert_eq!(pinned.map(ToString::to_string), Some(content("a")));
}
