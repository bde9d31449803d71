//! Nodes that are emptied, thrown out, or go.

use std::time::Duration;

use anyhow::ensure;
use lode_contracts::{ChainReader as _, MembershipState};
use lode_e2e::pool::Pool;
use lode_e2e::tasks::{batch, on_node, service};
use lode_e2e::waiting::{step, until};
use lode_protocol::ids::NodeId;

const SOON: Duration = Duration::from_secs(60);

async fn until_on_chain(pool: &Pool, node: NodeId, wanted: MembershipState) -> anyhow::Result<()> {
    let (chain, id) = (pool.chain()?, pool.pool_id()?);
    until(&format!("{node} is {wanted:?} on chain"), SOON, async || {
        let membership = chain.membership(id, node).await?;
        ensure!(membership.state == wanted, "{membership:?}");
        Ok(())
    })
    .await
}

async fn until_empty(pool: &Pool, node: NodeId) -> anyhow::Result<()> {
    until("nothing of the node is left on the engine", SOON, async || {
        let (containers, networks) =
            (pool.engine().containers(node).await?, pool.engine().networks(node).await?);
        ensure!(containers.is_empty() && networks.is_empty(), "{containers:?} {networks:?}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_drained_ejected_readmitted_and_leaves() -> anyhow::Result<()> {
    let pool = Pool::start().await?;
    let (first, second) = (pool.node("worker-1")?, pool.node("worker-2")?);

    step("drain: the service moves before it stops, the batch task finishes, nothing new comes");
    let computes = pool.run(&on_node(batch("computes", 1, &["--sleep", "8"]), first)).await?;
    pool.api().post(&format!("/v1/nodes/{second}/drain"), None).await?;
    let serves = pool.run(&service("serves", 1)).await?;
    ensure!(serves.node() == first.to_string(), "a drained node was given work");
    pool.api().post(&format!("/v1/nodes/{second}/undrain"), None).await?;
    pool.lode_text(&["node", "drain", &first.to_string()]).await?;
    let moved = until("the service runs on the other node", SOON, async || {
        let running = pool.until_runs(&serves.task, Duration::ZERO).await?;
        ensure!(running.node() == second.to_string(), "it runs on {}", running.node());
        Ok(running)
    })
    .await?;
    pool.until_task(&computes.task, "succeeded", SOON).await?;
    until_empty(&pool, first).await?;
    pool.lode_text(&["node", "undrain", &first.to_string()]).await?;
    pool.still_runs(&moved).await?;

    step("eject: its work runs elsewhere, the chain knows, its messages are refused");
    pool.lode_text(&["node", "eject", &second.to_string(), "--yes"]).await?;
    let back = until("the service runs on the first node", SOON, async || {
        let running = pool.until_runs(&serves.task, Duration::ZERO).await?;
        ensure!(running.node() == first.to_string(), "it runs on {}", running.node());
        Ok(running)
    })
    .await?;
    until_empty(&pool, second).await?;
    until_on_chain(&pool, second, MembershipState::Ejected).await?;
    pool.until_worker_finds("worker-2", "node/ejected", SOON).await?;
    ensure!(pool.node_view(second).await?["state"] == "ejected");

    step("readmit: it joins again, without coins");
    until("the orchestrator knows that it is ejected on chain", SOON, async || {
        pool.api().post(&format!("/v1/nodes/{second}/readmit"), None).await.map(drop)
    })
    .await?;
    pool.until_node(second, "alive", Duration::from_secs(120)).await?;
    until_on_chain(&pool, second, MembershipState::Member).await?;
    let again = pool.run(&on_node(service("again", 1), second)).await?;
    pool.remove(&again.task).await?;

    step("leave: its work moves away, then the chain knows");
    pool.still_runs(&back).await?;
    let leave = tokio::process::Command::new(lode_e2e::programs::path("lode-worker")?)
        .arg("--config")
        .arg(pool.config_path("worker-1"))
        .arg("leave")
        .output()
        .await?;
    ensure!(leave.status.success(), "{leave:?}");
    until_on_chain(&pool, first, MembershipState::Left).await?;
    until("the service runs on the second node", SOON, async || {
        let running = pool.until_runs(&serves.task, Duration::ZERO).await?;
        ensure!(running.node() == second.to_string(), "it runs on {}", running.node());
        Ok(())
    })
    .await?;
    until_empty(&pool, first).await?;
    pool.all_stayed_up().await?;
    pool.finish().await
}
