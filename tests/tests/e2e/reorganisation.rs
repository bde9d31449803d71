//! Blocks are replaced: what they said never happened, and whoever believed it is as if it had never heard it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, ensure};
use lode_contracts::{ChainReader as _, Intent, PoolsCall, RegistryCall};
use lode_e2e::extra_program::ExtraProgram;
use lode_e2e::pool::Pool;
use lode_e2e::waiting::{step, until};
use lode_network::DirectoryClient;
use lode_protocol::descriptor::NodeDescriptor;
use lode_protocol::directory::DirectoryPage;
use lode_protocol::envelope::{Addressing, Audience, seal};
use lode_protocol::hardware::NodeSpecs;
use lode_protocol::ids::{BootCounter, NodeId};
use lode_protocol::keys::SigningKey;
use lode_protocol::units::{Millis, Timestamp};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(60);
/// Blocks that are replaced, at least.
const DEPTH: u64 = 5;

/// What a directory lists.
async fn listed(url: &str) -> anyhow::Result<DirectoryPage> {
    let client = reqwest::Client::builder().timeout(Duration::from_secs(5)).no_proxy().build()?;
    Ok(client.get(format!("{url}/v1/nodes")).send().await?.error_for_status()?.json().await?)
}

async fn until_listed(url: &str, wanted: &[NodeId]) -> anyhow::Result<DirectoryPage> {
    let mut wanted = wanted.to_vec();
    wanted.sort_unstable();
    until("the directory lists the right nodes", SOON, async || {
        let page = listed(url).await?;
        let nodes: Vec<NodeId> = page.nodes.iter().map(|entry| entry.node).collect();
        ensure!(nodes == wanted, "it lists {nodes:?}");
        Ok(page)
    })
    .await
}

/// A description of a machine without GPUs, as its worker would publish it.
fn description(pool: &Pool, key: &SigningKey) -> anyhow::Result<Vec<u8>> {
    let now = Timestamp(u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?);
    let lifetime = Millis::seconds(3_600);
    let descriptor = NodeDescriptor {
        node: NodeId(key.address()),
        specs: NodeSpecs::default(),
        addresses: Vec::new(),
        sealing_key: None,
        agent_version: "0".to_owned(),
        boot: BootCounter(1),
        sequence: 1,
        issued_at: now,
        expires_at: now.plus(lifetime),
    };
    let realm = pool.deployment()?.realm(pool.pool_id()?);
    let addressing = Addressing { audience: Audience::Any, realm, now, lifetime };
    Ok(seal(key, addressing, &descriptor).bytes)
}

/// What the orchestrator knows of its nodes from the chain.
async fn known_of_chain(pool: &Pool) -> anyhow::Result<Value> {
    let mut known = Vec::new();
    for node in pool.nodes()? {
        let view = pool.node_view(node).await?;
        known.push(json!({
            "node": view["id"], "provider": view["provider"], "state": view["state"],
            "membership": view["membership"],
        }));
    }
    let status = pool.api().get("/v1/status").await?;
    Ok(json!({ "nodes": known, "pool": status["pool"] }))
}

#[tokio::test(flavor = "multi_thread")]
async fn directory_and_orchestrator_are_then_what_a_fresh_sync_makes_of_the_chain() -> anyhow::Result<()> {
    let pool = Pool::start().await?;
    pool.until_well(SOON).await?;
    let [first, second] = pool.nodes()?;
    let stranger = SigningKey::from_bytes(&rand::random())?;
    let stranger_id = NodeId(stranger.address());
    let listen = pool.config("discovery")?["listen"].as_str().context("it listens nowhere")?.to_owned();
    let directory = format!("http://{listen}");
    let before = until_listed(&directory, &[first, second]).await?;

    step("one node leaves the registry, one the pool, one is registered and published");
    let chain = pool.chain()?;
    let height = chain.head().await?.number;
    let (owner, provider) = (pool.operator("owner")?, pool.operator("provider")?);
    provider.execute(Intent::Registry(RegistryCall::RemoveNode(first))).await?;
    owner.execute(Intent::Pools(PoolsCall::Eject { pool: pool.pool_id()?, node: second })).await?;
    provider.add_node(&stranger, 1).await?;
    let published = description(&pool, &stranger)?;
    DirectoryClient::new(&directory)?.publish(stranger_id, &published).await?;
    until_listed(&directory, &[second, stranger_id]).await?;
    until("the orchestrator has lost both", SOON, async || {
        let view = pool.node_view(first).await?;
        ensure!(view["membership"]["code"] == "node/not-registered", "{first}: {}", view["membership"]);
        let view = pool.node_view(second).await?;
        ensure!(view["state"] == "ejected", "{second} is {}: {}", view["state"], view["membership"]);
        Ok(())
    })
    .await?;

    let depth = chain.head().await?.number - height;
    pool.mine(DEPTH.saturating_sub(depth)).await?;
    let depth = chain.head().await?.number - height;
    step(&format!("{depth} blocks are replaced by empty ones"));
    pool.replace_blocks(depth).await?;
    ensure!(chain.node(first).await?.is_some() && chain.node(stranger_id).await?.is_none());
    let after = until_listed(&directory, &[first, second]).await?;
    let same = |one: &DirectoryPage, other: &DirectoryPage| {
        let of = |page: &DirectoryPage| -> Vec<_> {
            page.nodes.iter().map(|entry| (entry.node, entry.provider, entry.pool, entry.gpus)).collect()
        };
        of(one) == of(other)
    };
    ensure!(same(&before, &after), "{before:?}\n{after:?}");
    pool.until_well(SOON).await?;

    step("another directory that begins with nothing is given the same descriptions");
    let port = std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
    let fresh = format!("http://127.0.0.1:{port}");
    let folder = pool.folder().join("fresh-directory");
    std::fs::create_dir(&folder)?;
    let mut config = pool.config("discovery")?;
    config.insert("listen".to_owned(), format!("127.0.0.1:{port}").into());
    config.insert("data_dir".to_owned(), folder.to_str().context("the path is not text")?.into());
    let file = pool.folder().join("fresh-directory.toml");
    std::fs::write(&file, toml::to_string(&config)?)?;
    let arguments = vec!["--config".to_owned(), file.to_str().context("the path is not text")?.to_owned()];
    let mut program =
        ExtraProgram::new("lode-discovery", arguments, &pool.folder().join("fresh-directory.log"));
    program.start()?;
    until_listed(&fresh, &[]).await?;
    let client = DirectoryClient::new(&fresh)?;
    for entry in &after.nodes {
        client.publish(entry.node, &entry.descriptor).await?;
    }
    let refused = client.publish(stranger_id, &published).await;
    ensure!(refused.is_err(), "a node that was never registered is listed");
    let synced = until_listed(&fresh, &[first, second]).await?;
    ensure!(same(&after, &synced), "{after:?}\n{synced:?}");
    program.stop()?;

    step("the orchestrator reads everything again");
    let followed = known_of_chain(&pool).await?;
    pool.kill_program("orchestrator").await?;
    pool.start_program("orchestrator").await?;
    pool.until_well(SOON).await?;
    until("it knows the same as before", SOON, async || {
        let synced = known_of_chain(&pool).await?;
        ensure!(synced == followed, "{followed}\n{synced}");
        Ok(())
    })
    .await?;
    pool.finish().await
}
