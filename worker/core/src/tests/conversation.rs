//! The conversation: greeting, beats, repetition, refusals.

use lode_chain_types::MembershipState;
use lode_protocol::assignment::AssignmentState;
use lode_protocol::envelope::encode;
use lode_protocol::error_code::ErrorCode;
use lode_protocol::hash::{Digest, keccak256};
use lode_protocol::ids::{BootCounter, Sequence, Term};
use lode_protocol::session::{Channel, Membership, Refusal};
use lode_protocol::units::Millis;

use super::support::{World, assignment, config, facts, order};
use crate::Worker;
use crate::event::{Event, Heard};
use crate::rejected::Rejected;
use crate::session::{ANSWER_TIMEOUT, MAX_RESENDS};
use crate::view::SessionState;

#[test]
fn nothing_happens_before_the_start() {
    let mut worker = Worker::new(config());
    let now = World::new().now();
    assert_eq!(worker.step(now, Event::ChainSeen(facts(MembershipState::Member))), Err(Rejected::NotStarted));
    assert_eq!(worker.view().chain, None, "nothing has changed");
}

#[test]
fn nothing_is_said_before_the_boot_is_durable() {
    let mut world = World::new();
    assert_eq!(world.orchestrator.hellos, [BootCounter(1)]);
    world.disk_full = true;
    world.restart_worker();
    assert_eq!(world.orchestrator.hellos, [BootCounter(1)], "the second boot could be forgotten");
    world.disk_full = false;
    world.write();
    world.take(Event::Tick);
    assert_eq!(world.orchestrator.hellos, [BootCounter(1), BootCounter(2)]);
}

#[test]
fn nothing_is_said_in_a_term_that_is_not_durable() {
    let mut world = World::new();
    world.disk_full = true;
    world.orchestrator.term = Term(2);
    let beats = world.orchestrator.beats.len();
    world.reopen();
    assert_eq!(world.orchestrator.beats.len(), beats);
    world.disk_full = false;
    world.write();
    world.take(Event::Tick);
    assert_eq!(
        world.orchestrator.beats.last().map(|beat| (beat.epoch, beat.complete)),
        Some((Term(2), true))
    );
}

#[test]
fn an_older_term_is_not_heard_even_after_a_restart() {
    let mut world = World::new();
    world.orchestrator.term = Term(5);
    world.reopen();
    assert_eq!(world.core.view().session, SessionState::Open);
    world.restart_worker();
    world.orchestrator.term = Term(4);
    world.reopen();
    assert_eq!(world.core.view().session, SessionState::Greeting);
}

#[test]
fn an_unanswered_beat_is_sent_again_and_then_the_transport_is_renewed() {
    let mut world = World::new();
    world.orchestrator.mute = true;
    world.wait(10_000);
    let beats = world.orchestrator.beats.len();
    for expected in 1..=MAX_RESENDS {
        world.wait(ANSWER_TIMEOUT.0);
        assert_eq!(world.resends, expected);
    }
    assert_eq!((world.reconnects, world.orchestrator.beats.len()), (0, beats));
    world.wait(ANSWER_TIMEOUT.0);
    assert_eq!(world.reconnects, 1);
    assert!(world.findings.contains("orchestrator/silent"));
    world.orchestrator.mute = false;
    world.wait(ANSWER_TIMEOUT.0);
    assert_eq!(world.core.view().session, SessionState::Open);
    assert!(!world.findings.contains("orchestrator/silent"));
}

#[test]
fn an_answer_to_another_beat_a_push_seen_before_and_another_session_change_nothing() {
    let mut world = World::new();
    world.orchestrator.mute = true;
    world.wait(10_000);
    world.orchestrator.generation = 7;
    world.orchestrator.orders = vec![order(assignment(1, 1), &[], "")];
    let beat = world.orchestrator.beats.last().unwrap().clone();
    let reply = |sequence, request| Channel::Reply { sequence, request };
    let digest = keccak256(&encode(&beat));
    let mut foreign = world.orchestrator.instruction(reply(beat.sequence, digest));
    foreign.session.0[0] ^= 1;
    let mut old_term = world.orchestrator.instruction(reply(beat.sequence, digest));
    old_term.epoch = Term(0);
    for instruction in [
        world.orchestrator.instruction(reply(beat.sequence, Digest([1; 32]))),
        world.orchestrator.instruction(reply(Sequence(beat.sequence.0 - 1), digest)),
        world.orchestrator.instruction(Channel::Push { sequence: Sequence(0) }),
        foreign,
        old_term,
    ] {
        world.take(Event::Heard(Heard::Instruction(Box::new(instruction))));
        assert_eq!(world.state(assignment(1, 1)), None);
    }
    let right = world.orchestrator.instruction(reply(beat.sequence, digest));
    world.take(Event::Heard(Heard::Instruction(Box::new(right))));
    assert_eq!(world.state(assignment(1, 1)), Some((AssignmentState::Running, None)));
}

fn refusal(request: Digest, reopen: bool) -> Event {
    Event::Heard(Heard::Refused(Refusal {
        code: ErrorCode::new("session/unknown"),
        message: "unknown".to_owned(),
        remedy: "greet".to_owned(),
        reopen,
        retry_after: None,
        request,
    }))
}

#[test]
fn a_refused_beat_opens_a_new_session_and_a_refusal_of_something_else_changes_nothing() {
    let mut world = World::new();
    world.orchestrator.mute = true;
    world.wait(10_000);
    let hellos = world.orchestrator.hellos.len();
    world.take(refusal(Digest([1; 32]), true));
    assert_eq!(world.orchestrator.hellos.len(), hellos);
    let beat = keccak256(&encode(world.orchestrator.beats.last().unwrap()));
    world.orchestrator.mute = false;
    world.take(refusal(beat, true));
    assert_eq!(world.orchestrator.hellos.len(), hellos + 1);
    assert_eq!(world.core.view().session, SessionState::Open);
}

fn too_fast(request: Digest, reopen: bool, wait: Millis) -> Event {
    Event::Heard(Heard::Refused(Refusal {
        code: ErrorCode::new("session/too-fast"),
        message: "too fast".to_owned(),
        remedy: "wait".to_owned(),
        reopen,
        retry_after: Some(wait),
        request,
    }))
}

#[test]
fn news_waits_as_long_as_the_refusal_of_too_much_says() {
    let mut world = World::new();
    world.wait(60_000);
    let described = |world: &mut World, number: u8| {
        let version = (world.core.boot(), u64::from(number));
        let specs = Digest([6; 32]);
        let sealed = vec![number];
        world.take(Event::Described(crate::event::Description { version, sealed, specs }));
    };
    world.orchestrator.mute = true;
    described(&mut world, 2);
    let beat = keccak256(&encode(world.orchestrator.beats.last().unwrap()));
    world.orchestrator.mute = false;
    world.take(too_fast(beat, false, Millis::seconds(5)));
    let beats = world.orchestrator.beats.len();
    described(&mut world, 3);
    world.wait(4_000);
    assert_eq!(world.orchestrator.beats.len(), beats, "it would be refused as well");
    world.wait(2_000);
    assert!(world.orchestrator.beats.len() > beats);
    assert_eq!(world.orchestrator.beats[beats].descriptor, Some(vec![3]));
}

#[test]
fn a_session_whose_first_beat_was_too_much_is_opened_anew_when_the_refusal_says() {
    let mut world = World::new();
    world.orchestrator.mute = true;
    world.wait(10_000);
    let hellos = world.orchestrator.hellos.len();
    let beat = keccak256(&encode(world.orchestrator.beats.last().unwrap()));
    world.orchestrator.mute = false;
    world.take(too_fast(beat, true, Millis::seconds(7)));
    world.wait(6_000);
    assert_eq!(world.orchestrator.hellos.len(), hellos);
    world.wait(2_000);
    assert_eq!(world.orchestrator.hellos.len(), hellos + 1);
    assert_eq!(world.core.view().session, SessionState::Open);
}

#[test]
fn a_full_disk_stops_no_beat_and_what_is_not_durable_is_not_reported() {
    let mut world = World::new();
    let (first, second) = (assignment(1, 1), assignment(2, 1));
    world.desire(vec![order(first, &[], "")]);
    world.disk_full = true;
    world.desire(vec![order(first, &[], ""), order(second, &[], "")]);
    let beats = world.orchestrator.beats.len();
    for _ in 0..3 {
        world.wait(10_000);
    }
    assert_eq!(world.orchestrator.beats.len(), beats + 3);
    assert!(!world.orchestrator.stored.contains_key(&second));
    assert_eq!((world.starts, world.stops), (1, 0));
    world.disk_full = false;
    world.write();
    world.take(Event::Tick);
    assert_eq!(world.orchestrator.stored[&second].state, AssignmentState::Running);
}

#[test]
fn a_description_travels_with_the_first_beat_after_it_changed_until_that_is_answered() {
    let mut world = World::new();
    assert!(world.orchestrator.beats.iter().all(|beat| beat.descriptor.is_none()), "the greeting had it");
    world.orchestrator.mute = true;
    let version = (world.core.boot(), 2);
    let described = crate::event::Description { version, sealed: vec![2], specs: Digest([6; 32]) };
    world.take(Event::Described(described));
    let beat = world.orchestrator.beats.last().unwrap().clone();
    assert_eq!(beat.descriptor, Some(vec![2]));
    world.orchestrator.mute = false;
    world.answer(&beat, keccak256(&encode(&beat)));
    world.take(Event::Tick);
    world.wait(10_000);
    assert_eq!(world.orchestrator.beats.last().unwrap().descriptor, None);
}

#[test]
fn the_core_sleeps_until_something_is_due() {
    let world = World::start(MembershipState::Never, Membership::Invited);
    assert_eq!(world.core.next_deadline(), Some(Millis::seconds(10)), "the next beat");
    assert_eq!(world.scans, 0, "the engine is not touched before the node is a member");
}

#[test]
fn any_amount_of_news_is_told_in_a_few_beats_a_second_and_none_of_it_is_left_out() {
    let mut world = World::new();
    world.wait(60_000);
    let beats = world.orchestrator.beats.len();
    for number in 0..1_000_u16 {
        let version = (world.core.boot(), u64::from(number) + 2);
        let sealed = number.to_be_bytes().to_vec();
        world.take(Event::Described(crate::event::Description { version, sealed, specs: Digest([6; 32]) }));
        world.wait(10);
    }
    let said = world.orchestrator.beats.len() - beats;
    assert!((20..=8 + 10_000 / 300 + 2).contains(&said), "{said}");
    world.wait(1_000);
    let told = world.orchestrator.beats.iter().rev().find_map(|beat| beat.descriptor.clone());
    assert_eq!(told, Some(999_u16.to_be_bytes().to_vec()));
}
