//! Reads `ValidatorSet`.

use std::collections::BTreeSet;

use alloy::rpc::types::Filter;
use alloy::sol_types::SolEvent as _;
use lode_protocol::amount::Amount;
use lode_protocol::ids::{NodeId, ValidatorId};
use lode_protocol::proof::ProofClassId;

use super::{LENS, RpcChain, addresses, complete};
use crate::abi::{ComputeRegistry as Registry, ValidatorSet as Validators};
use crate::convert::{amount, from_address, number, to_address};
use crate::error::ChainError;
use crate::reader::ChainReader as _;
use crate::rpc::KnownValidators;
use crate::timestamp_of_seconds;
use crate::{
    ChainEvent, Epoch, EpochTiming, ProvenRecord, StakingParameters, ValidatorRecord, ValidatorsEvent,
};

/// Blocks read again each time.
const AGAIN: u64 = 64;

impl RpcChain {
    pub(super) async fn read_proven(
        &self,
        nodes: &[NodeId],
    ) -> Result<Vec<Option<ProvenRecord>>, ChainError> {
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

    pub(super) async fn read_epoch_timing(&self) -> Result<EpochTiming, ChainError> {
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

    pub(super) async fn read_staking_terms(&self) -> Result<StakingParameters, ChainError> {
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
            Ok(StakingParameters {
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

    pub(super) async fn read_drawn(
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

    /// Everybody who ever registered as a validator; only new blocks are read, unless history changed.
    pub(super) async fn validator_ids(&self) -> Result<BTreeSet<ValidatorId>, ChainError> {
        let head = self.head().await?;
        let mut known = self.known_validators.lock().await;
        let mut from = self.deployment.block;
        let mut ids = BTreeSet::new();
        if let Some(earlier) = known.as_ref()
            && self.block(earlier.seen.number).await?.is_some_and(|block| block.hash == earlier.seen.hash)
        {
            // The last blocks again: what logged in them may have been indexed since.
            from = earlier.seen.number.saturating_sub(AGAIN).max(self.deployment.block);
            ids = earlier.ids.clone();
        }
        let filter = Filter::new()
            .address(self.validator_set())
            .event_signature(Validators::ValidatorRegistered::SIGNATURE_HASH);
        while from <= head.number {
            let to = head.number.min(from.saturating_add(self.blocks_at_once() - 1));
            for logged in self.logged(&filter, from, to).await? {
                if let ChainEvent::Validators(ValidatorsEvent::ValidatorRegistered { validator, .. }) =
                    logged.event
                {
                    ids.insert(validator);
                }
            }
            // What was read stays read when the rest fails.
            let seen = if to == head.number { Some(head) } else { self.block(to).await? };
            if let Some(seen) = seen {
                *known = Some(KnownValidators { seen: seen.cursor(), ids: ids.clone() });
            }
            from = to.saturating_add(1);
        }
        Ok(ids)
    }

    pub(super) async fn validator_records(
        &self,
        ids: &[ValidatorId],
    ) -> Result<Vec<ValidatorRecord>, ChainError> {
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
