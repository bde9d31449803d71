//! Accounts that are contracts: they have no key, and do by transactions what others do by signatures.

use lode_contracts::ChainReader as _;
use lode_protocol::ids::{PoolId, ProviderId};
use serde_json::json;

use super::world::{Who, World};

/// Says yes to every `isValidSignature` (EIP-1271), and takes every call.
const SAYS_YES: &str = "0x631626ba7e60e01b60005260206000f3";

async fn contract(world: &World) -> String {
    let address = "0x5afe000000000000000000000000000000000001";
    world.anvil.rpc("anvil_setCode", json!([address, SAYS_YES])).await.unwrap();
    world.anvil.rpc("anvil_setBalance", json!([address, "0xde0b6b3a7640000"])).await.unwrap();
    address.to_owned()
}

#[tokio::test]
async fn a_contract_is_not_asked_to_sign_and_is_told_of_the_transaction() {
    let world = World::new().await;
    world.paying_pool();
    let safe = contract(&world).await;
    let deadline = (world.now().await + 3_600).to_string();
    let key = format!("0x{}", "11".repeat(65));
    // What a Safe of two owners gives.
    let two = format!("0x{}", "11".repeat(130));
    let approve = ["provider", "approve-pool", "1", "--signer", &safe];
    for more in [
        vec!["--typed-data"],
        vec!["--deadline", &deadline, "--signature", &key],
        vec!["--deadline", &deadline, "--signature", &two],
    ] {
        let refused = world.refused(Who::Stranger, &[&approve[..], &more].concat());
        assert_eq!((refused.exit, refused.code.as_str()), (4, "signature/contract-signer"), "{refused:?}");
        assert!(refused.message.contains("EIP-1271"), "{refused:?}");
        let way = format!("--from {} --sign-elsewhere", checksummed(&safe));
        assert!(refused.remedy.contains(&way), "{refused:?}");
    }
}

#[tokio::test]
async fn what_a_contract_has_to_call_is_printed_and_does_what_the_command_says() {
    let world = World::new().await;
    world.paying_pool();
    let safe = contract(&world).await;
    let elsewhere = ["provider", "approve-pool", "1", "--from", &safe, "--sign-elsewhere", "-o", "json"];
    let output = world.lode(&elsewhere);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("is a contract") && said.contains("`data`"), "{said}");
    let call: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(call["to"], json!(world.chain.deployment().pools));
    // As the contract would call it.
    world.anvil.rpc("anvil_impersonateAccount", json!([safe])).await.unwrap();
    let transaction = json!({ "from": safe, "to": call["to"], "data": call["data"], "value": call["value"] });
    let sent = world.anvil.rpc("eth_sendTransaction", json!([transaction])).await.unwrap();
    mined(&world, sent).await;
    let provider = ProviderId(safe.parse().unwrap());
    assert!(world.chain.is_pool_approved(PoolId(1), provider).await.unwrap());
}

#[tokio::test]
async fn an_account_with_a_key_that_delegates_to_a_contract_signs_as_ever() {
    let world = World::new().await;
    world.paying_pool();
    let provider = world.address(Who::Provider).to_string();
    let delegated = format!("0xef0100{}", "5a".repeat(20));
    world.anvil.rpc("anvil_setCode", json!([provider, delegated])).await.unwrap();
    let typed = world.seen(&["provider", "approve-pool", "1", "--typed-data", "--signer", &provider]);
    assert_eq!(typed["primaryType"], "PoolApproval");
}

/// A transaction is answered before it is in a block.
async fn mined(world: &World, transaction: serde_json::Value) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while world.anvil.rpc("eth_getTransactionReceipt", json!([transaction])).await.unwrap().is_null() {
        assert!(std::time::Instant::now() < deadline, "it is never mined");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

fn checksummed(address: &str) -> String {
    address.parse::<lode_protocol::ids::Address>().unwrap().to_string()
}
