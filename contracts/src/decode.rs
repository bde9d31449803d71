//! From logs to events. A log of our contracts that does not decode is an error: skipping it would let a view differ
//! from the chain without anybody noticing.

use alloy::primitives::{Log as PrimitiveLog, U256};
use alloy::rpc::types::Log;
use alloy::sol_types::SolEventInterface as _;
use lode_protocol::ids::{NodeId, PoolId, ProviderId, ValidatorId};
use lode_protocol::proof::ProofClassId;
use lode_protocol::units::Timestamp;

mod economy;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;

use crate::Epoch;
use crate::abi::ComputePools::ComputePoolsEvents as Pools;
use crate::abi::ComputeRegistry::ComputeRegistryEvents as Registry;
use crate::abi::Rewards::RewardsEvents as Rewards;
use crate::abi::Slashing::SlashingEvents as Slashing;
use crate::abi::ValidatorSet::ValidatorSetEvents as Validators;
use crate::convert::{amount, from_address, from_optional, from_word, to_address};
use crate::deployment::Deployment;
use crate::error::ChainError;
use crate::revert::refusal_of_selector;
use crate::timestamp_of_seconds;
use crate::{ChainEvent, LoggedEvent, PoolsEvent, RegistryEvent, ValidatorsEvent};

pub(crate) use economy::offence;
use economy::{rewards, slashing};

pub(super) const OPERATION: &str = "read events";

/// Reads a log. `None`: it is of another contract, or not in a block.
pub(crate) fn decode(deployment: &Deployment, log: &Log) -> Result<Option<LoggedEvent>, ChainError> {
    let (Some(block), Some(block_hash), Some(transaction), Some(index), false) =
        (log.block_number, log.block_hash, log.transaction_hash, log.log_index, log.removed)
    else {
        return Ok(None);
    };
    let malformed = |error: alloy::sol_types::Error| ChainError::Malformed {
        operation: OPERATION,
        detail: format!("log {index} of block {block}: {error}"),
    };
    let of = |address| log.inner.address == to_address(address);
    let raw: &PrimitiveLog = &log.inner;
    let event = if of(deployment.registry) {
        registry(Registry::decode_log(raw).map_err(malformed)?.data)?
    } else if of(deployment.pools) {
        pools(Pools::decode_log(raw).map_err(malformed)?.data)
    } else if of(deployment.validators) {
        validators(Validators::decode_log(raw).map_err(malformed)?.data)?
    } else if of(deployment.slashing) {
        slashing(Slashing::decode_log(raw).map_err(malformed)?.data)?
    } else if of(deployment.rewards) {
        rewards(Rewards::decode_log(raw).map_err(malformed)?.data)?
    } else {
        return Ok(None);
    };
    Ok(Some(LoggedEvent {
        event,
        block,
        block_hash: from_word(block_hash),
        transaction: from_word(transaction),
        index,
    }))
}

pub(super) fn provider(address: alloy::primitives::Address) -> ProviderId {
    ProviderId(from_address(address))
}

pub(super) fn node(address: alloy::primitives::Address) -> NodeId {
    NodeId(from_address(address))
}

pub(super) fn validator(address: alloy::primitives::Address) -> ValidatorId {
    ValidatorId(from_address(address))
}

pub(super) fn time(seconds: U256) -> Timestamp {
    timestamp_of_seconds(seconds.saturating_to())
}

fn registry(event: Registry) -> Result<ChainEvent, ChainError> {
    Ok(match event {
        Registry::ProviderRegistered(e) => {
            ChainEvent::Registry(RegistryEvent::ProviderRegistered { provider: provider(e.provider) })
        }
        Registry::Staked(e) => ChainEvent::Registry(RegistryEvent::Staked {
            provider: provider(e.provider),
            amount: amount(OPERATION, e.amount)?,
            stake: amount(OPERATION, e.stake)?,
        }),
        Registry::UnstakeRequested(e) => ChainEvent::Registry(RegistryEvent::UnstakeRequested {
            provider: provider(e.provider),
            amount: amount(OPERATION, e.amount)?,
            unbonding: amount(OPERATION, e.unbonding)?,
            release_at: time(e.releaseAt),
        }),
        Registry::Withdrawn(e) => ChainEvent::Registry(RegistryEvent::Withdrawn {
            provider: provider(e.provider),
            amount: amount(OPERATION, e.amount)?,
        }),
        Registry::NodeAdded(e) => ChainEvent::Registry(RegistryEvent::NodeAdded {
            provider: provider(e.provider),
            node: node(e.node),
            units: e.units,
            registration: e.registration.to(),
        }),
        Registry::NodeRemoved(e) => ChainEvent::Registry(RegistryEvent::NodeRemoved {
            provider: provider(e.provider),
            node: node(e.node),
            registration: e.registration.to(),
        }),
        Registry::NodeReplaced(e) => ChainEvent::Registry(RegistryEvent::NodeReplaced {
            provider: provider(e.provider),
            old: node(e.oldNode),
            new: node(e.newNode),
        }),
        Registry::NodeAddFailed(e) => ChainEvent::Registry(RegistryEvent::NodeAddFailed {
            provider: provider(e.provider),
            node: node(e.node),
            reason: refusal_of_selector(e.reason.0),
        }),
        Registry::AuthorizationsRevoked(e) => ChainEvent::Registry(RegistryEvent::AuthorizationsRevoked {
            provider: provider(e.provider),
            authorization_epoch: e.authorizationEpoch.to(),
        }),
        Registry::SlasherSet(e) => {
            ChainEvent::Registry(RegistryEvent::SlasherSet { slasher: from_address(e.slasher) })
        }
        Registry::StakeLocked(e) => ChainEvent::Registry(RegistryEvent::StakeLocked {
            provider: provider(e.provider),
            amount: amount(OPERATION, e.amount)?,
            locked: amount(OPERATION, e.locked)?,
        }),
        Registry::StakeUnlocked(e) => ChainEvent::Registry(RegistryEvent::StakeUnlocked {
            provider: provider(e.provider),
            amount: amount(OPERATION, e.amount)?,
            locked: amount(OPERATION, e.locked)?,
        }),
        Registry::Slashed(e) => ChainEvent::Registry(RegistryEvent::Slashed {
            provider: provider(e.provider),
            amount: amount(OPERATION, e.amount)?,
            stake: amount(OPERATION, e.stake)?,
            unbonding: amount(OPERATION, e.unbonding)?,
        }),
    })
}

fn pools(event: Pools) -> ChainEvent {
    match event {
        Pools::PoolCreated(e) => ChainEvent::Pools(PoolsEvent::PoolCreated {
            pool: PoolId(e.poolId),
            owner: from_address(e.owner),
            orchestrator: from_address(e.orchestrator),
            reward_token: from_optional(e.rewardToken),
            requirements: from_word(e.requirementsHash),
            max_nodes: (e.maxNodes != 0).then_some(e.maxNodes),
            uri: e.uri,
            endpoints: e.endpoints,
        }),
        Pools::PoolStarted(e) => ChainEvent::Pools(PoolsEvent::PoolStarted { pool: PoolId(e.poolId) }),
        Pools::PoolEnded(e) => ChainEvent::Pools(PoolsEvent::PoolEnded { pool: PoolId(e.poolId) }),
        Pools::OrchestratorChanged(e) => ChainEvent::Pools(PoolsEvent::OrchestratorChanged {
            pool: PoolId(e.poolId),
            previous: from_address(e.previous),
            current: from_address(e.current),
        }),
        Pools::EndpointsChanged(e) => {
            ChainEvent::Pools(PoolsEvent::EndpointsChanged { pool: PoolId(e.poolId), endpoints: e.endpoints })
        }
        Pools::RequirementsChanged(e) => ChainEvent::Pools(PoolsEvent::RequirementsChanged {
            pool: PoolId(e.poolId),
            requirements: from_word(e.requirementsHash),
            uri: e.uri,
        }),
        Pools::OwnershipTransferStarted(e) => ChainEvent::Pools(PoolsEvent::OwnershipTransferStarted {
            pool: PoolId(e.poolId),
            owner: from_address(e.owner),
            pending: from_optional(e.pendingOwner),
        }),
        Pools::OwnershipTransferred(e) => ChainEvent::Pools(PoolsEvent::OwnershipTransferred {
            pool: PoolId(e.poolId),
            previous: from_address(e.previous),
            current: from_address(e.current),
        }),
        Pools::NodeJoined(e) => ChainEvent::Pools(PoolsEvent::NodeJoined {
            pool: PoolId(e.poolId),
            node: node(e.node),
            provider: provider(e.provider),
            counter: e.counter,
            registration: e.registration.to(),
        }),
        Pools::NodeAlreadyMember(e) => {
            ChainEvent::Pools(PoolsEvent::NodeAlreadyMember { pool: PoolId(e.poolId), node: node(e.node) })
        }
        Pools::JoinFailed(e) => ChainEvent::Pools(PoolsEvent::JoinFailed {
            pool: PoolId(e.poolId),
            node: node(e.node),
            reason: refusal_of_selector(e.reason.0),
        }),
        Pools::NodeLeft(e) => ChainEvent::Pools(PoolsEvent::NodeLeft {
            pool: PoolId(e.poolId),
            node: node(e.node),
            counter: e.counter,
        }),
        Pools::NodeEjected(e) => ChainEvent::Pools(PoolsEvent::NodeEjected {
            pool: PoolId(e.poolId),
            node: node(e.node),
            counter: e.counter,
        }),
        Pools::NodeBanned(e) => {
            ChainEvent::Pools(PoolsEvent::NodeBanned { pool: PoolId(e.poolId), node: node(e.node) })
        }
        Pools::NodeUnbanned(e) => {
            ChainEvent::Pools(PoolsEvent::NodeUnbanned { pool: PoolId(e.poolId), node: node(e.node) })
        }
        Pools::ProviderBanned(e) => ChainEvent::Pools(PoolsEvent::ProviderBanned {
            pool: PoolId(e.poolId),
            provider: provider(e.provider),
        }),
        Pools::ProviderUnbanned(e) => ChainEvent::Pools(PoolsEvent::ProviderUnbanned {
            pool: PoolId(e.poolId),
            provider: provider(e.provider),
        }),
        Pools::PoolApprovalChanged(e) => ChainEvent::Pools(PoolsEvent::PoolApprovalChanged {
            pool: PoolId(e.poolId),
            provider: provider(e.provider),
            approved: e.approved,
        }),
    }
}

fn validators(event: Validators) -> Result<ChainEvent, ChainError> {
    Ok(match event {
        Validators::ValidatorRegistered(e) => ChainEvent::Validators(ValidatorsEvent::ValidatorRegistered {
            validator: validator(e.validator),
            stake: amount(OPERATION, e.stake)?,
            active_from: Epoch(e.activeFrom),
            endpoint: e.endpoint,
        }),
        Validators::ValidatorStaked(e) => ChainEvent::Validators(ValidatorsEvent::ValidatorStaked {
            validator: validator(e.validator),
            amount: amount(OPERATION, e.amount)?,
            stake: amount(OPERATION, e.stake)?,
            active_from: Epoch(e.activeFrom),
        }),
        Validators::EndpointChanged(e) => ChainEvent::Validators(ValidatorsEvent::ValidatorEndpointChanged {
            validator: validator(e.validator),
            endpoint: e.endpoint,
        }),
        Validators::ExitRequested(e) => ChainEvent::Validators(ValidatorsEvent::ValidatorExitRequested {
            validator: validator(e.validator),
            active_until: Epoch(e.activeUntil),
            exit_at: time(e.exitAt),
        }),
        Validators::Withdrawn(e) => ChainEvent::Validators(ValidatorsEvent::ValidatorWithdrawn {
            validator: validator(e.validator),
            amount: amount(OPERATION, e.amount)?,
        }),
        Validators::Committed(e) => ChainEvent::Validators(ValidatorsEvent::Committed {
            epoch: Epoch(e.epoch),
            validator: validator(e.validator),
            commitment: from_word(e.commitment),
        }),
        Validators::Revealed(e) => ChainEvent::Validators(ValidatorsEvent::Revealed {
            epoch: Epoch(e.epoch),
            validator: validator(e.validator),
            root: from_word(e.root),
            weight: amount(OPERATION, e.weight)?,
        }),
        Validators::RootAccepted(e) => ChainEvent::Validators(ValidatorsEvent::RootAccepted {
            epoch: Epoch(e.epoch),
            root: from_word(e.root),
            weight: amount(OPERATION, e.weight)?,
            total_weight: amount(OPERATION, e.totalWeight)?,
        }),
        Validators::BeaconDrawn(e) => ChainEvent::Validators(ValidatorsEvent::BeaconDrawn {
            epoch: Epoch(e.epoch),
            beacon: from_word(e.beacon),
        }),
        Validators::RevealMissed(e) => ChainEvent::Validators(ValidatorsEvent::RevealMissed {
            epoch: Epoch(e.epoch),
            validator: validator(e.validator),
            amount: amount(OPERATION, e.amount)?,
            stake: amount(OPERATION, e.stake)?,
        }),
        Validators::NodeProven(e) => ChainEvent::Validators(ValidatorsEvent::NodeProven {
            epoch: Epoch(e.epoch),
            node: node(e.node),
            class: ProofClassId(e.classId),
            gpu_count: e.gpuCount,
            vram_gib: e.vramGib,
            expiry_epoch: Epoch(e.expiryEpoch),
        }),
        Validators::NodeUnproven(e) => ChainEvent::Validators(ValidatorsEvent::NodeUnproven {
            epoch: Epoch(e.epoch),
            node: node(e.node),
        }),
        Validators::ProofFailed(e) => ChainEvent::Validators(ValidatorsEvent::ProofFailed {
            epoch: Epoch(e.epoch),
            node: node(e.node),
            reason: refusal_of_selector(e.reason.0),
        }),
    })
}
