//! Validators, epochs and proofs.

use std::time::Duration;

use lode_contracts::{
    Amount, ChainError, ChainEvent, Epoch, EpochPhase, EpochTree, Intent, Leaf, Operator, ProofItem,
    TokenCall, ValidatorsCall, ValidatorsEvent, commitment, refusal_of_name,
};
use lode_protocol::hash::Digest;
use lode_protocol::ids::{NodeId, ValidatorId};
use lode_protocol::proof::ProofClassId;

use crate::world::{World, events, refusal};

crate::on_every_chain!(
    two_thirds_of_the_weight_make_a_root_and_anybody_proves_a_node_by_it,
    a_validator_comes_and_goes,
    a_beacon_is_drawn_once_an_epoch_and_draws_everybody_of_a_small_set,
    a_validator_that_commits_and_never_reveals_is_cut_once,
);

fn leaf(node: NodeId, pass: bool, expiry_epoch: Epoch) -> Leaf {
    Leaf {
        node,
        class: ProofClassId(3),
        gpu_count: 8,
        uuid_set: Digest([1; 32]),
        vram_gib: 141,
        walk_score: 10_100,
        gemm_score: 9_900,
        median_millis: 801,
        pass,
        transcript: Digest([2; 32]),
        expiry_epoch,
    }
}

async fn two_thirds_of_the_weight_make_a_root_and_anybody_proves_a_node_by_it(world: World) {
    let provider = world.provider().await;
    let (good, bad) = (world.key(), world.key());
    provider.add_node(&good, 1).await.unwrap();
    provider.add_node(&bad, 1).await.unwrap();
    let (good, bad) = (NodeId(good.address()), NodeId(bad.address()));
    let mut validators: Vec<Operator> = Vec::new();
    world.to_phase(EpochPhase::Commit, 1).await;
    for number in 0..3 {
        let validator = world.rich().await;
        validator
            .register_validator(Amount::tokens(100), &format!("https://v{number}.example"))
            .await
            .unwrap();
        validators.push(validator);
    }
    let found = world.chain.validators().await.unwrap();
    assert_eq!(found.len(), 3);
    let first = ValidatorId(validators[0].address());
    let record = found.iter().find(|record| record.id == first).unwrap();
    assert_eq!((record.stake, record.endpoint.as_str()), (Amount::tokens(100), "https://v0.example"));
    assert_eq!(world.chain.validator(first).await.unwrap().as_ref(), Some(record));

    // Stake counts from the next epoch.
    let early = world.chain.current_epoch().await.unwrap();
    assert_eq!(world.chain.validator_weight(first, early).await.unwrap(), Amount::ZERO);
    let commit = Intent::Validators(ValidatorsCall::Commit { epoch: early, commitment: Digest([9; 32]) });
    assert_eq!(refusal(validators[0].execute(commit).await), "NoWeight");

    let epoch = world.to_phase(EpochPhase::Commit, 1).await;
    assert_eq!(world.chain.total_weight(epoch).await.unwrap(), Amount::tokens(300));
    let tree = EpochTree::new(vec![leaf(good, true, epoch.plus(2)), leaf(bad, false, epoch)]).unwrap();
    let salt = |number: usize| Digest([number as u8 + 1; 32]);
    for (number, validator) in validators.iter().enumerate() {
        let id = ValidatorId(validator.address());
        let commitment = commitment(id, epoch, salt(number), tree.root());
        let receipt = validator
            .execute(Intent::Validators(ValidatorsCall::Commit { epoch, commitment }))
            .await
            .unwrap();
        assert_eq!(
            events(&receipt),
            vec![ChainEvent::Validators(ValidatorsEvent::Committed { epoch, validator: id, commitment })]
        );
        assert_eq!(world.chain.commitment_of(epoch, id).await.unwrap(), Some(commitment));
    }
    let reveal = |number: usize| {
        Intent::Validators(ValidatorsCall::Reveal { epoch, root: tree.root(), salt: salt(number) })
    };
    assert_eq!(refusal(validators[0].execute(reveal(0)).await), "RevealPhaseNotBegun");
    world.to_phase(EpochPhase::Reveal, 0).await;
    let late = Intent::Validators(ValidatorsCall::Commit { epoch, commitment: Digest([9; 32]) });
    assert_eq!(refusal(validators[0].execute(late).await), "CommitPhaseOver");
    assert_eq!(refusal(validators[0].execute(reveal(1)).await), "WrongReveal");

    let items = |nodes: &[NodeId]| {
        let item = |node: &NodeId| {
            let (leaf, path) = tree.path(*node).unwrap();
            ProofItem { leaf, path }
        };
        Intent::Validators(ValidatorsCall::ProveBatch { epoch, items: nodes.iter().map(item).collect() })
    };
    for (number, validator) in validators.iter().enumerate().take(2) {
        validator.execute(reveal(number)).await.unwrap();
    }
    // Exactly two thirds are not more than two thirds.
    assert_eq!(world.chain.root_of(epoch).await.unwrap(), None);
    assert_eq!(world.chain.votes_for(epoch, tree.root()).await.unwrap(), Amount::tokens(200));
    let anybody = world.rich().await;
    let receipt = anybody.execute(items(&[good])).await.unwrap();
    let failed = |name| {
        ChainEvent::Validators(ValidatorsEvent::ProofFailed {
            epoch,
            node: good,
            reason: refusal_of_name(name).unwrap(),
        })
    };
    assert_eq!(events(&receipt), vec![failed("RootNotAccepted")]);
    let receipt = validators[2].execute(reveal(2)).await.unwrap();
    assert_eq!(events(&receipt).len(), 2);
    assert_eq!(world.chain.root_of(epoch).await.unwrap(), Some(tree.root()));
    assert_eq!(world.chain.reveal_of(epoch, first).await.unwrap(), Some(tree.root()));
    assert_eq!(world.chain.commitment_of(epoch, first).await.unwrap(), None);

    let receipt = anybody.execute(items(&[good, bad, good])).await.unwrap();
    let proven = ChainEvent::Validators(ValidatorsEvent::NodeProven {
        epoch,
        node: good,
        class: ProofClassId(3),
        gpu_count: 8,
        vram_gib: 141,
        expiry_epoch: epoch.plus(2),
    });
    let unproven = ChainEvent::Validators(ValidatorsEvent::NodeUnproven { epoch, node: bad });
    assert_eq!(events(&receipt), vec![proven, unproven, failed("StaleProof")]);
    let records = world.chain.proven(&[good, bad, NodeId(anybody.address())]).await.unwrap();
    let record = records[0].unwrap();
    assert!(record.current);
    assert_eq!((record.gpu_count, record.proven_epoch, record.registration), (8, epoch, 1));
    assert!(!records[1].unwrap().current);
    assert_eq!(records[2], None);
    let mut forged = items(&[good]);
    if let Intent::Validators(ValidatorsCall::ProveBatch { items, .. }) = &mut forged {
        items[0].leaf.gpu_count = 16;
    }
    let receipt = anybody.execute(forged).await.unwrap();
    assert_eq!(events(&receipt), vec![failed("InvalidProof")]);
    // A proof counts up to and including its last epoch.
    world.to_phase(EpochPhase::Commit, 2).await;
    assert!(world.chain.proven(&[good]).await.unwrap()[0].unwrap().current);
    world.to_phase(EpochPhase::Commit, 1).await;
    assert!(!world.chain.proven(&[good]).await.unwrap()[0].unwrap().current);
}

async fn a_validator_comes_and_goes(world: World) {
    let validator = world.rich().await;
    let id = ValidatorId(validator.address());
    assert_eq!(refusal(validator.register_validator(Amount::tokens(99), "").await), "InsufficientStake");
    validator.register_validator(Amount::tokens(100), "https://v.example").await.unwrap();
    assert_eq!(
        refusal(validator.execute(Intent::Validators(ValidatorsCall::WithdrawValidator)).await),
        "NotExiting"
    );
    let moved =
        Intent::Validators(ValidatorsCall::SetValidatorEndpoint { endpoint: "https://w.example".to_owned() });
    validator.execute(moved).await.unwrap();
    let set = world.chain.deployment().validators;
    validator
        .execute(Intent::Token(TokenCall::Approve { spender: set, amount: Amount::tokens(7) }))
        .await
        .unwrap();
    validator
        .execute(Intent::Validators(ValidatorsCall::StakeValidator { amount: Amount::tokens(7) }))
        .await
        .unwrap();
    let record = world.chain.validator(id).await.unwrap().unwrap();
    assert_eq!((record.stake, record.exit_at), (Amount::tokens(107), None));
    assert_eq!(record.endpoint, "https://w.example");
    validator.execute(Intent::Validators(ValidatorsCall::RequestExit)).await.unwrap();
    assert_eq!(
        refusal(validator.execute(Intent::Validators(ValidatorsCall::RequestExit)).await),
        "ValidatorExiting"
    );
    assert_eq!(
        refusal(validator.execute(Intent::Validators(ValidatorsCall::WithdrawValidator)).await),
        "StillBonded"
    );
    assert!(world.chain.validator(id).await.unwrap().unwrap().exit_at.is_some());
    let next = world.chain.current_epoch().await.unwrap().plus(1);
    assert_eq!(world.chain.validator_weight(id, next).await.unwrap(), Amount::ZERO);
    let terms = world.chain.staking_terms().await.unwrap();
    world.advance(Duration::from_secs(terms.validator_exit_seconds)).await;
    validator.execute(Intent::Validators(ValidatorsCall::WithdrawValidator)).await.unwrap();
    assert_eq!(world.chain.validator(id).await.unwrap(), None);
    assert_eq!(world.chain.validators().await.unwrap(), vec![]);
    assert_eq!(world.chain.token_balance(validator.address()).await.unwrap(), Amount::tokens(1_000));
}

async fn a_beacon_is_drawn_once_an_epoch_and_draws_everybody_of_a_small_set(world: World) {
    let validators = world.validators(2).await;
    let anybody = world.rich().await;
    let epoch = world.chain.current_epoch().await.unwrap();
    let node = NodeId(world.key().address());
    let id = ValidatorId(validators[0].address());
    assert_eq!(world.chain.beacon_of(epoch).await.unwrap(), None);
    let unknown = world.chain.drawn(epoch, id, &[node]).await;
    assert!(
        matches!(&unknown, Err(ChainError::Reverted(revert)) if revert.name == "NoBeacon"),
        "{unknown:?}"
    );
    let other = Intent::Validators(ValidatorsCall::DrawBeacon { epoch: epoch.plus(1) });
    assert_eq!(refusal(anybody.execute(other).await), "WrongEpoch");
    let receipt = anybody.execute(Intent::Validators(ValidatorsCall::DrawBeacon { epoch })).await.unwrap();
    let beacon = world.chain.beacon_of(epoch).await.unwrap().unwrap();
    assert_eq!(
        events(&receipt),
        vec![ChainEvent::Validators(ValidatorsEvent::BeaconDrawn { epoch, beacon })]
    );
    assert_eq!(
        refusal(anybody.execute(Intent::Validators(ValidatorsCall::DrawBeacon { epoch })).await),
        "BeaconAlreadyDrawn"
    );
    let nodes = [node, NodeId(anybody.address())];
    for validator in &validators {
        let drawn = world.chain.drawn(epoch, ValidatorId(validator.address()), &nodes).await.unwrap();
        assert_eq!(drawn, vec![true, true]);
    }
    let stranger = world.chain.drawn(epoch, ValidatorId(anybody.address()), &nodes).await.unwrap();
    assert_eq!(stranger, vec![false, false]);
    let epoch = world.to_phase(EpochPhase::Reveal, 1).await;
    assert_eq!(
        refusal(anybody.execute(Intent::Validators(ValidatorsCall::DrawBeacon { epoch })).await),
        "CommitPhaseOver"
    );
}

async fn a_validator_that_commits_and_never_reveals_is_cut_once(world: World) {
    let validators = world.validators(1).await;
    let validator = ValidatorId(validators[0].address());
    let epoch = world.chain.current_epoch().await.unwrap();
    let commitment = Digest([9; 32]);
    validators[0].execute(Intent::Validators(ValidatorsCall::Commit { epoch, commitment })).await.unwrap();
    let anybody = world.rich().await;
    let penalize = Intent::Validators(ValidatorsCall::PenalizeMissedReveal { epoch, validator });
    assert_eq!(refusal(anybody.execute(penalize.clone()).await), "EpochNotOver");
    let next = world.to_phase(EpochPhase::Commit, 1).await;
    // The vote is void, and the commitment stands as a proof of it.
    assert_eq!(world.chain.commitment_of(epoch, validator).await.unwrap(), Some(commitment));
    let terms = world.chain.staking_terms().await.unwrap();
    assert_eq!((terms.missed_reveal_basis_points, terms.treasury), (100, world.deployer().address()));
    let before = world.tokens_of(terms.treasury).await;
    let receipt = anybody.execute(penalize.clone()).await.unwrap();
    let (amount, stake) = (Amount::tokens(1), Amount::tokens(99));
    assert_eq!(
        events(&receipt),
        vec![ChainEvent::Validators(ValidatorsEvent::RevealMissed { epoch, validator, amount, stake })]
    );
    assert_eq!(world.tokens_of(terms.treasury).await, before.saturating_add(amount));
    assert_eq!(world.chain.validator(validator).await.unwrap().unwrap().stake, stake);
    assert_eq!(world.chain.validator_weight(validator, next).await.unwrap(), Amount::tokens(100));
    assert_eq!(world.chain.validator_weight(validator, next.plus(1)).await.unwrap(), stake);
    assert_eq!(refusal(anybody.execute(penalize).await), "NotCommitted");
}
