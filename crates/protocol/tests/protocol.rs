//! The wire form and the files that people write, from outside the crate.

#![expect(clippy::unwrap_used, clippy::panic, reason = "in a test a failed step ends the test")]

mod acknowledgement;
mod envelope;
mod example_specs;
mod golden;
mod task_schema;
