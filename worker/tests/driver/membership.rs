//! Joining and leaving.

use std::sync::Arc;

use lode_chain_types::MembershipState;
use lode_protocol::assignment::AssignmentState;
use lode_protocol::error_code::ErrorCode;
use lode_protocol::join::{Invite, LeaveStatement, SignedInvite};
use lode_protocol::session::Membership;
use lode_store::MemoryStore;
use lode_worker::local::LeaveAnswer;
use lode_worker::local::server::LocalRequest;
use tokio::sync::oneshot;

use super::fake_engine::FakeEngine;
use super::life::member;
use super::node::{Node, PROVIDER, TERMS, chain, identity, order};
use super::orchestrator::{Orchestrator, now};

async fn stranger() -> (Orchestrator, Node, FakeEngine) {
    let identity = identity();
    let waiting =
        Membership::Waiting { code: ErrorCode::new("node/not-proven"), message: "not proven".to_owned() };
    let orchestrator = Orchestrator::start(identity.realm, identity.address(), waiting).await;
    let engine = FakeEngine::default();
    let view = chain(&orchestrator, MembershipState::Never);
    let node = Node::start(identity, Arc::new(engine.clone()), &MemoryStore::new(), view).await;
    (orchestrator, node, engine)
}

fn invite(orchestrator: &Orchestrator, node: &Node) -> SignedInvite {
    let invite = Invite {
        pool: node.identity.realm.pool,
        node: node.identity.node(),
        provider: PROVIDER,
        counter: 1,
        terms: TERMS,
        deadline: now().0 / 1_000 + 600,
    };
    let signature = orchestrator.key.sign_recoverable(&invite.invite_digest(&node.identity.pools_domain()));
    SignedInvite { invite, signature }
}

#[tokio::test]
async fn the_engine_is_not_touched_before_the_node_is_a_member() {
    let (mut orchestrator, node, engine) = stranger().await;
    orchestrator.answer_beats(5).await;
    assert_eq!(engine.calls(), 0);
    assert_eq!(node.snapshot.borrow().engine.state, "untouched");
    orchestrator.membership = Membership::Member;
    node.chain.send_modify(|view| view.known.as_mut().unwrap().membership = MembershipState::Member);
    orchestrator.until("touched", |_| engine.calls() > 0).await;
}

#[tokio::test]
async fn a_true_invite_is_answered_with_a_consent_that_the_contract_accepts() {
    let (mut orchestrator, node, _) = stranger().await;
    orchestrator.answer_beats(1).await;
    orchestrator.membership = Membership::Invited;
    orchestrator.invite = Some(invite(&orchestrator, &node));
    orchestrator.until("consent", |seen| seen.beats.last().is_some_and(|beat| beat.consent.is_some())).await;
    let consent = orchestrator.beats.last().unwrap().consent.clone().unwrap();
    let digest = consent.invite.consent_digest(&node.identity.pools_domain());
    assert_eq!(consent.signature.recover(&digest), Ok(node.identity.address()));
}

#[tokio::test]
async fn an_invite_with_other_terms_gets_no_signature_and_is_said() {
    let (mut orchestrator, node, _) = stranger().await;
    orchestrator.membership = Membership::Invited;
    let mut forged = invite(&orchestrator, &node);
    forged.invite.terms.0[0] ^= 1;
    forged.signature =
        orchestrator.key.sign_recoverable(&forged.invite.invite_digest(&node.identity.pools_domain()));
    orchestrator.invite = Some(forged);
    orchestrator.until("refused", |_| node.has_finding("join/invite-refused")).await;
    orchestrator.answer_beats(3).await;
    assert!(orchestrator.beats.iter().all(|beat| beat.consent.is_none()));
}

#[tokio::test]
async fn an_invite_waits_for_a_chain_that_does_not_answer() {
    let (mut orchestrator, node, _) = stranger().await;
    // It has read the chain once: else it would not know where its orchestrator is.
    orchestrator.answer_beats(1).await;
    node.chain.send_modify(|view| view.fresh = false);
    orchestrator.membership = Membership::Invited;
    orchestrator.invite = Some(invite(&orchestrator, &node));
    orchestrator.until("said", |_| node.has_finding("join/chain-unknown")).await;
    assert!(orchestrator.beats.iter().all(|beat| beat.consent.is_none()));
    node.chain.send_modify(|view| view.fresh = true);
    orchestrator.until("consent", |seen| seen.beats.last().is_some_and(|beat| beat.consent.is_some())).await;
    assert!(!node.has_finding("join/chain-unknown"));
}

#[tokio::test]
async fn an_ejected_node_stops_what_it_runs() {
    let (mut orchestrator, _node, engine, _) = member().await;
    let order = order("kind = \"service\"\n");
    orchestrator.want(std::slice::from_ref(&order));
    let state = |seen: &Orchestrator| seen.reports.get(&order.id).map(|report| report.state);
    orchestrator.until("running", |seen| state(seen) == Some(AssignmentState::Running)).await;
    orchestrator.generation = 0;
    orchestrator.membership = Membership::Ejected { message: "broke the rules".to_owned() };
    orchestrator.until("removed", |_| engine.containers().is_empty()).await;
    assert_eq!(engine.stops(), 1);
}

#[tokio::test]
async fn a_wish_to_leave_is_signed_remembered_and_sent_until_the_chain_says_it_is_done() {
    let (mut orchestrator, node, engine, store) = member().await;
    orchestrator.answer_beats(1).await;
    let (reply, answer) = oneshot::channel();
    node.local.send(LocalRequest::Leave(reply)).await.unwrap();
    let LeaveAnswer::Requested { counter, deadline, connected } = answer.await.unwrap() else {
        panic!("a member may leave")
    };
    assert_eq!((counter, connected), (1, true));
    orchestrator.until("leave", |seen| !seen.leaves.is_empty()).await;
    let statement =
        LeaveStatement { pool: node.identity.realm.pool, node: node.identity.node(), counter, deadline };
    let digest = statement.digest(&node.identity.pools_domain());
    assert_eq!(orchestrator.leaves[0].signature.recover(&digest), Ok(node.identity.address()));

    // Killed in between, it still wants to leave.
    let (identity, view) = (node.identity.clone(), node.chain.borrow().clone());
    node.stop().await;
    let again = Node::start(identity, Arc::new(engine.clone()), &store, view).await;
    orchestrator.leaves.clear();
    orchestrator.until("leave again", |seen| !seen.leaves.is_empty()).await;
    assert!(again.snapshot.borrow().membership.leaving);
    again.chain.send_modify(|view| view.known.as_mut().unwrap().membership = MembershipState::Left);
    orchestrator.until("left", |_| !again.snapshot.borrow().membership.leaving).await;
    assert!(again.has_finding("node/left"));
}
