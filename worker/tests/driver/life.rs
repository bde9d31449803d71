//! Tasks from order to report.

use std::sync::Arc;

use lode_chain_types::MembershipState;
use lode_protocol::assignment::{AssignmentState, Reason};
use lode_protocol::logs::{LogBatch, LogEnd, LogRecord};
use lode_protocol::session::Membership;
use lode_protocol::units::Millis;
use lode_store::MemoryStore;
use lode_worker::core::event::EngineFailure;

use super::fake_engine::FakeEngine;
use super::node::{Node, chain, identity, order};
use super::orchestrator::Orchestrator;

pub(crate) async fn member() -> (Orchestrator, Node, FakeEngine, MemoryStore) {
    let identity = identity();
    let orchestrator = Orchestrator::start(identity.realm, identity.address(), Membership::Member).await;
    let (engine, store) = (FakeEngine::default(), MemoryStore::new());
    let view = chain(&orchestrator, MembershipState::Member);
    let node = Node::start(identity, Arc::new(engine.clone()), &store, view).await;
    (orchestrator, node, engine, store)
}

#[tokio::test]
async fn an_order_runs_is_reported_and_is_tidied_away_when_nobody_wants_it() {
    let (mut orchestrator, _node, engine, _) = member().await;
    let order = order("");
    orchestrator.want(std::slice::from_ref(&order));
    let state = |seen: &Orchestrator| seen.reports.get(&order.id).map(|report| report.state);
    orchestrator.until("running", |seen| state(seen) == Some(AssignmentState::Running)).await;
    engine.exit(order.id, 0);
    orchestrator.until("succeeded", |seen| state(seen) == Some(AssignmentState::Succeeded)).await;
    let report = &orchestrator.reports[&order.id];
    let image = format!("i@sha256:{}", "1".repeat(64));
    assert_eq!((report.exit_code, report.image.as_deref()), (Some(0), Some(image.as_str())));
    assert_eq!(engine.containers().len(), 1, "kept for its output while it is wanted");
    orchestrator.want(&[]);
    orchestrator.until("removed", |_| engine.containers().is_empty()).await;
    assert_eq!((engine.starts(), engine.stops()), (1, 0));
}

#[tokio::test]
async fn a_task_that_is_no_longer_wanted_is_stopped_and_removed() {
    let (mut orchestrator, _node, engine, _) = member().await;
    let order = order("kind = \"service\"\n");
    orchestrator.want(std::slice::from_ref(&order));
    let state = |seen: &Orchestrator| seen.reports.get(&order.id).map(|report| report.state);
    orchestrator.until("running", |seen| state(seen) == Some(AssignmentState::Running)).await;
    orchestrator.want(&[]);
    orchestrator.until("stopped", |seen| state(seen) == Some(AssignmentState::Stopped)).await;
    orchestrator.until("removed", |_| engine.containers().is_empty()).await;
    assert_eq!(engine.stops(), 1);
}

#[tokio::test]
async fn what_an_engine_ended_by_stopping_has_not_succeeded_and_is_the_node_s_fault() {
    for code in [0, 137] {
        let (mut orchestrator, _node, engine, _) = member().await;
        let order = order("");
        orchestrator.want(std::slice::from_ref(&order));
        let state = |seen: &Orchestrator| seen.reports.get(&order.id).map(|report| report.state);
        orchestrator.until("running", |seen| state(seen) == Some(AssignmentState::Running)).await;
        engine.restart(code);
        orchestrator.until("ended", |seen| state(seen).is_some_and(AssignmentState::is_final)).await;
        let report = &orchestrator.reports[&order.id];
        assert_eq!((report.state, report.reason), (AssignmentState::Failed, Some(Reason::EngineRestarted)));
        assert_eq!(report.exit_code, None, "the code that the engine wrote down is not the task's");
    }
}

#[tokio::test]
async fn an_image_that_does_not_exist_is_the_task_s_fault() {
    let (mut orchestrator, _node, engine, _) = member().await;
    engine.fail_pulls(Some(EngineFailure::ImageNotFound("no such image".to_owned())));
    let order = order("");
    orchestrator.want(std::slice::from_ref(&order));
    orchestrator
        .until("failed", |seen| seen.reports.get(&order.id).is_some_and(|r| r.state.is_final()))
        .await;
    let report = &orchestrator.reports[&order.id];
    assert_eq!((report.state, report.reason), (AssignmentState::Failed, Some(Reason::ImageNotFound)));
    assert_eq!(report.detail, "no such image");
}

#[tokio::test]
async fn a_registry_s_limit_is_told_while_the_pull_waits_and_ends_with_the_wish_for_it() {
    let (mut orchestrator, _node, engine, _) = member().await;
    let detail = "the registry takes no more requests".to_owned();
    let retry_after = Some(Millis::seconds(3_600));
    engine.fail_pulls(Some(EngineFailure::RegistryLimit { detail: detail.clone(), retry_after }));
    let order = order("");
    orchestrator.want(std::slice::from_ref(&order));
    let reason = |seen: &Orchestrator| seen.reports.get(&order.id).and_then(|report| report.reason);
    orchestrator.until("held off", |seen| reason(seen) == Some(Reason::RegistryLimit)).await;
    let report = &orchestrator.reports[&order.id];
    assert_eq!((report.state, &report.detail), (AssignmentState::Pulling, &detail));
    orchestrator.want(&[]);
    let state = |seen: &Orchestrator| seen.reports.get(&order.id).map(|report| report.state);
    orchestrator.until("stopped", |seen| state(seen) == Some(AssignmentState::Stopped)).await;
}

#[tokio::test]
async fn a_container_that_somebody_removed_is_made_anew() {
    let (mut orchestrator, _node, engine, _) = member().await;
    let order = order("kind = \"service\"\n");
    orchestrator.want(std::slice::from_ref(&order));
    orchestrator.until("started", |_| engine.starts() == 1).await;
    let running = |seen: &Orchestrator| {
        seen.reports.get(&order.id).is_some_and(|report| report.state == AssignmentState::Running)
    };
    orchestrator.until("running", running).await;
    engine.vanish(order.id);
    orchestrator.until("started again", |_| engine.starts() == 2).await;
    orchestrator.until("told", |seen| seen.reports[&order.id].restarts == 1 && running(seen)).await;
}

fn lines(batches: &[LogBatch]) -> Vec<String> {
    assert_eq!(batches.last().and_then(|batch| batch.end.clone()), Some(LogEnd::Complete));
    let records = batches.iter().flat_map(|batch| &batch.records).enumerate();
    let line = |(number, record): (usize, &LogRecord)| {
        assert_eq!(record.position().ordinal, number as u64);
        let LogRecord::Line(line) = record else { panic!("{record:?}") };
        String::from_utf8(line.bytes.clone()).unwrap()
    };
    records.map(line).collect()
}

#[tokio::test]
async fn output_is_read_over_the_worker_s_connection_and_an_unknown_task_is_said_to_be_one() {
    let (mut orchestrator, _node, _engine, _) = member().await;
    let order = order("kind = \"service\"\n");
    orchestrator.want(std::slice::from_ref(&order));
    let running = |seen: &Orchestrator| {
        seen.reports.get(&order.id).is_some_and(|report| report.state == AssignmentState::Running)
    };
    orchestrator.until("running", running).await;
    let batches = orchestrator.read_logs(order.id).await;
    assert_eq!(lines(&batches), ["line 1", "line 2", "line 3"]);
    assert_eq!(batches.last().and_then(|batch| batch.end.clone()), Some(LogEnd::Complete));
    assert!(batches.iter().enumerate().all(|(at, batch)| batch.index == at as u64));
    let batches = orchestrator.read_logs(super::node::order("").id).await;
    let Some(LogEnd::Failed { code, .. }) = &batches.last().unwrap().end else { panic!("{batches:?}") };
    assert_eq!(code.as_str(), "logs/unknown-assignment");
}

#[tokio::test]
async fn output_of_a_task_that_has_ended_is_read_after_its_container_is_gone_and_after_a_restart() {
    let (mut orchestrator, node, engine, store) = member().await;
    let order = order("");
    orchestrator.want(std::slice::from_ref(&order));
    orchestrator.until("started", |_| engine.starts() == 1).await;
    engine.exit(order.id, 0);
    let ended = |seen: &Orchestrator| seen.reports.get(&order.id).is_some_and(|r| r.state.is_final());
    orchestrator.until("ended", ended).await;
    orchestrator.want(&[]);
    orchestrator.until("removed", |_| engine.containers().is_empty()).await;
    let expected = ["line 1", "line 2", "line 3"];
    assert_eq!(lines(&orchestrator.read_logs(order.id).await), expected);
    assert!(!node.has_finding("output/not-kept"));
    let (identity, folder) = (node.identity.clone(), Arc::clone(&node.folder));
    node.stop().await;
    let view = chain(&orchestrator, MembershipState::Member);
    let _again = Node::start_in(folder, identity, Arc::new(engine), &store, view).await;
    orchestrator.until("it is back", |seen| seen.hellos.len() == 2).await;
    orchestrator.answer_beats(1).await;
    assert_eq!(lines(&orchestrator.read_logs(order.id).await), expected, "after a restart");
}
