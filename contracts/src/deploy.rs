//! Puts the contracts on a chain.

use std::time::Duration;

use alloy::primitives::{Bytes, TxKind, U256};
use alloy::sol_types::SolValue as _;
use lode_protocol::ids::Address;
use lode_protocol::keys::SigningKey;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::amount::Amount;
use crate::artifact::Artifact;
use crate::convert::{from_address, to_address, to_u256};
use crate::deployment::Deployment;
use crate::error::ChainError;
use crate::port::SendError;
use crate::rpc::{RpcConfig, Transport, sign, unsigned};

/// Longest wait for each contract.
const PATIENCE: Duration = Duration::from_secs(300);

/// What the contracts are deployed with; nothing of it can be changed later.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeployParameters {
    /// Tokens for each unit of a provider's nodes.
    pub min_stake_per_unit: Amount,
    /// Seconds between a provider's request to unstake and its withdrawal.
    pub unbonding_seconds: u64,
    /// Tokens a validator bonds at least.
    pub validator_min_stake: Amount,
    /// Length of the validators' epochs in seconds: even, at least 2.
    pub epoch_seconds: u64,
    /// Seconds between a validator's exit and its withdrawal: at least two epochs.
    pub validator_exit_seconds: u64,
    /// How many epochs a proof may count beyond its own.
    pub max_validity_epochs: u64,
}

impl Default for DeployParameters {
    fn default() -> Self {
        DeployParameters {
            min_stake_per_unit: Amount::tokens(100),
            unbonding_seconds: 14 * 86_400,
            validator_min_stake: Amount::tokens(10_000),
            epoch_seconds: 3_600,
            validator_exit_seconds: 14 * 86_400,
            max_validity_epochs: 48,
        }
    }
}

impl DeployParameters {
    /// Short times for a chain on this machine.
    pub fn development() -> Self {
        DeployParameters {
            min_stake_per_unit: Amount::tokens(10),
            unbonding_seconds: 60,
            validator_min_stake: Amount::tokens(100),
            epoch_seconds: 30,
            validator_exit_seconds: 60,
            max_validity_epochs: 1_000,
        }
    }
}

/// Deploys token, registry, pools and validators, in this order. `key` pays, and owns the token (it mints). The URL is
/// not written into the deployment: it may carry a key.
pub async fn deploy(
    config: &RpcConfig,
    key: &SigningKey,
    parameters: &DeployParameters,
    commit: Option<String>,
) -> Result<Deployment, ChainError> {
    let transport = Transport::new(config)?;
    let chain_id = transport.chain_id().await?;
    let mut deployer = Deployer { transport: &transport, chain_id, key, first_block: None };
    let token = deployer.create(Artifact::token(), to_address(key.address()).abi_encode()).await?;
    let registry_arguments =
        (to_address(token), to_u256(parameters.min_stake_per_unit), U256::from(parameters.unbonding_seconds));
    let registry = deployer.create(Artifact::registry(), registry_arguments.abi_encode()).await?;
    let pools = deployer.create(Artifact::pools(), to_address(registry).abi_encode()).await?;
    let validators_arguments = (
        to_address(token),
        to_address(registry),
        to_u256(parameters.validator_min_stake),
        U256::from(parameters.epoch_seconds),
        U256::from(parameters.validator_exit_seconds),
        U256::from(parameters.max_validity_epochs),
    );
    let validators = deployer.create(Artifact::validators(), validators_arguments.abi_encode()).await?;
    Ok(Deployment {
        chain_id,
        block: deployer.first_block.unwrap_or_default(),
        rpc_url: None,
        token,
        registry,
        pools,
        validators,
        commit,
    })
}

struct Deployer<'a> {
    transport: &'a Transport,
    chain_id: lode_protocol::ids::ChainId,
    key: &'a SigningKey,
    first_block: Option<u64>,
}

impl Deployer<'_> {
    async fn create(&mut self, artifact: &Artifact, arguments: Vec<u8>) -> Result<Address, ChainError> {
        let failed = |detail: String| ChainError::Malformed { operation: "deploy a contract", detail };
        let sender = self.key.address();
        let code: Bytes = [artifact.bytecode.as_ref(), &arguments].concat().into();
        let quote = self.transport.quote(sender, TxKind::Create, code.clone(), U256::ZERO).await?;
        let nonce = self.transport.nonce(sender, "pending").await?;
        let transaction = unsigned(self.chain_id, nonce, quote, TxKind::Create, code, U256::ZERO);
        let signed = sign(self.key, transaction)?;
        match self.transport.send(&signed).await {
            Ok(()) => {}
            Err(SendError::Chain(error)) => return Err(error),
            Err(error) => return Err(ChainError::Invalid { detail: error.to_string() }),
        }
        let deadline = Instant::now() + PATIENCE;
        let receipt = loop {
            if let Some(receipt) = self.transport.receipt(signed.hash).await? {
                break receipt;
            }
            if Instant::now() >= deadline {
                return Err(ChainError::Timeout { operation: "deploy a contract", after: PATIENCE });
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        let name = &artifact.contract_name;
        let (Some(address), Some(block), true) =
            (receipt.contract_address, receipt.block_number, receipt.inner.status())
        else {
            return Err(failed(format!("the creation of {name} failed on chain")));
        };
        tracing::info!(contract = %name, address = %from_address(address), block, "contract deployed");
        self.first_block.get_or_insert(block);
        Ok(from_address(address))
    }
}
