//! Tests of the core, in a small world of workers, a chain and a store.

mod admission;
mod attacks;
mod choice;
mod departure;
mod economy;
mod evidence;
mod fleet;
mod gpus;
mod invariants;
mod lease;
mod placement;
mod properties;
mod recover;
mod search_cost;
mod session;
mod settlement;
mod speed;
mod spending;
mod steps;
mod tasks;
mod world;
