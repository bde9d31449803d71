//! Putting the contracts on a chain.

use std::path::Path;

use anyhow::Context as _;
use lode_contracts::{
    DeployError, DeployParameters, Deployed, Deployment, RpcChain, RpcConfig, deploy_to, deployed_parameters,
};
use lode_protocol::units::Millis;

use crate::arguments::{DeployArguments, Global};
use crate::commands::confirm::{can_ask, confirm};
use crate::failure::Kind;
use crate::keys;
use crate::output::{self, Denomination, Format, Sheet, span};

pub(super) async fn run(global: &Global, arguments: &DeployArguments) -> anyhow::Result<()> {
    let out = &arguments.out;
    let config = RpcConfig::new(arguments.rpc_url.clone());
    // What stands keeps its terms; only those that are named again are compared.
    let standing = if out.exists() {
        let chain = RpcChain::new(config.clone(), Deployment::load(out)?)?;
        Some(deployed_parameters(&chain).await?)
    } else {
        None
    };
    let parameters = parameters(arguments, standing)?;
    let key = keys::load(&arguments.key_file)?;
    if standing.is_none() {
        if !arguments.yes && can_ask() {
            eprint!("{}", sheet(&parameters).render(output::terminal_width()));
        }
        let what = format!("deploy six contracts with these terms, for good, paid by {}", key.address());
        confirm(&what, arguments.yes)?;
    }
    let deployed = deploy_to(out, &config, &key, &parameters, None).await.map_err(plain)?;
    let Deployed { deployment, transactions } = deployed;
    let (file, id) = (out.display(), deployment.chain_id);
    match global.output {
        Format::Json => output::json(&serde_json::to_value(&deployment)?),
        Format::Table | Format::Wide if transactions == 0 => {
            output::line(&format!("{file} stands on chain {id}; nothing was to be done"))
        }
        Format::Table | Format::Wide => {
            output::line(&format!("deployed on chain {id} with {transactions} transactions; wrote {file}"))
        }
    }
}

/// The error itself, so that its sort is seen.
fn plain(error: DeployError) -> anyhow::Error {
    match error {
        DeployError::File(error) => error.into(),
        DeployError::Chain(error) => error.into(),
        error @ DeployError::Conflict { .. } => error.into(),
    }
}

/// From what stands or the file of parameters, with the flags over it.
fn parameters(
    arguments: &DeployArguments,
    standing: Option<DeployParameters>,
) -> anyhow::Result<DeployParameters> {
    let mut parameters = match &arguments.parameters {
        Some(path) => read(path)?,
        None => standing.unwrap_or_default(),
    };
    if let Some(amount) = arguments.stake_per_unit {
        parameters.min_stake_per_unit = amount;
    }
    if let Some(amount) = arguments.validator_bond {
        parameters.validator_min_stake = amount;
    }
    if let Some(time) = arguments.epoch {
        parameters.epoch_seconds = time.as_secs();
    }
    if let Some(time) = arguments.unbonding {
        parameters.unbonding_seconds = time.as_secs();
    }
    if let Some(time) = arguments.exit {
        parameters.validator_exit_seconds = time.as_secs();
    }
    if let Some(epochs) = arguments.proof_epochs {
        parameters.max_validity_epochs = epochs;
    }
    if arguments.treasury.is_some() {
        parameters.treasury = arguments.treasury;
    }
    let reach = parameters.slashing.reach_seconds();
    if parameters.unbonding_seconds < reach {
        let seconds = |seconds: u64| span(Millis(seconds.saturating_mul(1_000)));
        let message = format!(
            "stake could leave before an offence is judged: it unbonds in {}, judging takes {}",
            seconds(parameters.unbonding_seconds),
            seconds(reach)
        );
        let remedy = "choose a longer --unbonding, or shorter phases of `slashing` in --parameters FILE";
        return Err(Kind::Usage.with_remedy(message, remedy));
    }
    Ok(parameters)
}

fn read(path: &Path) -> anyhow::Result<DeployParameters> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Kind::NotFound.because(format!("cannot read {}: {error}", path.display())))?;
    toml::from_str(&text).with_context(|| format!("{} holds no parameters", path.display()))
}

fn sheet(parameters: &DeployParameters) -> Sheet {
    let lode = Denomination::lode();
    let seconds = |seconds: u64| span(Millis(seconds.saturating_mul(1_000)));
    let mut sheet = Sheet::new(["term", "value"]);
    sheet.row(["stake per unit".to_owned(), lode.show(parameters.min_stake_per_unit)]);
    sheet.row(["unbonding".to_owned(), seconds(parameters.unbonding_seconds)]);
    sheet.row(["validator's least bond".to_owned(), lode.show(parameters.validator_min_stake)]);
    sheet.row(["epoch".to_owned(), seconds(parameters.epoch_seconds)]);
    sheet.row(["validator's exit".to_owned(), seconds(parameters.validator_exit_seconds)]);
    let treasury = parameters.treasury.map_or_else(|| "whoever deploys".to_owned(), |to| to.to_string());
    sheet.row(["treasury".to_owned(), treasury]);
    let slashing = &parameters.slashing;
    sheet.row([
        "accusation".to_owned(),
        format!(
            "evidence {}, answer {}, vote {}; bond at least {}",
            seconds(slashing.evidence_seconds),
            seconds(slashing.answer_seconds),
            seconds(slashing.vote_seconds),
            lode.show(slashing.min_bond)
        ),
    ]);
    let settlement = &parameters.settlement;
    sheet.row([
        "settlement".to_owned(),
        format!(
            "posting {}, veto {}, withdrawal {}",
            seconds(settlement.posting_seconds),
            seconds(settlement.veto_seconds),
            seconds(settlement.withdrawal_seconds)
        ),
    ]);
    sheet
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(parameters: Option<&Path>) -> DeployArguments {
        DeployArguments {
            rpc_url: "http://127.0.0.1:1".to_owned(),
            key_file: "k".into(),
            out: "d".into(),
            parameters: parameters.map(Path::to_owned),
            stake_per_unit: None,
            validator_bond: None,
            epoch: None,
            unbonding: None,
            exit: None,
            proof_epochs: None,
            treasury: None,
            yes: true,
        }
    }

    #[test]
    fn a_file_of_parameters_counts_below_the_flags() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("parameters.toml");
        std::fs::write(&path, "epoch_seconds = 60\nmin_stake_per_unit = \"2.5\"\n").unwrap();
        let mut given = arguments(Some(&path));
        given.epoch = Some(std::time::Duration::from_secs(120));
        let parameters = parameters(&given, None).unwrap();
        assert_eq!(parameters.epoch_seconds, 120);
        assert_eq!(parameters.min_stake_per_unit.to_string(), "2.5");
    }

    #[test]
    fn stake_that_could_leave_before_it_is_judged_is_refused_before_anything_is_deployed() {
        let mut given = arguments(None);
        given.unbonding = Some(std::time::Duration::from_secs(60));
        let error = parameters(&given, None).unwrap_err();
        assert!(error.to_string().contains("before an offence is judged"), "{error}");
    }

    #[test]
    fn a_parameter_that_does_not_exist_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("parameters.toml");
        std::fs::write(&path, "epoch_second = 60\n").unwrap();
        assert!(parameters(&arguments(Some(&path)), None).is_err());
    }
}
