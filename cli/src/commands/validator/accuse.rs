//! Accusing a provider.

use lode_contracts::{Amount, ChainEvent, ChainReader as _, Intent, Offence, SlashingCall, SlashingEvent};
use lode_protocol::hash::Digest;
use lode_protocol::ids::{NodeId, ProviderId};
use lode_protocol::units::Millis;
use serde_json::json;

use super::lode;
use crate::arguments::{Global, SignerFlags};
use crate::failure::Kind;
use crate::output::span;
use crate::wallet::{Plan, Wallet};

/// What a provider is accused of.
#[derive(Debug)]
pub(super) struct Charge {
    pub(super) provider: ProviderId,
    pub(super) node: NodeId,
    pub(super) offence: Offence,
    pub(super) amount: Amount,
    pub(super) evidence: Digest,
    pub(super) uri: String,
}

pub(super) async fn run(global: &Global, signer: &SignerFlags, charge: Charge) -> anyhow::Result<()> {
    let Charge { provider, node, offence, amount, evidence, uri } = charge;
    let wallet = Wallet::open(global, signer).await?;
    let bond = wallet.chain.bond_for(amount).await?;
    let terms = wallet.chain.slashing_terms().await?;
    let earlier = wallet.approval(wallet.deployment().slashing, bond).await?;
    let verdict = [terms.evidence_seconds, terms.answer_seconds, terms.vote_seconds]
        .iter()
        .fold(0u64, |sum, seconds| sum.saturating_add(*seconds));
    let what = format!(
        "accuse {provider} over node {node}, hold {} of its stake, and bond {} of yours, which the provider gets unless \
         more than two thirds of the validators find it guilty; the verdict comes after {}",
        lode(amount),
        lode(bond),
        span(Millis(verdict.saturating_mul(1_000)))
    );
    let intent = Intent::Slashing(SlashingCall::Accuse { provider, node, offence, amount, evidence, uri });
    let mut plan = Plan::new(what, String::new(), intent).after(earlier);
    let Some(receipts) = wallet.carry_out_silently(&plan).await? else { return Ok(()) };
    let opened = receipts.iter().flat_map(|receipt| &receipt.events).find_map(|logged| match &logged.event {
        ChainEvent::Slashing(SlashingEvent::Accused { id, .. }) => Some(*id),
        _ => None,
    });
    let Some(id) = opened else {
        let remedy = "see `lode validator accusations`";
        return Err(Kind::Failed.with_remedy("the receipt does not name the accusation", remedy));
    };
    plan.done = format!("accusation {id} is opened, with a bond of {}", lode(bond));
    let plan = plan.with("accusation", json!(id.0)).with("bond", json!(bond));
    wallet.report(&plan, &receipts)
}
