//! Very much output with very many readers: nothing is lost without a word, and the memory of those who carry it is
//! bounded.
//!
//! The bounds that are asserted: a worker grows by at most [`WORKER_GROWTH`], whatever is written and whoever reads; an
//! orchestrator by at most [`ORCHESTRATOR_GROWTH`] and [`READER_GROWTH`] for each reader.
//!
//! What retention takes is counted. What the engine writes over before the worker has read it (it serves its log more
//! slowly than a task can write) nobody can count: there only the place is said, and output that fits into one of the
//! engine's files has no such gap.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use lode_e2e::pool::Pool;
use lode_e2e::shell_image::ShellImage;
use lode_e2e::tasks::on_node;
use lode_e2e::waiting::step;
use serde_json::Value;

use super::output::number_of;

/// Two megabytes for reading the engine, and less than one for each of its at most 64 streams.
const WORKER_GROWTH: u64 = 66 << 20;
/// A stream's window, batches on their way, and what the allocator keeps.
const ORCHESTRATOR_GROWTH: u64 = 48 << 20;
/// What was taken from the window and its text for the socket.
const READER_GROWTH: u64 = 2 << 20;
/// Bytes of a line, with its number and its line feed.
const LINE: u64 = 208;
/// Of so many megabytes the engine keeps all until it is read: one of its files.
const ENGINE_KEEPS: u64 = 32;

/// How much, and how many.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) megabytes: u64,
    pub(crate) readers: u64,
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "scripts/soak output runs it, for as long as it takes"]
async fn a_flood_of_output_with_many_followers_loses_nothing_without_a_word() -> anyhow::Result<()> {
    let setting = |name: &str| -> anyhow::Result<u64> {
        let text = std::env::var(name)
            .with_context(|| format!("{name} says how many: scripts/soak output sets it"))?;
        Ok(text.parse()?)
    };
    let size =
        Size { megabytes: setting("LODE_OUTPUT_MEGABYTES")?, readers: setting("LODE_OUTPUT_READERS")? };
    let pool = Pool::start().await?;
    let image = ShellImage::build(pool.engine(), &[]).await?;
    flood(&pool, &image, size).await?;
    pool.finish().await
}

/// What one reader was told.
#[derive(Clone, Copy, Default, Debug)]
struct Told {
    lines: u64,
    missing: u64,
    gaps: u64,
    /// Missing where the engine lost something, by the numbers of the lines around such places.
    uncounted: i64,
    /// … of which so many were said.
    engine_gaps: u64,
    connections: u64,
}

/// One task writes as fast as it can while others follow it through the API.
pub(crate) async fn flood(pool: &Pool, image: &ShellImage, size: Size) -> anyhow::Result<()> {
    step(&format!("{} MB of output, followed by {} readers", size.megabytes, size.readers));
    let count = (size.megabytes << 20) / LINE;
    let script = format!(
        "while [ ! -e /tmp/go ]; do usleep 20000; done
busybox awk -v n={count} 'BEGIN{{w=\"{}\";for(i=0;i<n;i++)print i,w}}'",
        "x".repeat(200)
    );
    let mut spec = on_node(image.task("flood", &script), pool.node("worker-1")?);
    spec["resources"]["cpus"] = 1.into();
    let running = pool.run(&spec).await?;
    let (worker, orchestrator) = (pid(pool, "worker-1").await?, pid(pool, "orchestrator").await?);
    let before = (peak(worker)?, peak(orchestrator)?);
    let mut following = tokio::task::JoinSet::new();
    let mut opened = Vec::new();
    for _ in 0..size.readers {
        let (api, task) = (pool.api().clone(), running.task.clone());
        let (open, is_open) = tokio::sync::oneshot::channel();
        opened.push(is_open);
        following.spawn(async move { follow(&api, &task, count, open).await });
    }
    for is_open in opened {
        is_open.await.context("a reader was not let in")?;
    }
    let began = Instant::now();
    pool.engine().execute(&running.container.id, &["touch", "/tmp/go"]).await?;
    let mut all = Vec::new();
    while let Some(told) = following.join_next().await {
        all.push(told??);
    }
    let took = began.elapsed();
    let grown = (peak(worker)? - before.0, peak(orchestrator)? - before.1);
    let most = |of: fn(&Told) -> u64| all.iter().map(of).max().unwrap_or_default();
    let least = all.iter().map(|told| told.lines).min().unwrap_or_default();
    let uncounted = all.iter().map(|told| told.uncounted).max().unwrap_or_default();
    eprintln!(
        "    {:.1} s for {count} lines, {} readers: a reader saw {least} to {}, was told of up to {} missing in up to {} \
         gaps and of up to {} places where the engine lost something (up to {uncounted}), over up to {} connections; the \
         worker grew by {} MiB, the orchestrator by {} MiB",
        took.as_secs_f64(),
        all.len(),
        most(|told| told.lines),
        most(|told| told.missing),
        most(|told| told.gaps),
        most(|told| told.engine_gaps),
        most(|told| told.connections),
        grown.0 >> 20,
        grown.1 >> 20,
    );
    ensure!(all.len() as u64 == size.readers);
    for told in &all {
        let known = i64::try_from(told.lines + told.missing)?;
        ensure!(
            known + told.uncounted == i64::try_from(count)?,
            "of {count} lines a reader was told {told:?}"
        );
        let is_exact = told.engine_gaps == 0 && told.uncounted == 0;
        ensure!(is_exact || size.megabytes > ENGINE_KEEPS, "the engine lost what it keeps: {told:?}");
    }
    ensure!(grown.0 <= WORKER_GROWTH, "the worker grew by {} bytes", grown.0);
    let bound = ORCHESTRATOR_GROWTH + size.readers * READER_GROWTH;
    ensure!(grown.1 <= bound, "the orchestrator grew by {} bytes, {bound} are its bound", grown.1);
    pool.remove(&running.task).await
}

/// Reads to the end, as a client does that comes back with its last position whenever it is cut off. What it was not
/// given is said to be missing, at its place and with its count.
async fn follow(
    api: &lode_e2e::api::Api,
    task: &str,
    count: u64,
    open: tokio::sync::oneshot::Sender<()>,
) -> anyhow::Result<Told> {
    let (mut told, mut expected, mut position) = (Told::default(), 0, None::<String>);
    let mut is_excused = false;
    let (mut open, mut is_over, mut refused) = (Some(open), false, Instant::now());
    while !is_over {
        let mut events = match api.events(task, "follow=true", position.as_deref()).await {
            Ok(events) => events,
            // Too many at once: its turn comes.
            Err(error) if refused.elapsed() < Duration::from_secs(120) => {
                eprintln!("    a reader waits: {error:#}");
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
            Err(error) => return Err(error),
        };
        refused = Instant::now();
        told.connections += 1;
        while events
            .next(|event| {
                open.take().map(|open| open.send(()));
                if let Some(id) = event.id {
                    position.get_or_insert_default().replace_range(.., id);
                }
                match event.kind {
                    "line" => {
                        let number = number_of(&event)?;
                        let jump = i64::try_from(number)? - i64::try_from(expected)?;
                        ensure!(jump == 0 || is_excused, "{number} comes where {expected} was due");
                        told.uncounted += jump;
                        is_excused = false;
                        expected = number + 1;
                        told.lines += 1;
                    }
                    "gap" => {
                        let gap = event.value()?;
                        // Retention may take the note of an engine's gap too.
                        is_excused = true;
                        if gap["reason"] == "engine" {
                            told.engine_gaps += 1;
                        } else {
                            let records = gap["records"].as_u64();
                            let records = records.with_context(|| format!("nobody counted: {gap}"))?;
                            told.missing += records;
                            told.gaps += 1;
                            expected += records;
                        }
                    }
                    "end" => is_over = event.value()?["status"] == "complete",
                    "begin" => {}
                    other => anyhow::bail!("{other}: {}", event.data),
                }
                Ok(())
            })
            .await?
        {}
    }
    ensure!(expected == count, "the end came at {expected} of {count}");
    Ok(told)
}

async fn pid(pool: &Pool, program: &str) -> anyhow::Result<u64> {
    let program: Value = pool.program(program).await?;
    program["pid"].as_u64().context("it does not run")
}

/// The most memory that a process ever had.
fn peak(pid: u64) -> anyhow::Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse::<u64>()? << 10)
}
