//! Calls of the validator set.

use lode_protocol::amount::Amount;
use lode_protocol::hash::Digest;
use lode_protocol::ids::ValidatorId;
use minicbor::{Decode, Encode};

use super::{Permit, ProofItem};
use crate::epoch::Epoch;

/// Calls of the validator set.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum ValidatorsCall {
    /// The sender becomes a validator. Without a permit an allowance must stand.
    #[n(25)]
    RegisterValidator {
        /// Bond.
        #[n(0)]
        amount: Amount,
        /// Permit for the validator set.
        #[n(1)]
        permit: Option<Permit>,
        /// Where it listens.
        #[n(2)]
        endpoint: String,
    },
    /// The validator bonds more, from its allowance.
    #[n(26)]
    StakeValidator {
        /// How much more.
        #[n(0)]
        amount: Amount,
    },
    /// The validator listens elsewhere.
    #[n(27)]
    SetValidatorEndpoint {
        /// Where.
        #[n(0)]
        endpoint: String,
    },
    /// The validator goes.
    #[n(28)]
    RequestExit,
    /// The validator collects its bond.
    #[n(29)]
    WithdrawValidator,
    /// The validator commits.
    #[n(30)]
    Commit {
        /// The epoch.
        #[n(0)]
        epoch: Epoch,
        /// See [`crate::commitment`].
        #[n(1)]
        commitment: Digest,
    },
    /// The validator reveals.
    #[n(31)]
    Reveal {
        /// The epoch.
        #[n(0)]
        epoch: Epoch,
        /// The root.
        #[n(1)]
        root: Digest,
        /// The salt of the commitment.
        #[n(2)]
        salt: Digest,
    },
    /// Anybody shows leaves of an accepted root.
    #[n(32)]
    ProveBatch {
        /// The epoch.
        #[n(0)]
        epoch: Epoch,
        /// Leaves and paths.
        #[n(1)]
        items: Vec<ProofItem>,
    },
    /// Anybody fixes the running epoch's randomness, in the epoch's first half.
    #[n(40)]
    DrawBeacon {
        /// The epoch.
        #[n(0)]
        epoch: Epoch,
    },
    /// Anybody has the bond of a validator cut that committed in a past epoch and never revealed.
    #[n(41)]
    PenalizeMissedReveal {
        /// The epoch.
        #[n(0)]
        epoch: Epoch,
        /// The validator.
        #[n(1)]
        validator: ValidatorId,
    },
}
