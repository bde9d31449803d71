//! Keys elsewhere: what is printed is signed by another implementation (anvil's), pasted back, and taken by the chain.

use lode_contracts::{Amount, ChainReader as _};
use lode_protocol::ids::{NodeId, PoolId, ProviderId};
use serde_json::{Value, json};

use super::world::{Who, World};

/// Deadline of a statement, as its JSON carries it.
fn deadline(typed_data: &Value) -> String {
    typed_data["message"]["deadline"].as_str().unwrap().to_owned()
}

/// Prints a statement, has the wallet sign it, and gives the flags that carry the signature.
async fn signed(world: &World, who: Who, arguments: &[&str]) -> Vec<String> {
    let signer = world.address(who).to_string();
    let typed_data = world.seen(&[arguments, &["--typed-data", "--signer", &signer]].concat());
    let signature = world.wallet_signs(who, &typed_data).await;
    ["--signer", &signer, "--deadline", &deadline(&typed_data), "--signature", &signature]
        .map(str::to_owned)
        .to_vec()
}

/// Runs a command of `payer` with a signature that somebody else gave.
fn with(world: &World, payer: Who, arguments: &[&str], more: &[String]) -> Value {
    let more: Vec<&str> = more.iter().map(String::as_str).collect();
    world.done(payer, &[arguments, &more].concat())
}

#[tokio::test]
async fn a_provider_whose_key_is_in_a_wallet_registers_authorises_and_approves_and_strangers_pay() {
    let world = World::new().await;
    let provider = world.address(Who::Provider);
    let from = provider.to_string();
    // The registration has to come from the provider itself: the permit is pasted, the transaction signed by the wallet.
    let register = ["provider", "register", "--stake", "50"];
    let permit = signed(&world, Who::Provider, &register).await;
    let permit: Vec<&str> = permit.iter().map(String::as_str).collect();
    let elsewhere = ["--sign-elsewhere", "--from", &from];
    let transaction = world.seen(&[&register[..], &permit, &elsewhere].concat());
    assert_eq!(transaction["from"], json!(from));
    assert_eq!(transaction["chainId"], "0x7a69");
    assert_eq!(transaction["to"], json!(world.chain.deployment().registry));
    let raw = world.wallet_signs_transaction(&transaction).await;
    std::fs::write(world.path("raw"), &raw).unwrap();
    let dry = world.seen(&["chain", "send", "--signed", "raw", "--dry-run"]);
    assert_eq!(dry["transactions"][0]["call"], "registerProvider");
    assert!(world.chain.provider(ProviderId(provider)).await.unwrap().is_none());
    let unasked = world.refused_as(&["chain", "send", "--signed", "raw"]);
    assert_eq!(unasked.exit, 2, "{unasked:?}");
    let sent = world.seen(&["chain", "send", "--signed", "raw", "--yes"]);
    assert_eq!(sent["from"], json!(from));
    assert_eq!(world.chain.provider(ProviderId(provider)).await.unwrap().unwrap().stake, Amount::tokens(50));
    // Sent once more it is the same transaction, mined already.
    assert_eq!(world.seen(&["chain", "send", "--signed", &raw, "--yes"])["transaction"], sent["transaction"]);

    // A node is authorised: provider's and node's signatures, a stranger pays.
    world.consent("consent.json", &world.key(Who::Node)).await;
    let authorize = ["provider", "authorize", "--consent", "consent.json", "--units", "2"];
    let statement = signed(&world, Who::Provider, &authorize).await;
    with(&world, Who::Stranger, &authorize, &statement);
    let node = NodeId(world.address(Who::Node));
    assert_eq!(world.chain.node(node).await.unwrap().unwrap().units, 2);

    // A pool is approved, and the approval taken back.
    world.paying_pool();
    let approve = ["provider", "approve-pool", "1"];
    let statement = signed(&world, Who::Provider, &approve).await;
    with(&world, Who::Stranger, &approve, &statement);
    assert!(world.chain.is_pool_approved(PoolId(1), ProviderId(provider)).await.unwrap());
    // The same signature does not count twice: the nonce has moved on, so that it is of another statement.
    let more: Vec<&str> = statement.iter().map(String::as_str).collect();
    let twice = world.refused(Who::Stranger, &[&approve[..], &more].concat());
    assert_eq!((twice.exit, twice.code.as_str()), (4, "signature/wrong-signer"), "{twice:?}");
    let withdraw = ["provider", "approve-pool", "1", "--withdraw"];
    let statement = signed(&world, Who::Provider, &withdraw).await;
    with(&world, Who::Stranger, &withdraw, &statement);
    assert!(!world.chain.is_pool_approved(PoolId(1), ProviderId(provider)).await.unwrap());
}

#[tokio::test]
async fn a_wrong_signature_is_refused_before_anybody_pays_and_it_is_said_whose_it_is() {
    let world = World::new().await;
    world.registered_provider();
    world.paying_pool();
    let provider = world.address(Who::Provider).to_string();
    let approve = ["provider", "approve-pool", "1"];
    let typed_data = world.seen(&[&approve[..], &["--typed-data", "--signer", &provider]].concat());
    let signature = world.wallet_signs(Who::Stranger, &typed_data).await;
    let deadline = deadline(&typed_data);
    let pasted = ["--signer", &provider, "--deadline", &deadline, "--signature", &signature];
    let wrong = world.refused(Who::Stranger, &[&approve[..], &pasted].concat());
    assert_eq!((wrong.exit, wrong.code.as_str()), (4, "signature/wrong-signer"), "{wrong:?}");
    let stranger = world.address(Who::Stranger).to_string();
    assert!(wrong.message.contains(&stranger) && wrong.message.contains(&provider), "{wrong:?}");
    // Another pool, another deadline: another statement.
    let right = world.wallet_signs(Who::Provider, &typed_data).await;
    let other = [
        "provider",
        "approve-pool",
        "1",
        "--withdraw",
        "--signer",
        &provider,
        "--deadline",
        &deadline,
        "--signature",
        &right,
    ];
    assert_eq!(world.refused(Who::Stranger, &other).code, "signature/wrong-signer");
    let cut = ["--signer", &provider, "--deadline", &deadline, "--signature", "0x1234"];
    let cut = world.refused(Who::Stranger, &[&approve[..], &cut].concat());
    assert_eq!((cut.exit, cut.code.as_str()), (2, "signature/malformed"), "{cut:?}");
    // Over its deadline the chain refuses.
    let short = ["--typed-data", "--signer", &provider, "--deadline", "1000"];
    let typed_data = world.seen(&[&approve[..], &short].concat());
    let late = world.wallet_signs(Who::Provider, &typed_data).await;
    let late = ["--signer", &provider, "--deadline", "1000", "--signature", &late];
    let late = world.refused(Who::Stranger, &[&approve[..], &late].concat());
    assert_eq!((late.exit, late.refusal.as_str()), (5, "SignatureExpired"), "{late:?}");
}

#[tokio::test]
async fn approvals_and_calls_are_written_down_in_order_where_the_key_is_elsewhere() {
    let world = World::new().await;
    world.registered_provider();
    let from = world.address(Who::Provider).to_string();
    let list = world.seen(&["provider", "stake", "25", "--sign-elsewhere", "--from", &from]);
    let list = list.as_array().unwrap();
    assert_eq!(list.len(), 2);
    let nonce = |value: &Value| {
        u64::from_str_radix(value["nonce"].as_str().unwrap().trim_start_matches("0x"), 16).unwrap()
    };
    assert_eq!(nonce(&list[1]), nonce(&list[0]) + 1);
    for transaction in list {
        let raw = world.wallet_signs_transaction(transaction).await;
        world.seen(&["chain", "send", "--signed", &raw, "--yes"]);
    }
    let provider = ProviderId(world.address(Who::Provider));
    assert_eq!(world.chain.provider(provider).await.unwrap().unwrap().stake, Amount::tokens(125));
    // A signed transaction that the contracts refuse is refused before it is sent, by name.
    let unstake = world.seen(&["provider", "unstake", "125", "--sign-elsewhere", "--from", &from]);
    let raw = world.wallet_signs_transaction(&unstake).await;
    world.done(Who::Provider, &["provider", "unstake", "1"]);
    let stale = world.refused_as(&["chain", "send", "--signed", &raw, "--yes"]);
    assert_eq!((stale.exit, stale.refusal.as_str()), (5, "InsufficientStake"), "{stale:?}");
    let garbage = world.refused_as(&["chain", "send", "--signed", "0x02f8", "--yes"]);
    assert_eq!(garbage.exit, 1, "{garbage:?}");
}

#[tokio::test]
async fn a_key_on_a_machine_without_network_signs_statements_and_transactions_and_nothing_else() {
    let world = World::new().await;
    world.registered_provider();
    world.paying_pool();
    let provider = world.address(Who::Provider).to_string();
    let approve = ["provider", "approve-pool", "1"];
    world.lode(&[&approve[..], &["--typed-data=statement.json", "--signer", &provider]].concat());
    let sign = |file: &str, extra: &[&str]| {
        world.lode(&[&["key", "sign", file, "--key-file", "provider.key"][..], extra].concat())
    };
    let asked = sign("statement.json", &[]);
    assert_eq!(asked.status.code(), Some(2), "it asks first");
    let made = sign("statement.json", &["--yes"]);
    let ours = String::from_utf8(made.stdout).unwrap().trim().to_owned();
    // Two implementations, one digest: signatures are deterministic.
    assert_eq!(ours, world.wallet_signs(Who::Provider, &world.read("statement.json")).await);
    let deadline = deadline(&world.read("statement.json"));
    let pasted = ["--signer", &provider, "--deadline", &deadline, "--signature", &ours];
    world.done(Who::Stranger, &[&approve[..], &pasted].concat());

    world.lode(&["provider", "unstake", "10", "--sign-elsewhere=transaction.json", "--from", &provider]);
    let raw = String::from_utf8(sign("transaction.json", &["--yes"]).stdout).unwrap();
    assert_eq!(raw.trim(), world.wallet_signs_transaction(&world.read("transaction.json")).await);
    world.seen(&["chain", "send", "--signed", raw.trim(), "--yes"]);
    let foreign =
        world.refused_as(&["key", "sign", "transaction.json", "--key-file", "stranger.key", "--yes"]);
    assert!(foreign.message.contains(&provider), "{foreign:?}");

    // What a stranger made up is not signed, whatever it says.
    let mut made_up = world.read("statement.json");
    made_up["domain"]["name"] = json!("Some Exchange");
    world.write("made-up.json", &made_up);
    let refused = world.refused_as(&["key", "sign", "made-up.json", "--key-file", "provider.key", "--yes"]);
    assert_eq!(refused.exit, 4, "{refused:?}");
}
