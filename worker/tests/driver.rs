//! The driver with real messages: a fake orchestrator over libp2p, a fake engine with fault switches.

mod adopt;
mod fake_engine;
mod faults;
mod life;
mod membership;
mod node;
mod orchestrator;
mod receipts;
