//! Reads the fake chain's state as its head shows it.

use async_trait::async_trait;
use lode_contracts::{
    Amount, BlockRef, ChainError, ChainReader, Deployment, Epoch, EpochTiming, LoggedEvent, MembershipRecord,
    MembershipState, NodeRecord, PoolRecord, ProvenRecord, ProviderRecord, StakingTerms, ValidatorRecord,
    timestamp_of_seconds,
};
use lode_protocol::hash::Digest;
use lode_protocol::ids::{Address, NodeId, PoolId, ProviderId, ValidatorId};
use lode_protocol::proof::ProofClassId;

use super::FakeChain;
use super::ledger::{Ledger, Membership, Proof, Validator};

impl FakeChain {
    fn read<T>(&self, operation: &'static str, look: impl FnOnce(&Ledger) -> T) -> Result<T, ChainError> {
        Ok(look(&self.reach(operation)?.head().ledger))
    }
}

fn some_time(seconds: u64) -> Option<lode_protocol::units::Timestamp> {
    (seconds != 0).then(|| timestamp_of_seconds(seconds))
}

fn validator_record(id: ValidatorId, validator: &Validator) -> ValidatorRecord {
    ValidatorRecord {
        id,
        stake: validator.stake,
        exit_at: some_time(validator.exit_at),
        endpoint: validator.endpoint.clone(),
    }
}

fn membership(ledger: &Ledger, pool: PoolId, node: NodeId) -> MembershipRecord {
    let Membership { state, join_counter, joined_at, registration } =
        ledger.memberships.get(&(pool, node)).cloned().unwrap_or_default();
    let standing = ledger.standing(node);
    let active = state == MembershipState::Member
        && standing.is_some_and(|(provider, current, eligible)| {
            eligible && current == registration && !ledger.banned_providers.contains(&(pool, provider))
        });
    MembershipRecord {
        state,
        active,
        join_counter,
        joined_at: some_time(joined_at),
        registration,
        provider: standing.map(|(provider, _, _)| provider),
    }
}

fn proven(ledger: &Ledger, node: NodeId) -> Option<ProvenRecord> {
    let Proof { leaf, epoch, registration } = ledger.proofs.get(&node)?.clone();
    let expiry_epoch = leaf.map_or(Epoch(0), |leaf| leaf.expiry_epoch);
    let same = ledger.standing(node).is_some_and(|(_, current, _)| current == registration);
    Some(ProvenRecord {
        class: leaf.map_or(ProofClassId(0), |leaf| leaf.class),
        gpu_count: leaf.map_or(0, |leaf| leaf.gpu_count),
        vram_gib: leaf.map_or(0, |leaf| leaf.vram_gib),
        walk_score: leaf.map_or(0, |leaf| leaf.walk_score),
        gemm_score: leaf.map_or(0, |leaf| leaf.gemm_score),
        proven_epoch: epoch,
        expiry_epoch,
        registration,
        current: same && expiry_epoch >= ledger.epoch(),
    })
}

#[async_trait]
impl ChainReader for FakeChain {
    fn deployment(&self) -> &Deployment {
        &self.deployment
    }

    async fn verify(&self) -> Result<(), ChainError> {
        self.reach("look for the contracts").map(drop)
    }

    async fn head(&self) -> Result<BlockRef, ChainError> {
        Ok(self.reach("read the latest block")?.head().block)
    }

    async fn block(&self, number: u64) -> Result<Option<BlockRef>, ChainError> {
        let world = self.reach("read a block")?;
        Ok(world.seen().iter().find(|block| block.block.number == number).map(|block| block.block))
    }

    async fn events(&self, from: u64, to: u64) -> Result<Vec<LoggedEvent>, ChainError> {
        let world = self.reach("read events")?;
        let wanted = world.seen().iter().filter(|block| (from..=to).contains(&block.block.number));
        Ok(wanted.flat_map(|block| block.events.clone()).collect())
    }

    async fn nodes(&self, nodes: &[NodeId]) -> Result<Vec<Option<NodeRecord>>, ChainError> {
        self.read("read nodes", |ledger| {
            nodes
                .iter()
                .map(|node| {
                    let (provider, registration, eligible) = ledger.standing(*node)?;
                    let units = ledger.nodes.get(node)?.units;
                    Some(NodeRecord { provider, units, registration, eligible })
                })
                .collect()
        })
    }

    async fn provider(&self, provider: ProviderId) -> Result<Option<ProviderRecord>, ChainError> {
        self.read("read a provider", |ledger| {
            ledger.providers.get(&provider).map(|record| ProviderRecord {
                stake: record.stake,
                units: record.units,
                registered_at: timestamp_of_seconds(record.registered_at),
                authorization_epoch: record.authorization_epoch,
                unbonding: record.unbonding,
                release_at: some_time(record.release_at),
            })
        })
    }

    async fn consent_nonce(&self, node: NodeId) -> Result<u64, ChainError> {
        self.read("read a consent nonce", |ledger| ledger.consent_nonce(node))
    }

    async fn authorization_nonce(&self, provider: ProviderId, node: NodeId) -> Result<u64, ChainError> {
        self.read("read an authorisation nonce", |ledger| ledger.authorization_nonce(provider, node))
    }

    async fn pool(&self, pool: PoolId) -> Result<Option<PoolRecord>, ChainError> {
        self.read("read a pool", |ledger| {
            ledger.pools.get(&pool).map(|record| PoolRecord {
                id: pool,
                owner: record.owner,
                pending_owner: record.pending_owner,
                orchestrator: record.parameters.orchestrator,
                reward_token: record.parameters.reward_token,
                requirements: record.parameters.requirements,
                state: record.state,
                max_nodes: record.parameters.max_nodes,
                member_count: record.member_count,
                created_at: timestamp_of_seconds(record.created_at),
                endpoints: record.parameters.endpoints.clone(),
            })
        })
    }

    async fn pool_count(&self) -> Result<u64, ChainError> {
        self.read("count pools", |ledger| ledger.pools.len() as u64)
    }

    async fn memberships(&self, pool: PoolId, nodes: &[NodeId]) -> Result<Vec<MembershipRecord>, ChainError> {
        self.read("read memberships", |ledger| {
            nodes.iter().map(|node| membership(ledger, pool, *node)).collect()
        })
    }

    async fn is_provider_banned(&self, pool: PoolId, provider: ProviderId) -> Result<bool, ChainError> {
        self.read("read a ban", |ledger| ledger.banned_providers.contains(&(pool, provider)))
    }

    async fn proven(&self, nodes: &[NodeId]) -> Result<Vec<Option<ProvenRecord>>, ChainError> {
        self.read("read proofs", |ledger| nodes.iter().map(|node| proven(ledger, *node)).collect())
    }

    async fn validators(&self) -> Result<Vec<ValidatorRecord>, ChainError> {
        self.read("read validators", |ledger| {
            ledger.validators.iter().map(|(id, validator)| validator_record(*id, validator)).collect()
        })
    }

    async fn validator(&self, validator: ValidatorId) -> Result<Option<ValidatorRecord>, ChainError> {
        self.read("read validators", |ledger| {
            ledger.validators.get(&validator).map(|record| validator_record(validator, record))
        })
    }

    async fn validator_weight(&self, validator: ValidatorId, epoch: Epoch) -> Result<Amount, ChainError> {
        self.read("read a validator's weight", |ledger| ledger.weight(validator, epoch))
    }

    async fn total_weight(&self, epoch: Epoch) -> Result<Amount, ChainError> {
        self.read("read the validators' weight", |ledger| ledger.total_weight(epoch))
    }

    async fn epoch_timing(&self) -> Result<EpochTiming, ChainError> {
        self.read("read the length of an epoch", Ledger::timing)
    }

    async fn root_of(&self, epoch: Epoch) -> Result<Option<Digest>, ChainError> {
        self.read("read an epoch's root", |ledger| ledger.roots.get(&epoch).copied())
    }

    async fn commitment_of(
        &self,
        epoch: Epoch,
        validator: ValidatorId,
    ) -> Result<Option<Digest>, ChainError> {
        self.read("read a commitment", |ledger| ledger.commitments.get(&(epoch, validator)).copied())
    }

    async fn reveal_of(&self, epoch: Epoch, validator: ValidatorId) -> Result<Option<Digest>, ChainError> {
        self.read("read a reveal", |ledger| ledger.reveals.get(&(epoch, validator)).copied())
    }

    async fn votes_for(&self, epoch: Epoch, root: Digest) -> Result<Amount, ChainError> {
        self.read("read a root's votes", |ledger| ledger.votes(epoch, root))
    }

    async fn staking_terms(&self) -> Result<StakingTerms, ChainError> {
        drop(self.reach("read the terms of staking")?);
        Ok(StakingTerms {
            min_stake_per_unit: self.parameters.min_stake_per_unit,
            unbonding_seconds: self.parameters.unbonding_seconds,
            validator_min_stake: self.parameters.validator_min_stake,
            validator_exit_seconds: self.parameters.validator_exit_seconds,
        })
    }

    async fn balance(&self, account: Address) -> Result<Amount, ChainError> {
        self.read("read a balance", |ledger| ledger.coins.get(&account).copied().unwrap_or_default())
    }

    async fn token_balance(&self, account: Address) -> Result<Amount, ChainError> {
        self.read("read a token balance", |ledger| ledger.tokens.get(&account).copied().unwrap_or_default())
    }

    async fn token_allowance(&self, owner: Address, spender: Address) -> Result<Amount, ChainError> {
        self.read("read an allowance", |ledger| {
            ledger.allowances.get(&(owner, spender)).copied().unwrap_or_default()
        })
    }

    async fn permit_nonce(&self, owner: Address) -> Result<u64, ChainError> {
        self.read("read a permit nonce", |ledger| {
            ledger.permit_nonces.get(&owner).copied().unwrap_or_default()
        })
    }
}
