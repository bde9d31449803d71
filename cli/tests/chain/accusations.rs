//! Accused, answered, judged.

use lode_contracts::{Amount, ChainReader as _, DeployParameters};
use lode_protocol::ids::ProviderId;
use serde_json::json;

use super::world::{Who, World};

const JURY: [Who; 3] = [Who::Validator, Who::Second, Who::Third];

/// Phases that a loaded machine cannot outlast by accident.
fn unhurried() -> DeployParameters {
    let mut parameters = DeployParameters::development();
    parameters.unbonding_seconds = 2_000;
    parameters.slashing.evidence_seconds = 300;
    parameters.slashing.answer_seconds = 300;
    parameters.slashing.vote_seconds = 600;
    parameters
}

/// A provider with a node, three validators, and evidence against it.
async fn court(world: &World) -> (String, String) {
    world.registered_provider();
    world.consent("consent.json", &world.key(Who::Node)).await;
    world.done(Who::Provider, &["provider", "authorize", "--consent", "consent.json", "--units", "1"]);
    world.bonded(&JURY).await;
    std::fs::write(world.path("evidence.json"), "what was seen").unwrap();
    (world.address(Who::Provider).to_string(), world.address(Who::Node).to_string())
}

fn accuse<'a>(provider: &'a str, node: &'a str, amount: &'a str) -> Vec<&'a str> {
    vec![
        "validator",
        "accuse",
        "--provider",
        provider,
        "--node",
        node,
        "--offence",
        "forged-proof",
        "--amount",
        amount,
        "--evidence",
        "evidence.json",
        "--uri",
        "https://evidence.example/1",
    ]
}

#[tokio::test]
async fn a_cheat_is_found_guilty_by_quorum_and_its_stake_is_taken_in_part() {
    let world = World::with(unhurried()).await;
    let (provider, node) = court(&world).await;
    let much = world.refused(Who::Stranger, &accuse(&provider, &node, "51"));
    assert_eq!((much.exit, much.refusal.as_str()), (2, "AmountTooLarge"), "{much:?}");
    assert!(much.message.contains("51 LODE") && much.message.contains("50 LODE"), "{much:?}");
    let own = world.refused(Who::Provider, &accuse(&provider, &node, "5"));
    assert_eq!((own.exit, own.refusal.as_str()), (4, "SelfAccusation"), "{own:?}");
    let opened = world.done(Who::Stranger, &accuse(&provider, &node, "20"));
    assert_eq!((&opened["accusation"], &opened["bond"]), (&json!(1), &json!("2")));
    let twice = world.refused(Who::Stranger, &accuse(&provider, &node, "20"));
    assert_eq!((twice.exit, twice.refusal.as_str()), (5, "AlreadyAccused"), "{twice:?}");
    let status = world.text(&["provider", "status", &provider]);
    assert!(
        status.contains("20 LODE, until the verdict") && status.contains("`lode provider answer`"),
        "{status}"
    );
    let shown = world.text(&["validator", "accusations", "1"]);
    assert!(shown.contains("the provider can answer; that ends in "), "{shown}");

    let early = world.refused(Who::Validator, &["validator", "vote", "1", "guilty"]);
    assert_eq!((early.exit, early.refusal.as_str()), (5, "WrongPhase"), "{early:?}");
    assert!(early.message.contains("this is not the time for that"), "{early:?}");
    world.advance(601).await;
    let outsider = world.refused(Who::Owner, &["validator", "vote", "1", "guilty"]);
    assert_eq!((outsider.exit, outsider.refusal.as_str()), (4, "NoVote"), "{outsider:?}");
    for who in JURY {
        world.done(who, &["validator", "vote", "1", "guilty"]);
    }
    assert_eq!(world.refused(Who::Third, &["validator", "vote", "1", "innocent"]).refusal, "AlreadyVoted");
    world.advance(600).await;
    world.done(Who::Owner, &["validator", "resolve", "1"]);
    let record = world.seen(&["validator", "accusations", "1"]);
    assert_eq!(record["phase"], "guilty");
    let after = world.chain.provider(ProviderId(world.address(Who::Provider))).await.unwrap().unwrap();
    assert_eq!((after.stake, after.locked), (Amount::tokens(80), Amount::ZERO));
    let open = world.seen(&["validator", "accusations", "--open"]);
    assert_eq!(open["items"], json!([]));
    let absent = world.refused_as(&["validator", "accusations", "7"]);
    assert_eq!(absent.exit, 3, "{absent:?}");
}

#[tokio::test]
async fn an_honest_provider_answers_from_its_wallet_keeps_its_stake_and_gets_the_bond() {
    let world = World::with(unhurried()).await;
    let (provider, node) = court(&world).await;
    world.done(Who::Stranger, &accuse(&provider, &node, "20"));
    std::fs::write(world.path("answer.md"), "it was not so").unwrap();
    let answer =
        ["provider", "answer", "1", "--file", "answer.md", "--uri", "https://provider.example/answer"];
    let foreign = world.refused(Who::Owner, &answer);
    assert_eq!((foreign.exit, foreign.refusal.as_str()), (4, "NotAccused"), "{foreign:?}");
    // Signed in a wallet, submitted and paid by somebody else.
    let typed_data = world.seen(&[&answer[..], &["--typed-data", "--signer", &provider]].concat());
    assert_eq!(typed_data["message"]["answerUri"], "https://provider.example/answer");
    let signature = world.wallet_signs(Who::Provider, &typed_data).await;
    let deadline = typed_data["message"]["deadline"].as_str().unwrap();
    let pasted = ["--signer", &provider, "--deadline", deadline, "--signature", &signature];
    world.done(Who::Owner, &[&answer[..], &pasted].concat());
    let twice = world.refused(Who::Provider, &answer);
    assert_eq!((twice.exit, twice.refusal.as_str()), (5, "AlreadyAnswered"), "{twice:?}");
    assert_eq!(
        world.refused(Who::Provider, &["provider", "answer", "9", "--file", "answer.md", "--uri", "x"]).exit,
        3
    );

    world.advance(601).await;
    world.done(Who::Validator, &["validator", "vote", "1", "guilty"]);
    world.done(Who::Second, &["validator", "vote", "1", "innocent"]);
    let before = world.tokens(world.address(Who::Provider)).await.0;
    world.advance(600).await;
    world.done(Who::Owner, &["validator", "resolve", "1"]);
    assert_eq!(world.seen(&["validator", "accusations", "1"])["phase"], "acquitted");
    assert_eq!(world.tokens(world.address(Who::Provider)).await.0 - before, Amount::tokens(2).0);
    let record = world.chain.provider(ProviderId(world.address(Who::Provider))).await.unwrap().unwrap();
    assert_eq!((record.stake, record.locked), (Amount::tokens(100), Amount::ZERO));
}

#[tokio::test]
async fn an_accusation_is_opened_from_a_wallet_with_an_approval_before_it() {
    let world = World::with(unhurried()).await;
    let (provider, node) = court(&world).await;
    let from = world.address(Who::Stranger).to_string();
    let dry = world.seen(&[&accuse(&provider, &node, "10")[..], &["--dry-run", "--from", &from]].concat());
    let calls: Vec<&str> =
        dry["transactions"].as_array().unwrap().iter().map(|step| step["call"].as_str().unwrap()).collect();
    assert_eq!(calls, ["approve", "accuse"]);
    let list =
        world.seen(&[&accuse(&provider, &node, "10")[..], &["--sign-elsewhere", "--from", &from]].concat());
    for transaction in list.as_array().unwrap() {
        let raw = world.wallet_signs_transaction(transaction).await;
        world.seen(&["chain", "send", "--signed", &raw, "--yes"]);
    }
    assert_eq!(world.chain.accusation_count().await.unwrap(), 1);
}
