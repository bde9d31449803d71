//! The commands that move money and trust, on a real anvil with the real contracts: what a person types, and what the
//! chain says afterwards. Anvil is required; a missing one fails.

mod accusations;
mod claims;
mod contract_owners;
mod deploying;
mod members;
mod money;
mod offline;
mod orders;
mod proxies;
mod staking;
mod validators;
mod world;
