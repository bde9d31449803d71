//! A provider: stake, nodes, approvals, accusations.

use std::collections::{BTreeMap, BTreeSet};

use lode_contracts::{
    AccusationRecord, ChainEvent, ChainReader as _, NodeRecord, PoolsEvent, ProvenRecord, ProviderRecord,
    RegistryEvent, RpcChain, SlashingEvent,
};
use lode_protocol::ids::{AccusationId, NodeId, PoolId, ProviderId};
use lode_protocol::units::Timestamp;
use serde_json::{Value, json};

use crate::arguments::{ChainFlags, Global};
use crate::commands::validator::phase_word;
use crate::failure::Kind;
use crate::output::{self, Denomination, Format, Sheet, list, moment};
use crate::wallet::chain;

/// Blocks asked for at once.
const BLOCKS: u64 = 2_000;

/// What events say of a provider.
#[derive(Default)]
struct History {
    nodes: BTreeSet<NodeId>,
    approvals: BTreeMap<PoolId, bool>,
    accusations: BTreeSet<AccusationId>,
}

struct Node {
    id: NodeId,
    record: NodeRecord,
    proof: Option<ProvenRecord>,
}

pub(super) async fn run(global: &Global, flags: &ChainFlags, provider: ProviderId) -> anyhow::Result<()> {
    let chain = chain(global, flags).await?;
    let Some(record) = chain.provider(provider).await? else {
        let remedy = "run `lode provider register --stake AMOUNT`";
        return Err(Kind::NotFound.with_remedy(format!("{provider} is not a provider on this chain"), remedy));
    };
    let now = chain.head().await?.timestamp;
    let history = history(&chain, provider).await?;
    let ids: Vec<NodeId> = history.nodes.into_iter().collect();
    let records = chain.nodes(&ids).await?;
    let proofs = chain.proven(&ids).await?;
    let nodes: Vec<Node> = ids
        .into_iter()
        .zip(records)
        .zip(proofs)
        .filter_map(|((id, record), proof)| record.map(|record| Node { id, record, proof }))
        .collect();
    let accusations: Vec<AccusationId> = history.accusations.into_iter().collect();
    let accusations: Vec<AccusationRecord> = chain
        .accusations(&accusations)
        .await?
        .into_iter()
        .flatten()
        .filter(|accusation| !accusation.phase.is_over())
        .collect();
    let pools: Vec<PoolId> =
        history.approvals.into_iter().filter(|(_, approved)| *approved).map(|(pool, _)| pool).collect();
    match global.output {
        Format::Json => output::json(&as_json(provider, &record, &nodes, &pools, &accusations)),
        Format::Table | Format::Wide => {
            output::sheet(&head(provider, &record, &pools, now))?;
            output::line("")?;
            output::sheet(&node_sheet(&nodes))?;
            if accusations.is_empty() {
                return Ok(());
            }
            output::line("")?;
            output::sheet(&accusation_sheet(&accusations))
        }
    }
}

async fn history(chain: &RpcChain, provider: ProviderId) -> anyhow::Result<History> {
    let head = chain.head().await?.number;
    let mut history = History::default();
    let mut from = chain.deployment().block;
    while from <= head {
        let to = head.min(from.saturating_add(BLOCKS - 1));
        for logged in chain.events(from, to).await? {
            match logged.event {
                ChainEvent::Registry(RegistryEvent::NodeAdded { provider: owner, node, .. })
                    if owner == provider =>
                {
                    history.nodes.insert(node);
                }
                ChainEvent::Registry(RegistryEvent::NodeRemoved { provider: owner, node, .. })
                    if owner == provider =>
                {
                    history.nodes.remove(&node);
                }
                ChainEvent::Pools(PoolsEvent::PoolApprovalChanged { pool, provider: owner, approved })
                    if owner == provider =>
                {
                    history.approvals.insert(pool, approved);
                }
                ChainEvent::Slashing(SlashingEvent::Accused { id, provider: accused, .. })
                    if accused == provider =>
                {
                    history.accusations.insert(id);
                }
                _ => {}
            }
        }
        from = to.saturating_add(1);
    }
    Ok(history)
}

fn as_json(
    provider: ProviderId,
    record: &ProviderRecord,
    nodes: &[Node],
    pools: &[PoolId],
    accusations: &[AccusationRecord],
) -> Value {
    let nodes: Vec<_> = nodes
        .iter()
        .map(|node| {
            json!({
                "node": node.id.to_string(),
                "units": node.record.units,
                "eligible": node.record.eligible,
                "proven": node.proof.as_ref().is_some_and(|proof| proof.current),
            })
        })
        .collect();
    json!({
        "provider": provider.to_string(),
        "stake": record.stake,
        "units": record.units,
        "locked": record.locked,
        "unbonding": record.unbonding,
        "release_at": record.release_at,
        "approved_pools": pools.iter().map(|pool| pool.0).collect::<Vec<_>>(),
        "nodes": nodes,
        "open_accusations": accusations,
    })
}

fn head(provider: ProviderId, record: &ProviderRecord, pools: &[PoolId], now: Timestamp) -> Sheet {
    let lode = Denomination::lode();
    let mut sheet = Sheet::new(["what", "value"]);
    sheet.row(["provider".to_owned(), provider.to_string()]);
    sheet.row(["stake".to_owned(), format!("{} for {} units", lode.show(record.stake), record.units)]);
    let unbonding = match record.release_at {
        Some(at) => format!("{}, to be withdrawn {}", lode.show(record.unbonding), moment(at, Some(now))),
        None => lode.show(record.unbonding),
    };
    sheet.row(["unbonding".to_owned(), unbonding]);
    if record.locked.0 > 0 {
        let held = format!("{}, until the verdict", lode.show(record.locked));
        sheet.row(["held by accusations".to_owned(), held]);
    }
    sheet.row(["registered".to_owned(), moment(record.registered_at, Some(now))]);
    sheet.row(["approved pools".to_owned(), list(pools.iter().map(ToString::to_string))]);
    sheet
}

fn node_sheet(nodes: &[Node]) -> Sheet {
    let mut sheet = Sheet::new(["node", "units", "eligible", "proven"]).or_else("no nodes");
    for Node { id, record, proof } in nodes {
        let proven = match proof {
            Some(proof) if proof.current => {
                format!("{} GPUs until epoch {}", proof.gpu_count, proof.expiry_epoch)
            }
            Some(_) => "expired".to_owned(),
            None => "never".to_owned(),
        };
        let eligible = if record.eligible { "yes" } else { "no: the stake is too small" };
        sheet.row([id.to_string(), record.units.to_string(), eligible.to_owned(), proven]);
    }
    sheet
}

fn accusation_sheet(accusations: &[AccusationRecord]) -> Sheet {
    let mut sheet = Sheet::new(["accusation", "node", "phase", "held", "answered"]);
    for accusation in accusations {
        sheet.row([
            accusation.id.to_string(),
            accusation.node.to_string(),
            phase_word(accusation.phase).to_owned(),
            Denomination::lode().show(accusation.amount),
            if accusation.answer.is_some() { "yes" } else { "no: `lode provider answer`" }.to_owned(),
        ]);
    }
    sheet
}
