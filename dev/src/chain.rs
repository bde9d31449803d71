//! The chain of a dev pool: coins, contracts, stakes, the pool. Every step looks first, so that a pool that is
//! continued does nothing twice.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use lode_cli::failure::Kind;
use lode_contracts::{
    Amount, ChainError, ChainReader as _, DeployParameters, Deployment, Intent, MembershipState, Operator,
    PoolParameters, PoolState, PoolsCall, RewardsCall, RpcChain, RpcConfig, SettlementParameters, TokenCall,
    deploy,
};
use lode_protocol::hash::Digest;
use lode_protocol::ids::{Address, NodeId, PoolId, ProviderId, ValidatorId};
use lode_protocol::keys::SigningKey;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::plan::{Keys, Layout};
use crate::processes::Programs;

/// How long the chain may take to answer.
const START_PATIENCE: Duration = Duration::from_secs(30);
/// Length of an epoch in seconds: even; a node is proven after one or two.
const EPOCH_SECONDS: u64 = 6;
/// Coins of each account that sends transactions.
const COINS: Amount = Amount::tokens(1_000);
const TOKENS: Amount = Amount::tokens(100_000);
const BOND: Amount = Amount::tokens(1_000);
/// What the pool can pay.
const BUDGET: Amount = Amount::tokens(1_000);
/// What it may promise per epoch: far more than ten GPUs can earn.
const SPEND_CAP: Amount = Amount::tokens(10);
/// What the validator may bond on accusations.
const ACCUSATION_BONDS: Amount = Amount::tokens(10_000);

/// A dev pool's chain, once its contracts are there.
#[derive(Clone, Debug)]
pub(crate) struct DevChain {
    pub(crate) chain: Arc<RpcChain>,
    keys: Keys,
}

/// Asks the chain's JSON-RPC directly.
async fn rpc(url: &str, method: &str, params: Value) -> anyhow::Result<Value> {
    let client = reqwest::Client::builder().timeout(Duration::from_secs(5)).no_proxy().build()?;
    let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    let answer: Value = client.post(url).json(&request).send().await?.json().await?;
    match answer.get("error") {
        Some(error) => Err(Kind::Failed.because(format!("the chain refuses {method}: {error}"))),
        None => Ok(answer.get("result").cloned().unwrap_or_default()),
    }
}

/// Waits until the chain answers.
pub(crate) async fn wait_for_rpc(url: &str) -> anyhow::Result<()> {
    let deadline = Instant::now() + START_PATIENCE;
    loop {
        match rpc(url, "eth_chainId", json!([])).await {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() >= deadline => {
                return Err(
                    error.context(format!("the chain at {url} does not answer after {START_PATIENCE:?}"))
                );
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

/// Gives coins to those who send transactions. Workers get none: they need none.
pub(crate) async fn fund(url: &str, keys: &Keys) -> anyhow::Result<()> {
    for key in [&keys.owner, &keys.provider, &keys.orchestrator, &keys.validator] {
        let account = key.address().to_string();
        rpc(url, "anvil_setBalance", json!([account, format!("{:#x}", COINS.0)])).await?;
    }
    Ok(())
}

impl DevChain {
    /// Deploys the contracts, or finds them.
    pub(crate) async fn deploy(url: &str, layout: &Layout, keys: &Keys) -> anyhow::Result<Self> {
        let config = RpcConfig::new(url.to_owned());
        let deployment = if layout.deployment().exists() {
            Deployment::load(&layout.deployment())?
        } else {
            let development = DeployParameters::development();
            let parameters = DeployParameters {
                epoch_seconds: EPOCH_SECONDS,
                // A person watches: roots are final after two epochs.
                settlement: SettlementParameters {
                    veto_seconds: 2 * EPOCH_SECONDS,
                    ..development.settlement
                },
                ..development
            };
            let mut deployment = deploy(&config, &keys.owner, &parameters, None).await?;
            deployment.rpc_url = Some(url.to_owned());
            deployment.save(&layout.deployment())?;
            deployment
        };
        let chain = Arc::new(RpcChain::new(config, deployment)?);
        chain.verify().await?;
        Ok(DevChain { chain, keys: keys.clone() })
    }

    fn operator(&self, key: &SigningKey) -> Operator {
        Operator::new(self.chain.clone(), key.clone()).with_patience(Duration::from_secs(60))
    }

    /// Tokens for those who stake.
    pub(crate) async fn make_tokens(&self) -> anyhow::Result<()> {
        let owner = self.operator(&self.keys.owner);
        for key in [&self.keys.provider, &self.keys.validator] {
            let to = key.address();
            if self.chain.token_balance(to).await? == Amount::ZERO && !self.has_staked(to).await? {
                owner.execute(Intent::Token(TokenCall::Mint { to, amount: TOKENS })).await?;
            }
        }
        Ok(())
    }

    async fn has_staked(&self, account: Address) -> Result<bool, ChainError> {
        let provider = self.chain.provider(ProviderId(account)).await?.is_some();
        Ok(provider || self.chain.validator(ValidatorId(account)).await?.is_some())
    }

    /// Creates and starts the pool, or finds it.
    pub(crate) async fn pool(&self, known: Option<PoolId>, programs: &Programs) -> anyhow::Result<PoolId> {
        let owner = self.operator(&self.keys.owner);
        let found = match known {
            Some(pool) => self.chain.pool(pool).await?.map(|record| (pool, record)),
            None => None,
        };
        let (pool, state) = match found {
            Some((pool, record)) => (pool, record.state),
            None => {
                let parameters = PoolParameters {
                    orchestrator: self.keys.orchestrator.address(),
                    reward_token: Some(self.chain.deployment().token),
                    requirements: Digest::default(),
                    max_nodes: None,
                    uri: String::new(),
                    endpoints: programs.endpoints(),
                };
                (owner.create_pool(parameters).await?, PoolState::Created)
            }
        };
        match state {
            PoolState::Created => owner.execute(Intent::Pools(PoolsCall::StartPool(pool))).await.map(drop)?,
            PoolState::Running => {}
            PoolState::Ended => {
                return Err(Kind::Conflict.because(format!("pool {pool} has ended; start a new one")));
            }
        }
        Ok(pool)
    }

    /// Stakes for the provider and takes both nodes on. `units`: GPUs of each worker.
    pub(crate) async fn provider(&self, units: [u32; 2]) -> anyhow::Result<()> {
        let provider = self.operator(&self.keys.provider);
        if self.chain.provider(ProviderId(provider.address())).await?.is_none() {
            let total: u64 = units.iter().map(|units| u64::from((*units).max(1))).sum();
            let per_unit = self.chain.staking_terms().await?.min_stake_per_unit;
            provider.register_provider(per_unit.saturating_mul(total)).await?;
        }
        for (key, units) in self.keys.workers.iter().zip(units) {
            if self.chain.node(NodeId(key.address())).await?.is_none() {
                provider.add_node(key, units.max(1)).await?;
            }
        }
        Ok(())
    }

    /// Lets the provider's nodes join the pool, and gives the pool money to pay them with.
    pub(crate) async fn economy(&self, pool: PoolId) -> anyhow::Result<()> {
        let provider = self.operator(&self.keys.provider);
        if !self.chain.is_pool_approved(pool, ProviderId(provider.address())).await? {
            provider.execute(Intent::Pools(PoolsCall::SetPoolApproval { pool, approved: true })).await?;
        }
        let owner = self.operator(&self.keys.owner);
        let budget = self.chain.budget(pool).await?;
        if budget.spend_cap == Amount::ZERO {
            owner.execute(Intent::Rewards(RewardsCall::SetSpendCap { pool, cap: SPEND_CAP })).await?;
        }
        let funded = budget.free.saturating_add(budget.locked).saturating_add(budget.paid);
        if funded == Amount::ZERO {
            owner.execute(Intent::Token(TokenCall::Mint { to: owner.address(), amount: BUDGET })).await?;
            owner.fund_pool(pool, BUDGET).await?;
        }
        Ok(())
    }

    /// Bonds for the validator, and lets it bond accusations.
    pub(crate) async fn validator(&self, endpoint: &str) -> anyhow::Result<()> {
        let validator = self.operator(&self.keys.validator);
        if self.chain.validator(ValidatorId(validator.address())).await?.is_none() {
            validator.register_validator(BOND, endpoint).await?;
        }
        let slashing = self.chain.deployment().slashing;
        if self.chain.token_allowance(validator.address(), slashing).await? == Amount::ZERO {
            validator
                .execute(Intent::Token(TokenCall::Approve { spender: slashing, amount: ACCUSATION_BONDS }))
                .await?;
        }
        Ok(())
    }

    /// Which of the nodes have a proof that counts.
    pub(crate) async fn proven(&self) -> Result<[bool; 2], ChainError> {
        let nodes = self.keys.nodes().map(NodeId);
        let mut records = self.chain.proven(&nodes).await?.into_iter();
        let mut next = || records.next().flatten().is_some_and(|record| record.current);
        Ok([next(), next()])
    }

    /// Which of the nodes are members.
    pub(crate) async fn members(&self, pool: PoolId) -> Result<[bool; 2], ChainError> {
        let nodes = self.keys.nodes().map(NodeId);
        let mut records = self.chain.memberships(pool, &nodes).await?.into_iter();
        let mut next =
            || records.next().is_some_and(|record| record.state == MembershipState::Member && record.active);
        Ok([next(), next()])
    }

    /// Coins of the workers, which must stay zero.
    pub(crate) async fn coins_of_workers(&self) -> anyhow::Result<Amount> {
        let mut sum = Amount::ZERO;
        for node in self.keys.nodes() {
            sum =
                sum.saturating_add(self.chain.balance(node).await.context("asking for the workers' coins")?);
        }
        Ok(sum)
    }
}
