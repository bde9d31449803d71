//! Containers: the reconciler on a model of an engine, and the cases that once went wrong elsewhere.

use std::collections::BTreeSet;

use lode_protocol::assignment::{AssignmentState, Fault, Reason};
use lode_protocol::ids::Term;
use lode_protocol::session::AssignmentSpec;
use lode_protocol::units::{Bytes, Millis};

use super::support::{World, assignment, gpu, healthy, order};
use crate::effect::Command;
use crate::event::{
    Attempt, ContainerId, DiskSpace, EngineEvent, EngineFailure, EngineRun, Event, Exit, GpuFault,
    GpuFaultKind, ObservedState, Origin,
};

const SERVICE: &str = "kind = \"service\"\n[[ports]]\nname = \"http\"\ncontainer = 80\n[readiness]\ncheck = { tcp = { port = \"http\" } }\ndeadline = \"10s\"\n";

#[test]
fn a_batch_task_runs_once_and_keeps_its_container_until_nobody_wants_it() {
    let mut world = World::new();
    let id = assignment(1, 1);
    world.desire(vec![order(id, &[0, 1], "")]);
    assert_eq!(world.state(id), Some((AssignmentState::Running, None)));
    world.exit_task(id, 0);
    assert_eq!(world.state(id), Some((AssignmentState::Succeeded, Some(Reason::Completed))));
    assert_eq!(world.containers.len(), 1, "its logs are still wanted");
    world.desire(vec![]);
    assert!(world.containers.is_empty() && world.journal().is_empty(), "nothing is left behind");
    assert_eq!(world.kept, BTreeSet::from([id]), "its output outlives it");
}

#[test]
fn a_service_is_running_only_once_it_is_ready_and_fails_past_its_deadline() {
    let mut world = World::new();
    let id = assignment(1, 1);
    world.desire(vec![order(id, &[], SERVICE)]);
    assert_eq!(world.state(id), Some((AssignmentState::Starting, None)));
    world.probed(id, Err("refused".to_owned()));
    world.now = Millis::seconds(11);
    world.probed(id, Err("refused".to_owned()));
    assert_eq!(world.state(id), Some((AssignmentState::Failed, Some(Reason::NeverReady))));

    let id = assignment(2, 1);
    world.desire(vec![order(id, &[], SERVICE)]);
    world.probed(id, Ok(()));
    assert_eq!(world.state(id), Some((AssignmentState::Running, None)));
}

#[test]
fn containers_survive_a_worker_restart_and_are_adopted() {
    let mut world = World::new();
    let id = assignment(1, 1);
    world.desire(vec![order(id, &[0], SERVICE)]);
    world.probed(id, Ok(()));
    let container = world.container_of(&id);
    world.restart_worker();
    assert_eq!(world.state(id), Some((AssignmentState::Running, None)));
    assert_eq!((world.starts, world.stops), (1, 0), "adopted, not restarted");
    assert_eq!(world.container_of(&id), container);
}

#[test]
fn an_end_that_nobody_saw_is_found_after_a_restart() {
    let mut world = World::new();
    let id = assignment(1, 1);
    world.desire(vec![order(id, &[], "")]);
    let container = world.container_of(&id).unwrap();
    world.containers.get_mut(&container).unwrap().1 =
        ObservedState::Exited(Exit { code: 3, out_of_memory: false });
    world.restart_worker();
    assert_eq!(world.state(id), Some((AssignmentState::Failed, Some(Reason::ExitedWithError))));
}

#[test]
fn while_the_engine_is_gone_nothing_is_stopped_and_afterwards_work_goes_on() {
    let mut world = World::new();
    let running = assignment(1, 1);
    world.desire(vec![order(running, &[0], SERVICE)]);
    world.down = true;
    world.list();
    let waiting = assignment(2, 1);
    world.desire(vec![order(running, &[0], SERVICE), order(waiting, &[1], "")]);
    assert_eq!(world.stops, 0);
    assert_eq!(world.state(waiting), Some((AssignmentState::Assigned, None)));
    world.down = false;
    world.list();
    assert_eq!(world.state(waiting), Some((AssignmentState::Running, None)));
    assert_eq!((world.starts, world.stops), (2, 0));
}

#[test]
fn an_order_for_a_gpu_that_is_not_usable_fails_as_the_nodes_fault_and_starts_nothing() {
    let mut world = World::new();
    let id = assignment(1, 1);
    world.desire(vec![order(id, &[9], "")]);
    let (state, reason) = world.state(id).unwrap();
    assert_eq!((state, reason), (AssignmentState::Failed, Some(Reason::GpuUnavailable)));
    assert!(world.containers.is_empty());
}

#[test]
fn a_missing_image_is_the_tasks_fault_and_an_unreachable_registry_is_tried_again() {
    let mut world = World::new();
    world.pull_failure = Some(EngineFailure::ImageNotFound("no such image".to_owned()));
    let id = assignment(1, 1);
    world.desire(vec![order(id, &[], "")]);
    let (_, reason) = world.state(id).unwrap();
    assert_eq!(reason.unwrap().fault(), Some(Fault::Task));

    world.pull_failure = Some(EngineFailure::PullFailed("timeout".to_owned()));
    let id = assignment(2, 1);
    world.desire(vec![order(id, &[], "")]);
    assert_eq!(world.state(id), Some((AssignmentState::Failed, Some(Reason::PullFailed))));
}

#[test]
fn pulls_that_fail_are_tried_again_after_growing_waits_that_differ_between_assignments() {
    let waits = |task| {
        let mut world = World::new();
        let (id, now) = (assignment(task, 1), world.now());
        let core = &mut world.core;
        let desired = (Term(1), lode_protocol::ids::Generation(1));
        core.assignments.on_desired(now, desired, vec![order(id, &[], "")], &mut core.out.commands);
        core.step(now, Event::Tick).unwrap();
        let mut wait = || {
            let failed = Err(EngineFailure::PullFailed("too many requests".to_owned()));
            let asked =
                commands(core.step(now, Event::Engine(EngineEvent::Pulled(id, Attempt(0), failed))).unwrap());
            match asked.as_slice() {
                [Command::Pull { delay, .. }] => delay.0,
                other => panic!("{other:?}"),
            }
        };
        [wait(), wait(), wait()]
    };
    let (one, other) = (waits(1), waits(2));
    for waits in [&one, &other] {
        for (wait, full) in waits.iter().zip([2_000, 4_000, 8_000]) {
            assert!((full / 2..=full).contains(wait), "{waits:?}");
        }
    }
    assert_ne!(one, other);
    assert_eq!(one, waits(1), "the same events bring the same waits");
}

#[test]
fn a_container_made_anew_runs_the_content_that_ran_before_whatever_the_tag_means_now() {
    let mut world = World::new();
    let id = assignment(1, 1);
    world.image = format!("i@sha256:{}", "a".repeat(64));
    world.desire(vec![order(id, &[], SERVICE)]);
    let again = |world: &mut World| {
        world.containers.clear();
        world.list();
        world.pulls.last().cloned()
    };
    assert_eq!(again(&mut world), Some(world.image.clone()));
    world.restart_worker();
    assert_eq!(again(&mut world), Some(world.image.clone()), "it is remembered");
    // What the orchestrator has pinned the task to counts more.
    let pinned = format!("i@sha256:{}", "b".repeat(64));
    world.desire(vec![AssignmentSpec {
        pinned_image: Some(pinned.parse().unwrap()),
        ..order(id, &[], SERVICE)
    }]);
    assert_eq!(again(&mut world), Some(pinned));
    assert_eq!(world.pulls.first().map(String::as_str), Some("i:1"));
}

#[test]
fn an_image_s_id_in_one_engine_says_nothing_about_what_to_pull() {
    let mut world = World::new();
    world.desire(vec![order(assignment(1, 1), &[], SERVICE)]);
    world.containers.clear();
    world.list();
    assert_eq!(world.pulls, ["i:1", "i:1"]);
}

#[test]
fn a_registry_s_limit_holds_a_pull_off_by_the_registry_s_own_word_and_is_nobody_s_fault() {
    let mut world = World::new();
    let limited =
        |retry_after| EngineFailure::RegistryLimit { detail: "too many requests".to_owned(), retry_after };
    world.pull_failure = Some(limited(Some(Millis::seconds(3_600))));
    let id = assignment(1, 1);
    world.desire(vec![order(id, &[], "")]);
    assert_eq!(world.state(id), Some((AssignmentState::Pulling, Some(Reason::RegistryLimit))));
    assert_eq!(Reason::RegistryLimit.fault(), None);
    let view = world.core.view();
    assert!(view.assignments.iter().any(|report| report.detail == "too many requests"), "{view:?}");
    for _ in 0..59 {
        world.wait(60_000);
    }
    assert_eq!(world.pulls.len(), 1, "an hour was asked for");
    // It does not say for how long any more: minutes, growing.
    world.pull_failure = Some(limited(None));
    let mut waits = Vec::new();
    for pulls in 2..=4 {
        let before = world.now.0;
        while world.pulls.len() < pulls {
            assert!(world.now.0 - before < 600_000, "it is tried again: {waits:?}");
            world.wait(10_000);
        }
        waits.push(world.now.0 - before);
    }
    let [_, second, third] = waits[..] else { panic!("{waits:?}") };
    assert!((120_000..150_000).contains(&second) && (240_000..280_000).contains(&third), "{waits:?}");
    world.pull_failure = None;
    world.wait(600_000);
    assert_eq!(world.state(id), Some((AssignmentState::Running, None)));
}

#[test]
fn one_that_is_held_off_ends_at_once_when_nobody_wants_it_any_more() {
    let mut world = World::new();
    let detail = "too many requests".to_owned();
    world.pull_failure = Some(EngineFailure::RegistryLimit { detail, retry_after: None });
    let id = assignment(1, 1);
    world.desire(vec![order(id, &[1], "")]);
    assert_eq!(world.core.assignments.gpu_holders().len(), 1);
    world.desire(Vec::new());
    assert!(world.core.assignments.gpu_holders().is_empty());
    world.wait(4_000_000);
    assert_eq!(world.pulls.len(), 1);
}

#[test]
fn content_that_is_gone_and_a_registry_that_is_not_allowed_are_the_task_s_fault_with_their_own_words() {
    let mut world = World::new();
    let failures = [
        (EngineFailure::PinnedImageGone("gone".to_owned()), Reason::PinnedImageGone),
        (EngineFailure::RegistryNotAllowed("inside".to_owned()), Reason::RegistryNotAllowed),
    ];
    for (number, (failure, reason)) in (1..).zip(failures) {
        let (id, words) = (assignment(number, 1), failure.detail().to_owned());
        world.pull_failure = Some(failure);
        world.desire(vec![order(id, &[], "")]);
        assert_eq!(world.state(id), Some((AssignmentState::Failed, Some(reason))));
        assert_eq!(reason.fault(), Some(Fault::Task));
        assert_eq!(world.entry(&id).and_then(|entry| entry.ended).map(|ended| ended.detail), Some(words));
    }
}

#[test]
fn an_assignment_whose_calls_are_broken_off_again_and_again_waits_longer_each_time_and_is_given_up() {
    let mut world = World::new();
    world.pull_failure = Some(EngineFailure::Unavailable("broken off".to_owned()));
    let id = assignment(1, 1);
    world.desire(vec![order(id, &[], "")]);
    for _ in 0..60 {
        world.wait(1_000);
    }
    let in_a_minute = world.pulls.len();
    assert!((2..=8).contains(&in_a_minute), "{in_a_minute}");
    for _ in 0..120 {
        world.wait(10_000);
    }
    assert_eq!(world.state(id), Some((AssignmentState::Failed, Some(Reason::EngineError))));
    assert_eq!(world.pulls.len(), 10);
    // The engine itself is well.
    world.pull_failure = None;
    let other = assignment(2, 1);
    world.desire(vec![order(other, &[], "")]);
    world.wait(20_000);
    assert_eq!(world.state(other), Some((AssignmentState::Running, None)));
}

#[test]
fn images_that_were_fetched_go_when_the_disk_fills_but_never_one_that_something_runs_on() {
    let mut world = World::new();
    let full = DiskSpace { total: Bytes::gibi(100), free: Bytes::gibi(1) };
    let content = |digit: &str| format!("i@sha256:{}", digit.repeat(64));
    world.origin = Origin::Fetched;
    for (number, digit) in [(1, "a"), (2, "b")] {
        world.image = content(digit);
        let pinned = Some(content(digit).parse().unwrap());
        let kind = if number == 1 { "" } else { SERVICE };
        let mut orders = world.orchestrator.orders.clone();
        orders.push(AssignmentSpec { pinned_image: pinned, ..order(assignment(number, 1), &[], kind) });
        world.desire(orders);
        world.wait(1_000);
    }
    world.list();
    assert!(world.removed_images.is_empty(), "nobody knows how full the disk is");
    world.space = Some(full);
    world.list();
    assert!(world.removed_images.is_empty(), "both run");
    world.restart_worker();
    world.list();
    world.exit_task(assignment(1, 1), 0);
    world.desire(vec![AssignmentSpec {
        pinned_image: Some(content("b").parse().unwrap()),
        ..order(assignment(2, 1), &[], SERVICE)
    }]);
    world.list();
    assert_eq!(
        world.removed_images,
        [format!("docker.io/library/{}", content("a"))],
        "it is remembered that this worker fetched it"
    );
    for _ in 0..5 {
        world.list();
    }
    assert_eq!(world.removed_images.len(), 1, "the other one is in use however full the disk is");
}

#[test]
fn an_older_desired_set_changes_nothing_but_a_new_term_counts() {
    let mut world = World::new();
    let id = assignment(1, 1);
    world.orchestrator.generation = 5;
    world.desire(vec![order(id, &[], "")]);
    world.orchestrator.generation = 2;
    world.desire(vec![]);
    assert_eq!(world.state(id), Some((AssignmentState::Running, None)));
    world.orchestrator.term = Term(2);
    world.orchestrator.generation = 1;
    world.reopen();
    assert_eq!(world.state(id), None);
}

#[test]
fn the_same_set_again_does_not_bring_back_what_has_had_its_end() {
    let mut world = World::new();
    let id = assignment(1, 1);
    world.desire(vec![order(id, &[], "")]);
    world.core.assignments.release_everything(&mut world.core.out.commands);
    world.take(Event::Tick);
    assert_eq!(world.state(id), None, "it was stopped, removed and told");
    world.push();
    assert_eq!(world.state(id), None);
    assert_eq!(world.starts, 1);
}

#[test]
fn a_gpu_is_handed_over_only_after_its_holder_has_ended() {
    let mut world = World::new();
    let (old, new) = (assignment(1, 1), assignment(2, 1));
    world.desire(vec![order(old, &[0], "")]);
    world.down = true; // the stop stays under way
    world.desire(vec![order(new, &[0], "")]);
    assert_eq!(world.state(new), Some((AssignmentState::Assigned, None)));
    world.down = false;
    let container = world.container_of(&old).unwrap();
    world.exit(&container, 143);
    world.take(Event::Tick);
    world.list();
    assert_eq!(world.state(new), Some((AssignmentState::Running, None)));
}

#[test]
fn a_gpu_that_nvml_does_not_show_stops_no_task_but_explains_its_failure() {
    let mut world = World::new();
    let id = assignment(1, 1);
    world.desire(vec![order(id, &[0], "")]);
    world.take(healthy(&[1]));
    assert_eq!(world.state(id), Some((AssignmentState::Running, None)));
    world.exit_task(id, 1);
    assert_eq!(world.state(id), Some((AssignmentState::Failed, Some(Reason::GpuLost))));
}

fn fault(gpus: &[u8], kind: GpuFaultKind) -> Event {
    let gpus = gpus.iter().map(|number| gpu(*number)).collect();
    Event::GpuFailed(GpuFault { gpus, detail: "GPU GPU-00 failed: XID 79".to_owned(), kind })
}

#[test]
fn a_broken_gpu_ends_what_runs_on_it_as_the_nodes_fault_whatever_its_restart_policy() {
    let mut world = World::new();
    let (on_it, beside) = (assignment(1, 1), assignment(2, 1));
    let always = "kind = \"service\"\n";
    world.desire(vec![order(on_it, &[0], always), order(beside, &[1], always)]);
    world.take(fault(&[0], GpuFaultKind::Broken));
    let (state, reason) = world.state(on_it).unwrap();
    assert_eq!((state, reason), (AssignmentState::Failed, Some(Reason::GpuLost)));
    assert_eq!(reason.and_then(Reason::fault), Some(Fault::Node));
    assert_eq!(world.orchestrator.stored[&on_it].detail, "GPU GPU-00 failed: XID 79");
    assert_eq!(world.state(beside), Some((AssignmentState::Running, None)));
    assert_eq!((world.starts, world.stops), (2, 1));
}

#[test]
fn a_task_on_a_broken_gpu_is_not_waited_for_as_long_as_it_asks() {
    let mut world = World::new();
    let patient = "stop_grace = \"1h\"\n";
    let (on_it, beside) = (order(assignment(1, 1), &[0], patient), order(assignment(2, 1), &[1], patient));
    world.desire(vec![on_it.clone(), beside]);
    world.take(fault(&[0], GpuFaultKind::Broken));
    assert_eq!(world.grace, Some(Millis::seconds(10)));
    world.desire(vec![on_it]);
    assert_eq!(
        world.grace,
        Some(Millis::seconds(3_600)),
        "who is only unwanted has the time that it asks for"
    );
}

#[test]
fn a_broken_gpu_ends_what_waits_for_a_restart_on_it_and_a_restart_of_the_worker_forgets_no_fault() {
    let mut world = World::new();
    let id = assignment(1, 1);
    world.desire(vec![order(id, &[0], "kind = \"service\"\n")]);
    world.exit_task(id, 1);
    assert_eq!(world.state(id).unwrap().1, Some(Reason::CrashLoop));
    world.take(fault(&[0], GpuFaultKind::Broken));
    assert_eq!(world.state(id), Some((AssignmentState::Failed, Some(Reason::GpuLost))));

    let id = assignment(2, 1);
    world.desire(vec![order(id, &[1], "kind = \"service\"\n")]);
    world.down = true;
    world.take(fault(&[1], GpuFaultKind::Broken));
    world.restart_worker();
    world.down = false;
    world.list();
    assert_eq!(world.state(id), Some((AssignmentState::Failed, Some(Reason::GpuLost))));
    assert_eq!(world.orchestrator.stored[&id].detail, "GPU GPU-00 failed: XID 79");
}

#[test]
fn an_error_of_a_program_on_a_gpu_ends_nothing_and_explains_an_end() {
    let mut world = World::new();
    let own = assignment(1, 1);
    world.desire(vec![order(own, &[0], "")]);
    world.take(fault(&[0], GpuFaultKind::ProgramError));
    assert_eq!(world.state(own), Some((AssignmentState::Running, None)));
    world.exit_task(own, 1);
    assert_eq!(world.state(own), Some((AssignmentState::Failed, Some(Reason::ExitedWithError))));
    assert!(world.orchestrator.stored[&own].detail.contains("XID 79"));

    let lost = assignment(2, 1);
    world.desire(vec![order(lost, &[0], "")]);
    world.take(fault(&[0], GpuFaultKind::LostProgram));
    world.exit_task(lost, 1);
    assert_eq!(world.state(lost), Some((AssignmentState::Failed, Some(Reason::GpuLost))));

    let survivor = assignment(3, 1);
    world.desire(vec![order(survivor, &[0], "")]);
    world.take(fault(&[0], GpuFaultKind::LostProgram));
    world.exit_task(survivor, 0);
    assert_eq!(world.state(survivor), Some((AssignmentState::Succeeded, Some(Reason::Completed))));
}

#[test]
fn a_taken_host_port_is_replaced_by_another() {
    let mut world = World::new();
    world.start_failure = Some(EngineFailure::PortTaken("30000".to_owned()));
    let id = assignment(1, 1);
    world.desire(vec![order(id, &[], SERVICE)]);
    let report = world.core.view().assignments.remove(0);
    assert_eq!(report.ports[0].host, 30_001);
    assert_eq!(world.containers.len(), 1, "the first container was removed");
}

#[test]
fn a_removed_container_is_made_anew_and_a_stray_is_removed() {
    let mut world = World::new();
    let id = assignment(1, 1);
    world.desire(vec![order(id, &[], SERVICE)]);
    world.containers.clear();
    world.list();
    assert_eq!((world.starts, world.containers.len()), (2, 1));
    let stray = ContainerId("stray".to_owned());
    world.containers.insert(stray.clone(), (assignment(9, 1), ObservedState::Created));
    world.list();
    assert_eq!(world.containers.len(), 1);
    assert!(!world.containers.contains_key(&stray));
    world.list();
    assert_eq!(world.starts, 2, "a second pass changes nothing");
}

#[test]
fn between_order_and_container_there_is_one_change_of_the_journal() {
    let mut world = World::new();
    let id = assignment(1, 1);
    // A pull that takes its time: the model's engine would answer at once.
    world.down = true;
    world.desire(vec![order(id, &[], "")]);
    world.down = false;
    world.list();
    assert_eq!(
        world.entry(&id).unwrap().image,
        Some("sha256:1".to_owned()),
        "it is written with the container"
    );
    let mut world = World::new();
    let (now, core) = (world.now(), &mut world.core);
    let order = order(id, &[], "");
    core.assignments.on_desired(
        now,
        (Term(1), lode_protocol::ids::Generation(1)),
        vec![order],
        &mut core.out.commands,
    );
    let effects = core.step(now, Event::Tick).unwrap();
    assert!(!effects.changes.is_empty());
    let pulled = EngineEvent::Pulled(id, Attempt(0), Ok("sha256:1".to_owned().into()));
    let effects = core.step(now, Event::Engine(pulled)).unwrap();
    let creates =
        |action: &crate::effect::Action| matches!(action, crate::effect::Action::Engine(Command::Create(_)));
    assert!(effects.actions.iter().any(creates), "{effects:?}");
    assert!(effects.changes.is_empty(), "the image alone is worth no write: {effects:?}");
}

#[test]
fn a_crashing_task_is_restarted_with_back_off_up_to_its_limit() {
    let mut world = World::new();
    let id = assignment(1, 1);
    world.desire(vec![order(id, &[], "restart = { policy = \"on-failure\", max_restarts = 2 }\n")]);
    for wait in [10, 20] {
        world.exit_task(id, 1);
        assert_eq!(world.state(id), Some((AssignmentState::Starting, Some(Reason::CrashLoop))));
        world.wait(wait * 1_000 - 1);
        assert_eq!(world.state(id).unwrap().1, Some(Reason::CrashLoop), "too early");
        world.wait(1);
        assert_eq!(world.state(id), Some((AssignmentState::Running, None)));
    }
    world.exit_task(id, 1);
    assert_eq!(world.state(id), Some((AssignmentState::Failed, Some(Reason::RestartLimit))));
}

#[test]
fn a_long_run_resets_the_back_off_but_not_the_number_that_names_a_run() {
    let mut world = World::new();
    let id = assignment(1, 1);
    world.desire(vec![order(id, &[], "restart = { policy = \"on-failure\", max_restarts = 2 }\n")]);
    let restarts = |world: &World| world.entry(&id).unwrap().restarts;
    for (run, wait) in [(0, 10), (1, 20)] {
        assert_eq!(restarts(&world), run);
        world.exit_task(id, 1);
        world.wait(wait * 1_000);
    }
    for run in 2..5 {
        assert_eq!((world.state(id), restarts(&world)), (Some((AssignmentState::Running, None)), run));
        world.wait(crate::restart::HEALTHY_RUN.0);
        world.exit_task(id, 1);
        assert_eq!(world.state(id), Some((AssignmentState::Starting, Some(Reason::CrashLoop))));
        world.wait(10_000);
    }
    assert_eq!(restarts(&world), 5);
}

#[test]
fn a_container_told_to_stop_while_it_is_being_started_is_watched_to_its_end() {
    let mut world = World::new();
    let id = assignment(1, 1);
    let now = world.now();
    let core = &mut world.core;
    let set = |core: &mut crate::Worker, generation, orders| {
        let desired = (Term(1), lode_protocol::ids::Generation(generation));
        core.assignments.on_desired(now, desired, orders, &mut core.out.commands);
        commands(core.step(now, Event::Tick).unwrap())
    };
    let engine = |core: &mut crate::Worker, event| commands(core.step(now, Event::Engine(event)).unwrap());
    set(core, 1, vec![order(id, &[], "")]);
    let container = ContainerId("c1".to_owned());
    engine(core, EngineEvent::Pulled(id, Attempt(0), Ok("sha256:1".to_owned().into())));
    engine(core, EngineEvent::Created(id, Attempt(0), Ok(container.clone())));
    let asked = set(core, 2, Vec::new());
    assert!(asked.iter().any(|command| matches!(command, Command::Stop { .. })), "{asked:?}");
    let run = EngineRun { boot: "b".to_owned(), run: "r".to_owned() };
    let asked = engine(core, EngineEvent::Started(id, Attempt(0), Ok(run)));
    assert!(asked.iter().any(|command| matches!(command, Command::Watch { .. })), "{asked:?}");
    let exit = Exit { code: 143, out_of_memory: false };
    let asked = engine(core, EngineEvent::Exited(id, container, exit));
    assert!(asked.iter().any(|command| matches!(command, Command::Remove { .. })), "{asked:?}");
}

fn commands(effects: crate::effect::Effects) -> Vec<Command> {
    let all = effects.at_once.into_iter().chain(effects.actions);
    all.filter_map(|action| match action {
        crate::effect::Action::Engine(command) => Some(command),
        _ => None,
    })
    .collect()
}

#[test]
fn the_result_of_an_older_try_is_ignored() {
    let mut world = World::new();
    let id = assignment(1, 1);
    world.desire(vec![order(id, &[], "")]);
    let other = ContainerId("other".to_owned());
    world.take(Event::Engine(EngineEvent::Created(id, Attempt(77), Ok(other.clone()))));
    assert_ne!(world.container_of(&id), Some(other));
}
