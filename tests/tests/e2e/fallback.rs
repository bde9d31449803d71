//! Workers that cannot reach libp2p's port speak over HTTP, with the same bytes.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use lode_e2e::pool::Pool;
use lode_e2e::tasks::{batch, on_node, service};
use lode_e2e::waiting::{step, until};
use lode_testkit::proxy::{Fault, FaultProxy};

async fn until_transport(pool: &Pool, transport: &str, patience: Duration) -> anyhow::Result<()> {
    until(&format!("worker-1 speaks {transport}"), patience, async || {
        let status = pool.worker_status("worker-1").await?;
        let session = &status["session"];
        ensure!(session["state"] == "open" && session["transport"] == transport, "{session}");
        pool.worker_is_well("worker-1").await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn http_carries_on_when_libp2p_is_blocked() -> anyhow::Result<()> {
    let pool = Pool::start().await?;
    let node = pool.node("worker-1")?;
    let config = pool.config("orchestrator")?;
    let wire = config.get("wire").context("no wire")?;
    let listen = wire["listen"][0].as_str().context("no address")?;
    let port: u16 = listen.rsplit('/').next().context("no port")?.parse()?;
    let http = format!("http://{}", wire["https"].as_str().context("no HTTP")?);
    let proxy = FaultProxy::start(([127, 0, 0, 1], port).into()).await?;
    let endpoints = [format!("/ip4/127.0.0.1/tcp/{}", proxy.address().port()), http];
    pool.reconfigure("worker-1", |config| {
        let endpoints = endpoints.map(toml::Value::from).to_vec();
        let table = toml::Table::from_iter([("endpoints".to_owned(), toml::Value::Array(endpoints))]);
        config.insert("orchestrator".to_owned(), toml::Value::Table(table));
    })
    .await?;
    until_transport(&pool, "libp2p", Duration::from_secs(30)).await?;
    let running = pool.run(&on_node(service("stays", 1), node)).await?;

    step("libp2p is cut: beats, orders, logs and stops go over HTTP");
    proxy.set(Fault::Drop);
    until_transport(&pool, "https", Duration::from_secs(30)).await?;
    pool.until_node(node, "alive", Duration::from_secs(30)).await?;
    pool.still_runs(&running).await?;
    let over_http = pool.run(&on_node(batch("over-http", 1, &["--sleep", "600"]), node)).await?;
    pool.api()
        .follow_until(&over_http.task, Duration::from_secs(20), |line| line.contains("waiting"))
        .await?;
    pool.api().post(&format!("/v1/tasks/{}/stop", over_http.task), None).await?;
    pool.until_task(&over_http.task, "stopped", Duration::from_secs(20)).await?;

    step("libp2p is back");
    proxy.set(Fault::Pass);
    until_transport(&pool, "libp2p", Duration::from_secs(120)).await?;
    pool.still_runs(&running).await?;
    pool.all_stayed_up().await?;
    pool.finish().await
}
