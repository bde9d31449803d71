//! The libp2p stack: TCP (names resolved by the system's resolver), noise, yamux.

use std::time::Duration;

use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::Boxed;
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::{PeerId, Transport as _, dns, noise, tcp, yamux};

use super::EndpointConfig;
use crate::error::NetworkError;

/// Streams that keep-alive and identify take for themselves.
const HOUSEKEEPING_STREAMS: usize = 8;
/// Callers give up first, so that they can say which address did not answer.
const DIAL_SLACK: Duration = Duration::from_secs(1);

pub(crate) fn stack(
    config: &EndpointConfig,
    keypair: &Keypair,
) -> Result<Boxed<(PeerId, StreamMuxerBox)>, NetworkError> {
    let noise = noise::Config::new(keypair)
        .map_err(|error| NetworkError::BadCertificate { reason: error.to_string() })?;
    let mut yamux = yamux::Config::default();
    yamux.set_max_num_streams(config.limits.streams_per_connection + HOUSEKEEPING_STREAMS);
    let tcp = || tcp::tokio::Transport::new(tcp::Config::default().nodelay(true));
    let (inbound, outbound) = (config.handshake_timeout, config.dial_timeout + DIAL_SLACK);
    Ok(match dns::tokio::Transport::system(tcp()) {
        Ok(named) => named
            .upgrade(Version::V1Lazy)
            .authenticate(noise)
            .multiplex(yamux)
            .inbound_timeout(inbound)
            .outbound_timeout(outbound)
            .boxed(),
        Err(error) => {
            // A container without /etc/resolv.conf can still dial numbers.
            tracing::warn!(%error, "no resolver: /dns addresses cannot be dialled");
            tcp()
                .upgrade(Version::V1Lazy)
                .authenticate(noise)
                .multiplex(yamux)
                .inbound_timeout(inbound)
                .outbound_timeout(outbound)
                .boxed()
        }
    })
}
