//! Contracts on a chain, looked over again.

use lode_contracts::{Amount, ChainReader as _};
use serde_json::json;

use super::world::{Who, World};

#[tokio::test]
async fn contracts_are_deployed_once_shown_and_verified() {
    let world = World::new().await;
    let before = world.read("deployment.json");
    let again =
        ["chain", "deploy", "--rpc-url", &world.anvil.rpc_url(), "--key-file", "deployer.key", "--yes"]
            .map(str::to_owned);
    let again: Vec<&str> = again.iter().map(String::as_str).collect();
    assert!(world.text(&again).contains("nothing was to be done"));
    assert_eq!(world.read("deployment.json"), before);
    let other = world.refused_as(&[&again[..], &["--epoch", "90s"]].concat());
    assert_eq!((other.exit, other.code.as_str()), (5, "deployment/conflict"), "{other:?}");

    let info = world.seen(&["chain", "info"]);
    assert_eq!(info["slashing"]["bond_basis_points"], 1_000);
    let text = world.text(&["chain", "info"]);
    for part in ["Slashing", "Rewards", "10 LODE", "evidence 5s, answer 10s, vote 15s", "ends in "] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    let report = world.seen(&["chain", "verify"]);
    assert_eq!((&report["verified"], report["contracts"].as_array().unwrap().len()), (&json!(true), 6));
    // Other code in the place of a contract is noticed.
    let rewards = world.chain.deployment().rewards.to_string();
    world.anvil.rpc("anvil_setCode", json!([rewards, "0x60016001"])).await.unwrap();
    let output = world.lode(&["chain", "verify", "-o", "json"]);
    assert_ne!(output.status.code(), Some(0));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["verified"], false);
    let everything = world.refused_as(&["chain", "info"]);
    assert_eq!(everything.code, "chain/wrong-code", "{everything:?}");
}

#[tokio::test]
async fn tokens_and_coins_are_made_given_away_and_shown() {
    let world = World::new().await;
    let stranger = world.address(Who::Stranger).to_string();
    let foreign = world.refused(Who::Provider, &["chain", "mint", "--to", &stranger, "5"]);
    assert_eq!((foreign.exit, foreign.refusal.as_str()), (4, "OwnableUnauthorizedAccount"), "{foreign:?}");
    world.done(Who::Deployer, &["chain", "mint", "--to", &stranger, "5"]);
    world.done(Who::Provider, &["chain", "transfer", "--to", &stranger, "2.5 LODE"]);
    let before = world.seen(&["chain", "balance", &stranger]);
    assert_eq!(before["tokens"], "1007.5");
    world.done(Who::Provider, &["chain", "transfer", "--to", &stranger, "1", "--coin"]);
    let after = world.seen(&["chain", "balance", &stranger]);
    let coins = |value: &serde_json::Value| value["coin"].as_str().unwrap().parse::<Amount>().unwrap();
    assert_eq!(coins(&after).0 - coins(&before).0, Amount::tokens(1).0);
    let far = world.refused(Who::Provider, &["chain", "transfer", "--to", &stranger, "100000", "--coin"]);
    assert_eq!(far.code, "chain/insufficient-funds", "{far:?}");
}
