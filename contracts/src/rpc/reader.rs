//! The chain reader over JSON-RPC.

mod economy;

use std::collections::{BTreeMap, BTreeSet};

use alloy::primitives::{Address as AlloyAddress, B256, U256};
use alloy::rpc::types::Filter;
use alloy::sol_types::SolEvent as _;
use async_trait::async_trait;
use lode_protocol::amount::Amount;
use lode_protocol::hash::Digest;
use lode_protocol::ids::{AccusationId, Address, NodeId, PoolId, ProviderId, ValidatorId};
use lode_protocol::proof::ProofClassId;

use super::{KnownValidators, RpcChain};
use crate::abi::{
    ComputePools as Pools, ComputeRegistry as Registry, LodeToken as Token, ValidatorSet as Validators,
};
use crate::block::{BlockRef, timestamp_of_seconds};
use crate::convert::{
    amount, amount_saturating, from_address, from_optional, from_word, number, to_address, to_word,
};
use crate::deployment::Deployment;
use crate::epoch::{Epoch, EpochTiming};
use crate::error::ChainError;
use crate::event::{ChainEvent, LoggedEvent, decode};
use crate::reader::ChainReader;
use crate::record::{
    AccusationRecord, BudgetRecord, EarningsRecord, MembershipRecord, MembershipState, NodeRecord,
    PoolRecord, PoolState, ProvenRecord, ProviderRecord, RedemptionRecord, RootRecord, SettlementTerms,
    SlashingTerms, StakingTerms, ValidatorRecord,
};

impl RpcChain {
    fn registry(&self) -> AlloyAddress {
        to_address(self.deployment.registry)
    }

    fn pools(&self) -> AlloyAddress {
        to_address(self.deployment.pools)
    }

    fn validator_set(&self) -> AlloyAddress {
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

    /// Events in `from..=to` that a filter lets through, fetched in pieces of bounded width.
    async fn logged(&self, filter: &Filter, from: u64, to: u64) -> Result<Vec<LoggedEvent>, ChainError> {
        let transport = self.verified().await?;
        let mut events = Vec::new();
        let mut start = from;
        while start <= to {
            let end = to.min(start.saturating_add(self.max_range - 1));
            for log in transport.logs(filter.clone().from_block(start).to_block(end)).await? {
                events.extend(decode(&self.deployment, &log)?);
            }
            start = end.saturating_add(1);
        }
        Ok(events)
    }

    /// Everybody who ever registered as a validator; only new blocks are read, unless history changed.
    async fn validator_ids(&self) -> Result<BTreeSet<ValidatorId>, ChainError> {
        let head = self.head().await?;
        let mut known = self.known_validators.lock().await;
        let mut from = self.deployment.block;
        let mut ids = BTreeSet::new();
        if let Some(earlier) = known.as_ref()
            && self.block(earlier.seen.number).await?.is_some_and(|block| block.hash == earlier.seen.hash)
        {
            from = earlier.seen.number.saturating_add(1);
            ids = earlier.ids.clone();
        }
        let filter = Filter::new()
            .address(self.validator_set())
            .event_signature(Validators::ValidatorRegistered::SIGNATURE_HASH);
        for logged in self.logged(&filter, from, head.number).await? {
            if let ChainEvent::ValidatorRegistered { validator, .. } = logged.event {
                ids.insert(validator);
            }
        }
        *known = Some(KnownValidators { seen: head.cursor(), ids: ids.clone() });
        Ok(ids)
    }

    async fn validator_records(&self, ids: &[ValidatorId]) -> Result<Vec<ValidatorRecord>, ChainError> {
        let calls = ids.iter().map(|id| Validators::validatorOfCall { validator: to_address(id.0) });
        let found = self.verified().await?.calls("read validators", self.validator_set(), calls).await?;
        Ok(ids
            .iter()
            .zip(found)
            .filter(|(_, record)| record.stake != 0)
            .map(|(id, record)| ValidatorRecord {
                id: *id,
                stake: Amount(record.stake),
                exit_at: (record.exitAt != 0).then(|| timestamp_of_seconds(record.exitAt)),
                endpoint: record.endpoint,
            })
            .collect())
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
        found.map(|(block, _)| block).ok_or_else(missing)
    }

    async fn block(&self, number: u64) -> Result<Option<BlockRef>, ChainError> {
        Ok(self.verified().await?.block("read a block", Some(number)).await?.map(|(block, _)| block))
    }

    async fn events(&self, from: u64, to: u64) -> Result<Vec<LoggedEvent>, ChainError> {
        self.logged(&Filter::new().address(self.watched()), from, to).await
    }

    async fn nodes(&self, nodes: &[NodeId]) -> Result<Vec<Option<NodeRecord>>, ChainError> {
        let operation = "read nodes";
        let transport = self.verified().await?;
        let mut records = Vec::with_capacity(nodes.len());
        let calls = nodes.chunks(LENS).map(|chunk| Registry::nodesOfCall { nodes: addresses(chunk) });
        for answer in transport.calls(operation, self.registry(), calls).await? {
            records.extend(answer);
        }
        complete(operation, nodes.len(), records.len())?;
        // Whether the stake suffices is one answer for all nodes of a provider.
        let mut witnesses: BTreeMap<AlloyAddress, NodeId> = BTreeMap::new();
        for (node, record) in nodes.iter().zip(&records).filter(|(_, record)| !record.provider.is_zero()) {
            witnesses.entry(record.provider).or_insert(*node);
        }
        let calls = witnesses.values().map(|node| Registry::isEligibleCall { node: to_address(node.0) });
        let answers = transport.calls(operation, self.registry(), calls).await?;
        let eligible: BTreeMap<AlloyAddress, bool> = witnesses.keys().copied().zip(answers).collect();
        Ok(records
            .into_iter()
            .map(|record| {
                Some(NodeRecord {
                    provider: ProviderId(from_optional(record.provider)?),
                    units: record.units,
                    registration: record.registration.to(),
                    eligible: eligible.get(&record.provider).copied().unwrap_or_default(),
                })
            })
            .collect())
    }

    async fn provider(&self, provider: ProviderId) -> Result<Option<ProviderRecord>, ChainError> {
        let call = Registry::providerOfCall { provider: to_address(provider.0) };
        let record = self.verified().await?.call("read a provider", self.registry(), call).await?;
        let registered_at: u64 = record.registeredAt.to();
        if registered_at == 0 {
            return Ok(None);
        }
        Ok(Some(ProviderRecord {
            stake: Amount(record.stake),
            units: record.units.to(),
            registered_at: timestamp_of_seconds(registered_at),
            authorization_epoch: record.authorizationEpoch.to(),
            unbonding: Amount(record.unbonding),
            release_at: (record.releaseAt != 0).then(|| timestamp_of_seconds(record.releaseAt)),
            locked: Amount(record.locked),
        }))
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
        let call = Pools::poolOfCall { poolId: pool.0 };
        let record = match self.verified().await?.call("read a pool", self.pools(), call).await {
            Ok(record) => record,
            Err(ChainError::Reverted(refusal)) if refusal.name == "PoolNotFound" => return Ok(None),
            Err(error) => return Err(error),
        };
        let state = match record.state {
            Pools::PoolState::Created => PoolState::Created,
            Pools::PoolState::Running => PoolState::Running,
            Pools::PoolState::Ended => PoolState::Ended,
            _ => return Ok(None),
        };
        Ok(Some(PoolRecord {
            id: pool,
            owner: from_address(record.owner),
            pending_owner: from_optional(record.pendingOwner),
            orchestrator: from_address(record.orchestrator),
            reward_token: from_optional(record.rewardToken),
            requirements: from_word(record.requirementsHash),
            state,
            max_nodes: (record.maxNodes != 0).then_some(record.maxNodes),
            member_count: record.memberCount,
            created_at: timestamp_of_seconds(record.createdAt),
            endpoints: record.endpoints,
        }))
    }

    async fn pool_count(&self) -> Result<u64, ChainError> {
        self.verified().await?.call("count pools", self.pools(), Pools::poolCountCall {}).await
    }

    async fn memberships(&self, pool: PoolId, nodes: &[NodeId]) -> Result<Vec<MembershipRecord>, ChainError> {
        let operation = "read memberships";
        let calls = nodes
            .chunks(LENS)
            .map(|chunk| Pools::membershipsOfCall { poolId: pool.0, nodes: addresses(chunk) });
        let answers = self.verified().await?.calls(operation, self.pools(), calls).await?;
        let records: Vec<_> =
            answers.iter().flatten().map(|record| membership(operation, record)).collect::<Result<_, _>>()?;
        complete(operation, nodes.len(), records.len())?;
        Ok(records)
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
        let operation = "read proofs";
        let calls = nodes.chunks(LENS).map(|chunk| Validators::provenOfManyCall { nodes: addresses(chunk) });
        let answers = self.verified().await?.calls(operation, self.validator_set(), calls).await?;
        let records: Vec<_> = answers.into_iter().flatten().collect();
        complete(operation, nodes.len(), records.len())?;
        Ok(records
            .into_iter()
            .map(|record| {
                (record.provenEpoch != 0).then(|| ProvenRecord {
                    class: ProofClassId(record.classId),
                    gpu_count: record.gpuCount,
                    vram_gib: record.vramGib,
                    walk_score: record.walkScore,
                    gemm_score: record.gemmScore,
                    proven_epoch: Epoch(record.provenEpoch),
                    expiry_epoch: Epoch(record.expiryEpoch),
                    registration: record.registration.to(),
                    current: record.current,
                })
            })
            .collect())
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
        let operation = "read the length of an epoch";
        let read = async || {
            let transport = self.verified().await?;
            let set = self.validator_set();
            let seconds = transport.call(operation, set, Validators::epochSecondsCall {}).await?;
            let validity = transport.call(operation, set, Validators::maxValidityEpochsCall {}).await?;
            Ok(EpochTiming {
                epoch_seconds: number(operation, seconds)?,
                max_validity_epochs: number(operation, validity)?,
            })
        };
        self.timing.get_or_try_init(read).await.copied()
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
        let calls = nodes.iter().map(|node| Validators::isDrawnCall {
            epoch: epoch.0,
            node: to_address(node.0),
            validator: to_address(validator.0),
        });
        self.verified().await?.calls("read who is drawn", self.validator_set(), calls).await
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

    async fn staking_terms(&self) -> Result<StakingTerms, ChainError> {
        let operation = "read the terms of staking";
        let read = async || {
            let transport = self.verified().await?;
            let (registry, set) = (self.registry(), self.validator_set());
            let per_unit = transport.call(operation, registry, Registry::minStakePerUnitCall {}).await?;
            let unbonding = transport.call(operation, registry, Registry::unbondingDelayCall {}).await?;
            let minimum = transport.call(operation, set, Validators::minStakeCall {}).await?;
            let exit = transport.call(operation, set, Validators::exitDelayCall {}).await?;
            let missed = transport.call(operation, set, Validators::missedRevealBasisPointsCall {}).await?;
            let committee = transport.call(operation, set, Validators::committeeSizeCall {}).await?;
            let treasury = transport.call(operation, set, Validators::treasuryCall {}).await?;
            Ok(StakingTerms {
                min_stake_per_unit: amount(operation, per_unit)?,
                unbonding_seconds: number(operation, unbonding)?,
                validator_min_stake: amount(operation, minimum)?,
                validator_exit_seconds: number(operation, exit)?,
                missed_reveal_basis_points: number(operation, missed)?,
                committee_size: number(operation, committee)?,
                treasury: from_address(treasury),
            })
        };
        self.terms.get_or_try_init(read).await.copied()
    }

    async fn slashing_terms(&self) -> Result<SlashingTerms, ChainError> {
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

    async fn settlement_terms(&self) -> Result<SettlementTerms, ChainError> {
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
