//! From the request that submits a task to the moment at which Docker created its container, by Docker's own clock.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use bollard::models::ContainerCreateBody;
use bollard::query_parameters::{CreateContainerOptions, RemoveContainerOptions};
use lode_e2e::engine::BATCH_IMAGE;
use lode_e2e::forger::now;
use lode_e2e::pool::Pool;
use lode_e2e::tasks::{batch, on_node};
use lode_e2e::waiting::until;
use lode_protocol::units::Timestamp;

use crate::table::{Row, Table, percentile};

pub(crate) async fn run(tasks: u32) -> anyhow::Result<Table> {
    let pool = Pool::start().await?;
    let node = pool.node("worker-1")?;
    let mut through_pool = Vec::new();
    let mut bare = Vec::new();
    // Turn and turn about: whatever else the machine does, it does to both.
    for _ in 0..tasks {
        bare.push(bare_create(&pool).await?);
        let asked = now();
        let task = pool.submit(&on_node(batch("bench", 1, &["--sleep", "600"]), node)).await?;
        let created = until("the container is there", Duration::from_secs(60), async || {
            let containers = pool.engine().containers(node).await?;
            let ours = containers.iter().find(|container| container.assignment.starts_with(&task));
            let id = &ours.context("no container")?.id;
            let inspected = pool.engine().inspect(id).await?.context("gone")?;
            inspected.created.context("no time of creation")
        })
        .await?;
        let created: Timestamp = created.to_string().parse()?;
        let milliseconds = created.0.saturating_sub(asked.0) as f64;
        through_pool.push(milliseconds);
        pool.remove(&task).await?;
    }
    through_pool.sort_by(f64::total_cmp);
    bare.sort_by(f64::total_cmp);
    let row = |name: &str, share: f64, target| Row {
        name: name.to_owned(),
        value: percentile(&through_pool, share),
        unit: "ms",
        baseline: Some((percentile(&bare, share), "bare docker create")),
        target,
    };
    let rows = vec![row("submit to created, p50", 0.5, None), row("submit to created, p99", 0.99, None)];
    pool.finish().await?;
    Ok(Table { title: format!("submit-latency: {tasks} tasks, one after the other"), rows })
}

/// Milliseconds that the engine takes to create the same container without a pool.
async fn bare_create(pool: &Pool) -> anyhow::Result<f64> {
    let docker = pool.engine().client();
    let body = ContainerCreateBody {
        image: Some(format!("{BATCH_IMAGE}:latest")),
        ..ContainerCreateBody::default()
    };
    let began = Instant::now();
    let created = docker.create_container(None::<CreateContainerOptions>, body).await?;
    let took = began.elapsed();
    docker.remove_container(&created.id, None::<RemoveContainerOptions>).await?;
    ensure!(!created.id.is_empty());
    Ok(took.as_secs_f64() * 1e3)
}
