//! A node is lost while its containers live, and comes back with what it ran, an orphan by then.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use lode_e2e::engine::PrivateEngine;
use lode_e2e::pool::Pool;
use lode_e2e::tasks::{on_node, service};
use lode_e2e::waiting::{step, throughout, until};
use rustix::process::Signal;
use serde_json::json;

/// `lost_after` of a dev pool.
const LEASE: Duration = Duration::from_secs(12);

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_nodes_task_runs_elsewhere_and_its_orphan_is_stopped() -> anyhow::Result<()> {
    // Outlives the pool: the worker's containers are on it.
    let private = PrivateEngine::start().await?;
    let pool = Pool::start().await?;
    let (home, away) = (pool.node("worker-1")?, pool.node("worker-2")?);
    let socket = private.engine().socket().display().to_string();
    pool.reconfigure("worker-2", |config| {
        config.insert(
            "docker".to_owned(),
            toml::Value::Table(toml::Table::from_iter([("socket".to_owned(), socket.into())])),
        );
    })
    .await?;
    pool.until_well(Duration::from_secs(40)).await?;

    step("a service runs on the node that will be lost");
    pool.api().post(&format!("/v1/nodes/{home}/drain"), None).await?;
    let task = pool.submit(&service("wanders", 1)).await?;
    let running = pool.until_task(&task, "running", Duration::from_secs(40)).await?;
    ensure!(running["assignments"][0]["node"] == away.to_string(), "{running}");
    let old = running["assignments"][0]["id"].as_str().context("no id")?.to_owned();
    let orphan = private.engine().container_of(away, &old).await?;
    pool.api().post(&format!("/v1/nodes/{home}/undrain"), None).await?;

    step("the worker freezes, its container lives");
    pool.signal("worker-2", Signal::STOP).await?;
    let elsewhere = pool.until_runs(&task, LEASE + Duration::from_secs(60)).await?;
    ensure!(elsewhere.node() == home.to_string(), "it runs on {}", elsewhere.node());
    ensure!(elsewhere.assignment["incarnation"].as_u64() > running["assignments"][0]["incarnation"].as_u64());
    ensure!(private.engine().container_of(away, &old).await? == orphan, "the orphan does not live");
    ensure!(pool.node_view(away).await?["state"] == "lost");

    step("the node thaws: its stale copy is stopped, its late reports change nothing");
    pool.signal("worker-2", Signal::CONT).await?;
    until("the stale copy is gone", Duration::from_secs(30), async || {
        let left = private.engine().containers(away).await?;
        ensure!(left.iter().all(|container| !container.running), "{left:?}");
        Ok(())
    })
    .await?;
    pool.until_node(away, "alive", Duration::from_secs(30)).await?;
    throughout("the new copy runs", Duration::from_secs(5), async || pool.still_runs(&elsewhere).await)
        .await?;
    let view = pool.task(&task).await?;
    let assignments = view["assignments"].as_array().context("no assignments")?;
    let stale = assignments.iter().find(|assignment| assignment["id"] == old.as_str());
    ensure!(stale.is_none_or(|assignment| assignment["state"] == "lost"), "{view}");
    let events = pool.api().get("/v1/events?limit=1000").await?;
    let refused = events["items"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|event| event["type"] == "report-refused" && event["assignment"] == json!(old));
    ensure!(refused.is_some(), "no late report was refused: {events}");

    step("both nodes are used again");
    let again = pool.submit(&on_node(service("returns", 1), away)).await?;
    pool.until_task(&again, "running", Duration::from_secs(40)).await?;
    pool.remove(&again).await?;
    pool.remove(&task).await?;
    ensure!(private.sweep(&[away]).await? == 0, "something was left on the private engine");
    pool.all_stayed_up().await?;
    pool.finish().await
}
