//! `lode pool …`: pools as the chain has them.

use std::path::Path;

use anyhow::Context as _;
use lode_contracts::{ChainReader as _, Intent, PoolParameters, PoolRecord, PoolState};
use lode_network::EndpointUrl;
use lode_protocol::hash::{Digest, keccak256};
use lode_protocol::ids::PoolId;
use serde_json::{Value, json};

use super::signer::{Signer, chain, context};
use crate::arguments::{Global, PoolCommand};
use crate::failure::Kind;
use crate::output::{self, Format, Sheet};

pub(super) async fn run(global: &Global, command: PoolCommand) -> anyhow::Result<()> {
    match command {
        PoolCommand::Create {
            signer,
            orchestrator,
            endpoints,
            max_nodes,
            requirements,
            uri,
            reward_token,
            stopped,
        } => {
            let signer = Signer::new(global, &signer).await?;
            let parameters = PoolParameters {
                orchestrator,
                reward_token,
                requirements: requirements.as_deref().map(hash_of_file).transpose()?.unwrap_or_default(),
                max_nodes,
                uri,
                endpoints: join(&endpoints),
            };
            signer.ask(&format!("create a pool with orchestrator {orchestrator}"))?;
            let pool = signer.operator.create_pool(parameters).await?;
            if !stopped {
                signer.operator.execute(Intent::StartPool(pool)).await?;
            }
            let state = if stopped { "created; start it with `lode pool start`" } else { "running" };
            match global.output {
                Format::Json => output::json(&json!({ "pool": pool.0, "running": !stopped })),
                Format::Table | Format::Wide => output::line(&format!("pool {pool} is {state}")),
            }
        }
        PoolCommand::Start { signer, pool } => {
            let signer = Signer::new(global, &signer).await?;
            let (what, done) = (format!("start pool {pool}"), format!("pool {pool} is running"));
            signer.execute(&what, &done, Intent::StartPool(pool)).await.map(drop)
        }
        PoolCommand::End { signer, pool } => {
            let signer = Signer::new(global, &signer).await?;
            let (what, done) = (format!("end pool {pool} for good"), format!("pool {pool} has ended"));
            signer.execute(&what, &done, Intent::EndPool(pool)).await.map(drop)
        }
        PoolCommand::SetEndpoints { signer, pool, endpoints } => {
            let signer = Signer::new(global, &signer).await?;
            let endpoints = join(&endpoints);
            let what = format!("send the workers of pool {pool} to {endpoints}");
            let done = format!("pool {pool} is reached at {endpoints}");
            signer.execute(&what, &done, Intent::SetEndpoints { pool, endpoints }).await.map(drop)
        }
        PoolCommand::SetOrchestrator { signer, pool, orchestrator } => {
            let signer = Signer::new(global, &signer).await?;
            let what = format!(
                "make {orchestrator} the orchestrator of pool {pool}; the present key can never return"
            );
            let done = format!("{orchestrator} is the orchestrator of pool {pool}");
            signer.execute(&what, &done, Intent::SetOrchestrator { pool, orchestrator }).await.map(drop)
        }
        PoolCommand::Show { chain: flags, pool } => {
            let pool = match pool {
                Some(pool) => pool,
                None => context(global)?.and_then(|context| context.pool).map(PoolId).ok_or_else(|| {
                    Kind::Usage.with_remedy("it is not said which pool is meant", "give its number")
                })?,
            };
            let chain = chain(global, &flags).await?;
            let Some(record) = chain.pool(pool).await? else {
                return Err(
                    Kind::NotFound.with_remedy(format!("the chain has no pool {pool}"), "run `lode pool ls`")
                );
            };
            show(global, &record)
        }
        PoolCommand::Ls { chain: flags } => {
            let chain = chain(global, &flags).await?;
            let mut records = Vec::new();
            for number in 1..=chain.pool_count().await? {
                records.extend(chain.pool(PoolId(number)).await?);
            }
            list(global, &records)
        }
    }
}

/// Keccak-256 of a file: what the chain holds of the pool's requirements.
fn hash_of_file(path: &Path) -> anyhow::Result<Digest> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(keccak256(&bytes))
}

fn join(endpoints: &[EndpointUrl]) -> String {
    endpoints.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
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

fn as_json(record: &PoolRecord) -> Value {
    json!({
        "pool": record.id.0,
        "state": word(record.state),
        "owner": record.owner.to_string(),
        "orchestrator": record.orchestrator.to_string(),
        "reward_token": record.reward_token.map(|token| token.to_string()),
        "requirements": record.requirements.to_string(),
        "members": record.member_count,
        "max_nodes": record.max_nodes,
        "created": record.created_at,
        "endpoints": endpoints(record),
    })
}

fn endpoints(record: &PoolRecord) -> Vec<&str> {
    record.endpoints.split([' ', ',']).filter(|endpoint| !endpoint.is_empty()).collect()
}

fn show(global: &Global, record: &PoolRecord) -> anyhow::Result<()> {
    match global.output {
        Format::Json => output::json(&as_json(record)),
        Format::Table | Format::Wide => {
            let mut sheet = Sheet::new(["what", "value"]);
            sheet.row(["pool".to_owned(), record.id.to_string()]);
            sheet.row(["state".to_owned(), word(record.state).to_owned()]);
            sheet.row(["owner".to_owned(), record.owner.to_string()]);
            sheet.row(["orchestrator".to_owned(), record.orchestrator.to_string()]);
            sheet.row(["members".to_owned(), members(record)]);
            sheet.row(["created".to_owned(), record.created_at.to_string()]);
            sheet.row(["requirements".to_owned(), record.requirements.to_string()]);
            sheet.row(["endpoints".to_owned(), endpoints(record).join("\n")]);
            output::sheet(&sheet)
        }
    }
}

fn list(global: &Global, records: &[PoolRecord]) -> anyhow::Result<()> {
    match global.output {
        Format::Json => output::json(&json!({ "items": records.iter().map(as_json).collect::<Vec<_>>() })),
        Format::Table | Format::Wide => {
            let mut sheet =
                Sheet::new(["pool", "state", "members", "owner", "orchestrator"]).or_else("no pools");
            for record in records {
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
