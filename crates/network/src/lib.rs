//! Carries Lode's messages between programs: framed streams over libp2p, and the same bytes over HTTPS where libp2p is
//! blocked.
//!
//! What it owns: connections, who is at their other end, deadlines, limits, frames, reconnecting. What it does not: it
//! never interprets a message. Sealed envelopes go in and come out as bytes, and the cores that own sessions open them.
//!
//! A node's key is its libp2p identity: the noise handshake proves it, and [`Connection::peer`] is the Ethereum address
//! of the key that was proven. Peers with other kinds of keys are refused. No libp2p type leaves this crate.
//!
//! Everything long-lived comes as a handle and a task; the caller spawns the task where it is supervised.

mod address;
mod client;
mod directory_client;
mod egress;
mod endpoint;
mod error;
mod frame;
mod guarded;
mod identity;
mod metrics;
mod protocol;
mod server;
mod tls;
mod url;

pub use address::PeerAddress;
pub use client::{ClientConfig, ClientEvent, LogPost, PeerClient, PeerClientTask};
pub use directory_client::{DirectoryClient, DirectoryError};
pub use egress::{Egress, EgressAnswer, EgressError, EgressRequest, Reach};
pub use endpoint::{
    Connection, ConnectionId, ConnectionLimits, Endpoint, EndpointConfig, EndpointTask, IncomingStream,
    IncomingStreams, Transport,
};
pub use error::NetworkError;
pub use frame::{FrameReader, FrameWriter, FramedStream};
pub use guarded::{GuardPolicy, GuardedClient, GuardedError};
pub use identity::peer_id_text;
pub use metrics::NetworkMetrics;
pub use protocol::Protocol;
pub use server::{
    IncomingFrame, LogReply, PeerServer, PeerServerTask, ReplyHandle, ServerConfig, ServerEvent,
};
pub use tls::{Fingerprint, SelfSignedPem, ServerIdentity};
pub use url::{EndpointUrl, HttpsAddress};
