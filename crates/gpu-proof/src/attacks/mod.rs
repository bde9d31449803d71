//! Every known way to cheat, as a program. Nothing of the product uses this but the attack corpus and the tests.
//!
//! [`Forgery`]s compute something else than they should and are caught by a check of the content, whatever the
//! hardware. [`SlowHardware`] computes the right thing on the wrong hardware and is caught by the clock only.

mod forgery;
mod slow_hardware;

pub use forgery::Forgery;
pub use slow_hardware::SlowHardware;
