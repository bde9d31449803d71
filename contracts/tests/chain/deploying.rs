//! Deployments: made once, continued where they ended, verified.

use std::path::Path;

use lode_contracts::{
    Amount, ChainError, ChainReader as _, DeployError, DeployParameters, Deployed, Deployment, ErrorClass,
    RpcChain, RpcConfig, TransactionPort as _, deploy_to, deployed_parameters,
};
use lode_protocol::hash::Digest;
use lode_protocol::keys::SigningKey;
use lode_testkit::anvil::Anvil;
use lode_testkit::proxy::{Fault, FaultProxy};
use serde_json::json;

use crate::world::parameters;

/// Six contracts and the call that names the slasher.
const TRANSACTIONS: usize = 7;

async fn deploy(path: &Path, url: &str, key: &SigningKey) -> Result<Deployed, DeployError> {
    deploy_to(path, &RpcConfig::new(url), key, &parameters(), Some("0123abcd".to_owned())).await
}

async fn nonce(anvil: &Anvil, key: &SigningKey) -> u64 {
    let answer =
        anvil.rpc("eth_getTransactionCount", json!([key.address().to_string(), "latest"])).await.unwrap();
    u64::from_str_radix(answer.as_str().unwrap().trim_start_matches("0x"), 16).unwrap()
}

#[tokio::test]
async fn a_second_run_changes_nothing_and_other_parameters_are_told() {
    let anvil = Anvil::start().await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let (path, key) = (directory.path().join("deployment.json"), anvil.key(0));
    let first = deploy(&path, &anvil.rpc_url(), &key).await.unwrap();
    assert_eq!(first.transactions, TRANSACTIONS);
    assert_eq!(first.deployment.commit.as_deref(), Some("0123abcd"));
    assert_eq!(first.deployment.code_hashes.len(), 6);
    assert_eq!(Deployment::load(&path).unwrap(), first.deployment);
    let text = std::fs::read(&path).unwrap();
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "nothing stays beside the file");

    let again = deploy(&path, &anvil.rpc_url(), &key).await.unwrap();
    assert_eq!(again, Deployed { transactions: 0, ..first.clone() });
    assert_eq!(std::fs::read(&path).unwrap(), text);
    assert_eq!(nonce(&anvil, &key).await, TRANSACTIONS as u64);

    let other = DeployParameters { min_stake_per_unit: Amount::tokens(11), ..parameters() };
    let config = RpcConfig::new(anvil.rpc_url());
    let error = deploy_to(&path, &config, &key, &other, None).await.unwrap_err();
    assert_eq!(error.code(), "deployment/conflict");
    let chain = RpcChain::new(config, first.deployment).unwrap();
    let treasury = Some(key.address());
    assert_eq!(deployed_parameters(&chain).await.unwrap(), DeployParameters { treasury, ..parameters() });
    let reports = chain.code_reports().await.unwrap();
    assert_eq!(reports.len(), 6);
    assert!(
        reports.iter().all(|report| report.as_recorded == Some(true) && report.as_compiled),
        "{reports:?}"
    );
}

#[tokio::test]
async fn a_deployment_that_was_cut_off_goes_on_where_it_ended_and_makes_no_contract_twice() {
    let anvil = Anvil::start().await.unwrap();
    let proxy = FaultProxy::start((std::net::Ipv4Addr::LOCALHOST, anvil.port()).into()).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let (path, key) = (directory.path().join("deployment.json"), anvil.key(0));
    let url = format!("http://{}", proxy.address());
    let mut interrupted = 0;
    for mined in 1..=TRANSACTIONS as u64 {
        proxy.set(Fault::Pass);
        let run = {
            let (path, url, key) = (path.clone(), url.clone(), key.clone());
            tokio::spawn(async move { deploy(&path, &url, &key).await })
        };
        // Somewhere between two requests, right after another transaction was mined.
        while !run.is_finished() && nonce(&anvil, &key).await < mined {
            tokio::task::yield_now().await;
        }
        proxy.set(Fault::Drop);
        match run.await.unwrap() {
            Ok(_) => break,
            Err(error) => assert_eq!(error.code(), "chain/unreachable", "{error}"),
        }
        assert!(!path.exists(), "a half-done deployment has no deployment file");
        interrupted += 1;
    }
    assert!(interrupted > 1, "runs were cut off");
    let deployed = deploy(&path, &anvil.rpc_url(), &key).await.unwrap();
    assert_eq!(nonce(&anvil, &key).await, TRANSACTIONS as u64, "no transaction was sent twice");
    let again = deploy(&path, &anvil.rpc_url(), &key).await.unwrap();
    assert_eq!(again, Deployed { transactions: 0, deployment: deployed.deployment });
}

#[tokio::test]
async fn a_stuck_creation_is_replaced_by_the_next_run() {
    let anvil = Anvil::start().await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let (path, key) = (directory.path().join("deployment.json"), anvil.key(0));
    anvil.set_automine(false).await.unwrap();
    let url = anvil.rpc_url();
    let stuck = tokio::time::timeout(std::time::Duration::from_secs(2), deploy(&path, &url, &key));
    stuck.await.expect_err("nothing is mined");
    anvil.set_automine(true).await.unwrap();
    let other = SigningKey::from_bytes(&[0x33; 32]).unwrap();
    let error = deploy(&path, &anvil.rpc_url(), &other).await.unwrap_err();
    assert_eq!(error.code(), "deployment/conflict", "half a deployment belongs to whoever began it: {error}");
    let deployed = deploy(&path, &anvil.rpc_url(), &key).await.unwrap();
    assert_eq!(nonce(&anvil, &key).await, TRANSACTIONS as u64);
    assert_eq!(Deployment::load(&path).unwrap(), deployed.deployment);
}

#[tokio::test]
async fn a_chain_that_forgot_half_a_deployment_gets_the_rest_anew() {
    let anvil = Anvil::start().await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let (path, key) = (directory.path().join("deployment.json"), anvil.key(0));
    let snapshot = anvil.snapshot().await.unwrap();
    anvil.set_automine(false).await.unwrap();
    let url = anvil.rpc_url();
    let half = tokio::time::timeout(std::time::Duration::from_secs(2), deploy(&path, &url, &key));
    half.await.expect_err("nothing is mined");
    anvil.mine(1).await.unwrap();
    anvil.revert(snapshot).await.unwrap();
    anvil.set_automine(true).await.unwrap();
    let deployed = deploy(&path, &anvil.rpc_url(), &key).await.unwrap();
    let chain = RpcChain::new(RpcConfig::new(anvil.rpc_url()), deployed.deployment).unwrap();
    chain.verify().await.unwrap();
}

#[tokio::test]
async fn other_code_at_an_address_is_not_the_contract() {
    let anvil = Anvil::start().await.unwrap();
    let config = RpcConfig::new(anvil.rpc_url());
    let deployment = lode_contracts::deploy(&config, &anvil.key(0), &parameters(), None).await.unwrap();
    let wrong_code = |deployment: Deployment| {
        let chain = RpcChain::new(config.clone(), deployment).unwrap();
        async move { chain.verify().await.unwrap_err() }
    };
    // Contracts taken for each other, with and without recorded hashes.
    let swapped =
        Deployment { slashing: deployment.rewards, rewards: deployment.slashing, ..deployment.clone() };
    let error = wrong_code(swapped.clone()).await;
    assert_eq!((error.class(), error.code().as_str()), (ErrorClass::Fatal, "chain/wrong-code"));
    let unrecorded = Deployment { code_hashes: Default::default(), ..swapped };
    assert!(matches!(wrong_code(unrecorded).await, ChainError::WrongCode { contract: "Slashing", .. }));
    // The same source with other immutable values: only the recorded hash tells.
    let other = DeployParameters { min_stake_per_unit: Amount::tokens(11), ..parameters() };
    let twin = lode_contracts::deploy(&config, &anvil.key(0), &other, None).await.unwrap();
    let mixed = Deployment { registry: twin.registry, ..deployment.clone() };
    assert!(matches!(
        wrong_code(mixed.clone()).await,
        ChainError::WrongCode { contract: "ComputeRegistry", .. }
    ));
    let unrecorded = Deployment { code_hashes: Default::default(), ..mixed };
    RpcChain::new(config.clone(), unrecorded).unwrap().verify().await.unwrap();
    // A client of other sources trusts the hash that was recorded.
    let mut moved = deployment.clone();
    moved.code_hashes.insert("Rewards".to_owned(), Digest([1; 32]));
    assert!(matches!(wrong_code(moved).await, ChainError::WrongCode { contract: "Rewards", .. }));
    assert_eq!(RpcChain::new(config, deployment).unwrap().contracts().block, 1);
}
