//! Every known way to cheat, as a program. Nothing of the product uses this but the attack corpus and the tests.
//!
//! [`Forgery`]s compute something else than they should and are caught by a check of the content, whatever the
//! hardware; [`ForgingProver`] forges behind the prover's interface, so that a worker signs it. [`SlowHardware`]
//! computes the right thing on the wrong hardware and is caught by the clock only. A [`Transcript`] is what a validator
//! has on its desk after a proof, true or false: evidence is judged by it.

mod forger;
mod forgery;
mod slow_hardware;
mod transcript;

pub use forger::ForgingProver;
pub use forgery::Forgery;
pub use slow_hardware::SlowHardware;
pub use transcript::{Parties, Transcript};
