//! `lode key …`: keys in private files.

use std::io::Read as _;
use std::path::Path;

use anyhow::Context as _;
use lode_contracts::UnsignedTransaction;
use lode_protocol::keys::SigningKey;
use serde_json::{Value, json};

use super::confirm::{can_ask, confirm};
use crate::arguments::{Global, KeyCommand};
use crate::failure::Kind;
use crate::keys;
use crate::output::{self, Format, Sheet};
use crate::wallet::{TYPES, TypedData};

/// Largest file that is signed, in bytes.
const MAX_BYTES: u64 = 2 << 20;

pub(super) fn run(global: &Global, command: KeyCommand) -> anyhow::Result<()> {
    let (file, key) = match command {
        KeyCommand::New { file } => {
            let key = keys::create(&file)?;
            (file, key)
        }
        KeyCommand::Show { file } => {
            let key = keys::load(&file)?;
            (file, key)
        }
        KeyCommand::Sign { file, key_file, yes } => return sign(global, &file, &keys::load(&key_file)?, yes),
    };
    match global.output {
        Format::Json => output::json(&json!({ "address": key.address().to_string(), "file": file })),
        Format::Table | Format::Wide => output::line(&key.address().to_string()),
    }
}

fn sign(global: &Global, file: &Path, key: &SigningKey, yes: bool) -> anyhow::Result<()> {
    let value: Value =
        serde_json::from_str(&read(file)?).with_context(|| format!("{} is not JSON", file.display()))?;
    if value.get("primaryType").is_some() {
        return sign_statement(global, value, key, yes);
    }
    let transactions = match value {
        Value::Array(items) => items,
        single => vec![single],
    };
    let mut signed = Vec::with_capacity(transactions.len());
    for transaction in transactions {
        signed.push(sign_transaction(transaction, key, yes)?);
    }
    match global.output {
        Format::Json => output::json(&json!({ "signer": key.address().to_string(), "signed": signed })),
        Format::Table | Format::Wide => output::line(&signed.join("\n")),
    }
}

fn sign_statement(global: &Global, value: Value, key: &SigningKey, yes: bool) -> anyhow::Result<()> {
    let typed_data: TypedData = serde_json::from_value(value)
        .map_err(|error| Kind::Usage.because(format!("this is no typed data that is understood: {error}")))?;
    let ours = typed_data.domain.name.starts_with("Lode ") && typed_data.domain.version == "1";
    if !ours || !TYPES.contains(&typed_data.primary_type.as_str()) {
        // A key must not sign what a stranger made up: it may mean anything to other contracts.
        let message = format!(
            "{} in {} is no statement of this command line",
            typed_data.primary_type, typed_data.domain.name
        );
        return Err(Kind::Denied.with_remedy(message, "sign only what --typed-data wrote"));
    }
    let digest = typed_data.digest()?;
    let mut sheet = Sheet::new(["what", "value"]);
    sheet.row(["statement".to_owned(), typed_data.primary_type.clone()]);
    sheet.row([
        "of".to_owned(),
        format!(
            "{} at {} on chain {}",
            typed_data.domain.name, typed_data.domain.verifying_contract, typed_data.domain.chain_id
        ),
    ]);
    for (name, value) in typed_data.fields()? {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        sheet.row([format!("  {name}"), text]);
    }
    ask(&sheet, &format!("sign this with the key of {}", key.address()), yes)?;
    let signature = key.sign_recoverable(&digest);
    match global.output {
        Format::Json => output::json(&json!({
            "signer": key.address().to_string(),
            "signature": signature.to_string(),
            "digest": digest.to_string(),
        })),
        Format::Table | Format::Wide => output::line(&signature.to_string()),
    }
}

fn sign_transaction(value: Value, key: &SigningKey, yes: bool) -> anyhow::Result<String> {
    let transaction: UnsignedTransaction = serde_json::from_value(value).map_err(|error| {
        Kind::Usage.because(format!("this is neither typed data nor a transaction: {error}"))
    })?;
    let mut sheet = Sheet::new(["what", "value"]);
    sheet.row([
        "transaction".to_owned(),
        format!("number {} on chain {}", transaction.nonce, transaction.chain_id),
    ]);
    sheet.row(["to".to_owned(), transaction.to.to_string()]);
    sheet.row(["coin".to_owned(), lode_contracts::Amount(transaction.value).to_string()]);
    sheet.row(["data".to_owned(), format!("0x{}", hex::encode(&transaction.data))]);
    let most = u128::from(transaction.gas).saturating_mul(transaction.max_fee_per_gas.into());
    sheet.row(["fee at most".to_owned(), lode_contracts::Amount(most).to_string()]);
    ask(&sheet, &format!("sign this with the key of {}", key.address()), yes)?;
    Ok(format!("0x{}", hex::encode(transaction.sign(key)?.bytes)))
}

fn ask(sheet: &Sheet, what: &str, yes: bool) -> anyhow::Result<()> {
    if !yes && can_ask() {
        eprint!("{}", sheet.render(output::terminal_width()));
    }
    confirm(what, yes)
}

fn read(file: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    let unreadable =
        |error: std::io::Error| Kind::NotFound.because(format!("cannot read {}: {error}", file.display()));
    if file == Path::new("-") {
        std::io::stdin().lock().take(MAX_BYTES).read_to_string(&mut text).map_err(unreadable)?;
    } else {
        let opened = std::fs::File::open(file).map_err(unreadable)?;
        opened.take(MAX_BYTES).read_to_string(&mut text).map_err(unreadable)?;
    }
    Ok(text)
}
