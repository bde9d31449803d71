//! Tests of the core, in a small world of workers, a chain and a store.

mod admission;
mod departure;
mod economy;
mod invariants;
mod lease;
mod placement;
mod properties;
mod recover;
mod session;
mod settlement;
mod speed;
mod spending;
mod tasks;
mod world;
