//! A container's own address, where this host reaches it.
//!
//! What connects to a published port talks to the engine's proxy, which accepts whether anybody listens behind it or not.
//! An engine in a network of its own (rootless, in a virtual machine) has containers that this host has no way to: then
//! there is only the published port.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use bollard::models::{ContainerInspectResponse, EndpointSettings};

use super::client::DockerEngine;
use super::failure::{During, classify};
use crate::core::event::{ContainerId, EngineFailure};

impl DockerEngine {
    pub(super) async fn own_address(&self, container: &ContainerId) -> Result<Option<IpAddr>, EngineFailure> {
        let inspected = self.inspect(container).await.map_err(|error| classify(&error, During::Other))?;
        let address = addresses(&inspected)
            .find(|(address, gateway)| is_attached(*address, *gateway))
            .map(|(address, _)| IpAddr::V4(address));
        Ok(address)
    }
}

/// Its address in each network, with that of the network's gateway.
fn addresses(inspected: &ContainerInspectResponse) -> impl Iterator<Item = (Ipv4Addr, Ipv4Addr)> {
    let networks = inspected.network_settings.as_ref().and_then(|settings| settings.networks.as_ref());
    let pair = |endpoint: &EndpointSettings| {
        let address = |text: &Option<String>| text.as_deref()?.parse().ok();
        Some((address(&endpoint.ip_address)?, address(&endpoint.gateway)?))
    };
    networks.into_iter().flat_map(|networks| networks.values()).filter_map(pair)
}

/// Whether this host is the gateway: then what it sends to the container leaves by that address. Nothing is sent to find
/// out.
fn is_attached(address: Ipv4Addr, gateway: Ipv4Addr) -> bool {
    let chosen = || {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.connect(SocketAddr::from((address, 9)))?;
        socket.local_addr()
    };
    chosen().is_ok_and(|own| own.ip() == IpAddr::V4(gateway))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_whose_gateway_is_another_machine_is_not_reached() {
        let loopback = Ipv4Addr::LOCALHOST;
        assert!(is_attached(loopback, loopback), "the way to it begins at this very address");
        assert!(!is_attached(loopback, Ipv4Addr::new(192, 0, 2, 1)));
    }
}
