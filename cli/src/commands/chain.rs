//! `lode chain …`: the contracts and what addresses hold.

mod deploy;
mod info;

use lode_contracts::{ChainReader as _, Intent, TokenCall};
use serde_json::json;

use super::transact;
use crate::arguments::{ChainCommand, ChainFlags, Global};
use crate::output::{self, Denomination, Format};
use crate::wallet::{chain, hex_or_file, send_signed};

pub(super) async fn run(global: &Global, command: ChainCommand) -> anyhow::Result<()> {
    match command {
        ChainCommand::Deploy(arguments) => deploy::run(global, &arguments).await,
        ChainCommand::Info { chain } => info::show(global, &chain).await,
        ChainCommand::Verify { chain } => info::verify(global, &chain).await,
        ChainCommand::Balance { chain, address } => balance(global, &chain, address).await,
        ChainCommand::Mint { signer, to, amount } => {
            let shown = Denomination::lode().show(amount);
            let (what, done) = (format!("make {shown} for {to}"), format!("made {shown} for {to}"));
            transact(global, &signer, what, done, Intent::Token(TokenCall::Mint { to, amount })).await
        }
        ChainCommand::Transfer { signer, to, amount, coin } => {
            let (shown, intent) = if coin {
                (
                    format!("{amount} of the chain's coin"),
                    Intent::Token(TokenCall::TransferNative { to, amount }),
                )
            } else {
                (Denomination::lode().show(amount), Intent::Token(TokenCall::TransferToken { to, amount }))
            };
            let (what, done) = (format!("give {shown} to {to}"), format!("gave {shown} to {to}"));
            transact(global, &signer, what, done, intent).await
        }
        ChainCommand::Send { chain: flags, signed, yes, dry_run } => {
            let signed = hex_or_file(&signed)?;
            let chain = chain(global, &flags).await?;
            send_signed(&chain, &signed, global.output, yes, dry_run).await
        }
    }
}

async fn balance(
    global: &Global,
    flags: &ChainFlags,
    address: lode_protocol::ids::Address,
) -> anyhow::Result<()> {
    let chain = chain(global, flags).await?;
    let coin = chain.balance(address).await?;
    let tokens = chain.token_balance(address).await?;
    match global.output {
        Format::Json => {
            output::json(&json!({ "address": address.to_string(), "coin": coin, "tokens": tokens }))
        }
        Format::Table | Format::Wide => {
            output::line(&format!("{}, {coin} of the chain's coin", Denomination::lode().show(tokens)))
        }
    }
}
