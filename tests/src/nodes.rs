//! Nodes of a pool, and whether the whole pool is well.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use lode_protocol::ids::NodeId;
use lode_protocol::units::{Millis, Timestamp};
use serde_json::Value;

use crate::pool::Pool;
use crate::waiting::until;

/// A worker that was answered this recently talks to its orchestrator now: beats are 2 s apart.
const RECENT: Millis = Millis::seconds(5);

impl Pool {
    /// A node as the API shows it.
    ///
    /// # Errors
    /// When the orchestrator does not answer, or does not know it.
    pub async fn node_view(&self, node: NodeId) -> anyhow::Result<Value> {
        self.api().get(&format!("/v1/nodes/{node}")).await
    }

    /// Waits until a node is in a state.
    ///
    /// # Errors
    /// After `patience`.
    pub async fn until_node(&self, node: NodeId, state: &str, patience: Duration) -> anyhow::Result<Value> {
        until(&format!("node {node} is {state}"), patience, async || {
            let view = self.node_view(node).await?;
            ensure!(view["state"] == state, "it is {}", view["state"]);
            Ok(view)
        })
        .await
    }

    /// Waits until every part of the pool is well and talks to the others.
    ///
    /// # Errors
    /// After `patience`: what is not well.
    pub async fn until_well(&self, patience: Duration) -> anyhow::Result<()> {
        until("everything is well", patience, async || self.is_well().await).await
    }

    async fn is_well(&self) -> anyhow::Result<()> {
        let status = self.api().get("/v1/status").await?;
        ensure!(status["ready"] == true, "the orchestrator is not ready: {status}");
        ensure!(status["chain"]["fresh"] == true, "the orchestrator's view of the chain is stale: {status}");
        ensure!(status["store"]["ok"] == true, "the orchestrator's store: {status}");
        ensure!(status["outbox"]["blocked"].is_null(), "the outbox is blocked: {status}");
        let directories = status["discovery"].as_array().context("no discovery in the status")?;
        ensure!(directories.iter().all(|directory| directory["ok"] == true), "discovery: {status}");
        for worker in ["worker-1", "worker-2"] {
            let view = self.node_view(self.node(worker)?).await?;
            ensure!(view["state"] == "alive", "{worker} is {}", view["state"]);
            ensure!(view["membership"]["status"] == "member", "{worker}: {}", view["membership"]);
            self.worker_is_well(worker).await?;
        }
        for (program, section) in [("validator", Some("health")), ("discovery", None)] {
            let config = self.config(program)?;
            let table = section.and_then(|section| config.get(section)?.as_table()).unwrap_or(&config);
            let listen = table.get("listen").and_then(toml::Value::as_str).context("it listens nowhere")?;
            let client = reqwest::Client::builder().timeout(Duration::from_secs(2)).no_proxy().build()?;
            let answer = client.get(format!("http://{listen}/readyz")).send().await?;
            ensure!(answer.status().is_success(), "{program} is not ready: {}", answer.text().await?);
        }
        Ok(())
    }

    /// That a worker talks to its orchestrator, its chain and its engine, and finds nothing wrong.
    ///
    /// # Errors
    /// What is not so.
    pub async fn worker_is_well(&self, worker: &str) -> anyhow::Result<()> {
        let status = self.worker_status(worker).await?;
        ensure!(status["session"]["state"] == "open", "{worker}'s session: {}", status["session"]);
        let answered =
            status["session"]["last_answer_at"].as_str().unwrap_or_default().parse::<Timestamp>()?;
        let now = Timestamp(u64::try_from(
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_millis(),
        )?);
        ensure!(answered.plus(RECENT) > now, "{worker} was answered at {answered} last, it is {now}");
        ensure!(status["engine"]["state"] == "available", "{worker}'s engine: {}", status["engine"]);
        ensure!(status["membership"]["chain_fresh"] == true, "{worker}: {}", status["membership"]);
        let errors: Vec<&Value> =
            findings(&status).filter(|finding| finding["severity"] == "error").collect();
        ensure!(errors.is_empty(), "{worker} finds {errors:?}");
        Ok(())
    }

    /// Waits until a worker's status has a finding.
    ///
    /// # Errors
    /// After `patience`: what it finds instead.
    pub async fn until_worker_finds(
        &self,
        worker: &str,
        code: &str,
        patience: Duration,
    ) -> anyhow::Result<Value> {
        until(&format!("{worker} finds {code}"), patience, async || {
            let status = self.worker_status(worker).await?;
            let found = findings(&status).find(|finding| finding["code"] == code).cloned();
            found.with_context(|| format!("it finds {}", status["findings"]))
        })
        .await
    }

    /// Waits until the orchestrator's status satisfies `wanted`.
    ///
    /// # Errors
    /// After `patience`: the status.
    pub async fn until_status(
        &self,
        what: &str,
        patience: Duration,
        wanted: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Value> {
        until(what, patience, async || {
            let status = self.api().get("/v1/status").await?;
            ensure!(wanted(&status), "the status is {status}");
            Ok(status)
        })
        .await
    }
}

/// What a status finds wrong.
pub fn findings(status: &Value) -> impl Iterator<Item = &Value> {
    status["findings"].as_array().into_iter().flatten()
}
