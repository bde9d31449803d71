//! The chain reader over JSON-RPC.

mod economy;
mod registry;
mod validators;

use alloy::primitives::{Address as AlloyAddress, B256, U256};
use alloy::rpc::types::Filter;
use async_trait::async_trait;
use lode_protocol::amount::Amount;
use lode_protocol::hash::Digest;
use lode_protocol::ids::{AccusationId, Address, NodeId, PoolId, ProviderId, ValidatorId};

use super::RpcChain;
use crate::LoggedEvent;
use crate::abi::{
    ComputePools as Pools, ComputeRegistry as Registry, LodeToken as Token, ValidatorSet as Validators,
};
use crate::convert::{amount, amount_saturating, from_optional, from_word, number, to_address, to_word};
use crate::deployment::Deployment;
use crate::error::ChainError;
use crate::reader::ChainReader;
use crate::{
    AccusationRecord, BudgetRecord, EarningsRecord, MembershipRecord, MembershipState, NodeRecord,
    PoolRecord, ProvenRecord, ProviderRecord, RedemptionRecord, RootRecord, SettlementParameters,
    SlashingParameters, StakingParameters, ValidatorRecord,
};
use crate::{BlockRef, timestamp_of_seconds};
use crate::{Epoch, EpochTiming};

impl RpcChain {
    pub(super) fn registry(&self) -> AlloyAddress {
        to_address(self.deployment.registry)
    }

    pub(super) fn pools(&self) -> AlloyAddress {
        to_address(self.deployment.pools)
    }

    pub(super) fn validator_set(&self) -> AlloyAddress {
        to_address(self.deployment.validators)
    }

    fn token(&self) -> AlloyAddress {
        to_address(self.deployment.token)
    }

    /// The contracts whose events are ours; the token's are not.
    fn watched(&self) -> Vec<AlloyAddress> {
        vec![
            self.registry(),
            self.pools(),
            self.validator_set(),
            to_address(self.deployment.slashing),
            to_address(self.deployment.rewards),
        ]
    }
}

/// Most ids in one call of a lens.
const LENS: usize = 200;

fn addresses(nodes: &[NodeId]) -> Vec<AlloyAddress> {
    nodes.iter().map(|node| to_address(node.0)).collect()
}

/// A list with a gap must not be taken for an answer.
fn complete(operation: &'static str, asked: usize, got: usize) -> Result<(), ChainError> {
    if asked == got {
        return Ok(());
    }
    Err(ChainError::Malformed { operation, detail: format!("asked for {asked}, got {got}") })
}

fn some_digest(word: B256) -> Option<Digest> {
    (!word.is_zero()).then(|| from_word(word))
}

#[async_trait]
impl ChainReader for RpcChain {
    fn deployment(&self) -> &Deployment {
        &self.deployment
    }

    async fn verify(&self) -> Result<(), ChainError> {
        self.check().await
    }

    async fn head(&self) -> Result<BlockRef, ChainError> {
        let operation = "read the latest block";
        let found = self.verified().await?.block(operation, None).await?;
        let missing =
            || ChainError::Malformed { operation, detail: "the chain has no latest block".to_owned() };
        let block = found.map(|(block, _)| block).ok_or_else(missing)?;
        self.logs.head_is(block.number);
        Ok(block)
    }

    async fn block(&self, number: u64) -> Result<Option<BlockRef>, ChainError> {
        Ok(self.verified().await?.block("read a block", Some(number)).await?.map(|(block, _)| block))
    }

    fn blocks_at_once(&self) -> u64 {
        self.logs.blocks_at_once()
    }

    async fn events(&self, from: u64, to: u64) -> Result<Vec<LoggedEvent>, ChainError> {
        self.logged(&Filter::new().address(self.watched()), from, to).await
    }

    async fn events_again(&self, from: u64, to: u64) -> Result<Vec<LoggedEvent>, ChainError> {
        self.given(&Filter::new().address(self.watched()), from, to).await
    }

    async fn nodes(&self, nodes: &[NodeId]) -> Result<Vec<Option<NodeRecord>>, ChainError> {
        self.read_nodes(nodes).await
    }

    async fn provider(&self, provider: ProviderId) -> Result<Option<ProviderRecord>, ChainError> {
        self.read_provider(provider).await
    }

    async fn consent_nonce(&self, node: NodeId) -> Result<u64, ChainError> {
        let operation = "read a consent nonce";
        let call = Registry::consentNonceCall { node: to_address(node.0) };
        number(operation, self.verified().await?.call(operation, self.registry(), call).await?)
    }

    async fn authorization_nonce(&self, provider: ProviderId, node: NodeId) -> Result<u64, ChainError> {
        let operation = "read an authorisation nonce";
        let call =
            Registry::authorizationNonceCall { provider: to_address(provider.0), node: to_address(node.0) };
        number(operation, self.verified().await?.call(operation, self.registry(), call).await?)
    }

    async fn pool(&self, pool: PoolId) -> Result<Option<PoolRecord>, ChainError> {
        self.read_pool(pool).await
    }

    async fn pool_count(&self) -> Result<u64, ChainError> {
        self.verified().await?.call("count pools", self.pools(), Pools::poolCountCall {}).await
    }

    async fn memberships(&self, pool: PoolId, nodes: &[NodeId]) -> Result<Vec<MembershipRecord>, ChainError> {
        self.read_memberships(pool, nodes).await
    }

    async fn is_provider_banned(&self, pool: PoolId, provider: ProviderId) -> Result<bool, ChainError> {
        let call = Pools::isProviderBannedCall { poolId: pool.0, provider: to_address(provider.0) };
        self.verified().await?.call("read a ban", self.pools(), call).await
    }

    async fn is_pool_approved(&self, pool: PoolId, provider: ProviderId) -> Result<bool, ChainError> {
        let call = Pools::isPoolApprovedCall { poolId: pool.0, provider: to_address(provider.0) };
        self.verified().await?.call("read an approval", self.pools(), call).await
    }

    async fn approval_nonce(&self, provider: ProviderId) -> Result<u64, ChainError> {
        let operation = "read an approval nonce";
        let call = Pools::approvalNonceCall { provider: to_address(provider.0) };
        number(operation, self.verified().await?.call(operation, self.pools(), call).await?)
    }

    async fn slasher(&self) -> Result<Option<Address>, ChainError> {
        let call = Registry::slasherCall {};
        Ok(from_optional(self.verified().await?.call("read the slasher", self.registry(), call).await?))
    }

    async fn proven(&self, nodes: &[NodeId]) -> Result<Vec<Option<ProvenRecord>>, ChainError> {
        self.read_proven(nodes).await
    }

    async fn validators(&self) -> Result<Vec<ValidatorRecord>, ChainError> {
        let ids: Vec<ValidatorId> = self.validator_ids().await?.into_iter().collect();
        self.validator_records(&ids).await
    }

    async fn validator(&self, validator: ValidatorId) -> Result<Option<ValidatorRecord>, ChainError> {
        Ok(self.validator_records(&[validator]).await?.pop())
    }

    async fn validator_weight(&self, validator: ValidatorId, epoch: Epoch) -> Result<Amount, ChainError> {
        let operation = "read a validator's weight";
        let call = Validators::weightOfCall { validator: to_address(validator.0), epoch: epoch.0 };
        amount(operation, self.verified().await?.call(operation, self.validator_set(), call).await?)
    }

    async fn total_weight(&self, epoch: Epoch) -> Result<Amount, ChainError> {
        let operation = "read the validators' weight";
        let call = Validators::totalWeightCall { epoch: epoch.0 };
        amount(operation, self.verified().await?.call(operation, self.validator_set(), call).await?)
    }

    async fn epoch_timing(&self) -> Result<EpochTiming, ChainError> {
        self.read_epoch_timing().await
    }

    async fn root_of(&self, epoch: Epoch) -> Result<Option<Digest>, ChainError> {
        let call = Validators::rootOfCall { epoch: epoch.0 };
        let root = self.verified().await?.call("read an epoch's root", self.validator_set(), call).await?;
        Ok(some_digest(root))
    }

    async fn beacon_of(&self, epoch: Epoch) -> Result<Option<Digest>, ChainError> {
        let call = Validators::beaconOfCall { epoch: epoch.0 };
        let word = self.verified().await?.call("read a beacon", self.validator_set(), call).await?;
        Ok(some_digest(word))
    }

    async fn drawn(
        &self,
        epoch: Epoch,
        validator: ValidatorId,
        nodes: &[NodeId],
    ) -> Result<Vec<bool>, ChainError> {
        self.read_drawn(epoch, validator, nodes).await
    }

    async fn commitment_of(
        &self,
        epoch: Epoch,
        validator: ValidatorId,
    ) -> Result<Option<Digest>, ChainError> {
        let call = Validators::commitmentOfCall { epoch: epoch.0, validator: to_address(validator.0) };
        let word = self.verified().await?.call("read a commitment", self.validator_set(), call).await?;
        Ok(some_digest(word))
    }

    async fn reveal_of(&self, epoch: Epoch, validator: ValidatorId) -> Result<Option<Digest>, ChainError> {
        let call = Validators::revealOfCall { epoch: epoch.0, validator: to_address(validator.0) };
        let word = self.verified().await?.call("read a reveal", self.validator_set(), call).await?;
        Ok(some_digest(word))
    }

    async fn votes_for(&self, epoch: Epoch, root: Digest) -> Result<Amount, ChainError> {
        let operation = "read a root's votes";
        let call = Validators::votesForCall { epoch: epoch.0, root: to_word(root) };
        amount(operation, self.verified().await?.call(operation, self.validator_set(), call).await?)
    }

    async fn staking_terms(&self) -> Result<StakingParameters, ChainError> {
        self.read_staking_terms().await
    }

    async fn slashing_terms(&self) -> Result<SlashingParameters, ChainError> {
        self.slashing_terms.get_or_try_init(|| self.read_slashing_terms()).await.copied()
    }

    async fn accusation_count(&self) -> Result<u64, ChainError> {
        self.count_accusations().await
    }

    async fn accusations(&self, ids: &[AccusationId]) -> Result<Vec<Option<AccusationRecord>>, ChainError> {
        self.read_accusations(ids).await
    }

    async fn open_accusation(
        &self,
        provider: ProviderId,
        node: NodeId,
    ) -> Result<Option<AccusationId>, ChainError> {
        self.read_open_accusation(provider, node).await
    }

    async fn owed_to(&self, account: Address) -> Result<Amount, ChainError> {
        self.read_owed(account).await
    }

    async fn bond_for(&self, amount: Amount) -> Result<Amount, ChainError> {
        self.read_bond_for(amount).await
    }

    async fn max_slash(&self, provider: ProviderId) -> Result<Amount, ChainError> {
        self.read_max_slash(provider).await
    }

    async fn settlement_terms(&self) -> Result<SettlementParameters, ChainError> {
        self.settlement_terms.get_or_try_init(|| self.read_settlement_terms()).await.copied()
    }

    async fn budget(&self, pool: PoolId) -> Result<BudgetRecord, ChainError> {
        self.read_budget(pool).await
    }

    async fn spendable(&self, pool: PoolId, epoch: Epoch) -> Result<Amount, ChainError> {
        self.read_spendable(pool, epoch).await
    }

    async fn posted_root(&self, pool: PoolId, epoch: Epoch) -> Result<Option<RootRecord>, ChainError> {
        self.read_posted_root(pool, epoch).await
    }

    async fn earnings(&self, pool: PoolId, payees: &[Address]) -> Result<Vec<EarningsRecord>, ChainError> {
        self.read_earnings(pool, payees).await
    }

    async fn redemption(&self, pool: PoolId, payee: Address) -> Result<Option<RedemptionRecord>, ChainError> {
        self.read_redemption(pool, payee).await
    }

    async fn balance(&self, account: Address) -> Result<Amount, ChainError> {
        let params = (to_address(account), "latest");
        let balance: U256 =
            self.verified().await?.request("read a balance", "eth_getBalance", params).await?;
        Ok(amount_saturating(balance))
    }

    async fn token_balance(&self, account: Address) -> Result<Amount, ChainError> {
        self.balance_of_token(self.deployment.token, account).await
    }

    async fn token_allowance(&self, owner: Address, spender: Address) -> Result<Amount, ChainError> {
        self.allowance_of_token(self.deployment.token, owner, spender).await
    }

    async fn balance_of_token(&self, token: Address, account: Address) -> Result<Amount, ChainError> {
        let call = Token::balanceOfCall { account: to_address(account) };
        let balance = self.verified().await?.call("read a token balance", to_address(token), call).await?;
        Ok(amount_saturating(balance))
    }

    async fn allowance_of_token(
        &self,
        token: Address,
        owner: Address,
        spender: Address,
    ) -> Result<Amount, ChainError> {
        let call = Token::allowanceCall { owner: to_address(owner), spender: to_address(spender) };
        let allowance = self.verified().await?.call("read an allowance", to_address(token), call).await?;
        Ok(amount_saturating(allowance))
    }

    async fn permit_nonce(&self, owner: Address) -> Result<u64, ChainError> {
        let operation = "read a permit nonce";
        let call = Token::noncesCall { owner: to_address(owner) };
        number(operation, self.verified().await?.call(operation, self.token(), call).await?)
    }
}

fn membership(operation: &'static str, record: &Pools::Membership) -> Result<MembershipRecord, ChainError> {
    let state = match record.state {
        Pools::MembershipState::None => MembershipState::Never,
        Pools::MembershipState::Member => MembershipState::Member,
        Pools::MembershipState::Left => MembershipState::Left,
        Pools::MembershipState::Ejected => MembershipState::Ejected,
        Pools::MembershipState::Banned => MembershipState::Banned,
        _ => {
            let detail = "a membership is in a state that this version does not know".to_owned();
            return Err(ChainError::Malformed { operation, detail });
        }
    };
    Ok(MembershipRecord {
        state,
        active: record.active,
        join_counter: record.joinCounter,
        joined_at: (record.joinedAt != 0).then(|| timestamp_of_seconds(record.joinedAt)),
        registration: record.registration.to(),
        provider: from_optional(record.provider).map(ProviderId),
    })
}
