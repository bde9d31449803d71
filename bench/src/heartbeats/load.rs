//! The load: connections of many nodes, saturated or paced.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use tokio::task::JoinSet;

use super::Target;
use super::line::{LIMIT, Line, Way};
use super::node::{Node, Session};
use crate::process::cpu_seconds;
use crate::table::percentile;

/// Beats under way on one saturated stream.
const UNDER_WAY: u32 = 4;
/// Nodes that connect at the same time.
const CONNECTING: usize = 32;

/// What a burst cost.
pub(super) struct Burst {
    /// Seconds of the orchestrator's process.
    pub(super) cpu: f64,
    pub(super) wall: f64,
    pub(super) beats: u32,
    /// 99th percentile of the time to an answer, in seconds, where beats were paced.
    pub(super) latencies: Option<f64>,
}

pub(super) struct Load {
    target: Target,
}

/// A node with its connection and the beats that it signed.
struct Ready {
    node: Node,
    session: Session,
    line: Line,
    beats: Vec<Vec<u8>>,
}

impl Load {
    pub(super) fn new(target: Target) -> Self {
        Load { target }
    }

    /// Lets `connections` nodes send `beats` each; with a pace, so many a second together.
    pub(super) async fn burst(
        &self,
        way: Way,
        connections: u32,
        beats: u32,
        pace: Option<f64>,
    ) -> anyhow::Result<Burst> {
        let mut ready = Vec::new();
        let mut connecting = JoinSet::new();
        let mut numbers = 0..connections;
        loop {
            while connecting.len() < CONNECTING
                && let Some(number) = numbers.next()
            {
                connecting.spawn(connect(way, number, self.target.clone(), beats));
            }
            match connecting.join_next().await {
                Some(done) => ready.push(done??),
                None => break,
            }
        }
        let (cpu, began) = (cpu_seconds(self.target.pid)?, Instant::now());
        let mut all = JoinSet::new();
        for (index, one) in (0u32..).zip(ready) {
            let gap = pace.map(|rate| f64::from(connections) / rate);
            let first = gap.map_or(0.0, |gap| gap * f64::from(index) / f64::from(connections));
            all.spawn(async move {
                match gap {
                    None => saturate(one).await.map(|()| Vec::new()),
                    Some(gap) => keep_pace(one, first, gap).await,
                }
            });
        }
        let mut times = Vec::new();
        while let Some(done) = all.join_next().await {
            times.extend(done??);
        }
        let (cpu, wall) = (cpu_seconds(self.target.pid)? - cpu, began.elapsed().as_secs_f64());
        times.sort_by(f64::total_cmp);
        let latencies = pace.map(|_| percentile(&times, 0.99));
        Ok(Burst { cpu, wall, beats: connections * beats, latencies })
    }
}

/// Opens a session, beats until it is a member that knows its set, and signs what it will send.
async fn connect(way: Way, number: u32, target: Target, beats: u32) -> anyhow::Result<Ready> {
    let node = Node::new(number, target.clone())?;
    let mut line = Line::open(way, &node, &target).await?;
    // Nonces are used once by each node, over all bursts.
    let nonce = super::node::now().0;
    let began = Instant::now();
    let mut session = loop {
        // The first hello of a node has the chain asked; then it is granted one.
        match node.granted(&line.ask(&node.hello(nonce)?).await?)? {
            Some(session) => break session,
            None => ensure!(began.elapsed() < LIMIT, "never a session"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    loop {
        let beat = node.beat(&mut session)?;
        let instruction = node.answer(&mut session, &line.ask(&beat).await?)?;
        if node.is_settled(&instruction) {
            break;
        }
        ensure!(began.elapsed() < LIMIT, "never a member: {:?}", instruction.membership);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let beats = (0..beats).map(|_| node.beat(&mut session)).collect::<anyhow::Result<_>>()?;
    Ok(Ready { node, session, line, beats })
}

async fn saturate(ready: Ready) -> anyhow::Result<()> {
    let Ready { node, mut session, mut line, beats } = ready;
    let mut last = Vec::new();
    match &mut line {
        Line::Stream { stream, .. } => {
            let mut waiting = 0;
            for beat in &beats {
                if waiting == UNDER_WAY {
                    stream.receive(LIMIT).await?.context("the stream ended")?;
                    waiting -= 1;
                }
                stream.send(beat, LIMIT).await?;
                waiting += 1;
            }
            for _ in 0..waiting {
                last = stream.receive(LIMIT).await?.context("the stream ended")?;
            }
        }
        Line::Http(http) => {
            for beat in &beats {
                last = http.post(beat).await?;
            }
        }
    }
    node.check_last(&mut session, &last)
}

async fn keep_pace(ready: Ready, first: f64, gap: f64) -> anyhow::Result<Vec<f64>> {
    let Ready { node, mut session, mut line, beats } = ready;
    let mut due = tokio::time::Instant::now() + Duration::from_secs_f64(first);
    let (mut times, mut last) = (Vec::new(), Vec::new());
    for beat in &beats {
        tokio::time::sleep_until(due).await;
        let asked = Instant::now();
        last = line.ask(beat).await?;
        times.push(asked.elapsed().as_secs_f64());
        due += Duration::from_secs_f64(gap);
    }
    node.check_last(&mut session, &last)?;
    Ok(times)
}
