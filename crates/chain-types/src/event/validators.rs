//! Events of the validator set.

use lode_protocol::amount::Amount;
use lode_protocol::hash::Digest;
use lode_protocol::ids::{NodeId, ValidatorId};
use lode_protocol::proof::ProofClassId;
use lode_protocol::units::Timestamp;

use crate::epoch::Epoch;
use crate::refusal::Refusal;

/// Events of the validator set.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ValidatorsEvent {
    /// A validator appeared.
    ValidatorRegistered {
        /// The validator.
        validator: ValidatorId,
        /// Its bond.
        stake: Amount,
        /// First epoch in which it counts.
        active_from: Epoch,
        /// Where it listens.
        endpoint: String,
    },
    /// A validator's bond grew.
    ValidatorStaked {
        /// The validator.
        validator: ValidatorId,
        /// By how much.
        amount: Amount,
        /// To how much.
        stake: Amount,
        /// First epoch in which that counts.
        active_from: Epoch,
    },
    /// A validator listens elsewhere.
    ValidatorEndpointChanged {
        /// The validator.
        validator: ValidatorId,
        /// Where.
        endpoint: String,
    },
    /// A validator goes.
    ValidatorExitRequested {
        /// The validator.
        validator: ValidatorId,
        /// Last epoch in which it counts.
        active_until: Epoch,
        /// From when its bond can be withdrawn.
        exit_at: Timestamp,
    },
    /// A validator was paid its bond.
    ValidatorWithdrawn {
        /// The validator.
        validator: ValidatorId,
        /// How much.
        amount: Amount,
    },
    /// A validator committed.
    Committed {
        /// The epoch.
        epoch: Epoch,
        /// The validator.
        validator: ValidatorId,
        /// To what.
        commitment: Digest,
    },
    /// A validator revealed its root.
    Revealed {
        /// The epoch.
        epoch: Epoch,
        /// The validator.
        validator: ValidatorId,
        /// The root.
        root: Digest,
        /// What its vote weighs.
        weight: Amount,
    },
    /// More than two thirds revealed this root.
    RootAccepted {
        /// The epoch.
        epoch: Epoch,
        /// The root.
        root: Digest,
        /// What its votes weigh.
        weight: Amount,
        /// What all votes weigh.
        total_weight: Amount,
    },
    /// An epoch's randomness is known: it draws who checks which node.
    BeaconDrawn {
        /// The epoch.
        epoch: Epoch,
        /// The randomness.
        beacon: Digest,
    },
    /// A validator committed and never revealed: part of its bond went to the treasury.
    RevealMissed {
        /// The epoch.
        epoch: Epoch,
        /// The validator.
        validator: ValidatorId,
        /// How much it lost.
        amount: Amount,
        /// Its bond now.
        stake: Amount,
    },
    /// A node's passing leaf was shown.
    NodeProven {
        /// The epoch.
        epoch: Epoch,
        /// The node.
        node: NodeId,
        /// Its hardware class.
        class: ProofClassId,
        /// GPUs proven at one instant.
        gpu_count: u16,
        /// GPU memory in GiB.
        vram_gib: u32,
        /// Last epoch in which it counts.
        expiry_epoch: Epoch,
    },
    /// A node's failing leaf was shown.
    NodeUnproven {
        /// The epoch.
        epoch: Epoch,
        /// The node.
        node: NodeId,
    },
    /// An item of `ProveBatch` was refused.
    ProofFailed {
        /// The epoch.
        epoch: Epoch,
        /// The node named in the item.
        node: NodeId,
        /// Why.
        reason: Refusal,
    },
}
