//! Parts of a host or of the pool fail: it is said, it recovers, and no task is stopped.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use lode_e2e::nodes::findings;
use lode_e2e::pool::Pool;
use lode_e2e::tasks::{Running, batch, on_node, service};
use lode_e2e::waiting::{step, throughout, until};
use lode_testkit::proxy::Fault;
use lode_testkit::unix_proxy::UnixProxy;
use serde_json::Value;

const SOON: Duration = Duration::from_secs(40);

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_on_a_host_is_told_and_recovers_and_stops_no_task() -> anyhow::Result<()> {
    let pool = Pool::start().await?;
    let socket = pool.folder().join("k.sock");
    let proxy = UnixProxy::start(&socket, pool.engine().socket())?;
    pool.reconfigure("worker-1", |config| {
        let settings = [("socket", socket.display().to_string()), ("resync_interval", "2s".to_owned())];
        let table =
            settings.into_iter().map(|(key, value)| (key.to_owned(), value.into())).collect::<toml::Table>();
        config.insert("docker".to_owned(), toml::Value::Table(table));
    })
    .await?;
    pool.until_well(SOON).await?;
    let running = pool.run(&on_node(service("stays", 2), pool.node("worker-1")?)).await?;
    a_gpu_falls_off_the_bus(&pool, &running).await?;
    the_nvml_library_is_missing(&pool, &running).await?;
    docker_is_gone(&pool, &running, &proxy, Fault::Drop).await?;
    docker_is_gone(&pool, &running, &proxy, Fault::BlackHole).await?;
    pool.until_well(SOON).await?;
    pool.still_runs(&running).await?;
    pool.remove(&running.task).await?;
    pool.all_stayed_up().await?;
    pool.finish().await
}

/// Changes the simulated machine; whole or not at all.
fn change_machine(pool: &Pool, change: impl FnOnce(&mut Value)) -> anyhow::Result<()> {
    let path = pool.root().join("gpus/worker-1/liblode_nvml_mock.so.json");
    let mut machine: Value = serde_json::from_slice(&std::fs::read(&path)?)?;
    change(&mut machine);
    let fresh = path.with_extension("fresh");
    std::fs::write(&fresh, serde_json::to_vec_pretty(&machine)?)?;
    Ok(std::fs::rename(fresh, path)?)
}

fn set_lost(pool: &Pool, uuid: &str, lost: bool) -> anyhow::Result<()> {
    change_machine(pool, |machine| {
        for gpu in machine["gpus"].as_array_mut().into_iter().flatten().filter(|gpu| gpu["uuid"] == uuid) {
            gpu["lost"] = Value::Bool(lost);
        }
    })
}

async fn gpu_state(pool: &Pool, uuid: &str) -> anyhow::Result<Value> {
    let view = pool.node_view(pool.node("worker-1")?).await?;
    let gpu = view["gpus"].as_array().into_iter().flatten().find(|gpu| gpu["uuid"] == uuid);
    Ok(gpu.context("the node does not list it any more")?["state"].clone())
}

async fn a_gpu_falls_off_the_bus(pool: &Pool, running: &Running) -> anyhow::Result<()> {
    step("a GPU in use falls off the bus");
    let gpus = running.gpus();
    let lost = gpus.first().context("it has GPUs")?;
    set_lost(pool, lost, true)?;
    let finding = pool.until_worker_finds("worker-1", "gpu/lost", SOON).await?;
    ensure!(finding["subject"] == lost.as_str(), "{finding}");
    until("the orchestrator knows", SOON, async || {
        let state = gpu_state(pool, lost).await?;
        ensure!(state == "quarantined", "it is {state}");
        Ok(())
    })
    .await?;
    pool.still_runs(running).await?;
    step("its neighbours are used");
    let neighbour = pool.run(&on_node(service("neighbour", 6), pool.node("worker-1")?)).await?;
    ensure!(!neighbour.gpus().contains(lost));
    pool.remove(&neighbour.task).await?;
    step("it is back");
    set_lost(pool, lost, false)?;
    until("it is healthy again", Duration::from_secs(90), async || {
        let state = gpu_state(pool, lost).await?;
        ensure!(state == "healthy", "it is {state}");
        Ok(())
    })
    .await?;
    pool.still_runs(running).await
}

async fn the_nvml_library_is_missing(pool: &Pool, running: &Running) -> anyhow::Result<()> {
    step("the NVML library is missing when the worker starts");
    let library = pool.root().join("gpus/worker-1/liblode_nvml_mock.so");
    let aside = library.with_extension("aside");
    pool.stop_program("worker-1").await?;
    std::fs::rename(&library, &aside)?;
    pool.start_program("worker-1").await?;
    let finding = pool.until_worker_finds("worker-1", "gpu/library-missing", SOON).await?;
    ensure!(finding["remedy"].as_str().is_some_and(|remedy| !remedy.is_empty()), "{finding}");
    throughout("its task runs", Duration::from_secs(5), async || pool.still_runs(running).await).await?;
    let status = pool.worker_status("worker-1").await?;
    ensure!(status["session"]["state"] == "open", "{status}");
    step("the library is back");
    std::fs::rename(&aside, &library)?;
    until("nothing is found any more", Duration::from_secs(60), async || {
        let status = pool.worker_status("worker-1").await?;
        let found = findings(&status).find(|finding| finding["code"] == "gpu/library-missing");
        ensure!(found.is_none(), "{found:?}");
        Ok(())
    })
    .await?;
    pool.until_well(SOON).await?;
    pool.still_runs(running).await
}

async fn docker_is_gone(pool: &Pool, running: &Running, proxy: &UnixProxy, how: Fault) -> anyhow::Result<()> {
    step(&format!("Docker is gone ({how:?})"));
    proxy.set(how);
    // A silent engine is told from a slow one by its deadline only.
    pool.until_worker_finds("worker-1", "docker/unavailable", Duration::from_secs(100)).await?;
    let status = pool.worker_status("worker-1").await?;
    ensure!(status["engine"]["state"] == "unavailable", "{}", status["engine"]);
    ensure!(status["session"]["state"] == "open", "{}", status["session"]);
    let waits = pool.submit(&on_node(batch("waits", 1, &[]), pool.node("worker-1")?)).await?;
    throughout("the task runs and its node is heard of", Duration::from_secs(15), async || {
        pool.still_runs(running).await?;
        let view = pool.node_view(pool.node("worker-1")?).await?;
        ensure!(view["state"] == "alive", "the node is {}", view["state"]);
        let assignment = pool.task(&running.task).await?["assignments"][0].clone();
        ensure!(assignment["state"] == "running", "the orchestrator says {assignment}");
        Ok(())
    })
    .await?;
    proxy.set(Fault::Pass);
    pool.until_task(&waits, "succeeded", Duration::from_secs(90)).await?;
    pool.until_well(SOON).await?;
    pool.still_runs(running).await?;
    pool.remove(&waits).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_without_directory_or_chain_runs_on_and_says_so() -> anyhow::Result<()> {
    let pool = Pool::start().await?;
    let running = pool.run(&service("stays", 1)).await?;

    step("all directories are down");
    pool.kill_program("discovery").await?;
    pool.until_status("the orchestrator says so", SOON, |status| {
        status["discovery"]
            .as_array()
            .is_some_and(|all| !all.is_empty() && all.iter().all(|one| one["ok"] == false))
    })
    .await?;
    pool.until_worker_finds("worker-1", "discovery/unreachable", Duration::from_secs(120)).await?;
    let meanwhile = pool.submit(&batch("without-directory", 1, &[])).await?;
    pool.until_task(&meanwhile, "succeeded", SOON).await?;
    pool.still_runs(&running).await?;
    pool.start_program("discovery").await?;
    pool.until_well(SOON).await?;

    step("the chain is down");
    pool.kill_program("anvil").await?;
    pool.until_status("the orchestrator says so", Duration::from_secs(90), |status| {
        status["chain"]["fresh"] == false
    })
    .await?;
    for worker in ["worker-1", "worker-2"] {
        until(&format!("{worker} says so"), Duration::from_secs(90), async || {
            let status = pool.worker_status(worker).await?;
            ensure!(status["membership"]["chain_fresh"] == false, "{}", status["membership"]);
            ensure!(status["session"]["state"] == "open", "{}", status["session"]);
            Ok(())
        })
        .await?;
    }
    step("work goes on; new work waits and says why");
    let waits = pool.submit(&batch("without-chain", 1, &[])).await?;
    let explanation = pool.api().get(&format!("/v1/tasks/{waits}/explain")).await?;
    ensure!(explanation["blocked"]["code"] == "pool/view-stale", "{explanation}");
    throughout("the task runs", Duration::from_secs(5), async || pool.still_runs(&running).await).await?;
    pool.start_program("anvil").await?;
    pool.until_task(&waits, "succeeded", Duration::from_secs(60)).await?;
    pool.until_well(SOON).await?;
    pool.still_runs(&running).await?;
    pool.all_stayed_up().await?;
    pool.finish().await
}
