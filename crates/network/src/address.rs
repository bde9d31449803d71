//! A peer's multiaddress, checked when it is parsed: TCP only, and a `/p2p/` part, if any, of a secp256k1 key.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use libp2p::multiaddr::Protocol as Part;
use libp2p::{Multiaddr, PeerId};
use lode_protocol::ids::Address;
use lode_protocol::keys::PublicKey;

use crate::error::{NetworkError, cut};
use crate::identity::{address_of, peer_id_of};

/// Longest address accepted, in bytes.
const MAX_LENGTH: usize = 512;

/// Where a peer may be dialled or where to listen, like `/ip4/203.0.113.7/tcp/7000/p2p/16Uiu2HA…`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PeerAddress {
    full: Multiaddr,
    expected: Option<Address>,
}

impl PeerAddress {
    /// `/ip4/127.0.0.1/tcp/PORT`; port 0 takes a free one.
    pub fn loopback(port: u16) -> Self {
        let full = Multiaddr::empty().with(Part::Ip4(std::net::Ipv4Addr::LOCALHOST)).with(Part::Tcp(port));
        Self { full, expected: None }
    }

    /// An IP address and a TCP port.
    pub fn tcp(address: std::net::SocketAddr) -> Self {
        let full = Multiaddr::from(address.ip()).with(Part::Tcp(address.port()));
        Self { full, expected: None }
    }

    /// Who is expected to answer, where the address says so.
    pub fn expected(&self) -> Option<Address> {
        self.expected
    }

    /// The same place, with this key expected to answer.
    pub fn with_peer(&self, key: &PublicKey) -> Result<Self, NetworkError> {
        Ok(Self::from_parts(without_peer(&self.full), Some(peer_id_of(key)?)))
    }

    /// The IP address and port, unless the address holds a name.
    pub fn socket_address(&self) -> Option<std::net::SocketAddr> {
        let mut parts = self.full.iter();
        let ip = ip_of_part(&parts.next()?)?;
        match parts.next()? {
            Part::Tcp(port) => Some(std::net::SocketAddr::new(ip, port)),
            _ => None,
        }
    }

    pub(crate) fn multiaddr(&self) -> &Multiaddr {
        &self.full
    }

    pub(crate) fn from_parts(place: Multiaddr, peer: Option<PeerId>) -> Self {
        match peer {
            Some(peer) => Self { full: place.with(Part::P2p(peer)), expected: address_of(&peer) },
            None => Self { full: place, expected: None },
        }
    }
}

fn without_peer(address: &Multiaddr) -> Multiaddr {
    address.iter().filter(|part| !matches!(part, Part::P2p(_))).collect()
}

fn ip_of_part(part: &Part<'_>) -> Option<IpAddr> {
    match part {
        Part::Ip4(ip) => Some(IpAddr::V4(*ip)),
        Part::Ip6(ip) => Some(IpAddr::V6(*ip)),
        _ => None,
    }
}

/// The IP address at the start of a multiaddress.
pub(crate) fn ip_of(address: &Multiaddr) -> Option<IpAddr> {
    address.iter().next().as_ref().and_then(ip_of_part)
}

impl FromStr for PeerAddress {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let bad = |reason: &str| NetworkError::BadAddress { text: cut(text, 200), reason: reason.to_owned() };
        if text.len() > MAX_LENGTH {
            return Err(bad("it is too long"));
        }
        let full: Multiaddr = text.trim().parse().map_err(|error| bad(&format!("{error}")))?;
        let parts: Vec<Part<'_>> = full.iter().collect();
        let (place, peer) = match parts.as_slice() {
            [place, Part::Tcp(_)] => (place, None),
            [place, Part::Tcp(_), Part::P2p(peer)] => (place, Some(*peer)),
            _ => return Err(bad("expected a host, /tcp/ and a port, and perhaps /p2p/ and a peer id")),
        };
        if !matches!(place, Part::Ip4(_) | Part::Ip6(_) | Part::Dns(_) | Part::Dns4(_) | Part::Dns6(_)) {
            return Err(bad("the host must be /ip4/, /ip6/, /dns/, /dns4/ or /dns6/"));
        }
        let expected = match &peer {
            Some(peer) => Some(address_of(peer).ok_or_else(|| bad("the peer id is not of a secp256k1 key"))?),
            None => None,
        };
        Ok(Self { expected, full })
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.full, f)
    }
}

impl fmt::Debug for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.full, f)
    }
}

impl serde::Serialize for PeerAddress {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for PeerAddress {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use lode_protocol::keys::SigningKey;

    use super::*;

    #[test]
    fn an_address_says_who_is_expected() {
        let key = SigningKey::from_bytes(&[9; 32]).unwrap();
        let address = PeerAddress::loopback(7000).with_peer(&key.public()).unwrap();
        let parsed: PeerAddress = address.to_string().parse().unwrap();
        assert_eq!(parsed, address);
        assert_eq!(parsed.expected(), Some(key.address()));
        assert_eq!(parsed.socket_address(), Some("127.0.0.1:7000".parse().unwrap()));
        assert_eq!("/ip4/1.2.3.4/tcp/1".parse::<PeerAddress>().unwrap().expected(), None);
    }

    #[test]
    fn other_transports_and_other_keys_are_refused() {
        for text in [
            "",
            "host:7000",
            "/ip4/1.2.3.4",
            "/ip4/1.2.3.4/udp/5/quic-v1",
            "/ip4/1.2.3.4/tcp/5/ws",
            "/unix/run",
            // an Ed25519 key
            "/ip4/1.2.3.4/tcp/5/p2p/12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp",
        ] {
            let error = text.parse::<PeerAddress>().unwrap_err();
            assert_eq!(error.code(), "network/bad-address", "{text}");
        }
    }
}
