//! The transactions of a deployment, one after the other.

use std::path::Path;
use std::time::Duration;

use alloy::primitives::{Bytes, TxKind, U256};
use alloy::rpc::types::TransactionReceipt;
use lode_protocol::hash::{Digest, keccak256};
use lode_protocol::ids::Address;
use lode_protocol::keys::SigningKey;
use tokio::time::Instant;

use super::progress::{Made, Progress, Sent};
use super::{DeployError, arguments};
use crate::abi::ComputeRegistry as Registry;
use crate::artifact::Artifact;
use crate::code;
use crate::convert::{from_address, from_optional, to_address};
use crate::deployment::Deployment;
use crate::encode::{Call, ToCall as _};
use crate::error::ChainError;
use crate::port::{Fees, SendError};
use crate::rpc::{Transport, sign, unsigned};
use crate::{Intent, RegistryCall};

/// Longest wait for each transaction; the next run waits on.
const PATIENCE: Duration = Duration::from_secs(300);
const OPERATION: &str = "deploy the contracts";

pub(super) struct Deployer<'a> {
    transport: &'a Transport,
    key: &'a SigningKey,
    progress: &'a mut Progress,
    /// Where progress is kept; `None` keeps it nowhere.
    file: Option<&'a Path>,
    transactions: usize,
}

impl<'a> Deployer<'a> {
    pub(super) fn new(
        transport: &'a Transport,
        key: &'a SigningKey,
        progress: &'a mut Progress,
        file: Option<&'a Path>,
    ) -> Self {
        Deployer { transport, key, progress, file, transactions: 0 }
    }

    /// How many transactions were sent.
    pub(super) fn transactions(&self) -> usize {
        self.transactions
    }

    /// Makes what is missing.
    pub(super) async fn run(&mut self) -> Result<Deployment, DeployError> {
        let parameters = self.progress.parameters;
        let owner = self.key.address();
        let treasury = parameters.treasury.unwrap_or(owner);
        let token = self.create(Artifact::token(), arguments::token_arguments(owner)).await?;
        let encoded = arguments::registry_arguments(&parameters, token.address);
        let registry = self.create(Artifact::registry(), encoded).await?;
        let encoded = arguments::pools_arguments(registry.address);
        let pools = self.create(Artifact::pools(), encoded).await?;
        let encoded = arguments::validators_arguments(&parameters, token.address, registry.address, treasury);
        let validators = self.create(Artifact::validators(), encoded).await?;
        let encoded = arguments::slashing_arguments(
            &parameters,
            token.address,
            registry.address,
            validators.address,
            treasury,
        );
        let slashing = self.create(Artifact::slashing(), encoded).await?;
        let encoded = arguments::rewards_arguments(&parameters, pools.address, validators.address);
        let rewards = self.create(Artifact::rewards(), encoded).await?;
        let made = [token, registry, pools, validators, slashing, rewards];
        let mut deployment = Deployment {
            chain_id: self.progress.chain_id,
            block: made.iter().map(|made| made.block).min().unwrap_or_default(),
            rpc_url: None,
            token: token.address,
            registry: registry.address,
            pools: pools.address,
            validators: validators.address,
            slashing: slashing.address,
            rewards: rewards.address,
            commit: self.progress.commit.clone(),
            code_hashes: Default::default(),
        };
        deployment.code_hashes = deployment
            .contracts()
            .iter()
            .zip(made)
            .map(|((name, _), made)| ((*name).to_owned(), made.code_hash))
            .collect();
        self.name_slasher(&deployment).await?;
        Ok(deployment)
    }

    async fn create(&mut self, artifact: &Artifact, arguments: Vec<u8>) -> Result<Made, DeployError> {
        let name = &artifact.contract_name;
        if let Some(made) = self.progress.made.get(name).copied() {
            if self.code_hash(made.address).await? == Some(made.code_hash) {
                return Ok(made);
            }
            tracing::warn!(contract = %name, "the chain has forgotten the contract: it is made anew");
        }
        let code: Bytes = [artifact.bytecode.as_ref(), &arguments].concat().into();
        let receipt = self.settle(name, TxKind::Create, code).await?;
        let (Some(address), Some(block)) = (receipt.contract_address, receipt.block_number) else {
            return Err(malformed(format!("the receipt of {name} names no contract")));
        };
        let address = from_address(address);
        let found = self.transport.code(to_address(address)).await?;
        if !code::is_built_from(artifact, &found) {
            return Err(malformed(format!("the code of {name} is not what was sent")));
        }
        let made = Made { address, block, code_hash: keccak256(&found) };
        self.progress.made.insert(name.clone(), made);
        self.progress.sent = None;
        self.save()?;
        tracing::info!(contract = %name, %address, block, "contract deployed");
        Ok(made)
    }

    async fn name_slasher(&mut self, deployment: &Deployment) -> Result<(), DeployError> {
        let registry = to_address(deployment.registry);
        let found = self.transport.call(OPERATION, registry, Registry::slasherCall {}).await?;
        match from_optional(found) {
            Some(slasher) if slasher == deployment.slashing => return Ok(()),
            Some(other) => return Err(malformed(format!("the registry obeys {other} already"))),
            None => {}
        }
        let Call { to, data, .. } = Intent::Registry(RegistryCall::SetSlasher).call(deployment);
        self.settle("SetSlasher", TxKind::Call(to), data).await?;
        self.progress.sent = None;
        self.save()
    }

    /// Has one transaction mined: the one that an earlier run sent for this step, or a new one.
    async fn settle(
        &mut self,
        step: &str,
        to: TxKind,
        data: Bytes,
    ) -> Result<TransactionReceipt, DeployError> {
        let sender = self.key.address();
        let mut sent = self.progress.sent.take().filter(|sent| sent.step == step);
        if let Some(earlier) = &sent {
            if let Some(receipt) = self.mined(earlier).await? {
                return succeeded(step, receipt);
            }
            // The nonce went elsewhere, or the chain was set back: that transaction is never mined.
            let mined = self.transport.nonce(sender, "latest").await?;
            let pending = self.transport.nonce(sender, "pending").await?;
            if !(mined..=pending).contains(&earlier.nonce) {
                sent = None;
            }
        }
        let quote = self.transport.quote(sender, to, data.clone(), U256::ZERO).await?;
        let (nonce, fees, mut attempts) = match sent {
            Some(Sent { nonce, max_fee, max_priority_fee, attempts, .. }) => {
                (nonce, Fees { max_fee, max_priority_fee }.raised(quote.fees), attempts)
            }
            None => (self.transport.nonce(sender, "pending").await?, quote.fees, Vec::new()),
        };
        let quote = crate::port::Quote { fees, ..quote };
        let signed = sign(self.key, unsigned(self.progress.chain_id, nonce, quote, to, data, U256::ZERO))?;
        attempts.push(signed.hash);
        let Fees { max_fee, max_priority_fee } = fees;
        let sent = Sent { step: step.to_owned(), nonce, max_fee, max_priority_fee, attempts };
        self.progress.sent = Some(sent.clone());
        self.save()?;
        match self.transport.send(&signed).await {
            Ok(()) => self.transactions += 1,
            // An earlier attempt was mined meanwhile.
            Err(SendError::NonceUsed) => {}
            Err(SendError::Chain(error)) => return Err(error.into()),
            Err(error @ SendError::Underpriced) => {
                return Err(ChainError::Invalid { detail: error.to_string() }.into());
            }
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(receipt) = self.mined(&sent).await? {
                return succeeded(step, receipt);
            }
            if Instant::now() >= deadline {
                return Err(ChainError::Timeout { operation: OPERATION, after: PATIENCE }.into());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn mined(&self, sent: &Sent) -> Result<Option<TransactionReceipt>, ChainError> {
        for attempt in sent.attempts.iter().rev() {
            if let Some(receipt) = self.transport.receipt(*attempt).await? {
                return Ok(Some(receipt));
            }
        }
        Ok(None)
    }

    async fn code_hash(&self, address: Address) -> Result<Option<Digest>, ChainError> {
        let code = self.transport.code(to_address(address)).await?;
        Ok((!code.is_empty()).then(|| keccak256(&code)))
    }

    fn save(&self) -> Result<(), DeployError> {
        match self.file {
            Some(file) => self.progress.save(file),
            None => Ok(()),
        }
    }
}

fn succeeded(step: &str, receipt: TransactionReceipt) -> Result<TransactionReceipt, DeployError> {
    if receipt.inner.status() {
        return Ok(receipt);
    }
    Err(malformed(format!("{step} failed on chain; its receipt says no more")))
}

fn malformed(detail: String) -> DeployError {
    ChainError::Malformed { operation: OPERATION, detail }.into()
}
