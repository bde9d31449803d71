//! The port through which everybody reads the chain. `RpcChain` is the real one; the test kit has a fake.

use async_trait::async_trait;
use lode_protocol::amount::Amount;
use lode_protocol::hash::Digest;
use lode_protocol::ids::{AccusationId, Address, NodeId, PoolId, ProviderId, ValidatorId};

use crate::BlockRef;
use crate::LoggedEvent;
use crate::deployment::Deployment;
use crate::error::ChainError;
use crate::{
    AccusationRecord, BudgetRecord, EarningsRecord, MembershipRecord, NodeRecord, PoolRecord, ProvenRecord,
    ProviderRecord, RedemptionRecord, RootRecord, SettlementParameters, SlashingParameters,
    StakingParameters, ValidatorRecord,
};
use crate::{Epoch, EpochTiming};

/// Reads the chain's latest state. `Err` means "unknown" and never "no"; `Ok(None)` is the contracts' own answer.
///
/// Lists are answered in the order asked for, in few round trips.
#[async_trait]
pub trait ChainReader: Send + Sync + std::fmt::Debug {
    /// Which contracts are read.
    fn deployment(&self) -> &Deployment;

    /// Checks that this is the deployment's chain and that its contracts are there.
    async fn verify(&self) -> Result<(), ChainError>;

    /// The latest block.
    async fn head(&self) -> Result<BlockRef, ChainError>;

    /// A block by number; `None` when the chain is not that long.
    async fn block(&self, number: u64) -> Result<Option<BlockRef>, ChainError>;

    /// Events of our contracts in blocks `from..=to`, in order. Wide ranges are fetched in pieces.
    async fn events(&self, from: u64, to: u64) -> Result<Vec<LoggedEvent>, ChainError>;

    /// The same once more, as the chain gives them now: for whoever has them already and looks whether there are others.
    async fn events_again(&self, from: u64, to: u64) -> Result<Vec<LoggedEvent>, ChainError> {
        self.events(from, to).await
    }

    /// For how many blocks events should be asked at once, so that a failure does not cost much that was read.
    fn blocks_at_once(&self) -> u64 {
        u64::MAX
    }

    /// Nodes; `None` is not registered.
    async fn nodes(&self, nodes: &[NodeId]) -> Result<Vec<Option<NodeRecord>>, ChainError>;

    /// One node; `None` is not registered.
    async fn node(&self, node: NodeId) -> Result<Option<NodeRecord>, ChainError> {
        single("node", self.nodes(&[node]).await?)
    }

    /// A provider; `None` is not registered.
    async fn provider(&self, provider: ProviderId) -> Result<Option<ProviderRecord>, ChainError>;

    /// The nonce that the node's next consent must name.
    async fn consent_nonce(&self, node: NodeId) -> Result<u64, ChainError>;

    /// The nonce that the provider's next authorisation of the node must name.
    async fn authorization_nonce(&self, provider: ProviderId, node: NodeId) -> Result<u64, ChainError>;

    /// A pool; `None` was never created.
    async fn pool(&self, pool: PoolId) -> Result<Option<PoolRecord>, ChainError>;

    /// How many pools were created; their ids count from 1.
    async fn pool_count(&self) -> Result<u64, ChainError>;

    /// Memberships of nodes in a pool.
    async fn memberships(&self, pool: PoolId, nodes: &[NodeId]) -> Result<Vec<MembershipRecord>, ChainError>;

    /// One membership.
    async fn membership(&self, pool: PoolId, node: NodeId) -> Result<MembershipRecord, ChainError> {
        single("membership", self.memberships(pool, &[node]).await?)
    }

    /// Whether the pool keeps all nodes of a provider out.
    async fn is_provider_banned(&self, pool: PoolId, provider: ProviderId) -> Result<bool, ChainError>;

    /// Whether the provider's nodes may join the pool, as far as the provider is concerned.
    async fn is_pool_approved(&self, pool: PoolId, provider: ProviderId) -> Result<bool, ChainError>;

    /// The nonce that the provider's next signed approval must name.
    async fn approval_nonce(&self, provider: ProviderId) -> Result<u64, ChainError>;

    /// The contract that may lock and slash stake; `None` before it is named.
    async fn slasher(&self) -> Result<Option<Address>, ChainError>;

    /// The latest proofs shown for nodes; `None` where none was ever shown.
    async fn proven(&self, nodes: &[NodeId]) -> Result<Vec<Option<ProvenRecord>>, ChainError>;

    /// All validators that ever registered and still have a bond, rebuilt from events.
    async fn validators(&self) -> Result<Vec<ValidatorRecord>, ChainError>;

    /// A validator; `None` is not registered.
    async fn validator(&self, validator: ValidatorId) -> Result<Option<ValidatorRecord>, ChainError>;

    /// What a validator's vote weighs in an epoch.
    async fn validator_weight(&self, validator: ValidatorId, epoch: Epoch) -> Result<Amount, ChainError>;

    /// What all votes weigh in an epoch.
    async fn total_weight(&self, epoch: Epoch) -> Result<Amount, ChainError>;

    /// When epochs begin and end.
    async fn epoch_timing(&self) -> Result<EpochTiming, ChainError>;

    /// The epoch of the latest block.
    async fn current_epoch(&self) -> Result<Epoch, ChainError> {
        let timing = self.epoch_timing().await?;
        Ok(timing.epoch_at(self.head().await?.timestamp))
    }

    /// The root that the validators agreed on; `None` when they did not.
    async fn root_of(&self, epoch: Epoch) -> Result<Option<Digest>, ChainError>;

    /// The epoch's randomness; `None` while it is not drawn.
    async fn beacon_of(&self, epoch: Epoch) -> Result<Option<Digest>, ChainError>;

    /// Whether the validator checks these nodes in this epoch. Refused with `NoBeacon` while the beacon is not drawn.
    async fn drawn(
        &self,
        epoch: Epoch,
        validator: ValidatorId,
        nodes: &[NodeId],
    ) -> Result<Vec<bool>, ChainError>;

    /// A commitment that awaits its reveal. Not `None` after the epoch: the vote is void.
    async fn commitment_of(&self, epoch: Epoch, validator: ValidatorId)
    -> Result<Option<Digest>, ChainError>;

    /// The root that a validator revealed.
    async fn reveal_of(&self, epoch: Epoch, validator: ValidatorId) -> Result<Option<Digest>, ChainError>;

    /// Weight that revealed this root.
    async fn votes_for(&self, epoch: Epoch, root: Digest) -> Result<Amount, ChainError>;

    /// What the contracts ask as stake.
    async fn staking_terms(&self) -> Result<StakingParameters, ChainError>;

    /// How accusations are judged.
    async fn slashing_terms(&self) -> Result<SlashingParameters, ChainError>;

    /// How many accusations were opened; their ids count from 1.
    async fn accusation_count(&self) -> Result<u64, ChainError>;

    /// Accusations; `None` was never opened.
    async fn accusations(&self, ids: &[AccusationId]) -> Result<Vec<Option<AccusationRecord>>, ChainError>;

    /// One accusation; `None` was never opened.
    async fn accusation(&self, id: AccusationId) -> Result<Option<AccusationRecord>, ChainError> {
        single("accusation", self.accusations(&[id]).await?)
    }

    /// The open accusation of a provider over a node, the one that asks for most.
    async fn open_accusation(
        &self,
        provider: ProviderId,
        node: NodeId,
    ) -> Result<Option<AccusationId>, ChainError>;

    /// What `Slashing` owes an account, because the token refused to pay it.
    async fn owed_to(&self, account: Address) -> Result<Amount, ChainError>;

    /// The bond that accusing for this amount takes.
    async fn bond_for(&self, amount: Amount) -> Result<Amount, ChainError>;

    /// Most that one more accusation of this provider can hold.
    async fn max_slash(&self, provider: ProviderId) -> Result<Amount, ChainError>;

    /// How fast pools settle.
    async fn settlement_terms(&self) -> Result<SettlementParameters, ChainError>;

    /// A pool's money; all zero for a pool that was never funded.
    async fn budget(&self, pool: PoolId) -> Result<BudgetRecord, ChainError>;

    /// What a pool may promise in an epoch now, by its cap; the budget may allow less.
    async fn spendable(&self, pool: PoolId, epoch: Epoch) -> Result<Amount, ChainError>;

    /// The root of earnings that a pool posted for an epoch; `None` was never posted.
    async fn posted_root(&self, pool: PoolId, epoch: Epoch) -> Result<Option<RootRecord>, ChainError>;

    /// What payees have had from a pool.
    async fn earnings(&self, pool: PoolId, payees: &[Address]) -> Result<Vec<EarningsRecord>, ChainError>;

    /// The redemption of a payee that is on its way.
    async fn redemption(&self, pool: PoolId, payee: Address) -> Result<Option<RedemptionRecord>, ChainError>;

    /// What an account has of the chain's own coin.
    async fn balance(&self, account: Address) -> Result<Amount, ChainError>;

    /// What an account has of the staking token.
    async fn token_balance(&self, account: Address) -> Result<Amount, ChainError>;

    /// What `spender` may take of `owner`'s tokens.
    async fn token_allowance(&self, owner: Address, spender: Address) -> Result<Amount, ChainError>;

    /// What an account has of any token, such as a pool's reward token.
    async fn balance_of_token(&self, token: Address, account: Address) -> Result<Amount, ChainError>;

    /// What `spender` may take of `owner`'s tokens of any kind.
    async fn allowance_of_token(
        &self,
        token: Address,
        owner: Address,
        spender: Address,
    ) -> Result<Amount, ChainError>;

    /// The nonce that the owner's next permit must name.
    async fn permit_nonce(&self, owner: Address) -> Result<u64, ChainError>;
}

fn single<T>(operation: &'static str, answers: Vec<T>) -> Result<T, ChainError> {
    answers
        .into_iter()
        .next()
        .ok_or(ChainError::Malformed { operation, detail: "one answer is missing".to_owned() })
}
