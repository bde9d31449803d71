//! The network room on real loopback sockets: both transports, honest and hostile peers.

#![expect(clippy::unwrap_used, clippy::panic, reason = "in a test a failed step ends the test")]

mod client;
mod directory;
mod hostile;
mod https;
mod limits;
mod logs;
mod sessions;
mod support;
