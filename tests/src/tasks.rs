//! Tasks of a pool: made of the example images, submitted and watched through the API.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use crate::engine::{BATCH_IMAGE, Container, SERVICE_IMAGE};
use crate::pool::Pool;
use crate::waiting::until;

/// A small batch task with these arguments on so many GPUs.
pub fn batch(name: &str, gpus: u32, arguments: &[&str]) -> Value {
    let mut all = vec!["--limit", "1000"];
    all.extend(arguments);
    json!({
        "name": name,
        "kind": "batch",
        "image": format!("{BATCH_IMAGE}:latest"),
        "pull": "never",
        "args": all,
        "stop_grace": "5s",
        "resources": { "gpus": gpus, "cpus": 0.2, "memory": "64MiB" },
    })
}

/// A service on so many GPUs that is ready at once.
pub fn service(name: &str, gpus: u32) -> Value {
    json!({
        "name": name,
        "kind": "service",
        "image": format!("{SERVICE_IMAGE}:latest"),
        "pull": "never",
        "args": ["--port", "8080"],
        "stop_grace": "5s",
        "resources": { "gpus": gpus, "cpus": 0.2, "memory": "64MiB" },
        "ports": [{ "name": "http", "container": 8080 }],
        "readiness": { "check": { "http": { "port": "http", "path": "/healthz" } }, "interval": "500ms" },
    })
}

/// Lets a task run only on this node.
pub fn on_node(mut spec: Value, node: lode_protocol::ids::NodeId) -> Value {
    spec["constraints"] = json!([{ "key": "node", "operator": "in", "values": [node.to_string()] }]);
    spec
}

/// A running replica: its assignment as the API shows it, and its container.
#[derive(Clone, Debug)]
pub struct Running {
    /// The task.
    pub task: String,
    /// The assignment.
    pub assignment: Value,
    /// The container.
    pub container: Container,
}

impl Running {
    /// The node that runs it.
    pub fn node(&self) -> &str {
        self.assignment["node"].as_str().unwrap_or_default()
    }

    /// The assignment's id.
    pub fn id(&self) -> &str {
        self.assignment["id"].as_str().unwrap_or_default()
    }

    /// Its GPUs.
    pub fn gpus(&self) -> Vec<String> {
        let gpus = self.assignment["gpus"].as_array().into_iter().flatten();
        gpus.filter_map(|gpu| gpu.as_str().map(str::to_owned)).collect()
    }
}

/// A task as it is submitted where nobody pays for it.
pub fn submission(spec: &Value) -> Value {
    serde_json::json!({ "spec": spec })
}

impl Pool {
    /// Submits a task; gives its id.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn submit(&self, spec: &Value) -> anyhow::Result<String> {
        let task = self.api().post("/v1/tasks", Some(&submission(spec))).await?;
        Ok(task["id"].as_str().context("the task has no id")?.to_owned())
    }

    /// A task as the API shows it.
    ///
    /// # Errors
    /// When the orchestrator does not answer, or there is none.
    pub async fn task(&self, id: &str) -> anyhow::Result<Value> {
        self.api().get(&format!("/v1/tasks/{id}")).await
    }

    /// Waits until a task is in a state.
    ///
    /// # Errors
    /// After `patience`: where it is instead.
    pub async fn until_task(&self, id: &str, state: &str, patience: Duration) -> anyhow::Result<Value> {
        until(&format!("the task is {state}"), patience, async || {
            let task = self.task(id).await?;
            ensure!(task["state"] == state, "it is {}: {}", task["state"], task["assignments"]);
            Ok(task)
        })
        .await
    }

    /// Submits a task and waits until its first replica runs.
    ///
    /// # Errors
    /// When it does not.
    pub async fn run(&self, spec: &Value) -> anyhow::Result<Running> {
        let id = self.submit(spec).await?;
        self.until_runs(&id, Duration::from_secs(60)).await
    }

    /// Waits until a replica of a task runs, in a container on the machine's engine.
    ///
    /// # Errors
    /// After `patience`.
    pub async fn until_runs(&self, id: &str, patience: Duration) -> anyhow::Result<Running> {
        until("the task runs", patience, async || {
            let task = self.task(id).await?;
            let assignments = task["assignments"].as_array().context("no assignments")?;
            let running = assignments.iter().find(|assignment| assignment["state"] == "running");
            let assignment =
                running.with_context(|| format!("nothing of it runs: {}", task["assignments"]))?.clone();
            let node = assignment["node"].as_str().context("no node")?.parse()?;
            let name = assignment["id"].as_str().context("no id")?;
            let container = self.engine().container_of(node, name).await?;
            Ok(Running { task: id.to_owned(), assignment, container })
        })
        .await
    }

    /// That a container is the very same and was not started again.
    ///
    /// # Errors
    /// When it is not.
    pub async fn still_runs(&self, running: &Running) -> anyhow::Result<()> {
        let now = self.engine().container_of(running.node().parse()?, running.id()).await?;
        ensure!(now == running.container, "the container was {:?} and is {now:?}", running.container);
        Ok(())
    }

    /// Deletes a task and waits until nothing of it is left.
    ///
    /// # Errors
    /// When that takes too long.
    pub async fn remove(&self, id: &str) -> anyhow::Result<()> {
        let path = format!("/v1/tasks/{id}");
        self.api().delete(&path).await?;
        until("the task is gone", Duration::from_secs(30), async || {
            match self.api().ask(reqwest::Method::GET, &path, None).await? {
                Err(problem) => {
                    ensure!(problem.code == "task/not-found", "{problem:?}");
                    Ok(())
                }
                Ok(task) => anyhow::bail!("it is {}", task["state"]),
            }
        })
        .await
    }
}
