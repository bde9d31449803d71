//! Arguments of the constructors, encoded as they follow the creation code.

use alloy::primitives::U256;
use alloy::sol_types::SolValue as _;
use lode_protocol::ids::Address;

use super::DeployParameters;
use crate::abi::Slashing;
use crate::convert::{to_address, to_u256};

pub(super) fn token_arguments(owner: Address) -> Vec<u8> {
    to_address(owner).abi_encode()
}

pub(super) fn registry_arguments(parameters: &DeployParameters, token: Address) -> Vec<u8> {
    (to_address(token), to_u256(parameters.min_stake_per_unit), U256::from(parameters.unbonding_seconds))
        .abi_encode()
}

pub(super) fn validators_arguments(
    parameters: &DeployParameters,
    token: Address,
    registry: Address,
    treasury: Address,
) -> Vec<u8> {
    (
        to_address(token),
        to_address(registry),
        to_u256(parameters.validator_min_stake),
        U256::from(parameters.epoch_seconds),
        U256::from(parameters.validator_exit_seconds),
        U256::from(parameters.max_validity_epochs),
        to_address(treasury),
        U256::from(parameters.missed_reveal_basis_points),
        U256::from(parameters.committee_size),
    )
        .abi_encode()
}

pub(super) fn slashing_arguments(
    parameters: &DeployParameters,
    token: Address,
    registry: Address,
    validators: Address,
    treasury: Address,
) -> Vec<u8> {
    let terms = &parameters.slashing;
    let terms = Slashing::Terms {
        treasury: to_address(treasury),
        minBond: terms.min_bond.0,
        bondBasisPoints: terms.bond_basis_points,
        maxSlashBasisPoints: terms.max_slash_basis_points,
        feeBasisPoints: terms.fee_basis_points,
        maxFee: terms.max_fee.0,
        detectionSeconds: terms.detection_seconds,
        evidenceSeconds: terms.evidence_seconds,
        answerSeconds: terms.answer_seconds,
        voteSeconds: terms.vote_seconds,
        executionSeconds: terms.execution_seconds,
    };
    (to_address(token), to_address(registry), to_address(validators), terms).abi_encode()
}

pub(super) fn pools_arguments(registry: Address) -> Vec<u8> {
    to_address(registry).abi_encode()
}

pub(super) fn rewards_arguments(
    parameters: &DeployParameters,
    pools: Address,
    validators: Address,
) -> Vec<u8> {
    let terms = &parameters.settlement;
    (
        to_address(pools),
        to_address(validators),
        U256::from(terms.posting_seconds),
        U256::from(terms.veto_seconds),
        U256::from(terms.withdrawal_seconds),
        U256::from(terms.max_proven_age_epochs),
    )
        .abi_encode()
}
