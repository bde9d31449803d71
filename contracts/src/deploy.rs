//! Puts the contracts on a chain, once: what is there stays, what is missing is made.
//!
//! A deployment is a row of transactions, and anything can happen between them. Before each is sent it is written down
//! beside the deployment file (`NAME.partial`), so that the next run goes on where the last one ended and makes no
//! contract twice. A complete deployment is looked over and left alone.

mod arguments;
mod parameters;
mod progress;
mod steps;

use std::path::Path;

use lode_protocol::keys::SigningKey;

use self::progress::Progress;
use self::steps::Deployer;
use crate::deployment::{Deployment, DeploymentError};
use crate::error::ChainError;
use crate::reader::ChainReader as _;
use crate::rpc::{RpcChain, RpcConfig, Transport};

pub use self::parameters::DeployParameters;

/// A deployment that stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Deployed {
    /// Where it is.
    pub deployment: Deployment,
    /// How many transactions this run sent for it; none when it was complete.
    pub transactions: usize,
}

/// Why a deployment could not be made or found.
#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    /// The deployment file, or the one beside it.
    #[error(transparent)]
    File(#[from] DeploymentError),
    /// The chain.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// What stands there was made otherwise.
    #[error("{file}: {detail}")]
    Conflict {
        /// Which file says so.
        file: String,
        /// What differs and what to do.
        detail: String,
    },
}

impl DeployError {
    /// Stable code.
    pub fn code(&self) -> lode_protocol::error_code::ErrorCode {
        match self {
            DeployError::File(error) => error.code(),
            DeployError::Chain(error) => error.code(),
            DeployError::Conflict { .. } => lode_protocol::error_code::ErrorCode::new("deployment/conflict"),
        }
    }
}

/// Deploys token, registry, pools, validators, slashing and rewards, in this order, and names the slasher. `key` pays,
/// and owns the token (it mints). The URL is not written into the deployment: it may carry a key.
///
/// Keeps nothing: a run that fails leaves contracts that nobody uses. For tests and chains that live as long as the
/// process; others use [`deploy_to`].
pub async fn deploy(
    config: &RpcConfig,
    key: &SigningKey,
    parameters: &DeployParameters,
    commit: Option<String>,
) -> Result<Deployment, ChainError> {
    let transport = Transport::new(config)?;
    let chain_id = transport.chain_id().await?;
    let mut progress = Progress::begin(chain_id, key.address(), *parameters, commit);
    let mut deployer = Deployer::new(&transport, key, &mut progress, None);
    match deployer.run().await {
        Ok(deployment) => Ok(deployment),
        Err(DeployError::Chain(error)) => Err(error),
        Err(other) => Err(ChainError::Invalid { detail: other.to_string() }),
    }
}

/// The same into a deployment file, as often as one likes: a complete deployment is verified and left as it is, a
/// half-done one is completed, and where there is none one is made.
pub async fn deploy_to(
    path: &Path,
    config: &RpcConfig,
    key: &SigningKey,
    parameters: &DeployParameters,
    commit: Option<String>,
) -> Result<Deployed, DeployError> {
    if path.exists() {
        let deployment = complete(path, config, key, parameters).await?;
        return Ok(Deployed { deployment, transactions: 0 });
    }
    let transport = Transport::new(config)?;
    let chain_id = transport.chain_id().await?;
    let beside = progress::beside(path);
    let begun = Progress::begin(chain_id, key.address(), *parameters, commit);
    let mut progress = Progress::resume(&beside, begun)?;
    let mut deployer = Deployer::new(&transport, key, &mut progress, Some(&beside));
    let deployment = deployer.run().await?;
    let transactions = deployer.transactions();
    deployment.save(path)?;
    progress::forget(&beside)?;
    Ok(Deployed { deployment, transactions })
}

/// Looks a complete deployment over: chain, code, slasher and parameters.
async fn complete(
    path: &Path,
    config: &RpcConfig,
    key: &SigningKey,
    parameters: &DeployParameters,
) -> Result<Deployment, DeployError> {
    let deployment = Deployment::load(path)?;
    let conflict = |detail: String| DeployError::Conflict { file: path.display().to_string(), detail };
    let chain = RpcChain::new(config.clone(), deployment.clone())?;
    chain.verify().await?;
    if chain.slasher().await? != Some(deployment.slashing) {
        return Err(conflict(format!(
            "the registry does not obey {}: it was deployed by other hands; move the file away and deploy anew",
            deployment.slashing
        )));
    }
    let meant =
        DeployParameters { treasury: Some(parameters.treasury.unwrap_or(key.address())), ..*parameters };
    let found = deployed_parameters(&chain).await?;
    if found != meant {
        return Err(conflict(
            "it is deployed with other parameters than these, and they cannot be changed: leave them out, or move the \
             file away and deploy anew"
                .to_owned(),
        ));
    }
    Ok(deployment)
}

/// With what the contracts of a chain were deployed.
pub async fn deployed_parameters(chain: &RpcChain) -> Result<DeployParameters, ChainError> {
    let staking = chain.staking_terms().await?;
    let timing = chain.epoch_timing().await?;
    Ok(DeployParameters {
        min_stake_per_unit: staking.min_stake_per_unit,
        unbonding_seconds: staking.unbonding_seconds,
        validator_min_stake: staking.validator_min_stake,
        epoch_seconds: timing.epoch_seconds,
        validator_exit_seconds: staking.validator_exit_seconds,
        max_validity_epochs: timing.max_validity_epochs,
        treasury: Some(staking.treasury),
        missed_reveal_basis_points: staking.missed_reveal_basis_points,
        committee_size: staking.committee_size,
        slashing: chain.slashing_terms().await?,
        settlement: chain.settlement_terms().await?,
    })
}
