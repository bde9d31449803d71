//! Reads the fake chain's state as its head shows it.

mod records;

use async_trait::async_trait;
use lode_contracts::{
    AccusationRecord, Amount, BlockRef, BudgetRecord, ChainError, ChainReader, Deployment, EarningsRecord,
    Epoch, EpochTiming, LoggedEvent, MembershipRecord, NodeRecord, PoolRecord, ProvenRecord, ProviderRecord,
    RedemptionRecord, RootRecord, SettlementParameters, SlashingParameters, StakingParameters,
    ValidatorRecord, timestamp_of_seconds,
};
use lode_protocol::hash::Digest;
use lode_protocol::ids::{AccusationId, Address, NodeId, PoolId, ProviderId, ValidatorId};

use self::records::{accusation, membership, proven, some_time, validator_record};
use super::FakeChain;
use super::ledger::Ledger;

impl FakeChain {
    fn read<T>(&self, operation: &'static str, look: impl FnOnce(&Ledger) -> T) -> Result<T, ChainError> {
        Ok(look(&self.reach(operation)?.head().ledger))
    }

    fn known_token(&self, operation: &'static str, token: Address) -> Result<(), ChainError> {
        if token == self.deployment.token {
            return Ok(());
        }
        Err(ChainError::NoContract { contract: operation, address: token })
    }
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
        let indexed = |number: u64| world.unindexed.is_none_or(|first| number < first);
        let wanted = world
            .seen()
            .iter()
            .filter(|block| (from..=to).contains(&block.block.number) && indexed(block.block.number));
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
                locked: record.locked,
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

    async fn is_pool_approved(&self, pool: PoolId, provider: ProviderId) -> Result<bool, ChainError> {
        self.read("read an approval", |ledger| ledger.approvals.contains(&(pool, provider)))
    }

    async fn approval_nonce(&self, provider: ProviderId) -> Result<u64, ChainError> {
        self.read("read an approval nonce", |ledger| {
            ledger.approval_nonces.get(&provider).copied().unwrap_or_default()
        })
    }

    async fn slasher(&self) -> Result<Option<Address>, ChainError> {
        self.read("read the slasher", |ledger| ledger.slasher)
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

    async fn beacon_of(&self, epoch: Epoch) -> Result<Option<Digest>, ChainError> {
        self.read("read a beacon", |ledger| ledger.beacons.get(&epoch).copied())
    }

    async fn drawn(
        &self,
        epoch: Epoch,
        validator: ValidatorId,
        nodes: &[NodeId],
    ) -> Result<Vec<bool>, ChainError> {
        self.read("read who is drawn", |ledger| {
            nodes.iter().map(|node| ledger.is_drawn(epoch, *node, validator)).collect::<Result<_, _>>()
        })?
        .map_err(ChainError::Reverted)
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

    async fn staking_terms(&self) -> Result<StakingParameters, ChainError> {
        drop(self.reach("read the terms of staking")?);
        Ok(StakingParameters {
            min_stake_per_unit: self.parameters.min_stake_per_unit,
            unbonding_seconds: self.parameters.unbonding_seconds,
            validator_min_stake: self.parameters.validator_min_stake,
            validator_exit_seconds: self.parameters.validator_exit_seconds,
            missed_reveal_basis_points: self.parameters.missed_reveal_basis_points,
            committee_size: self.parameters.committee_size,
            treasury: self.parameters.treasury.unwrap_or(FakeChain::owner_key().address()),
        })
    }

    async fn slashing_terms(&self) -> Result<SlashingParameters, ChainError> {
        self.read("read the terms of slashing", |ledger| ledger.parameters.slashing)
    }

    async fn accusation_count(&self) -> Result<u64, ChainError> {
        self.read("count accusations", |ledger| ledger.accusations.len() as u64)
    }

    async fn accusations(&self, ids: &[AccusationId]) -> Result<Vec<Option<AccusationRecord>>, ChainError> {
        self.read("read accusations", |ledger| {
            ids.iter()
                .map(|id| ledger.accusations.get(id).map(|record| accusation(ledger, *id, record)))
                .collect()
        })
    }

    async fn open_accusation(
        &self,
        provider: ProviderId,
        node: NodeId,
    ) -> Result<Option<AccusationId>, ChainError> {
        self.read("look for an accusation", |ledger| ledger.open_accusations.get(&(provider, node)).copied())
    }

    async fn owed_to(&self, _account: Address) -> Result<Amount, ChainError> {
        // The token of this chain refuses nobody.
        self.read("read what is owed", |_| Amount::ZERO)
    }

    async fn bond_for(&self, amount: Amount) -> Result<Amount, ChainError> {
        self.read("read an accuser's bond", |ledger| ledger.bond_for(amount))
    }

    async fn max_slash(&self, provider: ProviderId) -> Result<Amount, ChainError> {
        self.read("read what an accusation can hold", |ledger| ledger.max_slash(provider))
    }

    async fn settlement_terms(&self) -> Result<SettlementParameters, ChainError> {
        self.read("read the terms of settlement", |ledger| ledger.parameters.settlement)
    }

    async fn budget(&self, pool: PoolId) -> Result<BudgetRecord, ChainError> {
        self.read("read a budget", |ledger| {
            let budget = ledger.budgets.get(&pool).copied().unwrap_or_default();
            let (finished, pending) = budget.epochs(ledger.now);
            let some_epoch = |epoch: Epoch| (epoch.0 != 0).then_some(epoch);
            BudgetRecord {
                free: budget.free,
                locked: budget.promised.saturating_add(budget.redeeming),
                posted: budget.posted,
                paid: budget.paid,
                spend_cap: budget.spend_cap,
                capped_through: budget.capped_through(),
                final_epoch: some_epoch(finished),
                pending_epoch: some_epoch(pending),
                withdrawing: budget.withdrawing,
                withdrawable_at: some_time(budget.withdrawable_at),
            }
        })
    }

    async fn spendable(&self, pool: PoolId, epoch: Epoch) -> Result<Amount, ChainError> {
        self.read("read what may be promised", |ledger| ledger.spendable(pool, epoch))
    }

    async fn posted_root(&self, pool: PoolId, epoch: Epoch) -> Result<Option<RootRecord>, ChainError> {
        self.read("read a posted root", |ledger| {
            ledger.posted_roots.get(&(pool, epoch)).map(|record| RootRecord {
                root: record.root,
                total: record.total,
                depth: record.depth,
                final_at: timestamp_of_seconds(record.final_at),
                state: record.state(ledger.now),
            })
        })
    }

    async fn earnings(&self, pool: PoolId, payees: &[Address]) -> Result<Vec<EarningsRecord>, ChainError> {
        self.read("read what was paid", |ledger| {
            payees
                .iter()
                .map(|payee| ledger.earnings.get(&(pool, *payee)).copied().unwrap_or_default())
                .collect()
        })
    }

    async fn redemption(&self, pool: PoolId, payee: Address) -> Result<Option<RedemptionRecord>, ChainError> {
        self.read("read a redemption", |ledger| {
            ledger.redemptions.get(&(pool, payee)).map(|record| RedemptionRecord {
                cumulative: record.cumulative,
                amount: record.amount,
                payable_at: timestamp_of_seconds(record.payable_at),
            })
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

    async fn balance_of_token(&self, token: Address, account: Address) -> Result<Amount, ChainError> {
        self.known_token("read a token balance", token)?;
        self.token_balance(account).await
    }

    async fn allowance_of_token(
        &self,
        token: Address,
        owner: Address,
        spender: Address,
    ) -> Result<Amount, ChainError> {
        self.known_token("read an allowance", token)?;
        self.token_allowance(owner, spender).await
    }

    async fn permit_nonce(&self, owner: Address) -> Result<u64, ChainError> {
        self.read("read a permit nonce", |ledger| {
            ledger.permit_nonces.get(&owner).copied().unwrap_or_default()
        })
    }
}
