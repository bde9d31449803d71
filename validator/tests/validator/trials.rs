//! Accusations from the deed to the verdict, judged by three validators that know of each other only through the chain.

use lode_contracts::{AccusationPhase, Amount, Offence};
use lode_gpu_proof::attacks::{Forgery, ForgingProver, Parties, Transcript};
use lode_gpu_proof::evidence::{Suspect, verify_evidence};
use lode_gpu_proof::{CpuProver, Params, Prover};
use lode_program::Clock;
use lode_protocol::hash::{Digest, keccak256};
use lode_protocol::ids::NodeId;
use lode_protocol::keys::SigningKey;
use lode_protocol::units::Timestamp;

use crate::has;
use crate::node::{Conduct, TestNode};
use crate::world::{Validator, World, eventually, free_port, gpus, key, serve_file};

/// The accuser has no vote: of the others' weight more than two thirds are needed.
const COURT: [(u8, u64); 3] = [(200, 1_000), (201, 3_000), (202, 3_000)];

/// What a validator has on its desk after a proof that it held with a node.
fn transcript(validator: &Validator, node: &SigningKey, prover: &mut dyn Prover) -> Transcript {
    let parties = Parties {
        validator: validator.key.clone(),
        node: node.clone(),
        realm: validator.realm,
        now: Timestamp(Clock::system().wall_millis()),
    };
    Transcript::hold(&parties, Params::TINY, prover, 7).unwrap()
}

fn gpu(node: u8) -> String {
    gpus(node, 1).first().unwrap().as_str().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forger_is_accused_with_evidence_and_slashed_by_quorum() {
    let world = World::with_bonds(&[(1, 1), (2, 1)], &COURT).await;
    let accuser = world.accusing(200).await;
    let (second, third) = (world.validator(201).await, world.validator(202).await);
    let before = world.provider().await.stake;
    let forger = TestNode::start(1, 1, Conduct::Forger(Forgery::SkippedRows), &accuser).await;
    let honest = TestNode::start(2, 1, Conduct::Honest, &accuser).await;
    eventually("the forger's provider is accused", || async { world.accusations().await.len() == 1 }).await;
    let accusation = world.accusations().await[0];
    assert_eq!(accusation.node, NodeId(key(1).address()));
    assert_eq!(accusation.offence, Offence::ForgedProof);
    assert_eq!(accusation.accuser, accuser.key.address());

    // One of the voters is restarted in between: it votes all the same, and once.
    third.stop().await;
    let third = world.validator(202).await;
    eventually("it is found guilty", || async {
        world.accusations().await[0].phase == AccusationPhase::Guilty
    })
    .await;
    let accusation = world.accusations().await[0];
    assert_eq!(accusation.guilty_weight, Amount::tokens(6_000));
    assert_eq!(accusation.innocent_weight, Amount::ZERO);
    let after = world.provider().await;
    assert_eq!(before.checked_sub(after.stake), Some(accusation.amount));
    assert_eq!(forger.verdict().unwrap(), ["proof/freivalds"]);
    assert_eq!(honest.verdict(), Some(Vec::new()));
    for validator in [accuser, second, third] {
        validator.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_honest_node_that_is_accused_keeps_its_stake_and_gets_the_bond() {
    let world = World::with_bonds(&[(1, 1), (2, 1), (3, 1)], &COURT).await;
    let first = world.validator(200).await;
    let (second, third) = (world.validator(201).await, world.validator(202).await);
    let (stake, tokens) = (world.provider().await.stake, world.provider_tokens().await);

    // A true transcript with a false suspicion; nothing at all; and the deed of another node.
    let mut prover = CpuProver::new(gpu(1));
    let suspect = Some(Suspect::Row { position: 3 });
    let file = transcript(&first, &key(1), &mut prover).evidence(suspect).to_bytes();
    let (url, _served) = serve_file(file.clone()).await;
    world.accuse(1, Offence::ForgedProof, keccak256(&file), &format!("{url}/evidence")).await;
    let nowhere = format!("http://127.0.0.1:{}/evidence", free_port().await);
    world.accuse(2, Offence::ForgedProof, Digest([1; 32]), &nowhere).await;
    let mut forger = ForgingProver::new(Forgery::EmptyOpenings, gpu(9));
    let foreign = transcript(&first, &key(9), &mut forger).evidence(None).to_bytes();
    assert!(verify_evidence(&foreign).is_guilty());
    let (url, _served_too) = serve_file(foreign.clone()).await;
    world.accuse(3, Offence::ForgedProof, keccak256(&foreign), &format!("{url}/evidence")).await;

    eventually("missing evidence is noticed", || async {
        has(&second.started.findings, "accusation/no-evidence")
    })
    .await;
    eventually("all are acquitted", || async {
        world.accusations().await.iter().all(|accusation| accusation.phase == AccusationPhase::Acquitted)
    })
    .await;
    let accusations = world.accusations().await;
    assert_eq!(accusations.len(), 3);
    let mut bonds = Amount::ZERO;
    for accusation in accusations {
        assert_eq!(accusation.guilty_weight, Amount::ZERO);
        assert_eq!(accusation.innocent_weight, Amount::tokens(7_000), "everybody votes, once");
        bonds = bonds.saturating_add(accusation.bond);
    }
    let provider = world.provider().await;
    assert_eq!((provider.stake, provider.locked), (stake, Amount::ZERO));
    assert_eq!(world.provider_tokens().await, tokens.saturating_add(bonds));
    for validator in [first, second, third] {
        validator.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_pays_for_its_own_node_and_for_one_deed_once() {
    let world = World::with_bonds(&[(1, 1)], &COURT).await;
    let first = world.validator(200).await;
    let (second, third) = (world.validator(201).await, world.validator(202).await);
    let mut forger = ForgingProver::new(Forgery::EmptyOpenings, gpu(1));
    let file = transcript(&first, &key(1), &mut forger).evidence(None).to_bytes();
    let (url, _served) = serve_file(file.clone()).await;
    let accuse = || world.accuse(1, Offence::ForgedProof, keccak256(&file), &url);
    let phase = |place: usize| {
        let world = &world;
        async move { world.accusations().await.get(place).map(|accusation| accusation.phase) }
    };
    accuse().await;
    eventually("the first time it is guilty", || async { phase(0).await == Some(AccusationPhase::Guilty) })
        .await;
    let stake = world.provider().await.stake;
    accuse().await;
    eventually("the second time it is not", || async { phase(1).await == Some(AccusationPhase::Acquitted) })
        .await;
    assert_eq!(world.provider().await.stake, stake);
    for validator in [first, second, third] {
        validator.stop().await;
    }
}
