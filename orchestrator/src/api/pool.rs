//! `/v1/pool` and `/v1/status`.

use axum::Json;
use axum::extract::State;
use lode_api_types::{
    Budget, ChainState, DirectoryState, Finding, OnChain, OutboxBlocked, OutboxState, Pool, PoolState,
    Status, StoreState, Trouble,
};
use lode_program::Problem;
use lode_protocol::units::{Millis, Timestamp};

use super::refusal::of_write;
use super::{Shared, show_node, show_task};

/// Show the pool.
#[utoipa::path(
    get, path = "/v1/pool", operation_id = "get_pool", tag = "pool",
    responses((status = 200, description = "The pool", body = Pool), (status = 401))
)]
pub(super) async fn pool(State(state): Shared) -> Result<Json<Pool>, Problem> {
    let view = state.driver.read(|core, _| core.pool()).await.map_err(of_write)?;
    let about = &state.about;
    Ok(Json(Pool {
        pool: about.realm.pool,
        chain_id: about.realm.chain,
        pools_contract: about.realm.deployment,
        orchestrator: about.address,
        term: view.epoch,
        chain_fresh: view.chain_fresh,
        nodes: view.nodes.into_iter().map(|(state, count)| (show_node::state(state), count)).collect(),
        tasks: view.tasks.into_iter().map(|(state, count)| (show_task::state(state), count)).collect(),
        gpus: view.gpus,
        gpus_allocated: view.gpus_allocated,
        assignments: view.assignments,
        pending: view.pending,
        beat_interval_ms: view.beat_interval.0,
        budget: view.budget.map(|budget| Budget {
            free: budget.free,
            locked: budget.locked,
            posted: budget.posted,
            paid: budget.paid,
            spendable: budget.spendable,
            accrued: budget.accrued,
            burn_per_hour: budget.burn_per_hour,
            runway_seconds: budget.runway.map(|left| left.0 / 1_000),
            exhausted: budget.exhausted,
        }),
        on_chain: state.chain.current().pool.map(|record| OnChain {
            state: pool_state(record.state),
            owner: record.owner,
            orchestrator: record.orchestrator,
            members: record.member_count,
            max_nodes: record.max_nodes,
            endpoints: record.endpoints,
        }),
    }))
}

/// Show how the orchestrator does, and what is wrong.
#[utoipa::path(
    get, path = "/v1/status", operation_id = "get_status", tag = "pool",
    responses((status = 200, description = "How it does", body = Status), (status = 401))
)]
pub(super) async fn status(State(state): Shared) -> Result<Json<Status>, Problem> {
    let term = state.driver.read(|core, _| core.epoch()).await.map_err(of_write)?;
    let trouble = state.store.current();
    let outbox = state.outbox.borrow().clone();
    Ok(Json(Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_at: state.about.started,
        ready: state.health.is_ready(),
        term,
        findings: findings(&state.findings),
        chain: chain(&state.chain.current()),
        store: StoreState {
            ok: trouble.is_none(),
            code: trouble.as_ref().map(|(code, _)| (*code).into()),
            message: trouble.map(|(_, message)| message),
        },
        outbox: OutboxState {
            pending: count(outbox.pending),
            blocked: outbox.blocked.map(|blocked| OutboxBlocked {
                code: blocked.code,
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
        connections: count(state.server.open_count()),
        endpoints: state.about.endpoints.clone(),
    }))
}

fn count(items: usize) -> u64 {
    u64::try_from(items).unwrap_or(u64::MAX)
}

fn pool_state(state: lode_contracts::PoolState) -> PoolState {
    match state {
        lode_contracts::PoolState::Created => PoolState::Created,
        lode_contracts::PoolState::Running => PoolState::Running,
        lode_contracts::PoolState::Ended => PoolState::Ended,
    }
}

fn findings(set: &lode_program::FindingSet) -> Vec<Finding> {
    let show = |current: lode_program::finding::CurrentFinding| {
        show_node::finding(current.finding, Some(Timestamp(current.since_millis)))
    };
    set.list().into_iter().map(show).collect()
}

fn chain(shown: &crate::chain::Shown) -> ChainState {
    let age = shown.view.age(tokio::time::Instant::now());
    ChainState {
        fresh: shown.fresh,
        head: shown.view.head.map(|head| head.number),
        head_time: shown.view.head.map(|head| head.timestamp),
        age_ms: age.map(|age| Millis::from_duration(age).0),
        waiting: count(shown.waiting),
        failure: shown
            .view
            .failure
            .as_ref()
            .map(|failure| Trouble { code: failure.code.clone(), message: failure.message.clone() }),
    }
}
