//! What happened on chain, in our words, by contract. Events rebuild what the contracts do not enumerate.

mod pools;
mod registry;
mod rewards;
mod slashing;
mod validators;

use lode_protocol::hash::Digest;

pub use pools::PoolsEvent;
pub use registry::RegistryEvent;
pub use rewards::RewardsEvent;
pub use slashing::SlashingEvent;
pub use validators::ValidatorsEvent;

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
    /// Of the registry of providers and nodes.
    Registry(RegistryEvent),
    /// Of the pools.
    Pools(PoolsEvent),
    /// Of the validator set.
    Validators(ValidatorsEvent),
    /// Of the court.
    Slashing(SlashingEvent),
    /// Of the budgets and earnings.
    Rewards(RewardsEvent),
}
