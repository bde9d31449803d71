//! The real cores of a pool's programs in one simulated world: a network that loses, doubles and delays, disks that are
//! full or forget, clocks that jump, a chain that replaces blocks, hosts that lose power, people who change their minds.
//!
//! A run is decided by its seed: [`plan`] says what goes wrong, `deeds` does it, [`world`] moves time and messages.
//! [`orchestrator`] (with `reading`, what it hears of the chain, and `outgoing`, what it says), [`worker`] (on its
//! [`host`], with `link` and `containers`), [`directory`] and [`validator`] are the shells around the cores. [`invariants`], `durability`, `hostile`,
//! [`directory::invariants`] and [`validator::invariants`] say what must hold, and [`panics`] that no core may panic. [`search`] runs many seeds, and shrinks what
//! fails.

pub mod chain;
mod containers;
mod deeds;
pub mod dice;
pub mod directory;
pub mod disk;
mod durability;
pub mod earnings;
pub mod engine;
pub mod happening;
pub mod host;
mod hostile;
pub mod invariants;
mod link;
pub mod orchestrator;
mod outgoing;
pub mod panics;
pub mod people;
pub mod plan;
pub mod pool;
mod reading;
pub mod search;
pub mod validator;
pub mod validator_set;
pub mod wire;
pub mod worker;
pub mod world;
