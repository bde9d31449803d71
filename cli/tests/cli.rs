//! The command line as people use it, in one program: linking several costs most of the time.

#![expect(clippy::unwrap_used, clippy::panic, reason = "in a test a failed step ends the test")]

mod chain;
mod command_line;
mod companion;
mod error_codes;
