//! What contracts are deployed with.

use lode_protocol::amount::Amount;
use lode_protocol::ids::Address;
use serde::{Deserialize, Serialize};

use crate::{SettlementParameters, SlashingParameters};

/// What the contracts are deployed with; nothing of it can be changed later.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeployParameters {
    /// Tokens for each unit of a provider's nodes.
    pub min_stake_per_unit: Amount,
    /// Seconds between a provider's request to unstake and its withdrawal.
    pub unbonding_seconds: u64,
    /// Tokens a validator bonds at least.
    pub validator_min_stake: Amount,
    /// Length of the validators' epochs in seconds: even, at least 2.
    pub epoch_seconds: u64,
    /// Seconds between a validator's exit and its withdrawal: at least two epochs.
    pub validator_exit_seconds: u64,
    /// How many epochs a proof may count beyond its own.
    pub max_validity_epochs: u64,
    /// Where cuts of bonds and slashed stake go; `None` is whoever deploys.
    pub treasury: Option<Address>,
    /// Part of its bond that a validator loses which commits and never reveals, in basis points.
    pub missed_reveal_basis_points: u64,
    /// How many validators are expected to be drawn for a node.
    pub committee_size: u64,
    /// How accusations are judged. Their reach must not be longer than `unbonding_seconds`.
    pub slashing: SlashingParameters,
    /// How fast pools settle. A withdrawal takes an epoch, the posting time and two veto times at least.
    pub settlement: SettlementParameters,
}

impl Default for DeployParameters {
    fn default() -> Self {
        DeployParameters {
            min_stake_per_unit: Amount::tokens(100),
            unbonding_seconds: 14 * 86_400,
            validator_min_stake: Amount::tokens(10_000),
            epoch_seconds: 3_600,
            validator_exit_seconds: 14 * 86_400,
            max_validity_epochs: 48,
            treasury: None,
            missed_reveal_basis_points: 100,
            committee_size: 5,
            slashing: SlashingParameters {
                min_bond: Amount::tokens(100),
                bond_basis_points: 1_000,
                max_slash_basis_points: 5_000,
                fee_basis_points: 500,
                max_fee: Amount::tokens(1_000),
                detection_seconds: 3 * 86_400,
                evidence_seconds: 86_400,
                answer_seconds: 3 * 86_400,
                vote_seconds: 3 * 86_400,
                execution_seconds: 86_400,
            },
            settlement: SettlementParameters {
                posting_seconds: 6 * 3_600,
                veto_seconds: 86_400,
                withdrawal_seconds: 3 * 86_400,
                max_proven_age_epochs: 48,
            },
        }
    }
}

impl DeployParameters {
    /// Short times for a chain on this machine.
    pub fn development() -> Self {
        DeployParameters {
            min_stake_per_unit: Amount::tokens(10),
            unbonding_seconds: 60,
            validator_min_stake: Amount::tokens(100),
            epoch_seconds: 30,
            validator_exit_seconds: 60,
            max_validity_epochs: 1_000,
            treasury: None,
            missed_reveal_basis_points: 100,
            committee_size: 3,
            slashing: SlashingParameters {
                min_bond: Amount::tokens(1),
                bond_basis_points: 1_000,
                max_slash_basis_points: 5_000,
                fee_basis_points: 500,
                max_fee: Amount::tokens(10),
                detection_seconds: 10,
                evidence_seconds: 5,
                answer_seconds: 10,
                vote_seconds: 15,
                execution_seconds: 10,
            },
            settlement: SettlementParameters {
                posting_seconds: 60,
                veto_seconds: 20,
                withdrawal_seconds: 150,
                max_proven_age_epochs: 1_000,
            },
        }
    }
}
