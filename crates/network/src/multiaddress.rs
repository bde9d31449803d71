//! Addresses in libp2p's form, and back.

use std::net::{IpAddr, SocketAddr};

use libp2p::multiaddr::Protocol as Part;
use libp2p::{Multiaddr, PeerId};
use lode_address::{AddressFamily, Host, PeerAddress};

use crate::error::NetworkError;
use crate::identity::{key_of, peer_id_of};

/// Most places of one name that are dialled.
const MAX_PLACES: usize = 8;

/// The whole address, with who is expected where it says so.
pub(crate) fn multiaddr_of(address: &PeerAddress) -> Result<Multiaddr, NetworkError> {
    let host = match address.host() {
        Host::Ip(ip) => Multiaddr::from(*ip),
        Host::Name { name, family: AddressFamily::Any } => Multiaddr::from(Part::Dns(name.into())),
        Host::Name { name, family: AddressFamily::V4 } => Multiaddr::from(Part::Dns4(name.into())),
        Host::Name { name, family: AddressFamily::V6 } => Multiaddr::from(Part::Dns6(name.into())),
    };
    let place = host.with(Part::Tcp(address.port()));
    match address.expected_key() {
        Some(key) => Ok(place.with(Part::P2p(peer_id_of(&key)?))),
        None => Ok(place),
    }
}

/// Where an address leads: itself, and for a name what the system's resolver says, as far as it is allowed.
pub(crate) async fn places(
    address: &PeerAddress,
    allowed: fn(IpAddr) -> bool,
) -> Result<Vec<Multiaddr>, NetworkError> {
    let Host::Name { name, family } = address.host() else { return Ok(vec![multiaddr_of(address)?]) };
    let wanted = |ip: &IpAddr| match family {
        AddressFamily::Any => true,
        AddressFamily::V4 => ip.is_ipv4(),
        AddressFamily::V6 => ip.is_ipv6(),
    };
    let found = tokio::net::lookup_host((name.as_str(), address.port())).await.map_err(|error| {
        let reason = format!("the name cannot be resolved: {error}");
        NetworkError::Dial { address: address.to_string(), reason }
    })?;
    let ips = found.map(|socket| socket.ip()).filter(wanted).filter(|ip| allowed(*ip)).take(MAX_PLACES);
    Ok(ips.map(|ip| Multiaddr::from(ip).with(Part::Tcp(address.port()))).collect())
}

/// Where we listen, with ourselves to answer; none for what is no TCP address.
pub(crate) fn own_address(place: &Multiaddr, own: &PeerId) -> Option<PeerAddress> {
    let mut parts = place.iter();
    let ip = ip_of_part(&parts.next()?)?;
    let Part::Tcp(port) = parts.next()? else { return None };
    PeerAddress::tcp(SocketAddr::new(ip, port)).with_peer(&key_of(own)?).ok()
}

/// The IP address at the start of a multiaddress.
pub(crate) fn ip_of(address: &Multiaddr) -> Option<IpAddr> {
    address.iter().next().as_ref().and_then(ip_of_part)
}

fn ip_of_part(part: &Part<'_>) -> Option<IpAddr> {
    match part {
        Part::Ip4(ip) => Some(IpAddr::V4(*ip)),
        Part::Ip6(ip) => Some(IpAddr::V6(*ip)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use lode_protocol::keys::SigningKey;

    use super::*;

    #[test]
    fn libp2p_reads_what_we_write_and_writes_what_we_read() {
        let key = SigningKey::from_bytes(&[9; 32]).unwrap();
        let peer = peer_id_of(&key.public()).unwrap();
        for place in [
            "/ip4/203.0.113.7/tcp/7000",
            "/ip6/2001:db8::1/tcp/1",
            "/dns/pool.example/tcp/65535",
            "/dns4/pool.example/tcp/1",
            "/dns6/pool.example/tcp/1",
        ] {
            for text in [place.to_owned(), format!("{place}/p2p/{peer}")] {
                let address: PeerAddress = text.parse().unwrap();
                let theirs: Multiaddr = text.parse().unwrap();
                assert_eq!(multiaddr_of(&address).unwrap(), theirs);
                assert_eq!(theirs.to_string(), address.to_string());
            }
        }
    }

    #[test]
    fn an_own_address_names_our_key() {
        let key = SigningKey::from_bytes(&[9; 32]).unwrap();
        let peer = peer_id_of(&key.public()).unwrap();
        let own = own_address(&"/ip4/127.0.0.1/tcp/7000".parse().unwrap(), &peer).unwrap();
        assert_eq!(own, PeerAddress::loopback(7000).with_peer(&key.public()).unwrap());
        assert_eq!(own_address(&"/dns/a/tcp/1".parse().unwrap(), &peer), None);
    }
}
