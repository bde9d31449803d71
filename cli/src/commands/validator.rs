//! `lode validator …`: the bond and the endpoint of a validator.

use lode_contracts::{ChainReader as _, Intent};
use serde_json::json;

use super::signer::{Signer, chain};
use crate::arguments::{Global, ValidatorCommand};
use crate::output::{self, Format, Sheet};

pub(super) async fn run(global: &Global, command: ValidatorCommand) -> anyhow::Result<()> {
    match command {
        ValidatorCommand::Register { signer, bond, endpoint } => {
            let signer = Signer::new(global, &signer).await?;
            signer.ask(&format!("bond {bond} LODE as a validator at {endpoint}"))?;
            let receipt = signer.operator.register_validator(bond, &endpoint.to_string()).await?;
            let done =
                format!("{} is a validator; its bond counts from the next epoch", signer.operator.address());
            signer.report(&done, &receipt, json!({}))
        }
        ValidatorCommand::SetEndpoint { signer, endpoint } => {
            let signer = Signer::new(global, &signer).await?;
            let endpoint = endpoint.to_string();
            let (what, done) = (format!("send workers to {endpoint}"), format!("workers dial {endpoint}"));
            signer.execute(&what, &done, Intent::SetValidatorEndpoint { endpoint }).await.map(drop)
        }
        ValidatorCommand::Exit { signer } => {
            let signer = Signer::new(global, &signer).await?;
            signer
                .execute("leave the validators", "the exit is asked for", Intent::RequestExit)
                .await
                .map(drop)
        }
        ValidatorCommand::Withdraw { signer } => {
            let signer = Signer::new(global, &signer).await?;
            signer
                .execute("collect the bond", "the bond is paid out", Intent::WithdrawValidator)
                .await
                .map(drop)
        }
        ValidatorCommand::Ls { chain: flags } => {
            let chain = chain(global, &flags).await?;
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
                    let mut sheet =
                        Sheet::new(["validator", "bond", "endpoint", "exit"]).or_else("no validators");
                    for validator in validators {
                        sheet.row([
                            validator.id.to_string(),
                            format!("{} LODE", validator.stake),
                            validator.endpoint,
                            validator.exit_at.map_or_else(|| "-".to_owned(), |time| time.to_string()),
                        ]);
                    }
                    output::sheet(&sheet)
                }
            }
        }
    }
}
