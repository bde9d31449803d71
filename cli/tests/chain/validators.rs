//! Bonds of validators, and what they veto.

use lode_contracts::{
    Amount, ChainReader as _, EarningsLeaf, EarningsTree, Epoch, EpochPhase, Intent, RewardsCall, RootState,
    ValidatorsCall, commitment,
};
use lode_protocol::hash::Digest;
use lode_protocol::ids::{PoolId, ValidatorId};
use serde_json::json;

use super::world::{Who, World};

#[tokio::test]
async fn a_validator_bonds_adds_moves_leaves_and_withdraws_after_the_delay() {
    let world = World::new().await;
    let (first, second) = ("/ip4/127.0.0.1/tcp/7300", "/ip4/127.0.0.1/tcp/7301");
    let register = ["validator", "register", "--bond", "100", "--endpoint", first];
    let small =
        world.refused(Who::Validator, &["validator", "register", "--bond", "99", "--endpoint", first]);
    assert_eq!((small.exit, small.refusal.as_str()), (2, "InsufficientStake"), "{small:?}");
    assert!(small.message.starts_with("a bond of 99 LODE is too small"), "{small:?}");
    world.done(Who::Validator, &register);
    let twice = world.refused(Who::Validator, &register);
    assert_eq!((twice.exit, twice.refusal.as_str()), (5, "ValidatorAlreadyRegistered"), "{twice:?}");
    world.done(Who::Validator, &["validator", "stake", "50"]);
    world.done(Who::Validator, &["validator", "set-endpoint", second]);
    world.to_phase(EpochPhase::Commit, 1).await;
    let id = world.address(Who::Validator).to_string();
    let status = world.seen(&["validator", "status", &id]);
    assert_eq!(
        (&status["bond"], &status["weight"], &status["endpoint"]),
        (&json!("150"), &json!("150"), &json!(second))
    );
    let text = world.text(&["validator", "status", &id]);
    assert!(text.contains("150 LODE of 150 LODE in epoch") && text.contains("commits, until in "), "{text}");

    let early = world.refused(Who::Validator, &["validator", "withdraw"]);
    assert_eq!((early.exit, early.refusal.as_str()), (5, "NotExiting"), "{early:?}");
    world.done(Who::Validator, &["validator", "exit"]);
    let bound = world.refused(Who::Validator, &["validator", "withdraw"]);
    assert_eq!((bound.exit, bound.refusal.as_str()), (5, "StillBonded"), "{bound:?}");
    assert!(world.text(&["validator", "ls"]).contains(" (2"), "the exit has its date");
    world.advance(120).await;
    world.done(Who::Validator, &["validator", "withdraw"]);
    assert_eq!(world.tokens(world.address(Who::Validator)).await, Amount::tokens(1_000));
    assert_eq!(world.refused_as(&["validator", "status", &id]).exit, 3);
    assert_eq!(world.seen(&["validator", "ls"])["items"], json!([]));
}

#[tokio::test]
async fn a_quorum_vetoes_a_root_and_a_vote_that_is_never_revealed_costs_bond() {
    let world = World::new().await;
    let jury = [Who::Validator, Who::Second, Who::Third];
    world.paying_pool();
    world.done(Who::Owner, &["pool", "fund", "1", "100"]);
    world.done(Who::Owner, &["pool", "spend-cap", "1", "100"]);
    world.bonded(&jury).await;
    let proven = world.agreed(&jury).await;
    let epoch = Epoch(world.to_phase(EpochPhase::Commit, 1).await.0 - 1);
    let leaf = EarningsLeaf { payee: world.address(Who::Owner), cumulative: Amount::tokens(60) };
    let tree = EarningsTree::new(vec![leaf]).unwrap();
    let post = Intent::Rewards(RewardsCall::PostRoot {
        pool: PoolId(1),
        epoch,
        root: tree.root(),
        total: tree.total(),
        depth: tree.depth(),
        proven_epoch: proven,
    });
    world.operator(Who::Orchestrator).execute(post).await.unwrap();
    std::fs::write(world.path("evidence.json"), "the owner pays itself").unwrap();
    let number = epoch.to_string();
    let veto = ["validator", "veto", "1", &number, "--evidence", "evidence.json"];
    let outsider = world.refused(Who::Stranger, &veto);
    assert_eq!((outsider.exit, outsider.refusal.as_str()), (4, "NoVotingWeight"), "{outsider:?}");
    for who in jury {
        world.done(who, &veto);
    }
    let root = world.chain.posted_root(PoolId(1), epoch).await.unwrap().unwrap();
    assert_eq!(root.state, RootState::Vetoed);
    let over = world.refused(Who::Validator, &veto);
    assert_eq!((over.exit, over.refusal.as_str()), (5, "RootNotPending"), "{over:?}");
    assert_eq!(world.seen(&["pool", "budget", "1"])["free"], "100");

    // Committed and never revealed.
    let epoch = world.to_phase(EpochPhase::Commit, 1).await;
    let id = ValidatorId(world.address(Who::Third));
    let commitment = commitment(id, epoch, Digest([1; 32]), Digest([2; 32]));
    world
        .operator(Who::Third)
        .execute(Intent::Validators(ValidatorsCall::Commit { epoch, commitment }))
        .await
        .unwrap();
    let number = epoch.to_string();
    let penalize = ["validator", "penalize", &number, &id.to_string()].map(str::to_owned);
    let penalize: Vec<&str> = penalize.iter().map(String::as_str).collect();
    let early = world.refused(Who::Stranger, &penalize);
    assert_eq!((early.exit, early.refusal.as_str()), (5, "EpochNotOver"), "{early:?}");
    world.to_phase(EpochPhase::Commit, 1).await;
    world.done(Who::Stranger, &penalize);
    assert_eq!(world.chain.validator(id).await.unwrap().unwrap().stake, Amount::tokens(99));
    let nothing = world.refused(Who::Stranger, &["validator", "collect", &id.to_string()]);
    assert_eq!((nothing.exit, nothing.refusal.as_str()), (5, "NothingOwed"), "{nothing:?}");
}
