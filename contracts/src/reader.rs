//! The port through which everybody reads the chain. `RpcChain` is the real one; the test kit has a fake.

use async_trait::async_trait;
use lode_protocol::hash::Digest;
use lode_protocol::ids::{Address, NodeId, PoolId, ProviderId, ValidatorId};

use crate::amount::Amount;
use crate::block::BlockRef;
use crate::deployment::Deployment;
use crate::epoch::{Epoch, EpochTiming};
use crate::error::ChainError;
use crate::event::LoggedEvent;
use crate::record::{
    MembershipRecord, NodeRecord, PoolRecord, ProvenRecord, ProviderRecord, StakingTerms, ValidatorRecord,
};

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

    /// A commitment that awaits its reveal.
    async fn commitment_of(&self, epoch: Epoch, validator: ValidatorId)
    -> Result<Option<Digest>, ChainError>;

    /// The root that a validator revealed.
    async fn reveal_of(&self, epoch: Epoch, validator: ValidatorId) -> Result<Option<Digest>, ChainError>;

    /// Weight that revealed this root.
    async fn votes_for(&self, epoch: Epoch, root: Digest) -> Result<Amount, ChainError>;

    /// What the contracts ask as stake.
    async fn staking_terms(&self) -> Result<StakingTerms, ChainError>;

    /// What an account has of the chain's own coin.
    async fn balance(&self, account: Address) -> Result<Amount, ChainError>;

    /// What an account has of the staking token.
    async fn token_balance(&self, account: Address) -> Result<Amount, ChainError>;

    /// What `spender` may take of `owner`'s tokens.
    async fn token_allowance(&self, owner: Address, spender: Address) -> Result<Amount, ChainError>;

    /// The nonce that the owner's next permit must name.
    async fn permit_nonce(&self, owner: Address) -> Result<u64, ChainError>;
}

fn single<T>(operation: &'static str, answers: Vec<T>) -> Result<T, ChainError> {
    answers
        .into_iter()
        .next()
        .ok_or(ChainError::Malformed { operation, detail: "one answer is missing".to_owned() })
}
