//! Budgets.

use serde_json::json;

use super::world::{Who, World};

#[tokio::test]
async fn an_owner_funds_caps_and_takes_back_a_budget_after_the_delay() {
    let world = World::new().await;
    world.paying_pool();
    let funded = world.done(Who::Owner, &["pool", "fund", "1", "200"]);
    assert!(funded["transactions"].is_null(), "by a permit, in one transaction: {funded}");
    world.done(Who::Stranger, &["pool", "fund", "1", "0.5 LODE"]);
    let text = world.text(&["pool", "budget", "1"]);
    assert!(text.contains("200.5 LODE") && text.contains("nothing is promised until"), "{text}");
    let foreign = world.refused(Who::Stranger, &["pool", "spend-cap", "1", "5"]);
    assert_eq!((foreign.exit, foreign.refusal.as_str()), (4, "NotPoolOwner"), "{foreign:?}");
    world.done(Who::Owner, &["pool", "spend-cap", "1", "5"]);
    assert_eq!(world.seen(&["pool", "budget", "1"])["spend_cap"], "5");

    let unit = world.refused(Who::Owner, &["pool", "fund", "1", "5USDX"]);
    assert_eq!(unit.exit, 2, "{unit:?}");
    assert!(unit.message.contains("the token is LODE"), "{unit:?}");
    let nothing = world.refused(Who::Owner, &["pool", "withdraw", "1", "--collect"]);
    assert_eq!((nothing.exit, nothing.refusal.as_str()), (5, "NothingToWithdraw"), "{nothing:?}");
    world.done(Who::Owner, &["pool", "withdraw", "1", "--request", "150"]);
    let early = world.refused(Who::Owner, &["pool", "withdraw", "1", "--collect"]);
    assert_eq!((early.exit, early.refusal.as_str()), (5, "TooEarly"), "{early:?}");
    assert!(early.message.contains("that can be done in 2m"), "{early:?}");
    let text = world.text(&["pool", "budget", "1"]);
    assert!(text.contains("150 LODE, to be collected in 2m"), "{text}");
    world.advance(150).await;
    let stranger = world.address(Who::Stranger);
    let before = world.tokens(stranger).await;
    world.done(Who::Owner, &["pool", "withdraw", "1", "--collect", "--to", &stranger.to_string()]);
    assert_eq!(world.tokens(stranger).await.0 - before.0, 150 * 10u128.pow(18));
    assert_eq!(world.seen(&["pool", "budget", "1"])["free"], "50.5");
}

#[tokio::test]
async fn a_budget_is_funded_by_a_permit_that_a_wallet_signed_and_by_unsigned_transactions() {
    let world = World::new().await;
    world.paying_pool();
    let owner = world.address(Who::Owner).to_string();
    let fund = ["pool", "fund", "1", "10"];
    let typed_data = world.seen(&[&fund[..], &["--typed-data", "--signer", &owner]].concat());
    assert_eq!(typed_data["primaryType"], "Permit");
    assert_eq!(typed_data["message"]["value"], "10000000000000000000");
    let signature = world.wallet_signs(Who::Owner, &typed_data).await;
    let deadline = typed_data["message"]["deadline"].as_str().unwrap();
    let pasted = ["--signer", &owner, "--deadline", deadline, "--signature", &signature];
    // A permit is its owner's: nobody else's transaction can use it.
    let foreign = world.refused(Who::Stranger, &[&fund[..], &pasted].concat());
    assert_eq!(foreign.exit, 2, "{foreign:?}");
    let transaction = world.seen(&[&fund[..], &pasted, &["--sign-elsewhere", "--from", &owner]].concat());
    let raw = world.wallet_signs_transaction(&transaction).await;
    world.seen(&["chain", "send", "--signed", &raw, "--yes"]);
    // Without a permit: an approval first.
    let list = world.seen(&[&fund[..], &["--sign-elsewhere", "--from", &owner]].concat());
    assert_eq!(list.as_array().unwrap().len(), 2, "{list}");
    assert_eq!(world.seen(&["pool", "budget", "1"])["free"], "10");
}

#[tokio::test]
async fn a_pool_that_pays_nothing_has_no_budget() {
    let world = World::new().await;
    let orchestrator = world.address(Who::Orchestrator).to_string();
    let create = ["pool", "create", "--orchestrator", &orchestrator, "--endpoint", "/ip4/127.0.0.1/tcp/7000"];
    world.done(Who::Owner, &create);
    let refused = world.refused(Who::Owner, &["pool", "fund", "1", "5"]);
    assert_eq!(refused.exit, 5, "{refused:?}");
    assert!(refused.remedy.contains("--reward-token"), "{refused:?}");
    assert_eq!(world.refused_as(&["pool", "budget", "9"]).exit, 3);
    assert_eq!(world.seen(&["pool", "show", "1"])["reward_token"], json!(null));
}

#[tokio::test]
async fn amounts_of_a_foreign_reward_token_have_its_symbol_and_its_decimals() {
    // A second deployment's token stands for one that is not this deployment's; it has 18 decimals too, and another
    // address: approvals and balances must be asked of it.
    let world = World::new().await;
    let config = lode_contracts::RpcConfig::new(world.anvil.rpc_url());
    let parameters = lode_contracts::DeployParameters::development();
    let other = lode_contracts::deploy(&config, &world.key(Who::Deployer), &parameters, None).await.unwrap();
    let token = other.token.to_string();
    let chain = std::sync::Arc::new(lode_contracts::RpcChain::new(config, other).unwrap());
    let mint = lode_contracts::Intent::Token(lode_contracts::TokenCall::Mint {
        to: world.address(Who::Owner),
        amount: lode_contracts::Amount::tokens(100),
    });
    lode_contracts::Operator::new(chain, world.key(Who::Deployer)).execute(mint).await.unwrap();
    let orchestrator = world.address(Who::Orchestrator).to_string();
    world.done(
        Who::Owner,
        &[
            "pool",
            "create",
            "--orchestrator",
            &orchestrator,
            "--endpoint",
            "/ip4/127.0.0.1/tcp/7000",
            "--reward-token",
            &token,
        ],
    );
    let funded = world.done(Who::Owner, &["pool", "fund", "1", "40"]);
    assert_eq!(
        funded["transactions"].as_array().unwrap().len(),
        2,
        "an approval of that token first: {funded}"
    );
    let budget = world.seen(&["pool", "budget", "1"]);
    assert_eq!((&budget["free"], &budget["token"]), (&json!("40"), &json!(token)));
    let owner = world.address(Who::Owner).to_string();
    let permit = world.refused_as(&["pool", "fund", "1", "1", "--typed-data", "--signer", &owner]);
    assert_eq!(permit.exit, 2, "{permit:?}");
}
