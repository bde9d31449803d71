//! Pools, and who may be in them.

use lode_contracts::{ChainReader as _, Intent, MembershipState, PoolsCall};
use lode_protocol::hash::Digest;
use lode_protocol::ids::{NodeId, PoolId, ProviderId};
use lode_protocol::join::{Invite, Join};
use serde_json::json;

use super::world::{Who, World};

/// A node that serves the provider and has joined pool 1.
async fn joined(world: &World) -> NodeId {
    world.registered_provider();
    world.paying_pool();
    let node = world.key(Who::Node);
    world.consent("consent.json", &node).await;
    world.done(Who::Provider, &["provider", "authorize", "--consent", "consent.json", "--units", "1"]);
    world.done(Who::Provider, &["provider", "approve-pool", "1"]);
    join(world).await;
    NodeId(node.address())
}

async fn join(world: &World) {
    let node = world.key(Who::Node);
    let id = NodeId(node.address());
    let invite = Invite {
        pool: PoolId(1),
        node: id,
        provider: ProviderId(world.address(Who::Provider)),
        counter: world.chain.membership(PoolId(1), id).await.unwrap().join_counter,
        terms: Digest::default(),
        deadline: world.now().await + 600,
    };
    let domain = world.chain.deployment().pools_domain();
    let join = Join {
        invite,
        invite_signature: world.key(Who::Orchestrator).sign_recoverable(&invite.invite_digest(&domain)),
        consent_signature: node.sign_recoverable(&invite.consent_digest(&domain)),
    };
    world.operator(Who::Orchestrator).execute(Intent::Pools(PoolsCall::JoinBatch(vec![join]))).await.unwrap();
}

async fn state(world: &World, node: NodeId) -> (MembershipState, bool) {
    let record = world.chain.membership(PoolId(1), node).await.unwrap();
    (record.state, record.active)
}

#[tokio::test]
async fn an_owner_creates_starts_changes_hands_over_and_ends_a_pool() {
    let world = World::new().await;
    let orchestrator = world.address(Who::Orchestrator).to_string();
    let endpoint = "/ip4/127.0.0.1/tcp/7000";
    let create = ["pool", "create", "--orchestrator", &orchestrator, "--endpoint", endpoint, "--stopped"];
    let made = world.done(Who::Owner, &create);
    assert_eq!((&made["pool"], &made["running"]), (&json!(1), &json!(false)));
    let foreign = world.refused(Who::Stranger, &["pool", "start", "1"]);
    assert_eq!((foreign.exit, foreign.refusal.as_str()), (4, "NotPoolOwner"), "{foreign:?}");
    world.done(Who::Owner, &["pool", "start", "1"]);
    let twice = world.refused(Who::Owner, &["pool", "start", "1"]);
    assert_eq!((twice.exit, twice.refusal.as_str()), (5, "WrongPoolState"), "{twice:?}");
    assert!(
        twice.message.contains("pool 1 is running; for this it must be created and not started"),
        "{twice:?}"
    );
    let absent = world.refused(Who::Owner, &["pool", "start", "7"]);
    assert_eq!((absent.exit, absent.refusal.as_str()), (3, "PoolNotFound"), "{absent:?}");

    std::fs::write(world.path("terms.md"), "one GPU at least").unwrap();
    world.done(
        Who::Owner,
        &["pool", "set-requirements", "1", "--requirements", "terms.md", "--uri", "https://pool.example"],
    );
    world.done(Who::Owner, &["pool", "set-endpoints", "1", endpoint, "https://pool.example:7443"]);
    let stranger = world.address(Who::Stranger).to_string();
    world.done(Who::Owner, &["pool", "transfer", "1", &stranger]);
    assert_eq!(world.seen(&["pool", "show", "1"])["pending_owner"], json!(stranger));
    world.done(Who::Owner, &["pool", "transfer", "1", "--cancel"]);
    let late = world.refused(Who::Stranger, &["pool", "accept", "1"]);
    assert_eq!(late.refusal, "NotPendingOwner", "{late:?}");
    world.done(Who::Owner, &["pool", "transfer", "1", &stranger]);
    world.done(Who::Stranger, &["pool", "accept", "1"]);
    world.done(Who::Stranger, &["pool", "end", "1"]);
    let text = world.text(&["pool", "show", "1"]);
    for part in ["ended", &stranger, "nothing on the chain", "https://pool.example:7443", " ago ("] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    assert_eq!(world.seen(&["pool", "ls"])["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_node_joins_only_a_pool_that_its_provider_approved() {
    let world = World::new().await;
    world.registered_provider();
    world.paying_pool();
    let provider = world.address(Who::Provider).to_string();
    let approved = |world: &World| world.seen(&["provider", "status", &provider])["approved_pools"].clone();
    world.done(Who::Provider, &["provider", "approve-pool", "1"]);
    assert_eq!(approved(&world), json!([1]));
    world.done(Who::Provider, &["provider", "approve-pool", "1", "--withdraw"]);
    assert_eq!(approved(&world), json!([]));
    let absent = world.refused(Who::Provider, &["provider", "approve-pool", "9"]);
    assert_eq!((absent.exit, absent.refusal.as_str()), (3, "PoolNotFound"), "{absent:?}");
}

#[tokio::test]
async fn nodes_and_providers_are_ejected_banned_and_let_back() {
    let world = World::new().await;
    let node = joined(&world).await;
    let (id, provider) = (node.to_string(), world.address(Who::Provider).to_string());
    assert_eq!(state(&world, node).await, (MembershipState::Member, true));
    world.done(Who::Owner, &["pool", "ban-provider", "1", &provider]);
    assert_eq!(state(&world, node).await, (MembershipState::Member, false));
    world.done(Who::Owner, &["pool", "unban-provider", "1", &provider]);
    let foreign = world.refused(Who::Stranger, &["pool", "eject", "1", &id]);
    assert_eq!((foreign.exit, foreign.refusal.as_str()), (4, "NotPoolAuthority"), "{foreign:?}");
    world.done(Who::Owner, &["pool", "eject", "1", &id]);
    assert_eq!(state(&world, node).await.0, MembershipState::Ejected);
    join(&world).await;
    world.done(Who::Owner, &["pool", "ban", "1", &id]);
    assert_eq!(state(&world, node).await.0, MembershipState::Banned);
    world.done(Who::Owner, &["pool", "unban", "1", &id]);
    let none = world.refused(Who::Owner, &["pool", "unban", "1", &id]);
    assert_eq!((none.exit, none.refusal.as_str()), (5, "NotBanned"), "{none:?}");
}

#[tokio::test]
async fn a_membership_is_ended_by_the_provider_or_by_a_leave_that_the_node_signed() {
    let world = World::new().await;
    let node = joined(&world).await;
    let id = node.to_string();
    let foreign = world.refused(Who::Stranger, &["provider", "leave", "1", &id]);
    assert_eq!((foreign.exit, foreign.refusal.as_str()), (4, "NotNodeOrProvider"), "{foreign:?}");
    // The node signs on its own machine, a stranger pays.
    let leave = ["provider", "leave", "1", &id];
    let stranger = world.address(Who::Stranger).to_string();
    let outsider = world.refused_as(&[&leave[..], &["--typed-data", "--signer", &stranger]].concat());
    assert_eq!((outsider.exit, outsider.code.as_str()), (4, "signature/wrong-signer"), "{outsider:?}");
    let typed_data = world.seen(&[&leave[..], &["--typed-data", "--signer", &id]].concat());
    world.write("leave.json", &typed_data);
    let signature = world.text(&["key", "sign", "leave.json", "--key-file", "node.key", "--yes"]);
    let deadline = typed_data["message"]["deadline"].as_str().unwrap();
    let pasted = ["--signer", &id, "--deadline", deadline, "--signature", signature.trim()];
    world.done(Who::Stranger, &[&leave[..], &pasted].concat());
    assert_eq!(state(&world, node).await.0, MembershipState::Left);
}
