//! How pools look.

use lode_contracts::{ChainReader as _, PoolRecord, PoolState};
use lode_protocol::ids::PoolId;
use lode_protocol::units::Timestamp;
use serde_json::{Value, json};

use crate::arguments::{ChainFlags, Global};
use crate::failure::Kind;
use crate::output::{self, Format, Sheet, moment};
use crate::wallet::{chain, pool_meant};

pub(super) async fn show(global: &Global, flags: &ChainFlags, pool: Option<PoolId>) -> anyhow::Result<()> {
    let pool = pool_meant(global, pool)?;
    let chain = chain(global, flags).await?;
    let Some(record) = chain.pool(pool).await? else { return Err(no_pool(pool)) };
    match global.output {
        Format::Json => output::json(&as_json(&record)),
        Format::Table | Format::Wide => {
            output::sheet(&sheet(&record, chain.deployment().token, chain.head().await?.timestamp))
        }
    }
}

pub(super) async fn list(global: &Global, flags: &ChainFlags) -> anyhow::Result<()> {
    let chain = chain(global, flags).await?;
    let mut records = Vec::new();
    for number in 1..=chain.pool_count().await? {
        records.extend(chain.pool(PoolId(number)).await?);
    }
    match global.output {
        Format::Json => output::json(&json!({ "items": records.iter().map(as_json).collect::<Vec<_>>() })),
        Format::Table | Format::Wide => {
            let mut sheet =
                Sheet::new(["pool", "state", "members", "owner", "orchestrator"]).or_else("no pools");
            for record in &records {
                sheet.row([
                    record.id.to_string(),
                    word(record.state).to_owned(),
                    members(record),
                    record.owner.to_string(),
                    record.orchestrator.to_string(),
                ]);
            }
            output::sheet(&sheet)
        }
    }
}

pub(super) fn no_pool(pool: PoolId) -> anyhow::Error {
    Kind::NotFound.with_remedy(format!("the chain has no pool {pool}"), "run `lode pool ls`")
}

fn word(state: PoolState) -> &'static str {
    match state {
        PoolState::Created => "created",
        PoolState::Running => "running",
        PoolState::Ended => "ended",
    }
}

fn members(record: &PoolRecord) -> String {
    match record.max_nodes {
        Some(most) => format!("{} of at most {most}", record.member_count),
        None => record.member_count.to_string(),
    }
}

fn endpoints(record: &PoolRecord) -> Vec<&str> {
    record.endpoints.split([' ', ',']).filter(|endpoint| !endpoint.is_empty()).collect()
}

fn as_json(record: &PoolRecord) -> Value {
    json!({
        "pool": record.id.0,
        "state": word(record.state),
        "owner": record.owner.to_string(),
        "pending_owner": record.pending_owner.map(|owner| owner.to_string()),
        "orchestrator": record.orchestrator.to_string(),
        "reward_token": record.reward_token.map(|token| token.to_string()),
        "requirements": record.requirements.to_string(),
        "members": record.member_count,
        "max_nodes": record.max_nodes,
        "created": record.created_at,
        "endpoints": endpoints(record),
    })
}

fn sheet(record: &PoolRecord, lode: lode_protocol::ids::Address, now: Timestamp) -> Sheet {
    let mut sheet = Sheet::new(["what", "value"]);
    sheet.row(["pool".to_owned(), record.id.to_string()]);
    sheet.row(["state".to_owned(), word(record.state).to_owned()]);
    sheet.row(["owner".to_owned(), record.owner.to_string()]);
    if let Some(pending) = record.pending_owner {
        sheet.row(["offered to".to_owned(), pending.to_string()]);
    }
    sheet.row(["orchestrator".to_owned(), record.orchestrator.to_string()]);
    sheet.row(["members".to_owned(), members(record)]);
    let pays = match record.reward_token {
        Some(token) if token == lode => "LODE".to_owned(),
        Some(token) => format!("the token {token}"),
        None => "nothing on the chain".to_owned(),
    };
    sheet.row(["pays in".to_owned(), pays]);
    sheet.row(["created".to_owned(), moment(record.created_at, Some(now))]);
    sheet.row(["requirements".to_owned(), record.requirements.to_string()]);
    sheet.row(["endpoints".to_owned(), endpoints(record).join("\n")]);
    sheet
}
