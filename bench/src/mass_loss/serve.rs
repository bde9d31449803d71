//! The orchestrator that is measured, and its nodes: some of them carry five assignments each and fall silent once
//! everything is placed; the others, a few more, go on beating.

use std::time::{Duration, Instant};

use anyhow::ensure;
use lode_orchestrator::driver::{Handle, Message};
use lode_orchestrator_core::event::{ConnectionId, Event};
use lode_orchestrator_core::view::{NodeState, PoolView};
use lode_program::install_crypto_provider;
use lode_protocol::ids::Term;
use lode_protocol::keys::SigningKey;
use lode_protocol::units::Timestamp;

use super::Place;
use crate::fleet::{Mix, beat, hello, node_id, provider, submit};
use crate::orchestrator::{Orchestrator, chain_with_pool};
use crate::shapes::batch;

/// Assignments of a node: 192 CPUs bear five of 38.
const PER_NODE: u32 = 5;
/// Replicas of one task, at most.
const REPLICAS: u32 = 10_000;
/// Between two beats of a node.
const BEAT: Duration = Duration::from_secs(10);
/// Portions in which the fleet beats within that time.
const PORTIONS: u32 = 100;
/// Longest that setting up may take at each of its stages.
const STAGE: Duration = Duration::from_secs(300);
/// Between two looks at how far it is.
const LOOK: Duration = Duration::from_millis(50);
/// Nodes that come at once, at most: fewer than the orchestrator keeps of those that it does not know.
const NEWCOMERS: u32 = 200;

struct Nodes {
    driver: Handle,
    term: Term,
    /// Numbers of those that beat.
    alive: Vec<u32>,
    sequence: u64,
}

impl Nodes {
    async fn say(&self, number: u32, event: Event) -> anyhow::Result<()> {
        let connection = ConnectionId(u64::from(number) + 1);
        let message = Message { event: Box::new(event), node: node_id(number), connection, asked: None };
        ensure!(self.driver.message(message).await, "the orchestrator has ended");
        Ok(())
    }

    /// Everybody beats once within the interval.
    async fn beat(&mut self) -> anyhow::Result<()> {
        self.sequence += 1;
        let portion = self.alive.len().div_ceil(usize::try_from(PORTIONS)?).max(1);
        let mut ticks = tokio::time::interval(BEAT / PORTIONS);
        for numbers in self.alive.chunks(portion) {
            ticks.tick().await;
            for number in numbers {
                self.say(*number, beat(*number, Mix::Uniform, self.term, self.sequence, None, vec![]))
                    .await?;
            }
        }
        Ok(())
    }

    async fn beat_on(&mut self) -> anyhow::Result<()> {
        loop {
            self.beat().await?;
        }
    }
}

/// Runs it until its input is closed.
pub(crate) async fn serve(lost: u32) -> anyhow::Result<()> {
    install_crypto_provider();
    let (chain, orchestrator, pool) = chain_with_pool().await?;
    // What people submit meanwhile takes some of the others' room.
    let count = lost * 2 + lost / 4;
    chain.enroll(pool, (0..count).map(|number| (node_id(number), provider(number))));
    let extra = "[wire]\nlisten = [\"/ip4/127.0.0.1/tcp/0\"]\n[terms]\nstart_deadline = \"3h\"\n";
    let started = Orchestrator::start(&chain, pool, &orchestrator, extra).await?;
    let driver = started.running.driver.clone();
    let term = driver.read(|core, _| core.epoch()).await?;
    let mut nodes = Nodes { driver: driver.clone(), term, alive: (0..count).collect(), sequence: 0 };
    let public = SigningKey::from_bytes(&[9; 32])?.public();
    // Who is not known yet is one of few: they come in portions.
    for first in (0..count).step_by(usize::try_from(NEWCOMERS)?) {
        let until = count.min(first + NEWCOMERS);
        // The first hello has the chain asked; what is said again after that is answered again.
        let began = Instant::now();
        while driver.read(|core, _| alive(&core.pool())).await? < until {
            ensure!(began.elapsed() < STAGE, "the nodes never became known");
            for number in first..until {
                nodes.say(number, hello(number, Mix::Uniform, public, now())).await?;
            }
            tokio::time::sleep(LOOK).await;
        }
    }
    nodes.beat().await?;
    let tasks = (lost * PER_NODE).div_ceil(REPLICAS);
    for number in 0..tasks {
        let replicas = REPLICAS.min(lost * PER_NODE - number * REPLICAS);
        let spec = batch(&format!("replicas = {replicas}\n[resources]\ngpus = 1\ncpus = 38\n"))?;
        driver.write(submit(u64::from(number), &spec)).await?;
    }
    let all = lost * PER_NODE;
    let placed = async |pool: &PoolView| Ok(pool.pending == 0 && pool.assignments == all);
    tokio::select! {
        ended = nodes.beat_on() => ended?,
        settled = settle("everything is placed", &driver, placed) => settled?,
    }
    // The index proposes tight fits, so that fewer than half of the nodes carry everything: those are lost.
    let mut busiest: Vec<(usize, u32)> = driver
        .read(move |core, _| {
            let load = |number: u32| core.node(&node_id(number)).map_or(0, |node| node.active.len());
            (0..count).map(|number| (load(number), number)).collect()
        })
        .await?;
    busiest.sort_unstable_by(|one, other| other.cmp(one));
    let survivors = busiest.split_off(usize::try_from(lost)?);
    let moved: usize = busiest.iter().map(|(load, _)| load).sum();
    let place = Place {
        api: format!("http://{}", started.running.api),
        token: started.token.clone(),
        assignments: all,
        moved: u32::try_from(moved)?,
    };
    println!("{}", serde_json::to_string(&place)?);
    nodes.alive = survivors.into_iter().map(|(_, number)| number).collect();
    // Ends with the orchestrator, by an error that tells nothing new.
    let beating = tokio::spawn(async move { nodes.beat_on().await });
    let ended = started.until_input_ends().await;
    beating.abort();
    ended
}

fn alive(pool: &PoolView) -> u32 {
    pool.nodes.get(&NodeState::Alive).copied().unwrap_or_default()
}

/// Waits until something is true of the pool.
async fn settle(
    what: &str,
    driver: &Handle,
    holds: impl AsyncFn(&PoolView) -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let began = Instant::now();
    loop {
        let pool = driver.read(|core, _| core.pool()).await?;
        if holds(&pool).await? {
            return Ok(());
        }
        ensure!(began.elapsed() < STAGE, "never came true: {what}; {pool:?}");
        tokio::time::sleep(LOOK).await;
    }
}

fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
