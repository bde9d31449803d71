use lode_protocol::assignment::AssignmentState;
use lode_protocol::ids::*;
use lode_protocol::session::{Channel, Desired};

use super::super::effect::{Action, Answer, ChainCommand};
use super::super::event::{ConnectionId, Event, Link};
use super::super::view::NodeState;
use super::world::{Worker, World, assignment, event_of, spec};

fn reply(actions: &[Action]) -> Option<&Answer> {
    actions.iter().find_map(|action| match action {
        Action::Reply { answer, .. } => Some(answer),
        _ => None,
    })
}

#[test]
fn the_same_beat_is_answered_again_and_changes_nothing() {
    let mut world = World::members(1, 1);
    let event = world.beat_event(0);
    let first = world.ok(event.clone());
    let before = world.core.rows();
    let again = world.ok(event);
    assert_eq!(reply(&first.actions), reply(&again.actions));
    assert_eq!(before, world.core.rows());
    assert!(again.changes.is_empty());
}

#[test]
fn the_same_number_with_other_contents_is_a_replay_and_a_lower_one_is_stale() {
    let mut world = World::members(1, 1);
    world.beat(0);
    let mut worker = world.workers[0].clone();
    worker.sequence -= 1;
    let mut other = worker.next_beat();
    other.usage.memory = lode_protocol::units::Bytes(1);
    let event = event_of(&worker, other);
    assert_eq!(world.code(event), "session/replay");
    worker.sequence -= 2;
    let lower = worker.next_beat();
    let event = event_of(&worker, lower);
    assert_eq!(world.code(event), "session/stale");
}

#[test]
fn a_beat_of_an_unknown_session_or_term_is_told_to_reopen() {
    let mut world = World::members(1, 1);
    let mut worker = world.workers[0].clone();
    worker.session = Some((SessionId([8; 16]), Term(1)));
    let beat = worker.next_beat();
    let event = event_of(&worker, beat);
    let error = world.step(event).unwrap_err();
    assert!(error.code == "session/unknown" && error.reopen);
    let mut worker = world.workers[0].clone();
    worker.session = worker.session.map(|(session, _)| (session, Term(77)));
    let beat = worker.next_beat();
    let event = event_of(&worker, beat);
    assert_eq!(world.code(event), "session/wrong-epoch");
}

#[test]
fn a_beat_signed_by_a_node_that_never_said_hello_is_refused() {
    let mut world = World::members(1, 1);
    let stranger = Worker::new(99, super::world::specs(99, 1));
    let mut foreign = stranger.clone();
    foreign.session = world.workers[0].session;
    let beat = foreign.next_beat();
    let event = event_of(&stranger, beat);
    assert_eq!(world.code(event), "session/unknown");
}

#[test]
fn a_replayed_hello_is_refused_also_after_the_orchestrator_restarted() {
    let mut world = World::members(1, 1);
    let old = world.hello_event(0);
    world.ok(old.clone());
    world.hello(0);
    assert_eq!(world.code(old.clone()), "session/replay");
    world.restart_core();
    assert_eq!(world.code(old), "session/replay");
    let stale_beat = world.beat_event(0);
    assert_eq!(world.code(stale_beat), "session/unknown");
}

#[test]
fn a_hello_that_is_repeated_gets_the_same_session() {
    let mut world = World::members(1, 1);
    let event = world.hello_event(0);
    world.ok(event.clone());
    let session = world.workers[0].session;
    let Event::HelloReceived { node, public_key, hello, descriptor, link, .. } = event else {
        unreachable!()
    };
    let other = SessionId([1; 16]);
    let origin = None;
    world.ok(Event::HelloReceived { node, public_key, hello, descriptor, link, session: other, origin });
    assert_eq!(world.workers[0].session, session);
}

#[test]
fn a_lower_boot_counter_is_refused_also_after_a_restart() {
    let mut world = World::members(1, 1);
    world.workers[0].boot = 5;
    world.hello(0);
    world.beat(0);
    world.restart_core();
    world.workers[0].boot = 4;
    let event = world.hello_event(0);
    assert_eq!(world.code(event), "session/stale-boot");
}

#[test]
fn the_first_beat_must_tell_everything_and_nothing_is_ordered_before() {
    let mut world = World::members(1, 1);
    let task = world.submit(1, spec("service", "[resources]\ngpus = 1\n"));
    for _ in 0..3 {
        world.work(0);
    }
    assert_eq!(world.state(assignment(task, 0, 1)), AssignmentState::Running);
    let effects = {
        let event = world.hello_event(0);
        world.ok(event)
    };
    assert!(effects.actions.iter().all(|action| !matches!(action, Action::Push { .. })));
    let mut worker = world.workers[0].clone();
    let mut beat = worker.next_beat();
    beat.complete = false;
    let event = event_of(&worker, beat);
    assert_eq!(world.code(event), "session/incomplete");
    world.submit(2, spec("batch", ""));
    assert_eq!(world.core.assignment(&assignment(super::world::task_id(2), 0, 1)), None, "not placed yet");
    world.beat(0);
    assert_eq!(world.state(assignment(super::world::task_id(2), 0, 1)), AssignmentState::Assigned);
}

#[test]
fn a_restarted_worker_keeps_its_containers_and_is_no_conflict() {
    let mut world = World::members(1, 2);
    let task = world.submit(1, spec("service", "[resources]\ngpus = 1\n"));
    for _ in 0..3 {
        world.work(0);
    }
    let connection = world.workers[0].link.connection;
    let node = world.workers[0].id;
    for restart in 0..3u64 {
        // A beat of the killed process that is still under way must not matter.
        let late = world.beat_event(0);
        world.ok(Event::ConnectionClosed { node, connection });
        world.workers[0].boot += 1;
        world.workers[0].link.connection = ConnectionId(1_000 + restart);
        world.hello(0);
        let _ = world.step(late);
        world.beat(0);
        world.wait_beating(70_000, &[0]);
    }
    assert_eq!(world.state(assignment(task, 0, 1)), AssignmentState::Running);
    assert_eq!(world.core.node(&node).unwrap().summary.state, NodeState::Alive);
    assert!(world.workers[0].containers.contains_key(&assignment(task, 0, 1)));
}

#[test]
fn two_processes_with_one_key_are_noticed_and_heal() {
    let mut world = World::members(1, 1);
    let mut twin = world.workers[0].clone();
    twin.link = Link { connection: ConnectionId(555), can_push: true };
    world.workers.push(twin);
    let node = world.workers[0].id;
    let state = |world: &World| world.core.node(&node).unwrap().summary.state;
    // Both beat, both reopen when they are told to: neither is a restart of the other.
    for _ in 0..2 {
        for number in [1, 0] {
            world.hello(number);
            world.beat(number);
            let other = 1 - number;
            let event = world.beat_event(other);
            let _ = world.step(event);
        }
    }
    assert_eq!(state(&world), NodeState::Conflicted);
    assert!(
        world
            .actions
            .iter()
            .any(|action| matches!(action, Action::RaiseFinding(f) if f.code == "node/conflicted"))
    );
    let waiting = world.submit(1, spec("batch", ""));
    assert_eq!(
        world.core.assignment(&assignment(waiting, 0, 1)),
        None,
        "nothing is placed on a conflicted node"
    );
    // One of them goes silent for a lease.
    let holder = (0..2)
        .find(|number| {
            let event = world.beat_event(*number);
            world
                .step(event)
                .is_ok_and(|effects| !matches!(reply(&effects.actions), Some(Answer::Refused(_))))
        })
        .unwrap();
    world.wait_beating(70_000, &[holder]);
    assert_eq!(state(&world), NodeState::Alive);
    assert!(world.core.assignment(&assignment(waiting, 0, 1)).is_some(), "healing wakes the queue");
    assert!(
        world
            .actions
            .iter()
            .any(|action| matches!(action, Action::ClearFinding { code, .. } if *code == "node/conflicted"))
    );
}

#[test]
fn a_twin_with_an_older_boot_counter_is_refused_and_noticed() {
    let mut world = World::members(1, 1);
    let mut twin = world.workers[0].clone();
    twin.link = Link { connection: ConnectionId(555), can_push: true };
    world.workers.push(twin);
    world.workers[0].boot = 9;
    world.hello(0);
    world.beat(0);
    for _ in 0..2 {
        world.hello(1);
        world.wait_beating(5_000, &[0]);
    }
    assert_eq!(world.workers[1].refused.last().unwrap().code, "session/stale-boot");
    let node = world.workers[0].id;
    assert_eq!(world.core.node(&node).unwrap().summary.state, NodeState::Conflicted);
}

#[test]
fn changes_are_pushed_over_streams_and_wait_for_the_next_beat_elsewhere() {
    let mut world = World::members(2, 1);
    world.workers[1].link.can_push = false;
    world.beat(0);
    world.beat(1);
    let effects = {
        let spec = spec("batch", "replicas = 2\n[resources]\ngpus = 1\n");
        world.ok(Event::TaskSubmitted {
            id: super::world::task_id(1),
            spec,
            order: None,
            idempotency_key: None,
            image: super::world::unresolved(),
        })
    };
    let pushed: Vec<NodeId> = effects
        .actions
        .iter()
        .filter_map(|action| match action {
            Action::Push { node, answer: Answer::Instruction { instruction, .. }, .. } => {
                assert!(matches!(instruction.channel, Channel::Push { sequence: Sequence(1..) }));
                assert!(matches!(instruction.desired, Desired::Full { .. }));
                Some(*node)
            }
            _ => None,
        })
        .collect();
    assert_eq!(pushed, [world.workers[0].id]);
    world.beat(1);
    assert_eq!(world.workers[1].containers.len(), 1);
}

#[test]
fn a_stranger_gets_no_session_before_the_chain_has_said_that_it_is_registered() {
    let mut world = World::new(super::world::config(), vec![Worker::new(1, super::world::specs(1, 1))]);
    let node = world.workers[0].id;
    let refused = |world: &World| {
        let last = world.workers[0].refused.last().unwrap();
        (last.code.to_string(), last.retry_after.is_some(), last.reopen)
    };
    let asked = |world: &mut World| {
        let event = world.stranger_event(0);
        let effects = world.ok(event);
        assert!(effects.changes.is_empty() && effects.occurrences.is_empty());
        effects.actions.contains(&Action::Chain(ChainCommand::LookUpNode(node)))
    };
    assert!(asked(&mut world));
    assert_eq!(refused(&world), ("node/chain-unknown".to_owned(), true, false));
    world.wait(30_000);
    assert!(!asked(&mut world), "the chain is asked once a minute");
    world.ok(Event::NodeLookedUp { node, registered: false });
    assert!(!asked(&mut world));
    assert_eq!(refused(&world), ("node/not-registered".to_owned(), true, false));
    assert_eq!(world.core.nodes(None, 10), [], "nothing of it is a node");
    world.wait(31_000);
    assert!(asked(&mut world));
    world.ok(Event::NodeLookedUp { node, registered: true });
    assert!(!asked(&mut world));
    assert!(world.workers[0].session.is_some());
    assert_eq!(world.core.nodes(None, 10).len(), 1);
    assert_eq!(world.store.len(), 2, "nothing is written before the chain has said all there is to say");
    world.wait(61_000);
    assert_eq!(world.core.nodes(None, 10), [], "and it is forgotten when it is silent before");
}
