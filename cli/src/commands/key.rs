//! `lode key …`: keys in private files.

use serde_json::json;

use crate::arguments::{Global, KeyCommand};
use crate::keys;
use crate::output::{self, Format};

pub(super) fn run(global: &Global, command: &KeyCommand) -> anyhow::Result<()> {
    let (file, key) = match command {
        KeyCommand::New { file } => (file, keys::create(file)?),
        KeyCommand::Show { file } => (file, keys::load(file)?),
    };
    match global.output {
        Format::Json => output::json(&json!({ "address": key.address().to_string(), "file": file })),
        Format::Table | Format::Wide => output::line(&key.address().to_string()),
    }
}
