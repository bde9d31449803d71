use lode_protocol::error_code::ErrorCode;
use lode_protocol::ids::*;
use lode_protocol::session::Membership;

use super::super::effect::{Action, ChainCommand, OccurrenceKind};
use super::super::event::*;
use super::super::view::NodeState;
use super::world::{Worker, World, config, event_of, spec, specs};

fn waiting(world: &World, number: usize) -> String {
    match world.core.node(&world.workers[number].id).unwrap().summary.membership {
        Membership::Waiting { code, .. } => code.to_string(),
        other => format!("{other:?}"),
    }
}

fn one(requirements: impl FnOnce(&mut super::super::config::Requirements)) -> World {
    let mut config = config();
    requirements(&mut config.requirements);
    World::new(config, vec![Worker::new(1, specs(1, 2))])
}

#[test]
fn a_node_hears_what_is_missing_step_by_step() {
    let mut world = one(|requirements| requirements.proof = Some(2));
    let node = world.workers[0].id;
    let provider = ProviderId(Address([7; 20]));
    world.hello(0);
    assert!(world.actions.contains(&Action::Chain(ChainCommand::FollowNode(node))));
    assert_eq!(waiting(&world, 0), "node/chain-unknown");
    world.ok(Event::ChainNode { node, registration: None });
    assert!(world.core.node(&node).is_none(), "who is not registered is nobody");
    world.hello(0);
    world.ok(Event::ChainNode {
        node,
        registration: Some(Registration { provider, eligible: false, approved: true }),
    });
    assert_eq!(waiting(&world, 0), "node/not-eligible");
    world.ok(Event::ChainNode {
        node,
        registration: Some(Registration { provider, eligible: true, approved: true }),
    });
    assert_eq!(waiting(&world, 0), "node/chain-unknown");
    let never = ChainMembership { state: MembershipState::Never, join_counter: 0 };
    world.ok(Event::ChainMembership { node, membership: never });
    assert_eq!(waiting(&world, 0), "node/not-proven");
    world.ok(Event::ChainProven { node, proof: Some(Proof { class: 1, gpu_count: 2 }) });
    assert_eq!(waiting(&world, 0), "node/class-too-low");
    world.ok(Event::ChainProven { node, proof: Some(Proof { class: 2, gpu_count: 2 }) });
    assert_eq!(waiting(&world, 0), "Invited");
    world.ok(Event::ChainViewed(ChainView::Stale));
    world.beat(0);
    assert_eq!(world.workers[0].invite, None, "no invite goes out while the chain cannot be read");
    world.ok(Event::ChainViewed(ChainView::Fresh));
    world.beat(0);
    let invite = world.workers[0].invite.unwrap();
    assert_eq!((invite.node, invite.provider, invite.counter, invite.pool), (node, provider, 0, PoolId(1)));
    world.beat(0);
    assert!(
        world
            .actions
            .iter()
            .any(|action| matches!(action, Action::Chain(ChainCommand::SubmitJoin { invite: sent, .. }) if *sent == invite))
    );
    assert_eq!(waiting(&world, 0), "node/joining");
    let member = ChainMembership { state: MembershipState::Member { active: true }, join_counter: 1 };
    world.ok(Event::ChainMembership { node, membership: member });
    assert_eq!(world.core.node(&node).unwrap().summary.state, NodeState::Alive);
}

#[test]
fn a_node_that_joins_is_forgotten_when_it_is_registered_no_more_and_a_member_is_not() {
    let mut world = one(|_| {});
    let node = world.workers[0].id;
    world.hello(0);
    world.facts(0, MembershipState::Never, 0);
    world.beat(0);
    world.ok(Event::ChainNode { node, registration: None });
    assert!(world.core.node(&node).is_none());
    assert!(world.actions.contains(&Action::Chain(ChainCommand::UnfollowNode(node))));
    super::invariants::check(&world.core);
    super::invariants::check_store(&world.core, &world.store);
    let event = world.beat_event(0);
    assert_eq!(world.code(event), "session/unknown");
    let event = world.stranger_event(0);
    world.ok(event);
    assert!(world.core.node(&node).is_none(), "it is a stranger as any other");
    let mut members = World::members(1, 1);
    let member = members.workers[0].id;
    members.ok(Event::ChainNode { node: member, registration: None });
    assert!(members.core.node(&member).is_some());
}

#[test]
fn the_log_tells_that_a_node_is_a_member_again_after_blocks_were_replaced() {
    let mut world = World::members(1, 1);
    world.facts(0, MembershipState::Ejected, 1);
    world.wait(200_000);
    let before = world.occurrences.len();
    world.facts(0, MembershipState::Member { active: true }, 1);
    let told: Vec<_> = world.occurrences[before..]
        .iter()
        .filter_map(|entry| match &entry.kind {
            OccurrenceKind::Node { from, to, .. } => Some((*from, *to)),
            _ => None,
        })
        .collect();
    assert_eq!(told, [(Some(NodeState::Ejected), NodeState::Alive)]);
}

#[test]
fn requirements_name_what_a_node_lacks() {
    let mut world = World::new(
        {
            let mut config = config();
            config.requirements.allow_cpu_only = false;
            config
        },
        vec![Worker::new(1, specs(1, 0))],
    );
    world.hello(0);
    world.facts(0, MembershipState::Never, 0);
    assert_eq!(waiting(&world, 0), "node/no-gpu");
    type Require = fn(&mut super::super::config::Requirements);
    let cases: [(Require, &str); 3] = [
        (|requirements| requirements.gpus = 4, "node/too-few-gpus"),
        (
            |requirements| requirements.gpu_memory = lode_protocol::units::Bytes::gibi(180),
            "node/gpu-too-small",
        ),
        (|requirements| requirements.engine = Some((23, 0)), "node/engine-too-old"),
    ];
    for (require, code) in cases {
        let mut world = one(require);
        world.hello(0);
        world.facts(0, MembershipState::Never, 0);
        assert_eq!(waiting(&world, 0), code);
    }
}

#[test]
fn a_node_without_gpus_has_nothing_to_prove_where_it_is_allowed() {
    let mut config = config();
    config.requirements.proof = Some(1);
    let mut world = World::new(config, vec![Worker::new(1, specs(1, 0))]);
    world.hello(0);
    world.facts(0, MembershipState::Never, 0);
    assert_eq!(waiting(&world, 0), "Invited");
}

#[test]
fn wrong_expired_reused_and_forged_consents_have_codes_of_their_own() {
    let mut world = one(|_| {});
    world.hello(0);
    world.facts(0, MembershipState::Never, 0);
    world.beat(0);
    let invite = world.workers[0].invite.take().unwrap();
    let attempt = |world: &mut World, consent| {
        let mut worker = world.workers[0].clone();
        let mut beat = worker.next_beat();
        beat.consent = Some(consent);
        let event = event_of(&worker, beat);
        world.code(event)
    };
    let worker = world.workers[0].clone();
    let changed = lode_protocol::join::Invite { deadline: invite.deadline + 1, ..invite };
    assert_eq!(attempt(&mut world, worker.consent_to(changed)), "join/consent-mismatch");
    let elsewhere = lode_protocol::join::Invite { pool: PoolId(2), ..invite };
    assert_eq!(attempt(&mut world, worker.consent_to(elsewhere)), "join/consent-mismatch");
    let forged = lode_protocol::session::Consent {
        invite,
        signature: Worker::new(2, specs(2, 1)).consent_to(invite).signature,
    };
    assert_eq!(attempt(&mut world, forged), "join/bad-signature");
    let good = worker.consent_to(invite);
    let mut late = world.core.clone();
    let now = Now { wall: world.now.wall.plus(lode_protocol::units::Millis::seconds(601)), ..world.now };
    let mut old = world.workers[0].clone();
    let mut beat = old.next_beat();
    beat.consent = Some(good.clone());
    assert_eq!(late.step(now, event_of(&old, beat)).unwrap_err().code, "join/invite-expired");
    // Accepted, and again: the same consent under way is no error.
    for _ in 0..2 {
        let mut beat = world.workers[0].next_beat();
        beat.consent = Some(good.clone());
        let event = event_of(&world.workers[0], beat);
        world.ok(event);
    }
    let joins = world
        .actions
        .iter()
        .filter(|action| matches!(action, Action::Chain(ChainCommand::SubmitJoin { .. })))
        .count();
    assert_eq!(joins, 1);
    world.facts(0, MembershipState::Member { active: true }, 1);
    // The push has told it that it is a member: from now on the consent is used up.
    assert_eq!(attempt(&mut world, good), "join/already-used");
}

#[test]
fn an_invite_without_consent_is_repeated_a_limited_number_of_times() {
    let mut config = config();
    config.terms.most_attempts = 2;
    let mut world = World::new(config, vec![Worker::new(1, specs(1, 1))]);
    world.hello(0);
    world.facts(0, MembershipState::Never, 0);
    let mut invites = std::collections::BTreeSet::new();
    for _ in 0..2_000 {
        // It hears of its invites, by pushes and by answers, and never consents.
        world.wait(5_000);
        invites.extend(world.workers[0].invite.take().map(|invite| invite.deadline));
        world.beat(0);
        invites.extend(world.workers[0].invite.take().map(|invite| invite.deadline));
    }
    assert_eq!(invites.len(), 3);
    assert_eq!(waiting(&world, 0), "node/gave-up");
    let node = world.workers[0].id;
    world.ok(Event::NodeReadmit(node));
    assert_eq!(waiting(&world, 0), "Invited");
}

#[test]
fn a_failed_join_cools_down_and_is_tried_again_with_the_chains_counter() {
    let mut world = one(|_| {});
    world.hello(0);
    world.facts(0, MembershipState::Never, 0);
    world.beat(0);
    world.beat(0);
    let node = world.workers[0].id;
    let failed = |counter| Event::JoinFailed {
        node,
        counter,
        code: ErrorCode::new("chain/reverted"),
        message: "reverted".to_owned(),
    };
    world.ok(failed(7));
    assert_eq!(waiting(&world, 0), "node/joining", "the failure of another join does not matter");
    world.ok(failed(0));
    assert_eq!(waiting(&world, 0), "node/cooling-down");
    world.wait_beating(905_000, &[0]);
    world.beat(0);
    assert_eq!(waiting(&world, 0), "node/joining");
}

#[test]
fn a_node_that_is_never_proven_is_put_aside_and_comes_back_with_its_proof() {
    let mut world = one(|requirements| requirements.proof = Some(1));
    world.hello(0);
    world.facts(0, MembershipState::Never, 0);
    world.beat(0);
    world.wait_beating(3_605_000, &[0]);
    assert_eq!(waiting(&world, 0), "node/cooling-down");
    let node = world.workers[0].id;
    world.ok(Event::ChainProven { node, proof: Some(Proof { class: 1, gpu_count: 2 }) });
    assert_eq!(waiting(&world, 0), "Invited");
}

#[test]
fn a_member_that_never_beats_is_ejected_at_the_deadline() {
    let mut world = one(|_| {});
    world.hello(0);
    world.facts(0, MembershipState::Never, 0);
    world.beat(0);
    world.beat(0);
    // It vanishes before its join is mined, and its session with it.
    world.wait(61_000);
    world.facts(0, MembershipState::Member { active: true }, 1);
    let node = world.workers[0].id;
    world.wait(601_000);
    assert!(world.actions.contains(&Action::Chain(ChainCommand::SubmitEject { node })));
    assert_eq!(waiting(&world, 0), "node/cooling-down");
}

#[test]
fn a_member_without_standing_on_chain_gets_nothing_new_and_keeps_what_runs() {
    let mut world = World::members(1, 1);
    let first = world.submit(1, spec("service", ""));
    for _ in 0..3 {
        world.work(0);
    }
    world.facts(0, MembershipState::Member { active: false }, 1);
    let second = world.submit(2, spec("batch", ""));
    assert_eq!(world.core.assignment(&super::world::assignment(second, 0, 1)), None);
    assert_eq!(
        world.state(super::world::assignment(first, 0, 1)),
        lode_protocol::assignment::AssignmentState::Running
    );
    world.facts(0, MembershipState::Member { active: true }, 1);
    assert!(world.core.assignment(&super::world::assignment(second, 0, 1)).is_some());
}
