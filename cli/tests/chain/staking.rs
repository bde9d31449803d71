//! Stake in and out, nodes, and what is refused.

use serde_json::json;

use super::world::{Who, World};

#[tokio::test]
async fn a_provider_stakes_by_a_permit_adds_takes_out_and_withdraws_after_the_delay() {
    let world = World::new().await;
    let done = world.done(Who::Provider, &["provider", "register", "--stake", "100"]);
    assert!(done["transactions"].is_null(), "one transaction: {done}");
    let done = world.done(Who::Provider, &["provider", "stake", "12.5LODE"]);
    assert_eq!(done["transactions"].as_array().unwrap().len(), 2, "an approval and the stake: {done}");
    let provider = world.address(Who::Provider).to_string();
    assert_eq!(world.seen(&["provider", "status", &provider])["stake"], "112.5");

    world.done(Who::Provider, &["provider", "unstake", "12.5"]);
    let early = world.refused(Who::Provider, &["provider", "withdraw"]);
    assert_eq!((early.exit, early.refusal.as_str()), (5, "StillUnbonding"), "{early:?}");
    assert!(
        early.message.contains("the stake can be withdrawn in ") && early.message.contains("Z)"),
        "{early:?}"
    );
    let status = world.text(&["provider", "status", &provider]);
    assert!(status.contains("12.5 LODE, to be withdrawn in "), "{status}");

    world.advance(60).await;
    world.done(Who::Provider, &["provider", "withdraw"]);
    assert_eq!(world.tokens(world.address(Who::Provider)).await.to_string(), "900");
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_by_name_with_what_to_do_next_and_nothing_is_sent() {
    let world = World::new().await;
    let nonce = || async {
        world.anvil.rpc("eth_getTransactionCount", json!([world.address(Who::Provider), "latest"])).await
    };
    let before = nonce().await.unwrap();
    // Amounts that are none.
    for bad in ["-1", "1e3", "12,5", "5 USD", "1.0000000000000000001"] {
        let refused =
            world.lode(&["provider", "register", "--stake", bad, "--key-file", "provider.key", "--yes"]);
        assert_eq!(refused.status.code(), Some(2), "{bad}");
    }
    let zero = world.refused(Who::Provider, &["provider", "register", "--stake", "0"]);
    assert_eq!((zero.exit, zero.refusal.as_str()), (2, "ZeroAmount"), "{zero:?}");
    let poor = world.refused(Who::Provider, &["provider", "register", "--stake", "1001"]);
    assert_eq!((poor.exit, poor.refusal.as_str()), (5, "ERC20InsufficientBalance"), "{poor:?}");
    assert!(poor.message.contains("has 1000 LODE, 1001 LODE are needed"), "{poor:?}");
    let nobody = world.refused(Who::Provider, &["provider", "stake", "1"]);
    assert_eq!((nobody.exit, nobody.refusal.as_str()), (3, "ProviderNotRegistered"), "{nobody:?}");
    assert!(nobody.remedy.contains("lode provider register"), "{nobody:?}");
    let nothing = world.refused(Who::Provider, &["provider", "withdraw"]);
    assert_eq!(nothing.exit, 3, "{nothing:?}");
    assert_eq!(nonce().await.unwrap(), before, "nothing was sent");
}

#[tokio::test]
async fn without_a_terminal_and_without_yes_nothing_is_sent_and_it_is_said_so() {
    let world = World::new().await;
    let refused = world.refused_as(&["provider", "register", "--stake", "1", "--key-file", "provider.key"]);
    assert_eq!(refused.exit, 2);
    assert!(refused.message.contains("stake 1 LODE as a provider, signed and paid by"), "{refused:?}");
    assert!(refused.remedy.contains("--yes") && refused.remedy.contains("--dry-run"), "{refused:?}");
    let keyless = world.refused_as(&["provider", "register", "--stake", "1", "--yes"]);
    assert_eq!(keyless.exit, 2);
    assert!(keyless.remedy.contains("--key-file"), "{keyless:?}");
}

#[tokio::test]
async fn a_dry_run_says_what_would_happen_or_why_not_and_sends_nothing() {
    let world = World::new().await;
    let provider = world.address(Who::Provider);
    // With the address alone: an approval and the registration, simulated one after the other.
    let from = provider.to_string();
    let arguments = ["provider", "register", "--stake", "100", "--dry-run", "--from", &from];
    let dry = world.seen(&arguments);
    assert_eq!(dry["dry_run"], true);
    let steps = dry["transactions"].as_array().unwrap();
    assert_eq!(steps.len(), 2);
    assert_eq!((&steps[0]["contract"], &steps[0]["call"]), (&json!("LodeToken"), &json!("approve")));
    assert_eq!(
        (&steps[1]["contract"], &steps[1]["call"]),
        (&json!("ComputeRegistry"), &json!("registerProvider"))
    );
    assert_eq!(steps[1]["arguments"]["amount"], "100");
    let events: Vec<&str> =
        steps[1]["events"].as_array().unwrap().iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert!(events.contains(&"ProviderRegistered") && events.contains(&"Staked"), "{events:?}");
    let text = world.text(&arguments);
    for part in
        ["ComputeRegistry.registerProvider", "100 LODE", &from, "of the chain's coin", "nothing was sent"]
    {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    // What would be refused has the exit code and name of its refusal.
    let too_much =
        world.refused_as(&["provider", "register", "--stake", "1001", "--dry-run", "--from", &from]);
    assert_eq!((too_much.exit, too_much.refusal.as_str()), (5, "ERC20InsufficientBalance"), "{too_much:?}");
    assert_eq!(world.tokens(provider).await.to_string(), "1000");
    // The key decides who it is when there is no --from; with both, the key must be the address's.
    let other = world.refused(Who::Stranger, &["provider", "withdraw", "--from", &from]);
    assert_eq!(other.exit, 2, "{other:?}");
}

#[tokio::test]
async fn nodes_are_taken_on_replaced_released_and_authorisations_revoked() {
    let world = World::new().await;
    world.registered_provider();
    let node = world.key(Who::Node);
    world.consent("consent.json", &node).await;
    // Somebody else's key: the consent is not for it.
    let wrong =
        world.refused(Who::Stranger, &["provider", "authorize", "--consent", "consent.json", "--units", "4"]);
    assert_eq!((wrong.exit, wrong.code.as_str()), (4, "consent/wrong-provider"), "{wrong:?}");
    let many = world
        .refused(Who::Provider, &["provider", "authorize", "--consent", "consent.json", "--units", "11"]);
    assert_eq!((many.exit, many.refusal.as_str()), (5, "InsufficientStake"), "{many:?}");
    assert!(many.message.contains("100 LODE") && many.message.contains("110 LODE"), "{many:?}");
    world.done(Who::Provider, &["provider", "authorize", "--consent", "consent.json", "--units", "4"]);
    let again =
        world.refused(Who::Provider, &["provider", "authorize", "--consent", "consent.json", "--units", "4"]);
    assert_eq!((again.exit, again.code.as_str()), (5, "consent/wrong-nonce"), "{again:?}");

    let new = lode_protocol::keys::SigningKey::from_bytes(&[0x4f; 32]).unwrap();
    world.consent("new.json", &new).await;
    let (old, id) = (node.address().to_string(), new.address().to_string());
    world.done(Who::Provider, &["provider", "replace", "--old", &old, "--consent", "new.json"]);
    let provider = world.address(Who::Provider).to_string();
    let status = world.seen(&["provider", "status", &provider]);
    assert_eq!(status["nodes"].as_array().unwrap().len(), 1);
    assert_eq!((&status["nodes"][0]["node"], &status["nodes"][0]["units"]), (&json!(id), &json!(4)));
    let foreign = world.refused(Who::Stranger, &["provider", "remove", &id]);
    assert_eq!((foreign.exit, foreign.refusal.as_str()), (4, "NotNodeProvider"), "{foreign:?}");
    world.done(Who::Provider, &["provider", "remove", &id]);
    world.done(Who::Provider, &["provider", "revoke"]);
    let status = world.text(&["provider", "status", &provider]);
    assert!(status.contains("no nodes"), "{status}");
}
