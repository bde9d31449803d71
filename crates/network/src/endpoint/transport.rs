//! The libp2p stack: TCP, noise, yamux. It dials numbers only; names are resolved before.

use std::sync::Arc;
use std::time::Duration;

use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::Boxed;
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::{PeerId, Transport as _, noise, tcp, yamux};

use super::EndpointConfig;
use super::gate::{Gate, Gated};
use crate::error::NetworkError;

/// Streams that keep-alive and identify take for themselves.
const HOUSEKEEPING_STREAMS: usize = 8;
/// Callers give up first, so that they can say which address did not answer.
const DIAL_SLACK: Duration = Duration::from_secs(1);

pub(crate) fn stack(
    config: &EndpointConfig,
    keypair: &Keypair,
    gate: Arc<Gate>,
) -> Result<Boxed<(PeerId, StreamMuxerBox)>, NetworkError> {
    let noise = noise::Config::new(keypair)
        .map_err(|error| NetworkError::BadCertificate { reason: error.to_string() })?;
    let mut yamux = yamux::Config::default();
    yamux.set_max_num_streams(config.limits.streams_per_connection + HOUSEKEEPING_STREAMS);
    let stack = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true))
        .upgrade(Version::V1Lazy)
        .authenticate(noise)
        .multiplex(yamux)
        .inbound_timeout(config.strangers.handshake_timeout.to_duration())
        .outbound_timeout(config.dial_timeout + DIAL_SLACK)
        .boxed();
    Ok(Gated { inner: stack, gate }.boxed())
}
