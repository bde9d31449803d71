//! `/v1/pool` and `/v1/status`.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use lode_program::Problem;
use lode_protocol::units::{Millis, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

use super::Shared;
use super::node_types::Finding;
use super::refusal::of_write;
use super::task_types::{time, word};

/// The pool as the chain has it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct OnChain {
    /// created, running, ended
    state: String,
    owner: String,
    orchestrator: String,
    members: u32,
    /// null: no limit.
    max_nodes: Option<u32>,
    endpoints: String,
}

/// The pool's money, in whole tokens.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Budget {
    /// Funded and not promised.
    free: String,
    /// Promised by roots and not paid.
    locked: String,
    /// Promised by roots in all.
    posted: String,
    paid: String,
    /// What a root of the running epoch may promise, by the spend cap.
    spendable: String,
    /// Work that is not part of a posted root yet.
    accrued: String,
    /// What everything that runs, or is about to, costs per hour.
    burn_per_hour: String,
    /// How long the money lasts at that; null: nothing costs anything.
    runway: Option<String>,
    /// Whether paid work waits for money.
    exhausted: bool,
}

/// The pool at a glance.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Pool {
    pool: u64,
    chain_id: u64,
    pools_contract: String,
    /// Address of this orchestrator.
    orchestrator: String,
    epoch: u64,
    /// Whether the chain's facts may be acted upon.
    chain_fresh: bool,
    /// By state.
    nodes: BTreeMap<String, u32>,
    /// By state.
    tasks: BTreeMap<String, u32>,
    gpus: u32,
    gpus_allocated: u32,
    assignments: u32,
    /// Replicas that wait for a node.
    pending: u32,
    beat_interval: String,
    /// null: the pool pays nothing, or the chain has not been read.
    budget: Option<Budget>,
    on_chain: Option<OnChain>,
}

/// A code with its words.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Trouble {
    code: String,
    message: String,
}

/// The view of the chain.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ChainState {
    fresh: bool,
    /// Number of the latest block seen.
    head: Option<u64>,
    head_time: Option<String>,
    /// Since the last answer.
    age: Option<String>,
    /// Nodes whose facts wait to be read.
    waiting: usize,
    failure: Option<Trouble>,
}

/// The store.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct StoreState {
    ok: bool,
    code: Option<String>,
    message: Option<String>,
}

/// What holds the outbox up.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct OutboxBlocked {
    code: String,
    message: String,
    attempts: u32,
}

/// Transactions on their way.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct OutboxState {
    pending: usize,
    blocked: Option<OutboxBlocked>,
}

/// A directory.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DirectoryState {
    url: String,
    ok: bool,
    message: Option<String>,
}

/// How the orchestrator does.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Status {
    version: String,
    started_at: String,
    ready: bool,
    epoch: u64,
    findings: Vec<Finding>,
    chain: ChainState,
    store: StoreState,
    outbox: OutboxState,
    discovery: Vec<DirectoryState>,
    /// Workers with an open stream.
    connections: usize,
    /// Where workers reach the orchestrator.
    endpoints: Vec<String>,
}

/// Show the pool.
#[utoipa::path(get, path = "/v1/pool", tag = "pool", responses((status = 200, body = Pool), (status = 401)))]
pub(super) async fn pool(State(state): Shared) -> Result<Json<Pool>, Problem> {
    let view = state.driver.read(|core, _| core.pool()).await.map_err(of_write)?;
    let about = &state.about;
    Ok(Json(Pool {
        pool: about.realm.pool.0,
        chain_id: about.realm.chain.0,
        pools_contract: about.realm.deployment.to_string(),
        orchestrator: about.address.to_string(),
        epoch: view.epoch.0,
        chain_fresh: view.chain_fresh,
        nodes: view.nodes.iter().map(|(state, count)| (word(state), *count)).collect(),
        tasks: view.tasks.iter().map(|(state, count)| (word(state), *count)).collect(),
        gpus: view.gpus,
        gpus_allocated: view.gpus_allocated,
        assignments: view.assignments,
        pending: view.pending,
        beat_interval: view.beat_interval.to_string(),
        budget: view.budget.map(|budget| Budget {
            free: budget.free.to_string(),
            locked: budget.locked.to_string(),
            posted: budget.posted.to_string(),
            paid: budget.paid.to_string(),
            spendable: budget.spendable.to_string(),
            accrued: budget.accrued.to_string(),
            burn_per_hour: budget.burn_per_hour.to_string(),
            runway: budget.runway.map(|left| left.to_string()),
            exhausted: budget.exhausted,
        }),
        on_chain: state.chain.current().pool.map(|record| OnChain {
            state: word(&record.state),
            owner: record.owner.to_string(),
            orchestrator: record.orchestrator.to_string(),
            members: record.member_count,
            max_nodes: record.max_nodes,
            endpoints: record.endpoints,
        }),
    }))
}

/// Show how the orchestrator does, and what is wrong.
#[utoipa::path(get, path = "/v1/status", tag = "pool", responses((status = 200, body = Status), (status = 401)))]
pub(super) async fn status(State(state): Shared) -> Result<Json<Status>, Problem> {
    let epoch = state.driver.read(|core, _| core.epoch()).await.map_err(of_write)?;
    let trouble = state.store.current();
    let outbox = state.outbox.borrow().clone();
    Ok(Json(Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_at: time(state.about.started),
        ready: state.health.is_ready(),
        epoch: epoch.0,
        findings: findings(&state.findings),
        chain: chain(&state.chain.current()),
        store: StoreState {
            ok: trouble.is_none(),
            code: trouble.as_ref().map(|(code, _)| (*code).to_owned()),
            message: trouble.map(|(_, message)| message),
        },
        outbox: OutboxState {
            pending: outbox.pending,
            blocked: outbox.blocked.map(|blocked| OutboxBlocked {
                code: blocked.code.to_string(),
                message: blocked.message,
                attempts: blocked.attempts,
            }),
        },
        discovery: state
            .directories
            .current()
            .into_iter()
            .map(|(url, message)| DirectoryState { url, ok: message.is_none(), message })
            .collect(),
        connections: state.server.open_count(),
        endpoints: state.about.endpoints.clone(),
    }))
}

fn findings(set: &lode_program::FindingSet) -> Vec<Finding> {
    let show = |current: lode_program::finding::CurrentFinding| Finding {
        code: current.finding.code.to_string(),
        severity: current.finding.severity.as_str().to_owned(),
        subject: current.finding.subject,
        message: current.finding.message,
        remedy: current.finding.remedy,
        since: Some(time(Timestamp(current.since_millis))),
    };
    set.list().into_iter().map(show).collect()
}

fn chain(shown: &crate::chain::Shown) -> ChainState {
    let age = shown.view.age(tokio::time::Instant::now());
    ChainState {
        fresh: shown.fresh,
        head: shown.view.head.map(|head| head.number),
        head_time: shown.view.head.map(|head| time(head.timestamp)),
        age: age.map(|age| Millis::from_duration(age).to_string()),
        waiting: shown.waiting,
        failure: shown
            .view
            .failure
            .as_ref()
            .map(|failure| Trouble { code: failure.code.to_string(), message: failure.message.clone() }),
    }
}
