//! Events of the registry of providers and nodes.

use lode_protocol::amount::Amount;
use lode_protocol::ids::{Address, NodeId, ProviderId};
use lode_protocol::units::Timestamp;

use crate::refusal::Refusal;

/// Events of the registry of providers and nodes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RegistryEvent {
    /// A provider appeared.
    ProviderRegistered {
        /// The provider.
        provider: ProviderId,
    },
    /// A provider's stake grew.
    Staked {
        /// The provider.
        provider: ProviderId,
        /// By how much.
        amount: Amount,
        /// To how much.
        stake: Amount,
    },
    /// A provider takes stake out.
    UnstakeRequested {
        /// The provider.
        provider: ProviderId,
        /// How much.
        amount: Amount,
        /// Everything that is on its way out.
        unbonding: Amount,
        /// From when it can be withdrawn.
        release_at: Timestamp,
    },
    /// A provider was paid its unbonded stake.
    Withdrawn {
        /// The provider.
        provider: ProviderId,
        /// How much.
        amount: Amount,
    },
    /// A node serves a provider from now on.
    NodeAdded {
        /// The provider.
        provider: ProviderId,
        /// The node.
        node: NodeId,
        /// Units of compute.
        units: u32,
        /// Which registration of this key.
        registration: u64,
    },
    /// A node serves nobody any more; its memberships and proofs are void.
    NodeRemoved {
        /// The provider.
        provider: ProviderId,
        /// The node.
        node: NodeId,
        /// The registration that ended.
        registration: u64,
    },
    /// Explains the removal and addition before it.
    NodeReplaced {
        /// The provider.
        provider: ProviderId,
        /// The node that went.
        old: NodeId,
        /// The node that came.
        new: NodeId,
    },
    /// An item of `AddNodes` was refused.
    NodeAddFailed {
        /// The provider named in the item.
        provider: ProviderId,
        /// The node named in the item.
        node: NodeId,
        /// Why.
        reason: Refusal,
    },
    /// All unused authorisations of a provider are dead.
    AuthorizationsRevoked {
        /// The provider.
        provider: ProviderId,
        /// Its epoch of authorisations now.
        authorization_epoch: u64,
    },
    /// The contract that may lock and slash stake is known, for good.
    SlasherSet {
        /// The contract.
        slasher: Address,
    },
    /// An accusation holds more of a provider's stake.
    StakeLocked {
        /// The provider.
        provider: ProviderId,
        /// How much more.
        amount: Amount,
        /// Everything that is held now.
        locked: Amount,
    },
    /// An accusation holds less of a provider's stake.
    StakeUnlocked {
        /// The provider.
        provider: ProviderId,
        /// How much less.
        amount: Amount,
        /// Everything that is held now.
        locked: Amount,
    },
    /// Stake was taken from a provider: what was at work first, then what unbonded.
    Slashed {
        /// The provider.
        provider: ProviderId,
        /// How much.
        amount: Amount,
        /// Its stake now.
        stake: Amount,
        /// What unbonds now.
        unbonding: Amount,
    },
}
