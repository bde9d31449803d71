//! One way to reach an orchestrator or validator, of either kind.

use std::fmt;
use std::str::FromStr;

use crate::error::AddressError;
use crate::https::HttpsAddress;
use crate::peer::PeerAddress;

/// One way to reach an orchestrator or validator.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum EndpointUrl {
    /// libp2p.
    Peer(PeerAddress),
    /// The HTTPS fallback.
    Https(HttpsAddress),
}

impl FromStr for EndpointUrl {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if text.trim_start().starts_with('/') {
            text.parse().map(EndpointUrl::Peer)
        } else {
            text.parse().map(EndpointUrl::Https)
        }
    }
}

impl fmt::Display for EndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EndpointUrl::Peer(address) => fmt::Display::fmt(address, f),
            EndpointUrl::Https(address) => fmt::Display::fmt(address, f),
        }
    }
}

impl serde::Serialize for EndpointUrl {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for EndpointUrl {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_multiaddress_or_an_url() {
        let pin = "ab".repeat(32);
        for text in ["/ip4/127.0.0.1/tcp/7000", &format!("https://pool.example:8443/#sha256={pin}")] {
            assert_eq!(text.parse::<EndpointUrl>().unwrap().to_string(), text);
        }
    }
}
