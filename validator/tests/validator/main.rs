//! A whole validator over real connections and a chain in memory, with honest nodes and such that cheat.

#![expect(clippy::unwrap_used, reason = "tests")]

mod node;
mod trials;
mod world;

use lode_program::finding::FindingSet;
use node::{Conduct, TestNode};
use world::{World, eventually};

fn has(findings: &FindingSet, code: &str) -> bool {
    findings.list().iter().any(|current| current.finding.code.as_str() == code)
}

#[tokio::test(flavor = "multi_thread")]
async fn honest_nodes_are_proven_on_chain_and_cheaters_are_told_which_check_failed() {
    let world = World::start(&[(1, 2), (2, 1), (3, 1), (4, 1)], &[200]).await;
    let validator = world.validator(200).await;
    let honest = TestNode::start(1, 2, Conduct::Honest, &validator).await;
    let other_session = TestNode::start(2, 1, Conduct::OtherSession, &validator).await;
    let other_rows = TestNode::start(3, 1, Conduct::OtherRows, &validator).await;
    let unbound = TestNode::start(4, 1, Conduct::Unbound, &validator).await;

    eventually("the honest node is proven", || async {
        world.proven(1).await.is_some_and(|proof| proof.current)
    })
    .await;
    assert_eq!(world.proven(1).await.unwrap().gpu_count, 2);
    eventually("everybody hears a verdict", || async {
        [&honest, &other_session, &other_rows, &unbound].iter().all(|node| node.verdict().is_some())
    })
    .await;
    assert_eq!(honest.verdict().unwrap(), Vec::<String>::new());
    assert_eq!(other_session.verdict().unwrap(), ["proof/row-merkle"]);
    assert_eq!(other_rows.verdict().unwrap(), ["proof/opening-index"]);
    assert_eq!(unbound.verdict().unwrap(), ["proof/unbound-answer"]);
    for cheater in [2, 3, 4] {
        assert!(world.proven(cheater).await.is_none());
    }
    // What was signed is kept as evidence; what names no challenge proves nothing, and nobody is accused unasked.
    eventually("evidence of both forgers is kept", || async { validator.status().files == 2 }).await;
    assert!(has(&validator.started.findings, "validator/forged-proof"));
    assert!(world.accusations().await.is_empty());
    validator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_validator_restarted_between_commit_and_reveal_reveals_what_it_committed_to() {
    let world = World::start(&[(1, 1)], &[200]).await;
    let validator = world.validator(200).await;
    let node = TestNode::start(1, 1, Conduct::Honest, &validator).await;
    eventually("a commitment is mined", || async {
        validator.status().attesting.is_some_and(|(_, stage)| stage == "Committed")
    })
    .await;
    validator.stop().await;
    drop(node);
    let validator = world.validator(200).await;
    eventually("the node is proven", || async { world.proven(1).await.is_some_and(|proof| proof.current) })
        .await;
    validator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_rpc_outage_in_the_middle_loses_nothing() {
    let world = World::start(&[(1, 1)], &[200]).await;
    let validator = world.validator(200).await;
    let node = TestNode::start(1, 1, Conduct::Honest, &validator).await;
    eventually("a result waits", || async { validator.status().pending > 0 }).await;
    world.set_reachable(false);
    eventually("the outage is seen", || async { has(&validator.started.findings, "chain/unreachable") })
        .await;
    world.set_reachable(true);
    eventually("the node is proven", || async { world.proven(1).await.is_some_and(|proof| proof.current) })
        .await;
    assert_eq!(node.verdict().unwrap(), Vec::<String>::new());
    validator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_validators_who_measure_on_their_own_come_to_one_root() {
    let world = World::start(&[(1, 2), (2, 1)], &[200, 201]).await;
    let (first, second) = (world.validator(200).await, world.validator(201).await);
    let mut nodes = Vec::new();
    for validator in [&first, &second] {
        nodes.push(TestNode::start(1, 2, Conduct::Honest, validator).await);
        nodes.push(TestNode::start(2, 1, Conduct::Honest, validator).await);
    }
    eventually("both nodes are proven by both validators", || async {
        let (one, two) = (world.proven(1).await, world.proven(2).await);
        one.is_some_and(|proof| proof.current) && two.is_some_and(|proof| proof.current)
    })
    .await;
    first.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_proven_on_a_real_development_chain() {
    let world = World::on_anvil(&[(1, 2)], &[200]).await;
    let validator = world.validator(200).await;
    let _node = TestNode::start(1, 2, Conduct::Honest, &validator).await;
    eventually("the node is proven", || async { world.proven(1).await.is_some_and(|proof| proof.current) })
        .await;
    assert_eq!(world.proven(1).await.unwrap().gpu_count, 2);
    validator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_strangers_over_real_connections_leave_nothing_and_keep_no_node_from_being_proven() {
    let world = World::start(&[(1, 1)], &[200]).await;
    let validator = world.validator(200).await;
    for round in 0..25 {
        let strangers = (0..8).map(|number| node::stranger_speaks(round * 8 + number, &validator));
        futures::future::join_all(strangers).await;
    }
    let honest = TestNode::start(1, 1, Conduct::Honest, &validator).await;
    eventually("the honest node is proven", || async {
        world.proven(1).await.is_some_and(|proof| proof.current)
    })
    .await;
    eventually("it hears so", || async { honest.verdict() == Some(Vec::new()) }).await;
    let status = validator.status();
    assert_eq!((status.nodes.len(), status.files), (1, 0), "{status:?}");
    validator.stop().await;
}
