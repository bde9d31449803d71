//! Rows of the ledger as readers get them.

use lode_contracts::{
    AccusationRecord, Epoch, MembershipRecord, MembershipState, ProvenRecord, ValidatorRecord,
    timestamp_of_seconds,
};
use lode_protocol::ids::{AccusationId, NodeId, PoolId, ValidatorId};
use lode_protocol::proof::ProofClassId;
use lode_protocol::units::Timestamp;

use crate::chain::ledger::{Accusation, Ledger, Membership, Proof, Validator};

pub(super) fn accusation(ledger: &Ledger, id: AccusationId, record: &Accusation) -> AccusationRecord {
    AccusationRecord {
        id,
        accuser: record.accuser,
        provider: record.provider,
        node: record.node,
        offence: record.offence,
        phase: ledger.phase(record),
        amount: record.amount,
        bond: record.bond,
        opened_at: timestamp_of_seconds(record.opened_at),
        epoch: record.epoch,
        guilty_weight: record.guilty_weight,
        innocent_weight: record.innocent_weight,
        evidence: record.evidence,
        answer: record.answer,
    }
}

pub(super) fn some_time(seconds: u64) -> Option<Timestamp> {
    (seconds != 0).then(|| timestamp_of_seconds(seconds))
}

pub(super) fn validator_record(id: ValidatorId, validator: &Validator) -> ValidatorRecord {
    ValidatorRecord {
        id,
        stake: validator.stake,
        exit_at: some_time(validator.exit_at),
        endpoint: validator.endpoint.clone(),
    }
}

pub(super) fn membership(ledger: &Ledger, pool: PoolId, node: NodeId) -> MembershipRecord {
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

pub(super) fn proven(ledger: &Ledger, node: NodeId) -> Option<ProvenRecord> {
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
