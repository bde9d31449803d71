//! How long people wait for the API while very many nodes are lost at once, with five assignments each, and as many other
//! nodes (and a quarter) take their work over.
//!
//! The orchestrator is a real one, in a process of its own ([`serve`]), with its store in a file; only the nodes' messages
//! come without a network. Four people ask it all the time: for the pool, for pages of nodes and tasks, and that small
//! tasks be taken. What they wait for before the first node counts as lost is the baseline.

mod serve;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use lode_api_types::{NodeState, Pool};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::child::Server;
use crate::process::resident_mebibytes;
use crate::table::{Row, Table, percentile};
pub(crate) use serve::serve;

/// The child's sub-command.
const COMMAND: &str = "mass-loss-serve";
/// Longest time for the child to be ready.
const READY: Duration = Duration::from_secs(600);
/// Longest time until everything runs elsewhere.
const PATIENCE: Duration = Duration::from_secs(600);
/// People who ask.
const PEOPLE: usize = 4;
/// Between an answer and the next question.
const THINKING: Duration = Duration::from_millis(20);
/// Longest that one of a hundred may wait, in milliseconds.
const TARGET: f64 = 200.0;

/// Where the orchestrator is, as its process says it.
#[derive(Debug, Serialize, Deserialize)]
struct Place {
    api: String,
    token: String,
    /// What it has placed before anything is lost.
    assignments: u32,
    /// How many of these are on nodes that will be lost.
    moved: u32,
}

/// What people ask for, in turn.
const QUESTIONS: [&str; 4] = ["pool", "page of nodes", "page of tasks", "submit and delete"];

/// One answer.
#[derive(Clone, Copy, Debug)]
struct Wait {
    question: usize,
    asked: Instant,
    millis: f64,
}

/// What everybody has seen.
#[derive(Debug, Default)]
struct Seen {
    waits: Mutex<Vec<Wait>>,
    first_lost: Mutex<Option<Instant>>,
    over: AtomicBool,
}

impl Seen {
    fn first_lost(&self) -> Option<Instant> {
        *self.first_lost.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look(&self, pool: &Pool, nodes: u32, assignments: u32) {
        let lost = pool.nodes.get(&NodeState::Lost).copied().unwrap_or_default();
        if lost > 0 {
            self.first_lost.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(Instant::now);
        }
        // What people submit meanwhile is more.
        if lost >= nodes && pool.pending == 0 && pool.assignments >= assignments {
            self.over.store(true, Ordering::Relaxed);
        }
    }
}

#[derive(Clone, Debug)]
struct Person {
    http: reqwest::Client,
    place: Arc<Place>,
    seen: Arc<Seen>,
    nodes: u32,
}

impl Person {
    async fn ask(self, first: usize) -> anyhow::Result<()> {
        let mut question = first;
        while !self.seen.over.load(Ordering::Relaxed) {
            let asked = Instant::now();
            match question {
                0 => {
                    let pool: Pool = self.get("/v1/pool").await?;
                    self.seen.look(&pool, self.nodes, self.place.assignments);
                }
                1 => drop(self.get::<serde_json::Value>("/v1/nodes?limit=100").await?),
                2 => drop(self.get::<serde_json::Value>("/v1/tasks?limit=100").await?),
                _ => self.submit_and_delete().await?,
            }
            let millis = asked.elapsed().as_secs_f64() * 1e3;
            let wait = Wait { question, asked, millis };
            self.seen.waits.lock().unwrap_or_else(PoisonError::into_inner).push(wait);
            question = (question + 1) % QUESTIONS.len();
            tokio::time::sleep(THINKING).await;
        }
        Ok(())
    }

    async fn get<T: serde::de::DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        let url = format!("{}{path}", self.place.api);
        let response = self.http.get(url).bearer_auth(&self.place.token).send().await?;
        ensure!(response.status().is_success(), "{path}: {}", response.text().await?);
        Ok(response.json().await?)
    }

    async fn submit_and_delete(&self) -> anyhow::Result<()> {
        let spec = json!({ "name": "small", "kind": "batch", "image": "i:1", "resources": { "cpus": 0.1 } });
        let url = format!("{}/v1/tasks", self.place.api);
        let body = json!({ "spec": spec });
        let response = self.http.post(&url).bearer_auth(&self.place.token).json(&body).send().await?;
        ensure!(response.status().is_success(), "submit: {}", response.text().await?);
        let submitted: serde_json::Value = response.json().await?;
        let id = submitted["id"].as_str().context("no id")?;
        let url = format!("{url}/{id}");
        let response = self.http.delete(url).bearer_auth(&self.place.token).send().await?;
        ensure!(response.status().is_success(), "delete: {}", response.text().await?);
        Ok(())
    }
}

pub(crate) async fn run(nodes: u32) -> anyhow::Result<Table> {
    lode_program::install_crypto_provider();
    let (server, place) = Server::start(COMMAND, nodes, READY).await?;
    let (pid, place): (u64, Arc<Place>) = (server.pid, Arc::new(place));
    let seen = Arc::new(Seen::default());
    let http = reqwest::Client::builder().timeout(PATIENCE).build()?;
    let person = Person { http, place: Arc::clone(&place), seen: Arc::clone(&seen), nodes };
    let began = Instant::now();
    let before = resident_mebibytes(pid)?;
    let asking = (0..PEOPLE).map(|number| person.clone().ask(number % QUESTIONS.len()));
    tokio::time::timeout(PATIENCE, futures::future::try_join_all(asking))
        .await
        .context("not everything ran elsewhere in time")??;
    let after = resident_mebibytes(pid)?;
    server.stop(PATIENCE).await?;
    let Some(first_lost) = seen.first_lost() else { bail!("no node was ever lost") };
    let waits = seen.waits.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let end = waits.iter().map(|wait| wait.asked).max().unwrap_or(began);
    let mut rows = rows_of(&waits, first_lost);
    let row =
        |name: &str, value, unit| Row { name: name.to_owned(), value, unit, baseline: None, target: None };
    rows.push(row("from the first loss until all runs elsewhere", (end - first_lost).as_secs_f64(), "s"));
    rows.push(row("assignments lost with their nodes", f64::from(place.moved), ""));
    rows.push(row("resident before", before, "MiB"));
    rows.push(row("resident afterwards", after, "MiB"));
    Ok(Table { title: format!("mass-loss: {nodes} nodes of {}", nodes * 2 + nodes / 4), rows })
}

fn rows_of(waits: &[Wait], first_lost: Instant) -> Vec<Row> {
    let sorted = |question: Option<usize>, meanwhile: bool| {
        let mut found: Vec<f64> = waits
            .iter()
            .filter(|wait| question.is_none_or(|question| wait.question == question))
            .filter(|wait| (wait.asked >= first_lost) == meanwhile)
            .map(|wait| wait.millis)
            .collect();
        found.sort_by(f64::total_cmp);
        found
    };
    let mut rows = Vec::new();
    let kinds =
        std::iter::once((None, "all")).chain(QUESTIONS.iter().enumerate().map(|(n, name)| (Some(n), *name)));
    for (question, name) in kinds {
        let (quiet, meanwhile) = (sorted(question, false), sorted(question, true));
        let target = question.is_none().then_some(TARGET);
        for (label, share, target) in [("p50", 0.5, None), ("p99", 0.99, target), ("longest", 1.0, None)] {
            rows.push(Row {
                name: format!("{name}, {label}, before"),
                value: percentile(&quiet, share),
                unit: "ms",
                baseline: None,
                target: None,
            });
            rows.push(Row {
                name: format!("{name}, {label}, meanwhile ({})", meanwhile.len()),
                value: percentile(&meanwhile, share),
                unit: "ms",
                baseline: None,
                target,
            });
        }
    }
    rows
}
