//! From the request that submits a task to the moments at which Docker created and started its container, by Docker's
//! own clock; beside it what the engine takes for the same without a pool, turn and turn about.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bollard::models::{
    ContainerCreateBody, EndpointSettings, HostConfig, NetworkCreateRequest, NetworkingConfig,
};
use bollard::query_parameters::{
    CreateContainerOptions, RemoveContainerOptionsBuilder, StartContainerOptions,
};
use lode_e2e::engine::BATCH_IMAGE;
use lode_e2e::forger::now;
use lode_e2e::pool::Pool;
use lode_e2e::tasks::{batch, on_node};
use lode_e2e::waiting::until;
use lode_protocol::units::Timestamp;

use crate::table::{Row, Table, percentile};

/// What one container took, in milliseconds.
#[derive(Default)]
struct Times {
    created: Vec<f64>,
    started: Vec<f64>,
}

/// What the engine's own calls took, in milliseconds.
#[derive(Default)]
struct Bare {
    network: Vec<f64>,
    create: Vec<f64>,
    start: Vec<f64>,
}

pub(crate) async fn run(tasks: u32) -> anyhow::Result<Table> {
    let pool = Pool::start().await?;
    let (mut through_pool, mut bare) = (Times::default(), Bare::default());
    for number in 0..tasks {
        run_bare(&pool, number, &mut bare).await?;
        run_task(&pool, &mut through_pool).await?;
    }
    pool.finish().await?;
    let Bare { network, create, start } = &mut bare;
    for values in [network, create, start, &mut through_pool.created, &mut through_pool.started] {
        values.sort_by(f64::total_cmp);
    }
    let usual = |values: &[f64]| percentile(values, 0.5);
    let all_three = usual(&bare.network) + usual(&bare.create) + usual(&bare.start);
    let row = |name: &str, value, baseline, target| Row {
        name: name.to_owned(),
        value,
        unit: "ms",
        baseline,
        target,
    };
    let create = Some((usual(&bare.create), "bare create, p50"));
    let started = Some((all_three, "bare network + create + start, p50"));
    let rows = vec![
        row("submit to created, p50", percentile(&through_pool.created, 0.5), create, None),
        row("submit to created, p99", percentile(&through_pool.created, 0.99), create, None),
        row("submit to created, p99, in itself", percentile(&through_pool.created, 0.99), None, Some(50.0)),
        row("submit to started, p50", percentile(&through_pool.started, 0.5), started, Some(1.15)),
        row("submit to started, p99", percentile(&through_pool.started, 0.99), started, None),
        row("bare create, p99", percentile(&bare.create, 0.99), create, None),
        row("bare network create, p50", usual(&bare.network), create, None),
    ];
    Ok(Table { title: format!("dispatch: {tasks} tasks, one after the other"), rows })
}

async fn run_task(pool: &Pool, times: &mut Times) -> anyhow::Result<()> {
    let node = pool.node("worker-1")?;
    let asked = now();
    let task = pool.submit(&on_node(batch("bench", 1, &["--sleep", "600"]), node)).await?;
    let (created, started) = until("the container runs", Duration::from_secs(60), async || {
        let containers = pool.engine().containers(node).await?;
        let ours = containers.iter().find(|container| container.assignment.starts_with(&task));
        let id = &ours.context("no container")?.id;
        let inspected = pool.engine().inspect(id).await?.context("gone")?;
        let state = inspected.state.context("no state")?;
        anyhow::ensure!(state.running == Some(true), "it does not run yet");
        let created: Timestamp = inspected.created.context("no time of creation")?.to_string().parse()?;
        let started: Timestamp = state.started_at.context("no time of start")?.parse()?;
        Ok((created, started))
    })
    .await?;
    times.created.push(created.0.saturating_sub(asked.0) as f64);
    times.started.push(started.0.saturating_sub(asked.0) as f64);
    pool.remove(&task).await
}

/// The same container in a network of its own, without a pool.
async fn run_bare(pool: &Pool, number: u32, times: &mut Bare) -> anyhow::Result<()> {
    let docker = pool.engine().client();
    let name = format!("lode-bench-{}-{number}", std::process::id());
    let milliseconds = |began: Instant| began.elapsed().as_secs_f64() * 1e3;
    let began = Instant::now();
    let request = NetworkCreateRequest {
        name: name.clone(),
        driver: Some("bridge".to_owned()),
        ..NetworkCreateRequest::default()
    };
    docker.create_network(request).await?;
    times.network.push(milliseconds(began));
    let body = ContainerCreateBody {
        image: Some(format!("{BATCH_IMAGE}:latest")),
        cmd: Some(["--limit", "1000", "--sleep", "600"].map(str::to_owned).to_vec()),
        host_config: Some(HostConfig { network_mode: Some(name.clone()), ..HostConfig::default() }),
        networking_config: Some(NetworkingConfig {
            endpoints_config: Some(HashMap::from([(name.clone(), EndpointSettings::default())])),
        }),
        ..ContainerCreateBody::default()
    };
    let began = Instant::now();
    let created = docker.create_container(None::<CreateContainerOptions>, body).await?;
    times.create.push(milliseconds(began));
    let began = Instant::now();
    docker.start_container(&created.id, None::<StartContainerOptions>).await?;
    times.start.push(milliseconds(began));
    let force = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
    docker.remove_container(&created.id, Some(force)).await?;
    docker.remove_network(&name).await?;
    Ok(())
}
