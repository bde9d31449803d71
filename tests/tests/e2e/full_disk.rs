//! The data directories of the orchestrator and of a worker are full. Needs root: the disks are mounted for the test.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use lode_e2e::nodes::findings;
use lode_e2e::pool::Pool;
use lode_e2e::tasks::{batch, on_node, service};
use lode_e2e::waiting::{step, throughout, until};
use serde_json::json;

const SOON: Duration = Duration::from_secs(40);

#[tokio::test(flavor = "multi_thread")]
async fn a_full_data_directory_refuses_what_is_new_and_stops_no_task() -> anyhow::Result<()> {
    let mut preparation = Pool::prepare().await?;
    preparation.mount_small_disk("orchestrator", 32)?;
    preparation.mount_small_disk("worker-1", 32)?;
    let pool = preparation.start().await?;
    let (orchestrator, worker) = (pool.small_disk("orchestrator")?, pool.small_disk("worker-1")?);
    let node = pool.node("worker-1")?;
    let running = pool.run(&on_node(service("stays", 1), node)).await?;

    step("the orchestrator's disk is full: writes are refused, reads are served");
    orchestrator.fill()?;
    let problem = until("a write is refused", SOON, async || {
        let body = lode_e2e::tasks::submission(&batch("no-room", 1, &[]));
        let asked = pool.api().ask(reqwest::Method::POST, "/v1/tasks", Some(&body)).await?;
        asked.err().context("there is still room")
    })
    .await?;
    ensure!(problem.status == 503 && problem.code.starts_with("store/"), "{problem:?}");
    let status = pool.until_status("it says so", SOON, |status| status["store"]["ok"] == false).await?;
    ensure!(status["store"]["code"].as_str().is_some_and(|code| code.starts_with("store/")), "{status}");
    throughout("the task runs, reads are served", Duration::from_secs(15), async || {
        pool.still_runs(&running).await?;
        let task = pool.task(&running.task).await?;
        ensure!(task["state"] == "running", "{task}");
        Ok(())
    })
    .await?;
    orchestrator.empty()?;
    let later =
        until("writes are taken again", SOON, async || pool.submit(&batch("room", 1, &[])).await).await?;
    pool.until_task(&later, "succeeded", SOON).await?;
    pool.until_well(SOON).await?;
    pool.still_runs(&running).await?;

    step("the worker's disk is full: it says so, runs on, starts nothing new");
    worker.fill()?;
    let mut spec = on_node(batch("no-journal", 1, &[]), node);
    spec["labels"] = json!({ "why": "x".repeat(1_000) });
    // The journal may have room inside its file for some more: one task after the other, until it has none.
    let mut waits = pool.submit(&spec).await?;
    until("the worker finds store/full", SOON, async || {
        let status = pool.worker_status("worker-1").await?;
        if findings(&status).any(|finding| finding["code"] == "store/full") {
            return Ok(());
        }
        if pool.task(&waits).await?["state"] == "succeeded" {
            waits = pool.submit(&spec).await?;
        }
        anyhow::bail!("it finds {}", status["findings"])
    })
    .await?;
    throughout("the task runs", Duration::from_secs(10), async || pool.still_runs(&running).await).await?;
    worker.empty()?;
    pool.until_task(&waits, "succeeded", Duration::from_secs(90)).await?;
    pool.until_well(SOON).await?;
    pool.still_runs(&running).await?;
    pool.all_stayed_up().await?;
    pool.finish().await
}
