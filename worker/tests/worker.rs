//! Everything of the worker that needs real parts or real messages, in one program: linking several costs most of the time.

#![expect(clippy::unwrap_used, clippy::panic, reason = "in a test a failed step ends the test")]

mod docker;
mod driver;
mod gpus;
mod proof;
