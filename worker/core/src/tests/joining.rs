//! Joining and leaving.

use lode_chain_types::MembershipState;
use lode_protocol::assignment::AssignmentState;
use lode_protocol::join::{Invite, LeaveStatement, SignedInvite};
use lode_protocol::session::Membership;
use lode_protocol::units::Millis;

use super::support::{World, assignment, config, facts, key, order};
use crate::event::Event;
use crate::membership::DEPARTURE_PATIENCE;
use crate::rejected::Rejected;

fn stranger() -> World {
    World::start(MembershipState::Never, Membership::Invited)
}

fn invite(world: &World) -> SignedInvite {
    let invite = Invite {
        pool: config().pool,
        node: config().node,
        provider: world.chain.provider.unwrap(),
        counter: world.chain.join_counter,
        terms: world.chain.requirements,
        deadline: world.now().wall.0 / 1_000 + 600,
    };
    SignedInvite { invite, signature: key(2).sign_recoverable(&invite.invite_digest(&config().pools_domain)) }
}

#[test]
fn a_true_invite_is_consented_to_and_the_consent_is_said_until_the_node_is_a_member() {
    let mut world = stranger();
    world.orchestrator.invite = Some(invite(&world));
    world.push();
    let consent = world.orchestrator.beats.last().unwrap().consent.clone().unwrap();
    let digest = consent.invite.consent_digest(&config().pools_domain);
    assert_eq!(consent.signature.recover(&digest), Ok(config().node.0));
    world.orchestrator.membership = Membership::Member;
    world.orchestrator.invite = None;
    world.push();
    world.wait(10_000);
    assert_eq!(world.orchestrator.beats.last().unwrap().consent, None);
    assert_eq!(world.scans, 2, "the engine is looked at from now on");
}

#[test]
fn an_invite_waits_for_a_chain_that_does_not_answer() {
    let mut world = stranger();
    world.take(Event::ChainSilent);
    world.orchestrator.invite = Some(invite(&world));
    world.push();
    assert!(world.findings.contains("join/chain-unknown"));
    assert!(world.orchestrator.beats.iter().all(|beat| beat.consent.is_none()));
    world.take(Event::ChainSeen(world.chain.clone()));
    assert!(world.orchestrator.beats.last().unwrap().consent.is_some());
    assert!(!world.findings.contains("join/chain-unknown"));
}

#[test]
fn an_invite_with_other_terms_gets_no_signature_and_is_said() {
    let mut world = stranger();
    let mut forged = invite(&world);
    forged.invite.terms.0[0] ^= 1;
    forged.signature = key(2).sign_recoverable(&forged.invite.invite_digest(&config().pools_domain));
    world.orchestrator.invite = Some(forged);
    world.push();
    world.wait(10_000);
    assert!(world.findings.contains("join/invite-refused"));
    assert!(world.orchestrator.beats.iter().all(|beat| beat.consent.is_none()));
}

fn running(world: &mut World) {
    let id = assignment(1, 1);
    world.desire(vec![order(id, &[0], "kind = \"service\"\n")]);
    assert_eq!(world.state(id), Some((AssignmentState::Running, None)));
}

#[test]
fn an_ejected_node_stops_what_it_runs() {
    let mut world = World::new();
    running(&mut world);
    world.orchestrator.orders.clear();
    world.orchestrator.generation = 0;
    world.orchestrator.membership = Membership::Ejected { message: "broke the rules".to_owned() };
    world.push();
    assert!(world.containers.is_empty());
    assert_eq!(world.stops, 1);
    assert!(world.findings.contains("node/ejected"));
}

#[test]
fn a_leave_is_signed_remembered_said_again_and_stops_everything_once_it_took_effect() {
    let mut world = World::new();
    running(&mut world);
    world.take(Event::LeaveWanted(7));
    assert_eq!(world.noted, [(7, true)]);
    let leave = world.orchestrator.leaves.last().unwrap().clone();
    let statement = LeaveStatement {
        pool: config().pool,
        node: config().node,
        counter: leave.counter,
        deadline: leave.deadline,
    };
    let digest = statement.digest(&config().pools_domain);
    assert_eq!(leave.signature.recover(&digest), Ok(config().node.0));
    world.wait(15_000);
    assert_eq!(world.orchestrator.leaves.len(), 2);
    world.restart_worker();
    assert_eq!(world.orchestrator.leaves.len(), 3, "killed in between, it still wants to leave");
    assert!(world.core.view().leaving);
    // The orchestrator never says that nothing is wanted any more.
    world.orchestrator.generation = 0;
    world.chain = facts(MembershipState::Left);
    world.take(Event::ChainSeen(world.chain.clone()));
    assert!(!world.core.view().leaving);
    assert!(world.findings.contains("node/left"));
    world.wait(DEPARTURE_PATIENCE.0 - 1);
    assert_eq!(world.containers.len(), 1, "the chain may yet say otherwise");
    world.wait(1);
    assert!(world.containers.is_empty());
    world.orchestrator.invite = Some(invite(&world));
    world.push();
    assert_eq!(world.orchestrator.beats.last().unwrap().consent, None, "it has just left");
}

#[test]
fn a_membership_that_ended_stops_nothing_while_the_chain_is_silent_or_says_member_again() {
    let mut world = World::new();
    running(&mut world);
    world.orchestrator.generation = 0;
    world.take(Event::ChainSeen(facts(MembershipState::Ejected)));
    world.take(Event::ChainSilent);
    world.wait(2 * DEPARTURE_PATIENCE.0);
    assert_eq!(world.containers.len(), 1);
    world.take(Event::ChainSeen(facts(MembershipState::Member)));
    world.wait(2 * DEPARTURE_PATIENCE.0);
    assert_eq!((world.containers.len(), world.stops), (1, 0));
}

#[test]
fn a_worker_that_restarts_after_its_membership_ended_still_ends_what_it_runs() {
    let mut world = World::new();
    running(&mut world);
    world.orchestrator.generation = 0;
    world.chain = facts(MembershipState::Ejected);
    world.take(Event::ChainSeen(world.chain.clone()));
    world.wait(DEPARTURE_PATIENCE.0 - 1);
    world.restart_worker();
    world.take(Event::ChainSeen(world.chain.clone()));
    assert_eq!(world.containers.len(), 1, "the chain may yet say otherwise");
    world.wait(DEPARTURE_PATIENCE.0);
    assert!(world.containers.is_empty());
}

#[test]
fn only_a_member_can_leave_and_a_refused_wish_changes_nothing() {
    let mut world = stranger();
    let before = world.core.clone();
    let now = world.now();
    assert_eq!(world.core.step(now, Event::LeaveWanted(1)), Err(Rejected::NotMember));
    assert_eq!(format!("{:?}", world.core), format!("{before:?}"));
    let mut fresh = crate::Worker::new(config());
    fresh.step(now, Event::Started).unwrap();
    assert_eq!(fresh.step(now, Event::LeaveWanted(1)), Err(Rejected::ChainUnknown));
    assert_eq!(world.core.next_deadline(), Some(Millis::seconds(10)));
}

#[test]
fn a_wish_that_was_signed_lately_is_not_signed_again() {
    let mut world = World::new();
    world.take(Event::LeaveWanted(1));
    world.take(Event::LeaveWanted(2));
    assert_eq!(world.noted, [(1, true), (2, true)]);
    assert!(world.orchestrator.leaves.windows(2).all(|pair| pair[0] == pair[1]));
}
