//! What a task may cost, signed by whoever pays.

use std::path::Path;

use lode_api_types::Submission;
use lode_protocol::hash::Digest;
use lode_protocol::keys::EthereumSignature;
use lode_protocol::settlement::SpendAuthorization;
use lode_protocol::task::TaskSpec;
use serde::{Deserialize, Serialize};

use super::read_spec;
use crate::arguments::{Global, OrderArguments, SignerFlags};
use crate::commands::pool::reward_token;
use crate::failure::{Failure, Kind};
use crate::output::{self, Written};
use crate::wallet::{Instead, Said, Statement, Wallet, check, pool_meant};

/// An order as it goes with a task.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct SignedSpendAuthorization {
    order: SpendAuthorization,
    signature: EthereumSignature,
}

pub(super) async fn run(global: &Global, arguments: OrderArguments) -> anyhow::Result<()> {
    let OrderArguments { chain, key_file, statement: flags, file, pool, price_per_gpu_hour, budget, out } =
        arguments;
    let spec = digest(&read_spec(&file)?)?;
    let signer = SignerFlags { chain, key_file, from: None, yes: true, dry_run: false, sign_elsewhere: None };
    let pool = pool_meant(global, pool)?;
    let wallet = Wallet::open(global, &signer).await?;
    let (_, unit) = reward_token(&wallet.chain, pool).await?;
    let read = |written: &Written| unit.read(written).map_err(|message| Kind::Usage.because(message));
    let (price_per_gpu_hour, budget) = (read(&price_per_gpu_hour)?, read(&budget)?);
    let order =
        |tenant, deadline| SpendAuthorization { pool, tenant, spec, price_per_gpu_hour, budget, deadline };
    match flags.said(&wallet, Instead::Nothing).await? {
        Said::Asked { signer, deadline } => {
            flags.ask(&wallet, signer, &Statement::SpendAuthorization(order(signer, deadline)))
        }
        Said::Signed { signer, deadline, signature } => {
            let order = order(signer, deadline);
            check(&wallet, &Statement::SpendAuthorization(order), signer, &signature)?;
            write(&SignedSpendAuthorization { order, signature }, out.as_deref())
        }
        Said::Directly => {
            let tenant = wallet.address()?;
            let Some(key) = wallet.key() else {
                return Err(Kind::Usage.because("the tenant's key is not here; use --typed-data"));
            };
            let order = order(tenant, flags.deadline(&wallet));
            let statement = Statement::SpendAuthorization(order);
            let signature = key.sign_recoverable(&statement.digest(wallet.deployment()));
            write(&SignedSpendAuthorization { order, signature }, out.as_deref())
        }
    }
}

fn write(signed: &SignedSpendAuthorization, out: Option<&Path>) -> anyhow::Result<()> {
    let Some(out) = out else { return output::json(signed) };
    let text = format!("{}\n", serde_json::to_string_pretty(signed)?);
    std::fs::write(out, text)
        .map_err(|error| Kind::Failed.because(format!("cannot write {}: {error}", out.display())))?;
    output::line(&format!(
        "wrote {}; it goes with the task: `lode task run --order {}`",
        out.display(),
        out.display()
    ))
}

/// What the orchestrator finds the order to be about.
fn digest(spec: &TaskSpec) -> anyhow::Result<Digest> {
    match spec.clone().validate() {
        Ok(valid) => Ok(valid.digest()),
        Err(problems) => {
            let listed: Vec<String> =
                problems.iter().map(|problem| format!("{}: {}", problem.field, problem.message)).collect();
            let message = format!("the task is not valid: {}", listed.join("; "));
            Err(Kind::Usage.with_remedy(message, "correct the task file"))
        }
    }
}

/// A task with its order, as it is submitted. An order for another task is refused here.
pub(super) fn with_spec(file: &Path, spec: TaskSpec) -> anyhow::Result<Submission> {
    let text = std::fs::read_to_string(file).map_err(|error| {
        Kind::NotFound.because(format!("cannot read the order {}: {error}", file.display()))
    })?;
    let signed: SignedSpendAuthorization = serde_json::from_str(&text).map_err(|error| {
        let message = format!("{} is no signed order: {error}", file.display());
        Kind::Usage.with_remedy(message, "make one with `lode task order`")
    })?;
    if signed.order.spec != digest(&spec)? {
        let message =
            format!("{} is the order of another task, or the task was changed since", file.display());
        let remedy = "sign one for this very task: `lode task order`";
        return Err(Failure::coded(Kind::Usage, "order/mismatch", message, remedy).into());
    }
    Ok(Submission { spec, order: Some(signed.order), signature: Some(signed.signature) })
}
