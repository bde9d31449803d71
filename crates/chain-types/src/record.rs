//! What the contracts know, in our words.

mod settlement;
mod slashing;

use lode_protocol::amount::Amount;
use lode_protocol::hash::Digest;
use lode_protocol::ids::{Address, PoolId, ProviderId, ValidatorId};
use lode_protocol::proof::ProofClassId;
use lode_protocol::units::Timestamp;
use minicbor::{Decode, Encode};
use serde::Serialize;

use crate::epoch::Epoch;

pub use settlement::{
    BudgetRecord, EarningsRecord, RedemptionRecord, RootRecord, RootState, SettlementParameters,
};
pub use slashing::{AccusationPhase, AccusationRecord, Offence, SlashingParameters};

/// A registered node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct NodeRecord {
    /// The wallet that stakes for it.
    pub provider: ProviderId,
    /// Units of compute that the stake must cover.
    pub units: u32,
    /// Which registration of this key it is.
    pub registration: u64,
    /// Whether the provider's stake covers all of the provider's units.
    pub eligible: bool,
}

/// A registered provider.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct ProviderRecord {
    /// Tokens at work.
    pub stake: Amount,
    /// Sum of the units of its nodes.
    pub units: u64,
    /// When it registered.
    pub registered_at: Timestamp,
    /// Part of every authorisation's nonce.
    pub authorization_epoch: u64,
    /// Tokens on their way out.
    pub unbonding: Amount,
    /// From when they can be withdrawn.
    pub release_at: Option<Timestamp>,
    /// Part of stake and unbonding that accusations hold: it cannot be withdrawn.
    pub locked: Amount,
}

/// Life of a pool.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PoolState {
    /// Takes no joins yet.
    Created,
    /// Takes joins.
    Running,
    /// Over for good.
    Ended,
}

/// A pool.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct PoolRecord {
    /// Its number.
    pub id: PoolId,
    /// Its owner.
    pub owner: Address,
    /// To whom it is offered.
    pub pending_owner: Option<Address>,
    /// The key that signs invites and that workers obey.
    pub orchestrator: Address,
    /// The token it pays in.
    pub reward_token: Option<Address>,
    /// Hash of its requirements and terms.
    pub requirements: Digest,
    /// Where it is in its life.
    pub state: PoolState,
    /// Most members at one time; `None` is no limit.
    pub max_nodes: Option<u32>,
    /// Members now, including those whose registration lapsed.
    pub member_count: u32,
    /// When it was created.
    pub created_at: Timestamp,
    /// Where the orchestrator listens, separated by spaces. Written by its owner: check before use.
    pub endpoints: String,
}

/// Life of a membership.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Encode, Decode)]
#[serde(rename_all = "kebab-case")]
#[cbor(index_only)]
pub enum MembershipState {
    /// Never joined.
    #[n(0)]
    Never,
    /// Joined.
    #[n(1)]
    Member,
    /// Left.
    #[n(2)]
    Left,
    /// Ended by the pool.
    #[n(3)]
    Ejected,
    /// Kept out.
    #[n(4)]
    Banned,
}

/// A node in a pool.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct MembershipRecord {
    /// Where it is in its life.
    pub state: MembershipState,
    /// Whether it counts now: a member, by the registration that joined, with enough stake, not banned.
    pub active: bool,
    /// How often the node has joined: the next invite names this number.
    pub join_counter: u64,
    /// When it joined last.
    pub joined_at: Option<Timestamp>,
    /// Which registration of the node joined.
    pub registration: u64,
    /// The node's provider now; `None` when the node is not registered.
    pub provider: Option<ProviderId>,
}

impl MembershipRecord {
    /// What a node that never came near the pool has.
    pub const NEVER: MembershipRecord = MembershipRecord {
        state: MembershipState::Never,
        active: false,
        join_counter: 0,
        joined_at: None,
        registration: 0,
        provider: None,
    };
}

/// The latest proof shown for a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct ProvenRecord {
    /// Hardware class.
    pub class: ProofClassId,
    /// GPUs proven at one instant.
    pub gpu_count: u16,
    /// GPU memory in GiB.
    pub vram_gib: u32,
    /// Memory score in basis points of the class's reference.
    pub walk_score: u16,
    /// Arithmetic score in basis points of the class's reference.
    pub gemm_score: u16,
    /// Epoch of the root.
    pub proven_epoch: Epoch,
    /// Last epoch in which it counts; 0 when the node failed.
    pub expiry_epoch: Epoch,
    /// Which registration of the node it is for.
    pub registration: u64,
    /// Whether it counts now.
    pub current: bool,
}

/// A validator.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct ValidatorRecord {
    /// Its key.
    pub id: ValidatorId,
    /// Its bond.
    pub stake: Amount,
    /// From when the bond can be withdrawn; `None` while it has not asked to exit.
    pub exit_at: Option<Timestamp>,
    /// Where it listens. Written by itself: check before use.
    pub endpoint: String,
}

/// What the contracts ask as stake, fixed when they were deployed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct StakingParameters {
    /// Tokens for each unit of a provider's nodes.
    pub min_stake_per_unit: Amount,
    /// Seconds between a provider's request and its withdrawal.
    pub unbonding_seconds: u64,
    /// Tokens a validator bonds at least.
    pub validator_min_stake: Amount,
    /// Seconds between a validator's exit and its withdrawal.
    pub validator_exit_seconds: u64,
    /// Part of its bond that a validator loses which commits and never reveals, in basis points.
    pub missed_reveal_basis_points: u64,
    /// How many validators are expected to be drawn for a node.
    pub committee_size: u64,
    /// Where cuts of bonds and slashed stake go.
    pub treasury: Address,
}
