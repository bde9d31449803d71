//! A peer's multiaddress, checked when it is parsed: TCP only, and a `/p2p/` part, if any, of a secp256k1 key.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

use lode_protocol::ids::Address;
use lode_protocol::keys::{KeyError, PublicKey};

use crate::error::{AddressError, cut};
use crate::peer_id;

/// Longest address accepted, in bytes.
const MAX_LENGTH: usize = 512;

/// Where a peer may be dialled or where to listen, like `/ip4/203.0.113.7/tcp/7000/p2p/16Uiu2HA…`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PeerAddress {
    host: Host,
    port: u16,
    peer: Option<Peer>,
}

/// The machine in an address.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Host {
    /// By its IP address.
    Ip(IpAddr),
    /// By a name, which the dialler resolves.
    Name {
        /// The name.
        name: String,
        /// Which of its addresses are meant.
        family: AddressFamily,
    },
}

/// Which addresses of a name are meant.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum AddressFamily {
    /// `/dns/`: all.
    Any,
    /// `/dns4/`.
    V4,
    /// `/dns6/`.
    V6,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Peer {
    key: PublicKey,
    address: Address,
}

impl PeerAddress {
    /// `/ip4/127.0.0.1/tcp/PORT`; port 0 takes a free one.
    pub fn loopback(port: u16) -> Self {
        Self::tcp((Ipv4Addr::LOCALHOST, port).into())
    }

    /// An IP address and a TCP port.
    pub fn tcp(address: SocketAddr) -> Self {
        Self { host: Host::Ip(address.ip()), port: address.port(), peer: None }
    }

    /// The machine.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Who is expected to answer, where the address says so.
    pub fn expected(&self) -> Option<Address> {
        self.peer.map(|peer| peer.address)
    }

    /// The key that is expected to answer, where the address says so.
    pub fn expected_key(&self) -> Option<PublicKey> {
        self.peer.map(|peer| peer.key)
    }

    /// The same place, with this key expected to answer.
    ///
    /// # Errors
    /// If the key is no point of the curve.
    pub fn with_peer(&self, key: &PublicKey) -> Result<Self, KeyError> {
        let peer = Peer { key: *key, address: key.address()? };
        Ok(Self { peer: Some(peer), ..self.clone() })
    }

    /// The IP address and port, unless the address holds a name.
    pub fn socket_address(&self) -> Option<SocketAddr> {
        match self.host {
            Host::Ip(ip) => Some(SocketAddr::new(ip, self.port)),
            Host::Name { .. } => None,
        }
    }
}

impl FromStr for PeerAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let bad = |reason: &str| AddressError::BadAddress { text: cut(text), reason: reason.to_owned() };
        if text.len() > MAX_LENGTH {
            return Err(bad("it is too long"));
        }
        let rest = text.trim().strip_prefix('/').ok_or_else(|| bad("it does not begin with /"))?;
        let parts: Vec<&str> = rest.split('/').collect();
        let (kind, host, port, peer) = match parts.as_slice() {
            [kind, host, "tcp", port] => (*kind, *host, *port, None),
            [kind, host, "tcp", port, "p2p", peer] => (*kind, *host, *port, Some(*peer)),
            _ => return Err(bad("expected a host, /tcp/ and a port, and perhaps /p2p/ and a peer id")),
        };
        let named = |family| match host {
            "" => Err(bad("the host has no name")),
            name if name.contains(|c: char| c.is_control() || c.is_whitespace()) => {
                Err(bad("the host's name has characters that no name has"))
            }
            name => Ok(Host::Name { name: name.to_owned(), family }),
        };
        let host = match kind {
            "ip4" => Host::Ip(IpAddr::V4(host.parse().map_err(|_| bad("the host is no IPv4 address"))?)),
            "ip6" => Host::Ip(IpAddr::V6(host.parse().map_err(|_| bad("the host is no IPv6 address"))?)),
            "dns" => named(AddressFamily::Any)?,
            "dns4" => named(AddressFamily::V4)?,
            "dns6" => named(AddressFamily::V6)?,
            _ => return Err(bad("the host must be /ip4/, /ip6/, /dns/, /dns4/ or /dns6/")),
        };
        let port = port.parse().map_err(|_| bad("the port is no number up to 65535"))?;
        let place = Self { host, port, peer: None };
        let Some(peer) = peer else { return Ok(place) };
        let foreign = || bad("the peer id is not of a secp256k1 key");
        place.with_peer(&peer_id::decode(peer).ok_or_else(foreign)?).map_err(|_| foreign())
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Ip(IpAddr::V4(ip)) => write!(f, "/ip4/{ip}")?,
            Host::Ip(IpAddr::V6(ip)) => write!(f, "/ip6/{ip}")?,
            Host::Name { name, family: AddressFamily::Any } => write!(f, "/dns/{name}")?,
            Host::Name { name, family: AddressFamily::V4 } => write!(f, "/dns4/{name}")?,
            Host::Name { name, family: AddressFamily::V6 } => write!(f, "/dns6/{name}")?,
        }
        write!(f, "/tcp/{}", self.port)?;
        match &self.peer {
            Some(peer) => write!(f, "/p2p/{}", peer_id::encode(&peer.key)),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
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
        assert_eq!(parsed.expected_key(), Some(key.public()));
        assert_eq!(parsed.socket_address(), Some("127.0.0.1:7000".parse().unwrap()));
        assert_eq!("/ip4/1.2.3.4/tcp/1".parse::<PeerAddress>().unwrap().expected(), None);
    }

    #[test]
    fn what_is_written_is_what_was_read() {
        for text in [
            "/ip4/203.0.113.7/tcp/7000",
            "/ip6/2001:db8::1/tcp/0",
            "/dns/pool.example/tcp/65535",
            "/dns4/pool.example/tcp/1",
            "/dns6/pool.example/tcp/1",
        ] {
            assert_eq!(text.parse::<PeerAddress>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn other_transports_and_other_keys_are_refused() {
        for text in [
            "",
            "host:7000",
            "/ip4/1.2.3.4",
            "/ip4/1.2.3.4/tcp/",
            "/ip4/1.2.3.4/tcp/65536",
            "/ip4/1.2.3.4/tcp/5/",
            "/ip4/::1/tcp/5",
            "/ip6/1.2.3.4/tcp/5",
            "/dns//tcp/5",
            "/ip4/1.2.3.4/udp/5/quic-v1",
            "/ip4/1.2.3.4/tcp/5/ws",
            "/ip4/1.2.3.4/tcp/5/p2p",
            "/unix/run",
            // an Ed25519 key
            "/ip4/1.2.3.4/tcp/5/p2p/12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp",
        ] {
            let error = text.parse::<PeerAddress>().unwrap_err();
            assert_eq!(error.code(), "network/bad-address", "{text}");
        }
    }
}
