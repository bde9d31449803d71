//! Carries Lode's messages between programs: framed streams over libp2p, and the same bytes over HTTPS where libp2p is
//! blocked.
//!
//! What it owns: connections, who is at their other end, deadlines, limits, frames, reconnecting. What it does not: it
//! never interprets a message. Sealed envelopes go in and come out as bytes, and the cores that own sessions open them.
//! Strangers' URLs, and registries of images, are asked over its one guarded way out.
//!
//! A node's key is its libp2p identity: the noise handshake proves it, and [`Connection::peer`] is the Ethereum address
//! of the key that was proven. Peers with other kinds of keys are refused. No libp2p type leaves this crate.
//!
//! Everything long-lived comes as a handle and a task; the caller spawns the task where it is supervised.

mod client;
mod directory_client;
mod directory_follower;
mod endpoint;
mod error;
mod frame;
mod identity;
mod metrics;
mod multiaddress;
mod protocol;
mod registry;
mod server;
mod tls;

use lode_outbound as outbound;

#[cfg(fuzzing)]
pub use frame::fuzz::frames as fuzz_frames;
#[cfg(fuzzing)]
pub use registry::fuzz::registry_answers as fuzz_registry_answers;

pub use client::{ClientConfig, ClientEvent, LogPost, PeerClient, PeerClientTask};
pub use directory_client::{DirectoryClient, DirectoryError};
pub use directory_follower::{DirectoryFollower, DirectoryReader};
pub use endpoint::{
    Connection, ConnectionId, ConnectionLimits, Endpoint, EndpointConfig, EndpointTask, FramePace,
    IncomingStream, IncomingStreams, StrangerLimits, Transport,
};
pub use error::NetworkError;
pub use frame::{FrameReader, FrameWriter, FramedStream};
pub use lode_address::{AddressError, EndpointUrl, Fingerprint, HttpsAddress, PeerAddress, peer_id_text};
pub use metrics::NetworkMetrics;
pub use outbound::{
    Awaited, FetchPolicy, Fetcher, Outbound, OutboundAnswer, OutboundError, OutboundLimits, OutboundRequest,
    ProxyUrl, Reach, Resolver, SystemResolver, Trust, is_public_address,
};
pub use protocol::Protocol;
pub use registry::{RateLimit, Registry, RegistryError};
pub use server::{
    IncomingFrame, LogReply, PeerServer, PeerServerTask, ReplyHandle, ServerConfig, ServerEvent, ServerSink,
};
pub use tls::{SelfSignedPem, ServerIdentity};
