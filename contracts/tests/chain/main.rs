//! One suite for every chain: the fake and a real anvil must behave alike. Anvil is required; a missing one fails.

mod golden;
mod pools;
mod registry;
mod sending;
mod validators;
mod watching;
mod world;
