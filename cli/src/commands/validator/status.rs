//! How validators look.

use lode_contracts::{ChainReader as _, EpochPhase, ValidatorRecord};
use lode_protocol::ids::ValidatorId;
use lode_protocol::units::Timestamp;
use serde_json::json;

use super::lode;
use crate::arguments::{ChainFlags, Global};
use crate::failure::Kind;
use crate::output::{self, Format, Sheet, moment};
use crate::wallet::chain;

pub(super) async fn show(global: &Global, flags: &ChainFlags, id: ValidatorId) -> anyhow::Result<()> {
    let chain = chain(global, flags).await?;
    let Some(record) = chain.validator(id).await? else {
        let remedy = "run `lode validator register --bond AMOUNT --endpoint ENDPOINT`";
        return Err(Kind::NotFound.with_remedy(format!("{id} is not a validator on this chain"), remedy));
    };
    let now = chain.head().await?.timestamp;
    let timing = chain.epoch_timing().await?;
    let epoch = timing.epoch_at(now);
    let weight = chain.validator_weight(id, epoch).await?;
    let total = chain.total_weight(epoch).await?;
    let committed = chain.commitment_of(epoch, id).await?;
    let revealed = chain.reveal_of(epoch, id).await?;
    let owed = chain.owed_to(id.0).await?;
    let vote = match (revealed, committed) {
        (Some(root), _) => format!("revealed {root}"),
        (None, Some(_)) => "committed, not revealed".to_owned(),
        (None, None) => "none yet".to_owned(),
    };
    match global.output {
        Format::Json => output::json(&json!({
            "validator": id.to_string(),
            "bond": record.stake,
            "endpoint": record.endpoint,
            "exit_at": record.exit_at,
            "epoch": epoch.0,
            "weight": weight,
            "total_weight": total,
            "committed": committed.map(|digest| digest.to_string()),
            "revealed": revealed.map(|digest| digest.to_string()),
            "owed": owed,
        })),
        Format::Table | Format::Wide => {
            let mut sheet = Sheet::new(["what", "value"]);
            sheet.row(["validator".to_owned(), id.to_string()]);
            sheet.row(["bond".to_owned(), lode(record.stake)]);
            sheet.row(["endpoint".to_owned(), record.endpoint.clone()]);
            sheet.row(["exit".to_owned(), exit(&record, now)]);
            sheet.row(["weight".to_owned(), format!("{} of {} in epoch {epoch}", lode(weight), lode(total))]);
            let phase = match timing.phase_at(now) {
                EpochPhase::Commit => {
                    format!("commits, until {}", moment(timing.reveal_from(epoch), Some(now)))
                }
                EpochPhase::Reveal => format!("reveals, until {}", moment(timing.ends(epoch), Some(now))),
            };
            sheet.row(["epoch takes".to_owned(), phase]);
            sheet.row(["vote of this epoch".to_owned(), vote]);
            if owed.0 > 0 {
                sheet.row(["owed".to_owned(), format!("{}: `lode validator collect {id}`", lode(owed))]);
            }
            output::sheet(&sheet)
        }
    }
}

fn exit(record: &ValidatorRecord, now: Timestamp) -> String {
    record.exit_at.map_or_else(
        || "not asked for".to_owned(),
        |at| format!("the bond can be withdrawn {}", moment(at, Some(now))),
    )
}

pub(super) async fn list(global: &Global, flags: &ChainFlags) -> anyhow::Result<()> {
    let chain = chain(global, flags).await?;
    let validators = chain.validators().await?;
    match global.output {
        Format::Json => {
            let items: Vec<_> = validators
                .iter()
                .map(|validator| {
                    json!({
                        "validator": validator.id.to_string(),
                        "bond": validator.stake,
                        "endpoint": validator.endpoint,
                        "exit_at": validator.exit_at,
                    })
                })
                .collect();
            output::json(&json!({ "items": items }))
        }
        Format::Table | Format::Wide => {
            let now = chain.head().await?.timestamp;
            let mut sheet = Sheet::new(["validator", "bond", "endpoint", "exit"]).or_else("no validators");
            for validator in validators {
                let leaves = validator.exit_at.map_or_else(|| "-".to_owned(), |time| moment(time, Some(now)));
                sheet.row([validator.id.to_string(), lode(validator.stake), validator.endpoint, leaves]);
            }
            output::sheet(&sheet)
        }
    }
}
