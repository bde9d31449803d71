//! `lode provider …`: the stake of a machine's owner, the nodes it covers, and what they earn. The key never lies on a
//! GPU host.

mod answer;
mod approval;
mod claim;
mod consent;
mod earnings;
mod nodes;
mod redeem;
mod source;
mod status;

use lode_contracts::{Amount, ChainReader as _, Intent, RegistryCall};
use lode_protocol::ids::ProviderId;
use lode_protocol::units::Millis;

use super::transact;
use crate::arguments::{Global, ProviderCommand, SignerFlags, StatementFlags};
use crate::failure::Kind;
use crate::output::{Denomination, moment, span};
use crate::wallet::{Payment, Plan, Wallet};

pub(super) async fn run(global: &Global, command: ProviderCommand) -> anyhow::Result<()> {
    match command {
        ProviderCommand::Register { signer, permit, stake } => {
            register(global, &signer, &permit, stake).await
        }
        ProviderCommand::Stake { signer, amount } => {
            let wallet = Wallet::open(global, &signer).await?;
            let earlier = wallet.approval(wallet.deployment().registry, amount).await?;
            let (what, done) =
                (format!("stake {} more", lode(amount)), format!("staked {} more", lode(amount)));
            wallet
                .carry_out(
                    &Plan::new(what, done, Intent::Registry(RegistryCall::Stake { amount })).after(earlier),
                )
                .await
                .map(drop)
        }
        ProviderCommand::Unstake { signer, amount } => unstake(global, &signer, amount).await,
        ProviderCommand::Withdraw { signer } => withdraw(global, &signer).await,
        ProviderCommand::Authorize { signer, statement, consent, units } => {
            nodes::authorize(global, &signer, &statement, &consent, units).await
        }
        ProviderCommand::Replace { signer, old, consent } => {
            nodes::replace(global, &signer, old, &consent).await
        }
        ProviderCommand::Remove { signer, node } => {
            let what = format!("release node {node}; its memberships and proofs are void");
            transact(
                global,
                &signer,
                what,
                format!("node {node} is released"),
                Intent::Registry(RegistryCall::RemoveNode(node)),
            )
            .await
        }
        ProviderCommand::Revoke { signer } => {
            let what = "kill every authorisation that the provider signed and that nobody has used";
            let done = "authorisations signed before are dead; nodes that were taken on stay";
            transact(global, &signer, what, done, Intent::Registry(RegistryCall::RevokeAuthorizations)).await
        }
        ProviderCommand::ApprovePool { signer, statement, pool, withdraw } => {
            approval::approve(global, &signer, &statement, pool, !withdraw).await
        }
        ProviderCommand::Leave { signer, statement, pool, node } => {
            approval::leave(global, &signer, &statement, pool, node).await
        }
        ProviderCommand::Claim { signer, receipts, payees, all } => {
            claim::run(global, &signer, &receipts, payees, all).await
        }
        ProviderCommand::Earnings { chain, receipts, payee } => {
            earnings::run(global, &chain, &receipts, payee).await
        }
        ProviderCommand::Redeem { signer, pool, receipt, settle: _, payee } => match receipt {
            Some(file) => redeem::begin(global, &signer, pool, &file).await,
            None => redeem::settle(global, &signer, pool, payee).await,
        },
        ProviderCommand::Answer { signer, statement, accusation, file, hash, uri } => {
            answer::run(global, &signer, &statement, accusation, file.as_deref(), hash, uri).await
        }
        ProviderCommand::Status { chain, provider } => {
            status::run(global, &chain, ProviderId(provider)).await
        }
    }
}

fn lode(amount: Amount) -> String {
    Denomination::lode().show(amount)
}

async fn register(
    global: &Global,
    signer: &SignerFlags,
    permit: &StatementFlags,
    stake: Amount,
) -> anyhow::Result<()> {
    let wallet = Wallet::open(global, signer).await?;
    let payment = wallet.pay(wallet.deployment().registry, stake, permit).await?;
    let (permit, earlier) = match payment {
        Payment::Asked => return Ok(()),
        Payment::Permit(permit) => (Some(permit), Vec::new()),
        Payment::Approved(earlier) => (None, earlier),
    };
    let (what, done) = (
        format!("stake {} as a provider", lode(stake)),
        format!("{} is a provider with {}", wallet.address()?, lode(stake)),
    );
    let intent = Intent::Registry(RegistryCall::RegisterProvider { amount: stake, permit });
    wallet.carry_out(&Plan::new(what, done, intent).after(earlier)).await.map(drop)
}

async fn unstake(global: &Global, signer: &SignerFlags, amount: Amount) -> anyhow::Result<()> {
    let wallet = Wallet::open(global, signer).await?;
    let delay = Millis::seconds(wallet.chain.staking_terms().await?.unbonding_seconds);
    let from = moment(wallet.now.plus(delay), Some(wallet.now));
    let what = format!(
        "take {} out of the stake; all that unbonds can be withdrawn {from}, {} after this request",
        lode(amount),
        span(delay)
    );
    let done = format!("{} unbond; collect them with `lode provider withdraw` {from}", lode(amount));
    wallet
        .carry_out(&Plan::new(what, done, Intent::Registry(RegistryCall::RequestUnstake { amount })))
        .await
        .map(drop)
}

async fn withdraw(global: &Global, signer: &SignerFlags) -> anyhow::Result<()> {
    let wallet = Wallet::open(global, signer).await?;
    let provider = ProviderId(wallet.address()?);
    let Some(record) = wallet.chain.provider(provider).await? else {
        let remedy = "run `lode provider register --stake AMOUNT`";
        return Err(Kind::NotFound.with_remedy(format!("{provider} is not a provider on this chain"), remedy));
    };
    let what = format!("collect up to {} of unbonded stake", lode(record.unbonding));
    wallet
        .carry_out(&Plan::new(what, "the stake is paid out", Intent::Registry(RegistryCall::Withdraw)))
        .await
        .map(drop)
}
