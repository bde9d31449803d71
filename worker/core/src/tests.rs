//! The whole core in a model of its world: a store that can be full and a process that can be killed between any two
//! effects, an engine, an orchestrator, a chain. Named invariants hold after every effect.

mod conversation;
mod earning;
mod ends;
mod health;
mod joining;
mod properties;
mod reconcile;
pub(crate) mod support;
