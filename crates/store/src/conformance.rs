//! What every adapter must pass, whatever is beneath it. Each check is an assertion that names what was broken.
//!
//! A [`Subject`] is an adapter plus a way to restart it: cleanly, or by a crash that loses whatever was not durable.

mod checks;
mod random;

use std::sync::Arc;

use crate::store::Store;

pub use random::{Random, random_batch};

/// One store under test and the power switch of the machine that it runs on.
pub trait Subject {
    /// Opens the store: empty at first, and later with what survived.
    fn open(&mut self) -> Arc<dyn Store>;

    /// Called after every handle was dropped: the machine loses power. What was acknowledged must be there at the next
    /// [`Subject::open`].
    fn crash(&mut self);
}

/// Runs every check, each on a fresh subject.
///
/// # Panics
/// Where the adapter breaks a rule.
pub fn run(mut make: impl FnMut() -> Box<dyn Subject>) {
    for check in checks::ALL {
        check(make().as_mut());
    }
    for seed in 0..20 {
        checks::random_batches_survive_random_restarts(make().as_mut(), seed);
    }
}
