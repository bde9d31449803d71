//! What a task may cost, signed by whoever pays.

use lode_contracts::ChainReader as _;
use lode_protocol::keys::EthereumSignature;
use lode_protocol::settlement::SpendAuthorization;
use serde_json::json;

use super::world::{Who, World};

const TASK: &str = "name = \"train\"\nkind = \"batch\"\nimage = \"registry.example/train:1\"\n";

#[tokio::test]
async fn an_order_is_signed_by_a_key_or_a_wallet_and_goes_with_its_task_only() {
    let world = World::new().await;
    world.paying_pool();
    std::fs::write(world.path("task.toml"), TASK).unwrap();
    let order =
        ["task", "order", "task.toml", "--pool", "1", "--price-per-gpu-hour", "2.5", "--budget", "100"];
    let key = ["--key-file", "owner.key", "--out", "order.json"];
    world.text(&[&order[..], &key].concat());
    let signed = world.read("order.json");
    let statement: SpendAuthorization = serde_json::from_value(signed["order"].clone()).unwrap();
    let signature: EthereumSignature = serde_json::from_value(signed["signature"].clone()).unwrap();
    let digest = statement.digest(&world.chain.deployment().task_order_domain());
    assert_eq!(signature.recover(&digest), Ok(world.address(Who::Owner)));
    assert_eq!(signed["order"]["price_per_gpu_hour"], "2.5");

    let owner = world.address(Who::Owner).to_string();
    let typed_data = world.seen(&[&order[..], &["--typed-data", "--signer", &owner]].concat());
    assert_eq!(typed_data["message"]["pricePerGpuHour"], "2500000000000000000");
    let pasted = world.wallet_signs(Who::Owner, &typed_data).await;
    let deadline = typed_data["message"]["deadline"].as_str().unwrap();
    let flags = ["--signer", &owner, "--deadline", deadline, "--signature", &pasted];
    let printed = world.seen(&[&order[..], &flags].concat());
    assert_eq!(printed["signature"], json!(pasted));
    let forged = world.wallet_signs(Who::Stranger, &typed_data).await;
    let flags = ["--signer", &owner, "--deadline", deadline, "--signature", &forged];
    let refused = world.refused_as(&[&order[..], &flags].concat());
    assert_eq!((refused.exit, refused.code.as_str()), (4, "signature/wrong-signer"), "{refused:?}");

    // The order of another task is not submitted with this one.
    std::fs::write(world.path("other.toml"), TASK.replace("train\"", "other\"")).unwrap();
    let url = ["--url", "http://127.0.0.1:1"];
    let other =
        world.refused_as(&[&["task", "run", "other.toml", "--order", "order.json"][..], &url[..]].concat());
    assert_eq!((other.exit, other.code.as_str()), (2, "order/mismatch"), "{other:?}");
}
