//! Reads `ComputeRegistry` and `ComputePools`.

use std::collections::BTreeMap;

use alloy::primitives::Address as AlloyAddress;
use lode_protocol::amount::Amount;
use lode_protocol::ids::{NodeId, PoolId, ProviderId};

use super::{LENS, RpcChain, addresses, complete, membership};
use crate::abi::{ComputePools as Pools, ComputeRegistry as Registry};
use crate::convert::{from_address, from_optional, from_word, to_address};
use crate::error::ChainError;
use crate::timestamp_of_seconds;
use crate::{MembershipRecord, NodeRecord, PoolRecord, PoolState, ProviderRecord};

impl RpcChain {
    pub(super) async fn read_nodes(&self, nodes: &[NodeId]) -> Result<Vec<Option<NodeRecord>>, ChainError> {
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

    pub(super) async fn read_provider(
        &self,
        provider: ProviderId,
    ) -> Result<Option<ProviderRecord>, ChainError> {
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

    pub(super) async fn read_pool(&self, pool: PoolId) -> Result<Option<PoolRecord>, ChainError> {
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
            Pools::PoolState::None | Pools::PoolState::__Invalid => {
                let detail = format!("pool {pool} is in a state that this version does not know");
                return Err(ChainError::Malformed { operation: "read a pool", detail });
            }
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

    pub(super) async fn read_memberships(
        &self,
        pool: PoolId,
        nodes: &[NodeId],
    ) -> Result<Vec<MembershipRecord>, ChainError> {
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
}
