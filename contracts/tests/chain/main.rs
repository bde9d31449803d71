//! One suite for every chain: the fake and a real anvil must behave alike. Anvil is required; a missing one fails.

#![expect(clippy::unwrap_used, clippy::panic, reason = "in a test a failed step ends the test")]

mod awkward;
mod deploying;
mod earnings;
mod fire;
mod golden;
mod large_trees;
mod pools;
mod registry;
mod rewards;
mod scale;
mod sending;
mod slashing;
mod validators;
mod watching;
mod world;
