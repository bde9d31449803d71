//! CPU of the orchestrator's process per beat, with beats signed beforehand, beside the cost of one bare signature check.
//!
//! Each node has a connection of its own, as in a fleet. The load generator's CPU is not counted.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use lode_e2e::forger::{Answer, Forger};
use lode_e2e::pool::Pool;
use lode_network::{Endpoint, EndpointConfig, FramedStream, NetworkMetrics, PeerAddress, Protocol};
use lode_protocol::ids::BootCounter;
use lode_protocol::keys::SigningKey;
use lode_protocol::session::Granted;
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::process::{bare_verify_seconds, cpu_seconds, pid_of};
use crate::table::{Row, Table};

const LIMIT: Duration = Duration::from_secs(30);
const BOOT: BootCounter = BootCounter(1);
/// Frames under way on one connection; the orchestrator reads no more before it has answered.
const UNDER_WAY: usize = 4;

/// A node that only beats.
struct Node {
    forger: Forger,
    stream: FramedStream,
    granted: Granted,
    // The connection ends with it.
    _endpoint: Endpoint,
    _stop: DropGuard,
}

/// What a burst cost.
struct Burst {
    cpu: f64,
    wall: f64,
}

pub(crate) async fn run(nodes: u32, beats: u32) -> anyhow::Result<Table> {
    let pool = Pool::start().await?;
    // Two workers that beat every 2 s stay below what is measured by three orders of magnitude.
    let pid = pid_of(&pool, "orchestrator").await?;
    let over_libp2p = libp2p(&pool, pid, nodes, beats).await?;
    let over_http = http(&pool, pid, nodes, beats).await?;
    let verify = bare_verify_seconds()? * 1e6;
    let count = f64::from(nodes) * f64::from(beats);
    let row = |name: &str, burst: &Burst, target: f64| Row {
        name: format!("orchestrator CPU per beat, {name}"),
        value: burst.cpu / count * 1e6,
        unit: "µs",
        baseline: Some((verify, "one bare signature check")),
        target: Some(target),
    };
    let rate = |name: &str, burst: &Burst| Row {
        name: format!("beats accepted per second, {name}"),
        value: count / burst.wall,
        unit: "1/s",
        baseline: None,
        target: None,
    };
    let rows = vec![
        row("libp2p", &over_libp2p, 2.0),
        rate("libp2p", &over_libp2p),
        row("HTTP", &over_http, 3.0),
        rate("HTTP", &over_http),
    ];
    pool.finish().await?;
    Ok(Table { title: format!("heartbeat: {nodes} nodes, {beats} beats each, signed beforehand"), rows })
}

fn key(series: u8, number: u32) -> anyhow::Result<SigningKey> {
    let mut bytes = [series; 32];
    bytes[28..].copy_from_slice(&number.to_be_bytes());
    Ok(SigningKey::from_bytes(&bytes)?)
}

async fn libp2p(pool: &Pool, pid: u64, nodes: u32, beats: u32) -> anyhow::Result<Burst> {
    let config = pool.config("orchestrator")?;
    let listen =
        config.get("wire").and_then(|wire| wire.get("listen")?.get(0)?.as_str()).context("no address")?;
    let address: PeerAddress = listen.parse()?;
    let mut ready = Vec::new();
    for number in 0..nodes {
        let node = dial(pool, key(1, number)?, &address).await?;
        let sealed: Vec<Vec<u8>> = sealed(&node.forger, &node.granted, beats);
        ready.push((node, sealed));
    }
    let (cpu, began) = (cpu_seconds(pid)?, Instant::now());
    let mut all = JoinSet::new();
    for (node, sealed) in ready {
        all.spawn(beat_over_stream(node, sealed));
    }
    while let Some(done) = all.join_next().await {
        done??;
    }
    Ok(Burst { cpu: cpu_seconds(pid)? - cpu, wall: began.elapsed().as_secs_f64() })
}

async fn dial(pool: &Pool, key: SigningKey, address: &PeerAddress) -> anyhow::Result<Node> {
    let forger = Forger::new(pool, key)?;
    let settings = EndpointConfig { listen: Vec::new(), ..EndpointConfig::default() };
    let (endpoint, task) = Endpoint::bind(settings, &forger.key, NetworkMetrics::default()).await?;
    let stop = CancellationToken::new();
    tokio::spawn(task.run(stop.clone()));
    let connection = endpoint.connect(address, Some(forger.orchestrator), LIMIT).await?;
    let mut stream = endpoint.open(connection.id, Protocol::Session, LIMIT).await?;
    stream.send(&forger.seal(&forger.hello(BOOT)).bytes, LIMIT).await?;
    let answer = stream.receive(LIMIT).await?.context("the stream ended")?;
    let Answer::Granted(granted) = forger.read(&answer)? else {
        bail!("no session: {:?}", forger.read(&answer)?)
    };
    Ok(Node { forger, stream, granted, _endpoint: endpoint, _stop: stop.drop_guard() })
}

fn sealed(forger: &Forger, granted: &Granted, beats: u32) -> Vec<Vec<u8>> {
    let beat = |number| forger.seal(&forger.beat(granted, BOOT, number, None)).bytes;
    (1..=u64::from(beats)).map(beat).collect()
}

async fn beat_over_stream(mut node: Node, sealed: Vec<Vec<u8>>) -> anyhow::Result<()> {
    let mut waiting = 0;
    for beat in &sealed {
        if waiting == UNDER_WAY {
            node.stream.receive(LIMIT).await?.context("the stream ended")?;
            waiting -= 1;
        }
        node.stream.send(beat, LIMIT).await?;
        waiting += 1;
    }
    while waiting > 0 {
        let answer = node.stream.receive(LIMIT).await?.context("the stream ended")?;
        waiting -= 1;
        // Answers are not opened while it counts: one is, to know that they are not refusals.
        if waiting == 0 {
            ensure!(matches!(node.forger.read(&answer)?, Answer::Instruction(_)), "a beat was refused");
        }
    }
    Ok(())
}

async fn http(pool: &Pool, pid: u64, nodes: u32, beats: u32) -> anyhow::Result<Burst> {
    let mut ready = Vec::new();
    for number in 0..nodes {
        let forger = Forger::new(pool, key(2, number)?)?;
        let granted = forger.open_session(BOOT).await?;
        let sealed = sealed(&forger, &granted, beats);
        ready.push((forger, sealed));
    }
    let (cpu, began) = (cpu_seconds(pid)?, Instant::now());
    let mut all = JoinSet::new();
    for (forger, sealed) in ready {
        all.spawn(async move {
            for beat in sealed {
                let answer = forger.post(beat).await?;
                ensure!(matches!(answer, Answer::Instruction(_)), "a beat was refused: {answer:?}");
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = all.join_next().await {
        done??;
    }
    Ok(Burst { cpu: cpu_seconds(pid)? - cpu, wall: began.elapsed().as_secs_f64() })
}
