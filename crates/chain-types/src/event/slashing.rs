//! Events of the court.

use lode_protocol::amount::Amount;
use lode_protocol::hash::Digest;
use lode_protocol::ids::{AccusationId, Address, NodeId, ProviderId, ValidatorId};

use crate::epoch::Epoch;
use crate::record::Offence;

/// Events of the court.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SlashingEvent {
    /// A provider is accused; part of its stake is held.
    Accused {
        /// Which accusation.
        id: AccusationId,
        /// Whose stake is at stake.
        provider: ProviderId,
        /// By which node the offence was done.
        node: NodeId,
        /// Who bonded.
        accuser: Address,
        /// What it is about.
        offence: Offence,
        /// Stake that is held.
        amount: Amount,
        /// The accuser's bond.
        bond: Amount,
        /// Whose weights count.
        epoch: Epoch,
        /// Digest of the evidence.
        evidence: Digest,
        /// Where the evidence lies. Written by the accuser: check before use.
        uri: String,
    },
    /// The accused answered.
    Answered {
        /// Which accusation.
        id: AccusationId,
        /// Who answered.
        provider: ProviderId,
        /// Digest of the answer.
        answer: Digest,
        /// Where it lies. Written by the accused: check before use.
        uri: String,
    },
    /// A validator voted.
    Voted {
        /// Which accusation.
        id: AccusationId,
        /// Who voted.
        validator: ValidatorId,
        /// How.
        guilty: bool,
        /// What its vote weighs.
        weight: Amount,
    },
    /// More than two thirds of all weight found the accused guilty.
    FoundGuilty {
        /// Which accusation.
        id: AccusationId,
        /// The provider.
        provider: ProviderId,
        /// What it lost.
        slashed: Amount,
        /// The accuser's part of it.
        fee: Amount,
        /// The treasury's part of it.
        to_treasury: Amount,
    },
    /// The accused is acquitted and has the accuser's bond.
    Acquitted {
        /// Which accusation.
        id: AccusationId,
        /// The provider.
        provider: ProviderId,
        /// What it got.
        bond: Amount,
    },
    /// The token refused a payment of `Slashing`: it is owed, and can be collected.
    PaymentOwed {
        /// To whom.
        to: Address,
        /// How much.
        amount: Amount,
        /// Everything that is owed to it now.
        owed: Amount,
    },
    /// What was owed is paid.
    Collected {
        /// To whom.
        to: Address,
        /// How much.
        amount: Amount,
    },
}
