//! The network room on real loopback sockets: both transports, honest and hostile peers.

mod client;
mod hostile;
mod https;
mod limits;
mod logs;
mod sessions;
mod support;
