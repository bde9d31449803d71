use lode_protocol::assignment::{AssignmentState, Reason};
use lode_protocol::ids::*;
use lode_protocol::join::{LeaveStatement, pools_domain};
use lode_protocol::session::{Leave, Membership};

use super::super::effect::{Action, ChainCommand};
use super::super::event::*;
use super::super::view::{NodeState, TaskState};
use super::world::{World, assignment, spec};

fn running_service(world: &mut World) -> (TaskId, usize) {
    let task = world.submit(1, spec("service", "[resources]\ngpus = 1\n"));
    let number = world.number_of(world.node_of(assignment(task, 0, 1)));
    for _ in 0..3 {
        world.work(number);
    }
    (task, number)
}

#[test]
fn draining_starts_the_replacement_before_the_old_one_stops() {
    let mut world = World::members(2, 1);
    let (task, old) = running_service(&mut world);
    let other = 1 - old;
    let node = world.workers[old].id;
    world.ok(Event::NodeDrain { node, batch: BatchOnDrain::Finish });
    assert_eq!(world.node_of(assignment(task, 0, 2)), world.workers[other].id);
    world.beat(old);
    assert_eq!(world.state(assignment(task, 0, 1)), AssignmentState::Running);
    world.beat(other);
    world.work(other);
    assert_eq!(world.state(assignment(task, 0, 1)), AssignmentState::Running, "the new one is not up yet");
    assert_eq!(world.core.task(&task).unwrap().summary.state, TaskState::Running, "nobody misses it");
    world.work(other);
    world.work(other);
    assert_eq!(world.state(assignment(task, 0, 2)), AssignmentState::Running);
    assert_eq!(world.state(assignment(task, 0, 1)), AssignmentState::Stopping);
    world.beat(old);
    let view = world.core.assignment(&assignment(task, 0, 1)).unwrap();
    assert_eq!(view.state, AssignmentState::Stopped);
    assert!(view.history.iter().any(|step| step.reason == Some(Reason::Drained)));
    assert_eq!(world.core.task(&task).unwrap().summary.state, TaskState::Running);
    assert_eq!(world.core.node(&node).unwrap().summary.state, NodeState::Draining);
}

#[test]
fn a_drain_without_room_elsewhere_stops_nothing_and_undraining_ends_it() {
    let mut world = World::members(1, 1);
    let (task, number) = running_service(&mut world);
    let node = world.workers[number].id;
    world.ok(Event::NodeDrain { node, batch: BatchOnDrain::Finish });
    world.wait_beating(120_000, &[number]);
    assert_eq!(world.state(assignment(task, 0, 1)), AssignmentState::Running);
    assert_eq!(world.workers[number].membership, Some(Membership::Draining));
    world.ok(Event::NodeUndrain(node));
    assert_eq!(world.core.task(&task).unwrap().summary.state, TaskState::Running);
    assert_eq!(world.core.node(&node).unwrap().summary.state, NodeState::Alive);
    assert_eq!(world.core.task(&task).unwrap().assignments.len(), 1);
}

#[test]
fn batch_work_finishes_or_moves_as_the_drain_says() {
    for (batch, expected) in
        [(BatchOnDrain::Finish, AssignmentState::Running), (BatchOnDrain::Move, AssignmentState::Stopping)]
    {
        let mut world = World::members(2, 1);
        let task = world.submit(1, spec("batch", "[resources]\ngpus = 1\n"));
        let number = world.number_of(world.node_of(assignment(task, 0, 1)));
        world.beat(number);
        world.work(number);
        world.work(number);
        let node = world.workers[number].id;
        world.ok(Event::NodeDrain { node, batch });
        assert_eq!(world.state(assignment(task, 0, 1)), expected);
        if expected == AssignmentState::Stopping {
            world.beat(number);
            assert_eq!(world.node_of(assignment(task, 0, 2)), world.workers[1 - number].id);
        }
    }
}

#[test]
fn ejecting_stops_everything_tells_the_chain_and_closes_the_door() {
    let mut world = World::members(2, 1);
    let (task, number) = running_service(&mut world);
    let node = world.workers[number].id;
    world.ok(Event::NodeEject { node, message: "rude".to_owned() });
    assert!(world.actions.contains(&Action::Chain(ChainCommand::SubmitEject { node })));
    assert!(matches!(world.workers[number].membership, Some(Membership::Ejected { .. })), "told by a push");
    assert_eq!(world.state(assignment(task, 0, 1)), AssignmentState::Stopping);
    world.beat(number);
    assert_eq!(world.state(assignment(task, 0, 1)), AssignmentState::Stopped);
    assert_eq!(world.node_of(assignment(task, 0, 2)), world.workers[1 - number].id);
    let beat = world.beat_event(number);
    assert_eq!(world.code(beat), "node/ejected");
    let hello = world.hello_event(number);
    assert_eq!(world.code(hello), "node/ejected");
    world.restart_core();
    let hello = world.hello_event(number);
    assert_eq!(world.code(hello), "node/ejected");
    world.facts(number, MembershipState::Member { active: true }, 1);
    assert_eq!(world.code(Event::NodeReadmit(node)), "node/ejection-pending");
    world.facts(number, MembershipState::Ejected, 1);
    world.ok(Event::NodeReadmit(node));
    world.hello(number);
}

#[test]
fn an_ejection_in_a_block_that_was_replaced_never_happened_unless_it_was_ordered_here() {
    for said in [MembershipState::Ejected, MembershipState::Banned] {
        let mut world = World::members(2, 1);
        let node = world.workers[0].id;
        world.facts(0, said, 1);
        assert_eq!(world.core.node(&node).unwrap().summary.state, NodeState::Ejected);
        world.facts(0, MembershipState::Member { active: true }, 1);
        assert!(
            !world.actions.contains(&Action::Chain(ChainCommand::SubmitEject { node })),
            "nobody here ordered it"
        );
        world.hello(0);
        world.beat(0);
        assert_eq!(world.core.node(&node).unwrap().summary.state, NodeState::Alive);

        // What the owner orders here stands, also after the chain had said it first.
        world.facts(0, said, 1);
        world.ok(Event::NodeEject { node, message: "rude".to_owned() });
        world.actions.clear();
        world.facts(0, MembershipState::Member { active: true }, 1);
        assert!(
            world.actions.contains(&Action::Chain(ChainCommand::SubmitEject { node })),
            "it has to be said again"
        );
        assert_eq!(world.core.node(&node).unwrap().summary.state, NodeState::Ejected);
    }
}

#[test]
fn who_is_a_member_again_because_blocks_were_replaced_begins_with_a_full_lease() {
    let mut world = World::members(1, 1);
    let node = world.workers[0].id;
    world.facts(0, MembershipState::Left, 1);
    world.restart_core();
    world.facts(0, MembershipState::Member { active: true }, 1);
    let state = |world: &World| world.core.node(&node).unwrap().summary.state;
    assert_eq!(state(&world), NodeState::Alive, "nobody waited for it until now");
    world.wait(super::world::config().terms.lost_after.0 + 1);
    assert_eq!(state(&world), NodeState::Lost);
}

#[test]
fn a_banned_node_cannot_be_readmitted() {
    let mut world = World::members(1, 1);
    world.facts(0, MembershipState::Banned, 1);
    let node = world.workers[0].id;
    assert_eq!(world.code(Event::NodeReadmit(node)), "node/banned");
    let hello = world.hello_event(0);
    assert_eq!(world.code(hello), "node/ejected");
}

fn leave(world: &World, number: usize, counter: u64, seconds: u64) -> Event {
    let worker = &world.workers[number];
    let deadline = world.now.wall.0 / 1_000 + seconds;
    let statement = LeaveStatement { pool: PoolId(1), node: worker.id, counter, deadline };
    let domain = pools_domain(ChainId(31_337), Address([9; 20]));
    let signature = worker.key.sign_recoverable(&statement.digest(&domain));
    Event::LeaveReceived { node: worker.id, leave: Leave { counter, deadline, signature }, link: worker.link }
}

#[test]
fn a_leaving_node_is_emptied_before_the_chain_hears_of_it() {
    let mut world = World::members(2, 1);
    let (task, number) = running_service(&mut world);
    let other = 1 - number;
    let event = leave(&world, number, 1, 3_600);
    world.ok(event);
    let submitted = |world: &World| {
        world.actions.iter().any(|action| matches!(action, Action::Chain(ChainCommand::SubmitLeave { .. })))
    };
    assert!(!submitted(&world));
    world.beat(other);
    for _ in 0..3 {
        world.work(other);
    }
    world.beat(number);
    assert_eq!(world.state(assignment(task, 0, 1)), AssignmentState::Stopped);
    assert!(submitted(&world));
    world.facts(number, MembershipState::Left, 1);
    let node = world.workers[number].id;
    assert_eq!(world.core.node(&node).unwrap().summary.state, NodeState::Ejected);
    assert_eq!(world.core.task(&task).unwrap().summary.state, TaskState::Running);
}

#[test]
fn a_leave_reaches_the_chain_before_it_expires_even_if_work_remains() {
    let mut world = World::members(1, 1);
    running_service(&mut world);
    let event = leave(&world, 0, 1, 300);
    world.ok(event);
    world.wait_beating(170_000, &[0]);
    assert!(
        !world.actions.iter().any(|action| matches!(action, Action::Chain(ChainCommand::SubmitLeave { .. })))
    );
    world.wait_beating(15_000, &[0]);
    assert!(
        world.actions.iter().any(|action| matches!(action, Action::Chain(ChainCommand::SubmitLeave { .. })))
    );
}

#[test]
fn leaves_of_another_membership_time_or_key_are_refused() {
    let mut world = World::members(2, 1);
    let event = leave(&world, 0, 2, 300);
    assert_eq!(world.code(event), "leave/counter-mismatch");
    let expired = leave(&world, 0, 1, 0);
    world.wait_beating(5_000, &[0, 1]);
    assert_eq!(world.code(expired), "leave/expired");
    let Event::LeaveReceived { leave: stolen, link, .. } = leave(&world, 1, 1, 300) else { unreachable!() };
    let node = world.workers[0].id;
    assert_eq!(world.code(Event::LeaveReceived { node, leave: stolen, link }), "leave/bad-signature");
}
