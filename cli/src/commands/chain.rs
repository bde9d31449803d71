//! `lode chain …`: the contracts and what addresses hold.

use lode_contracts::{ChainReader as _, DeployParameters, Intent, RpcConfig, deploy};
use serde_json::json;

use super::confirm::confirm;
use super::signer::{Signer, chain};
use crate::arguments::{ChainCommand, ChainFlags, Global};
use crate::failure::Kind;
use crate::keys;
use crate::output::{self, Format, Sheet};

pub(super) async fn run(global: &Global, command: ChainCommand) -> anyhow::Result<()> {
    match command {
        ChainCommand::Deploy {
            rpc_url,
            key_file,
            out,
            stake_per_unit,
            validator_bond,
            epoch,
            unbonding,
            exit,
            proof_epochs,
            yes,
        } => {
            if out.exists() {
                let message = format!("{} is there already", out.display());
                return Err(
                    Kind::Conflict.with_remedy(message, "move it away, or name another file with --out")
                );
            }
            let defaults = DeployParameters::default();
            let parameters = DeployParameters {
                min_stake_per_unit: stake_per_unit.unwrap_or(defaults.min_stake_per_unit),
                validator_min_stake: validator_bond.unwrap_or(defaults.validator_min_stake),
                epoch_seconds: epoch.map_or(defaults.epoch_seconds, |time| time.as_secs()),
                unbonding_seconds: unbonding.map_or(defaults.unbonding_seconds, |time| time.as_secs()),
                validator_exit_seconds: exit.map_or(defaults.validator_exit_seconds, |time| time.as_secs()),
                max_validity_epochs: proof_epochs.unwrap_or(defaults.max_validity_epochs),
            };
            let key = keys::load(&key_file)?;
            confirm(&format!("deploy four contracts, paid by {}", key.address()), yes)?;
            let deployment = deploy(&RpcConfig::new(rpc_url), &key, &parameters, None).await?;
            deployment.save(&out)?;
            match global.output {
                Format::Json => output::json(&serde_json::to_value(&deployment)?),
                Format::Table | Format::Wide => output::line(&format!(
                    "deployed on chain {}; wrote {}",
                    deployment.chain_id,
                    out.display()
                )),
            }
        }
        ChainCommand::Info { chain } => info(global, &chain).await,
        ChainCommand::Balance { chain: flags, address } => {
            let chain = chain(global, &flags).await?;
            let coin = chain.balance(address).await?;
            let tokens = chain.token_balance(address).await?;
            match global.output {
                Format::Json => {
                    output::json(&json!({ "address": address.to_string(), "coin": coin, "tokens": tokens }))
                }
                Format::Table | Format::Wide => {
                    output::line(&format!("{tokens} LODE, {coin} of the chain's coin"))
                }
            }
        }
        ChainCommand::Mint { signer, to, amount } => {
            let signer = Signer::new(global, &signer).await?;
            let (what, done) =
                (format!("make {amount} LODE for {to}"), format!("made {amount} LODE for {to}"));
            signer.execute(&what, &done, Intent::Mint { to, amount }).await.map(drop)
        }
        ChainCommand::Send { signer, to, amount, coin } => {
            let signer = Signer::new(global, &signer).await?;
            let unit = if coin { "of the chain's coin" } else { "LODE" };
            let intent = if coin {
                Intent::TransferNative { to, amount }
            } else {
                Intent::TransferToken { to, amount }
            };
            let (what, done) =
                (format!("send {amount} {unit} to {to}"), format!("sent {amount} {unit} to {to}"));
            signer.execute(&what, &done, intent).await.map(drop)
        }
    }
}

async fn info(global: &Global, flags: &ChainFlags) -> anyhow::Result<()> {
    let chain = chain(global, flags).await?;
    let head = chain.head().await?;
    let terms = chain.staking_terms().await?;
    let timing = chain.epoch_timing().await?;
    let epoch = chain.current_epoch().await?;
    let pools = chain.pool_count().await?;
    let deployment = chain.deployment();
    match global.output {
        Format::Json => output::json(&json!({
            "deployment": deployment,
            "head": { "number": head.number, "hash": head.hash.to_string(), "time": head.timestamp },
            "staking": {
                "min_stake_per_unit": terms.min_stake_per_unit,
                "unbonding_seconds": terms.unbonding_seconds,
                "validator_min_stake": terms.validator_min_stake,
                "validator_exit_seconds": terms.validator_exit_seconds,
            },
            "epoch": { "current": epoch.0, "seconds": timing.epoch_seconds, "max_validity": timing.max_validity_epochs },
            "pools": pools,
        })),
        Format::Table | Format::Wide => {
            let mut sheet = Sheet::new(["what", "value"]);
            sheet.row(["chain".to_owned(), deployment.chain_id.to_string()]);
            sheet.row(["head".to_owned(), format!("block {} at {}", head.number, head.timestamp)]);
            for (name, address) in deployment.contracts() {
                sheet.row([name.to_owned(), address.to_string()]);
            }
            sheet.row(["stake per unit".to_owned(), format!("{} LODE", terms.min_stake_per_unit)]);
            sheet.row(["validator's least bond".to_owned(), format!("{} LODE", terms.validator_min_stake)]);
            sheet.row(["epoch".to_owned(), format!("{} ({} s each)", epoch.0, timing.epoch_seconds)]);
            sheet.row(["pools".to_owned(), pools.to_string()]);
            output::sheet(&sheet)
        }
    }
}
