//! Who is accused of what.

use lode_protocol::amount::Amount;
use lode_protocol::hash::Digest;
use lode_protocol::ids::{AccusationId, Address, NodeId, ProviderId};
use lode_protocol::units::Timestamp;
use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::epoch::Epoch;

/// What can be slashed for. Being slow is not among it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Encode, Decode, Serialize, Deserialize)]
#[cbor(index_only)]
#[serde(rename_all = "kebab-case")]
pub enum Offence {
    /// A proof of GPU that the hardware did not make.
    #[n(1)]
    ForgedProof,
    /// A receipt for work that was not done.
    #[n(2)]
    ForgedReceipt,
    /// Hardware that belongs to another node.
    #[n(3)]
    ForeignHardware,
}

/// Where an accusation is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AccusationPhase {
    /// The evidence lies open.
    Evidence,
    /// The accused may answer, as it may before.
    Answer,
    /// Validators vote.
    Vote,
    /// The vote is over; anybody has the verdict carried out.
    Decided,
    /// The provider lost what was held.
    Guilty,
    /// The provider has the accuser's bond.
    Acquitted,
}

impl AccusationPhase {
    /// Whether nothing changes any more.
    pub fn is_over(self) -> bool {
        match self {
            AccusationPhase::Guilty | AccusationPhase::Acquitted => true,
            AccusationPhase::Evidence
            | AccusationPhase::Answer
            | AccusationPhase::Vote
            | AccusationPhase::Decided => false,
        }
    }
}

/// An accusation.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct AccusationRecord {
    /// Its number.
    pub id: AccusationId,
    /// Who bonded.
    pub accuser: Address,
    /// Whose stake is at stake.
    pub provider: ProviderId,
    /// By which node the offence was done.
    pub node: NodeId,
    /// What it is about.
    pub offence: Offence,
    /// Where it is in its life.
    pub phase: AccusationPhase,
    /// Stake that is held and would be lost.
    pub amount: Amount,
    /// The accuser's bond.
    pub bond: Amount,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// Whose weights count.
    pub epoch: Epoch,
    /// Weight of the votes for guilty.
    pub guilty_weight: Amount,
    /// Weight of the votes for innocent.
    pub innocent_weight: Amount,
    /// Digest of the evidence.
    pub evidence: Digest,
    /// Digest of the answer; `None` while there is none.
    pub answer: Option<Digest>,
}

/// How accusations are judged, fixed when the contract was deployed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlashingParameters {
    /// Least bond of an accuser.
    pub min_bond: Amount,
    /// Bond per amount accused, in basis points.
    pub bond_basis_points: u16,
    /// Most of a provider's stake that one accusation takes, in basis points.
    pub max_slash_basis_points: u16,
    /// The accuser's part of what was slashed, in basis points.
    pub fee_basis_points: u16,
    /// Most that the accuser gets.
    pub max_fee: Amount,
    /// Seconds after the deed in which an offence is expected to be found.
    pub detection_seconds: u64,
    /// Length of the evidence phase in seconds.
    pub evidence_seconds: u64,
    /// Length of the answer phase in seconds.
    pub answer_seconds: u64,
    /// Length of the vote phase in seconds.
    pub vote_seconds: u64,
    /// Seconds after the vote in which the verdict is expected to be carried out.
    pub execution_seconds: u64,
}

impl SlashingParameters {
    /// Seconds for which stake must stay within reach after a deed: the least unbonding delay.
    pub fn reach_seconds(&self) -> u64 {
        [self.evidence_seconds, self.answer_seconds, self.vote_seconds, self.execution_seconds]
            .iter()
            .fold(self.detection_seconds, |sum, seconds| sum.saturating_add(*seconds))
    }
}
