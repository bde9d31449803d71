//! What happened on chain, in our words. Events rebuild what the contracts do not enumerate.
//!
//! Longer than most files: it is one enum, with a variant per event of every contract.

mod decode;
mod economy;

use lode_protocol::amount::Amount;
use lode_protocol::hash::Digest;
use lode_protocol::ids::{AccusationId, Address, NodeId, PoolId, ProviderId, ValidatorId};
use lode_protocol::proof::ProofClassId;
use lode_protocol::units::Timestamp;

use crate::epoch::Epoch;
use crate::record::Offence;
use crate::revert::Refusal;

pub(crate) use decode::decode;
pub(crate) use economy::offence;

/// An event and where it stands. (block, index) orders all events of a history.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LoggedEvent {
    /// What happened.
    pub event: ChainEvent,
    /// Number of the block.
    pub block: u64,
    /// Hash of the block.
    pub block_hash: Digest,
    /// Hash of the transaction.
    pub transaction: Digest,
    /// Number of the event in its block.
    pub index: u64,
}

/// An event of our contracts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ChainEvent {
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
    /// A pool was created.
    PoolCreated {
        /// The pool.
        pool: PoolId,
        /// Its owner.
        owner: Address,
        /// Its orchestrator's key.
        orchestrator: Address,
        /// The token it pays in.
        reward_token: Option<Address>,
        /// Hash of its requirements.
        requirements: Digest,
        /// Most members at one time.
        max_nodes: Option<u32>,
        /// Where the requirements can be read.
        uri: String,
        /// Where its orchestrator listens.
        endpoints: String,
    },
    /// A pool takes joins.
    PoolStarted {
        /// The pool.
        pool: PoolId,
    },
    /// A pool is over.
    PoolEnded {
        /// The pool.
        pool: PoolId,
    },
    /// A pool has another orchestrator key; what the old one signed is dead.
    OrchestratorChanged {
        /// The pool.
        pool: PoolId,
        /// The key that is dead.
        previous: Address,
        /// The key that counts.
        current: Address,
    },
    /// A pool's orchestrator listens elsewhere.
    EndpointsChanged {
        /// The pool.
        pool: PoolId,
        /// Where.
        endpoints: String,
    },
    /// A pool has other requirements.
    RequirementsChanged {
        /// The pool.
        pool: PoolId,
        /// Their hash.
        requirements: Digest,
        /// Where they can be read.
        uri: String,
    },
    /// A pool is offered to another owner.
    OwnershipTransferStarted {
        /// The pool.
        pool: PoolId,
        /// Its owner.
        owner: Address,
        /// To whom it is offered; `None` takes the offer back.
        pending: Option<Address>,
    },
    /// A pool has another owner.
    OwnershipTransferred {
        /// The pool.
        pool: PoolId,
        /// Who was.
        previous: Address,
        /// Who is.
        current: Address,
    },
    /// A node is a member.
    NodeJoined {
        /// The pool.
        pool: PoolId,
        /// The node.
        node: NodeId,
        /// Its provider.
        provider: ProviderId,
        /// How often it has joined, this time included.
        counter: u64,
        /// The registration that joined.
        registration: u64,
    },
    /// A join of a member: nothing changed, the wish is fulfilled.
    NodeAlreadyMember {
        /// The pool.
        pool: PoolId,
        /// The node.
        node: NodeId,
    },
    /// An item of `JoinBatch` was refused.
    JoinFailed {
        /// The pool named in the item.
        pool: PoolId,
        /// The node named in the item.
        node: NodeId,
        /// Why.
        reason: Refusal,
    },
    /// A node left.
    NodeLeft {
        /// The pool.
        pool: PoolId,
        /// The node.
        node: NodeId,
        /// Its join counter.
        counter: u64,
    },
    /// A node was put out.
    NodeEjected {
        /// The pool.
        pool: PoolId,
        /// The node.
        node: NodeId,
        /// Its join counter.
        counter: u64,
    },
    /// A node is kept out; a membership that it had ended with it.
    NodeBanned {
        /// The pool.
        pool: PoolId,
        /// The node.
        node: NodeId,
    },
    /// A node may come back, by a new invite.
    NodeUnbanned {
        /// The pool.
        pool: PoolId,
        /// The node.
        node: NodeId,
    },
    /// A provider's nodes do not count in this pool.
    ProviderBanned {
        /// The pool.
        pool: PoolId,
        /// The provider.
        provider: ProviderId,
    },
    /// A provider's nodes count again in this pool.
    ProviderUnbanned {
        /// The pool.
        pool: PoolId,
        /// The provider.
        provider: ProviderId,
    },
    /// A provider lets its nodes join a pool, or not any more. Memberships stay as they are.
    PoolApprovalChanged {
        /// The pool.
        pool: PoolId,
        /// The provider.
        provider: ProviderId,
        /// Whether its nodes may join.
        approved: bool,
    },
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
    /// A pool's budget grew.
    Funded {
        /// The pool.
        pool: PoolId,
        /// Who paid.
        from: Address,
        /// How much.
        amount: Amount,
        /// What is not promised now.
        free: Amount,
    },
    /// An epoch of a pool may promise another amount.
    SpendCapChanged {
        /// The pool.
        pool: PoolId,
        /// How much.
        cap: Amount,
    },
    /// A pool's owner asks for budget back.
    WithdrawalRequested {
        /// The pool.
        pool: PoolId,
        /// How much.
        amount: Amount,
        /// From when it can have it.
        withdrawable_at: Timestamp,
    },
    /// A pool's owner took budget back.
    BudgetWithdrawn {
        /// The pool.
        pool: PoolId,
        /// To whom it went.
        to: Address,
        /// How much.
        amount: Amount,
        /// What is not promised now.
        free: Amount,
    },
    /// A root of earnings stands and can be vetoed.
    RootPosted {
        /// The pool.
        pool: PoolId,
        /// The epoch.
        epoch: Epoch,
        /// The root.
        root: Digest,
        /// Sum of all leaves.
        total: Amount,
        /// What it promises beyond the root before.
        increase: Amount,
        /// Height of the tree.
        depth: u8,
        /// Epoch of the validators' root under which the work's nodes are proven.
        proven_epoch: Epoch,
        /// From when it can be claimed under.
        final_at: Timestamp,
    },
    /// A validator asks for a root to be dropped.
    VetoCast {
        /// The pool.
        pool: PoolId,
        /// The root's epoch.
        epoch: Epoch,
        /// Who asks.
        validator: ValidatorId,
        /// Digest of why.
        evidence: Digest,
        /// Weight of all who ask.
        votes: Amount,
        /// What all votes weigh.
        total_weight: Amount,
    },
    /// A root is void.
    RootVetoed {
        /// The pool.
        pool: PoolId,
        /// The root's epoch.
        epoch: Epoch,
        /// The root.
        root: Digest,
        /// What is not promised any more.
        released: Amount,
    },
    /// A root took something away from a payee: it is void.
    RootRefuted {
        /// The pool.
        pool: PoolId,
        /// The root's epoch.
        epoch: Epoch,
        /// The payee's place in the tree.
        index: u64,
        /// The payee.
        payee: Address,
    },
    /// A payee was paid.
    Claimed {
        /// The pool.
        pool: PoolId,
        /// Epoch of the root.
        epoch: Epoch,
        /// Who was paid.
        payee: Address,
        /// How much.
        amount: Amount,
        /// What the leaf says.
        cumulative: Amount,
    },
    /// An item of `ClaimBatch` was refused.
    ClaimFailed {
        /// The pool named in the item.
        pool: PoolId,
        /// The epoch named in the item.
        epoch: Epoch,
        /// The payee named in the item.
        payee: Address,
        /// Why.
        reason: Refusal,
    },
    /// A receipt that was left out is on its way to be paid.
    RedemptionRequested {
        /// The pool.
        pool: PoolId,
        /// Who will be paid.
        payee: Address,
        /// Which node did the work.
        node: NodeId,
        /// When.
        epoch: Epoch,
        /// What the receipt says.
        cumulative: Amount,
        /// What is held for it.
        amount: Amount,
        /// From when it is paid.
        payable_at: Timestamp,
    },
    /// A validator asks for a redemption to be dropped.
    RedemptionVetoCast {
        /// The pool.
        pool: PoolId,
        /// Who would be paid.
        payee: Address,
        /// Who asks.
        validator: ValidatorId,
        /// Digest of why.
        evidence: Digest,
        /// Weight of all who ask.
        votes: Amount,
        /// What all votes weigh.
        total_weight: Amount,
    },
    /// A redemption is void.
    RedemptionVetoed {
        /// The pool.
        pool: PoolId,
        /// Who is not paid.
        payee: Address,
        /// What is not promised any more.
        released: Amount,
    },
    /// A redemption was paid.
    Redeemed {
        /// The pool.
        pool: PoolId,
        /// Who was paid.
        payee: Address,
        /// How much.
        amount: Amount,
        /// What the receipt says.
        cumulative: Amount,
    },
}
