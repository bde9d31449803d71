//! The built `lode-dev`, and what only the death of a process shows.

#![expect(clippy::unwrap_used, reason = "in a test a failed step ends the test")]

mod command_line;
mod supervision;
