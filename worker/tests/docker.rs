//! The Docker adapter on the system's real engine.

mod answers;
mod images;
mod life;
mod networks;
mod output;
mod own_engine;
mod plan;
mod probes;
mod registries;
mod require;
mod restarts;
mod support;
