//! What fails around the worker stops no task, is said, and heals by itself.

use std::sync::Arc;
use std::time::Duration;

use lode_protocol::assignment::{AssignmentState, Fault as Blame, Reason};
use lode_protocol::hardware::GpuState;
use lode_protocol::ids::Term;
use lode_protocol::session::AssignmentSpec;
use lode_store::Fault;
use lode_worker::core::event::{EngineFailure, GpuFault, GpuFaultKind};

use super::fake_engine::FakeEngine;
use super::life::member;
use super::node::{Node, gpu, order};
use super::orchestrator::Orchestrator;

async fn running(orchestrator: &mut Orchestrator, order: &AssignmentSpec) {
    orchestrator.want(std::slice::from_ref(order));
    let id = order.id;
    let runs = move |seen: &Orchestrator| {
        seen.reports.get(&id).is_some_and(|report| report.state == AssignmentState::Running)
    };
    orchestrator.until("running", runs).await;
}

fn untouched(engine: &FakeEngine) {
    assert_eq!((engine.starts(), engine.stops(), engine.containers().len()), (1, 0, 1));
}

async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(tokio::time::Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn an_engine_that_goes_away_and_comes_back_changes_nothing_about_a_running_task() {
    let (mut orchestrator, node, engine, _) = member().await;
    let order = order("kind = \"service\"\n");
    running(&mut orchestrator, &order).await;
    engine.set_down(true);
    eventually("finding", || node.has_finding("docker/unavailable")).await;
    orchestrator
        .until("told", |seen| {
            seen.beats.last().is_some_and(|beat| beat.findings.iter().any(|f| f.code == "docker/unavailable"))
        })
        .await;
    assert_eq!(node.snapshot.borrow().engine.state, "unavailable");
    engine.set_down(false);
    eventually("recovery", || !node.has_finding("docker/unavailable")).await;
    orchestrator.answer_beats(3).await;
    untouched(&engine);
    assert_eq!(orchestrator.reports[&order.id].state, AssignmentState::Running);
}

#[tokio::test]
async fn an_exit_while_the_engine_was_away_is_noticed_when_it_is_back() {
    let (mut orchestrator, node, engine, _) = member().await;
    let order = order("");
    running(&mut orchestrator, &order).await;
    engine.set_down(true);
    eventually("finding", || node.has_finding("docker/unavailable")).await;
    engine.exit(order.id, 7);
    engine.set_down(false);
    orchestrator.until("failed", |seen| seen.reports[&order.id].state == AssignmentState::Failed).await;
    assert_eq!(orchestrator.reports[&order.id].exit_code, Some(7));
}

#[tokio::test]
async fn a_container_that_cannot_be_stopped_is_told_to_owner_and_orchestrator_until_it_is_gone() {
    let (mut orchestrator, node, engine, _) = member().await;
    let order = order("kind = \"service\"\n");
    running(&mut orchestrator, &order).await;
    engine.fail_stops(Some(EngineFailure::Other("did not receive an exit event".to_owned())));
    orchestrator.want(&[]);
    orchestrator
        .until("told", |seen| {
            let finding = |beat: &lode_protocol::session::Heartbeat| {
                beat.findings.iter().any(|finding| finding.code == "docker/cannot-stop")
            };
            let report = &seen.reports[&order.id];
            let told = report.state == AssignmentState::Stopping && report.detail.contains("still runs");
            told && seen.beats.last().is_some_and(finding)
        })
        .await;
    assert!(node.has_finding("docker/cannot-stop"));
    let stops = engine.stops();
    orchestrator.until("tried again", |_| engine.stops() > stops).await;
    engine.fail_stops(None);
    orchestrator.until("stopped", |seen| seen.reports[&order.id].state == AssignmentState::Stopped).await;
    eventually("cleared", || !node.has_finding("docker/cannot-stop")).await;
}

#[tokio::test]
async fn a_service_whose_check_fails_later_is_no_longer_running_and_one_that_is_dead_is_started_again() {
    let (mut orchestrator, _node, engine, _) = member().await;
    let check = "check = { exec = { command = [\"alive\"] } }\ninterval = \"1s\"\n";
    let order = order(&format!("kind = \"service\"\n[readiness]\n{check}"));
    running(&mut orchestrator, &order).await;
    engine.set_unhealthy(true);
    orchestrator.until("not ready", |seen| seen.reports[&order.id].state == AssignmentState::Starting).await;
    assert!(orchestrator.reports[&order.id].detail.starts_with("no longer ready"));
    engine.set_unhealthy(false);
    orchestrator.until("ready", |seen| seen.reports[&order.id].state == AssignmentState::Running).await;
    assert_eq!((engine.starts(), engine.stops()), (1, 0));

    let mortal = super::node::order(&format!("kind = \"service\"\n[liveness]\n{check}failures = 1\n"));
    running(&mut orchestrator, &mortal).await;
    engine.set_unhealthy(true);
    orchestrator.until("stopped", |seen| seen.reports[&mortal.id].restarts == 1).await;
    assert_eq!(engine.stops(), 2, "the first service, which nobody wants any more, and the dead one");
}

#[tokio::test]
async fn a_host_that_is_full_refuses_without_blame() {
    let (mut orchestrator, node, engine, _) = member().await;
    let order = order("");
    engine.fail_creations(Some(EngineFailure::NoRoom("no part of 10.213.0.0/16 is free".to_owned())));
    orchestrator.want(std::slice::from_ref(&order));
    let refused = |seen: &Orchestrator| {
        seen.reports.get(&order.id).is_some_and(|report| report.reason == Some(Reason::NodeFull))
    };
    orchestrator.until("refused", refused).await;
    assert_eq!(orchestrator.reports[&order.id].reason.and_then(Reason::fault), None);
    assert!(node.has_finding("docker/no-room"));
}

#[tokio::test]
async fn a_full_disk_stops_no_task_and_no_beat_and_what_waited_is_done_afterwards() {
    let (mut orchestrator, node, engine, store) = member().await;
    let first = order("kind = \"service\"\n");
    running(&mut orchestrator, &first).await;
    store.set_fault(Some(Fault::Full));
    let second = order("kind = \"service\"\n");
    orchestrator.want(&[first.clone(), second.clone()]);
    orchestrator.until("finding", |_| node.has_finding("store/full")).await;
    orchestrator.answer_beats(5).await;
    untouched(&engine);
    assert!(!orchestrator.reports.contains_key(&second.id), "nothing is promised that is not remembered");
    store.set_fault(None);
    orchestrator.until("started", |_| engine.starts() == 2).await;
    orchestrator.until("cleared", |_| !node.has_finding("store/full")).await;
    orchestrator
        .until("reported", |seen| {
            seen.reports.get(&second.id).is_some_and(|report| report.state == AssignmentState::Running)
        })
        .await;
    assert_eq!(engine.stops(), 0);
}

#[tokio::test]
async fn an_orchestrator_that_falls_silent_or_starts_anew_stops_no_task() {
    let (mut orchestrator, _node, engine, _) = member().await;
    let order = order("kind = \"service\"\n");
    running(&mut orchestrator, &order).await;
    orchestrator.mute = true;
    let hellos = orchestrator.hellos.len();
    // Beats are repeated, then the connection is renewed.
    orchestrator.until("a new greeting", |seen| seen.hellos.len() > hellos).await;
    orchestrator.mute = false;
    orchestrator.epoch = Term(2);
    orchestrator.answer_beats(3).await;
    untouched(&engine);
    assert!(orchestrator.beats.iter().any(|beat| beat.complete && beat.assignments.len() == 1));
}

#[tokio::test]
async fn a_gpu_that_fell_off_the_bus_is_reported_and_the_task_on_it_goes_on() {
    let (mut orchestrator, node, engine, _) = member().await;
    let mut order = order("kind = \"service\"\n[resources]\ngpus = 1\n");
    order.gpus = vec!["GPU-11".parse().unwrap()];
    running(&mut orchestrator, &order).await;
    node.gpus.send_replace(Arc::new(gpu(1, GpuState::Quarantined)));
    let says = |seen: &Orchestrator, state: GpuState| {
        seen.beats.last().is_some_and(|beat| beat.gpus.iter().all(|gpu| gpu.state == state))
    };
    orchestrator.until("quarantined", |seen| says(seen, GpuState::Quarantined)).await;
    orchestrator.answer_beats(3).await;
    untouched(&engine);
    node.gpus.send_replace(Arc::new(gpu(1, GpuState::Healthy)));
    orchestrator.until("healthy", |seen| says(seen, GpuState::Healthy)).await;
    untouched(&engine);
}

#[tokio::test]
async fn a_gpu_with_a_fatal_xid_ends_what_runs_on_it_as_the_nodes_fault_and_nothing_else() {
    let (mut orchestrator, node, engine, _) = member().await;
    let mut on_it = order("kind = \"service\"\n[resources]\ngpus = 1\n");
    on_it.gpus = vec!["GPU-11".parse().unwrap()];
    let beside = order("kind = \"service\"\n");
    orchestrator.want(&[on_it.clone(), beside.clone()]);
    let state = |seen: &Orchestrator, id| seen.reports.get(&id).map(|report| report.state);
    orchestrator
        .until("both run", |seen| {
            [on_it.id, beside.id].iter().all(|id| state(seen, *id) == Some(AssignmentState::Running))
        })
        .await;
    node.gpus.send_replace(Arc::new(gpu(1, GpuState::Quarantined)));
    let fault = GpuFault {
        gpus: on_it.gpus.clone(),
        detail: "GPU GPU-11 failed: XID 79".to_owned(),
        kind: GpuFaultKind::Broken,
    };
    node.faults.send(fault).await.unwrap();
    orchestrator.until("failed", |seen| state(seen, on_it.id) == Some(AssignmentState::Failed)).await;
    let report = &orchestrator.reports[&on_it.id];
    assert_eq!(report.reason, Some(Reason::GpuLost));
    assert_eq!(report.reason.and_then(Reason::fault), Some(Blame::Node));
    assert_eq!(report.detail, "GPU GPU-11 failed: XID 79");
    assert_eq!(state(&orchestrator, beside.id), Some(AssignmentState::Running));
    assert_eq!((engine.starts(), engine.stops()), (2, 1));
}

#[tokio::test]
async fn a_worker_that_is_killed_adopts_its_containers_when_it_is_back() {
    let (mut orchestrator, node, engine, store) = member().await;
    let order = order("kind = \"service\"\n");
    running(&mut orchestrator, &order).await;
    let before = engine.containers();
    let (identity, view) = (node.identity.clone(), node.chain.borrow().clone());
    node.stop().await;
    untouched(&engine);
    let _again = Node::start(identity, Arc::new(engine.clone()), &store, view).await;
    let hellos = orchestrator.hellos.len();
    orchestrator.until("a greeting", |seen| seen.hellos.len() > hellos).await;
    orchestrator.reports.clear();
    orchestrator
        .until("adopted", |seen| {
            seen.reports.get(&order.id).is_some_and(|report| report.state == AssignmentState::Running)
        })
        .await;
    assert_eq!(engine.containers(), before);
    untouched(&engine);
    let boots: Vec<_> = orchestrator.hellos.iter().map(|hello| hello.boot.0).collect();
    assert!(boots.is_sorted() && boots.first() != boots.last(), "{boots:?}");
}
