//! Where an orchestrator may be reached: a peer's multiaddress, or an HTTPS URL that may pin its certificate.
//!
//! `https://host:8443#sha256=HEX` accepts that one certificate and no other; `https://host` accepts what the system's
//! roots accept; `http://` is accepted for loopback addresses only.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use reqwest::Url;

use crate::address::PeerAddress;
use crate::error::{NetworkError, cut};
use crate::tls::{Fingerprint, ensure_provider, pinned_client_config};

/// Longest URL accepted, in bytes.
const MAX_LENGTH: usize = 2048;
const PIN_PREFIX: &str = "sha256=";

/// One way to reach an orchestrator or validator.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum EndpointUrl {
    /// libp2p.
    Peer(PeerAddress),
    /// The HTTPS fallback.
    Https(HttpsAddress),
}

impl FromStr for EndpointUrl {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
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

/// How the server's certificate is judged.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Trust {
    /// This one and no other.
    Pinned(Fingerprint),
    /// What the system's roots accept.
    SystemRoots,
    /// Plain HTTP on loopback: there is no certificate.
    Loopback,
}

/// A base URL that was checked.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct HttpsAddress {
    url: Url,
    trust: Trust,
}

impl HttpsAddress {
    /// The pinned certificate, if one is pinned.
    pub fn pin(&self) -> Option<Fingerprint> {
        match self.trust {
            Trust::Pinned(fingerprint) => Some(fingerprint),
            Trust::SystemRoots | Trust::Loopback => None,
        }
    }

    /// The URL of `path` (without a leading slash) below this address.
    pub fn join(&self, path: &str) -> String {
        let base = self.url.as_str().trim_end_matches('/');
        format!("{base}/{}", path.trim_start_matches('/'))
    }

    /// The URL itself.
    pub fn url(&self) -> &str {
        self.url.as_str()
    }

    /// A client that judges this server as the address says, follows no redirects, and gives up on a request after
    /// `timeout`. It is for this address only.
    pub fn client(&self, timeout: Duration) -> Result<reqwest::Client, NetworkError> {
        self.build(self.builder(timeout)?)
    }

    /// The host, if it is an IP address.
    pub(crate) fn ip(&self) -> Option<IpAddr> {
        literal_ip(&self.url)
    }

    pub(crate) fn builder(&self, timeout: Duration) -> Result<reqwest::ClientBuilder, NetworkError> {
        ensure_provider();
        let builder = reqwest::Client::builder()
            .timeout(timeout)
            .connect_timeout(timeout)
            .redirect(reqwest::redirect::Policy::none())
            .pool_max_idle_per_host(2);
        let builder = match self.trust {
            Trust::Pinned(fingerprint) => {
                builder.https_only(true).tls_backend_preconfigured(pinned_client_config(fingerprint)?)
            }
            Trust::SystemRoots => builder.https_only(true),
            Trust::Loopback => builder,
        };
        // A proxy that the system names serves the way out; it has no way to this machine's own loopback.
        Ok(if self.is_loopback() { builder.no_proxy() } else { builder })
    }

    pub(crate) fn build(&self, builder: reqwest::ClientBuilder) -> Result<reqwest::Client, NetworkError> {
        builder.build().map_err(|error| NetworkError::Http {
            url: self.to_string(),
            reason: format!("the HTTP client cannot be made: {error}"),
        })
    }

    fn is_loopback(&self) -> bool {
        is_loopback(&self.url)
    }
}

fn is_loopback(url: &Url) -> bool {
    // A name may resolve to anything, also "localhost": only literal addresses count.
    literal_ip(url).is_some_and(|ip| ip.is_loopback())
}

fn literal_ip(url: &Url) -> Option<IpAddr> {
    let host = url.host_str().unwrap_or_default();
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

impl FromStr for HttpsAddress {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let bad = |reason: &str| NetworkError::BadUrl { text: cut(text, 200), reason: reason.to_owned() };
        if text.len() > MAX_LENGTH {
            return Err(bad("it is too long"));
        }
        let mut url: Url = text.trim().parse().map_err(|error| bad(&format!("{error}")))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(bad("an URL must not carry a user name or password"));
        }
        if url.query().is_some() {
            return Err(bad("a base URL has no query"));
        }
        let pin = match url.fragment() {
            None => None,
            Some(fragment) => {
                let digits = fragment.strip_prefix(PIN_PREFIX);
                let digits = digits
                    .ok_or_else(|| bad("after # expected sha256= and the certificate's fingerprint"))?;
                Some(
                    digits
                        .parse::<Fingerprint>()
                        .map_err(|_| bad("the fingerprint must have 64 hexadecimal digits"))?,
                )
            }
        };
        url.set_fragment(None);
        let trust = match (url.scheme(), pin) {
            ("https", Some(fingerprint)) => Trust::Pinned(fingerprint),
            ("https", None) => Trust::SystemRoots,
            ("http", Some(_)) => return Err(bad("plain HTTP has no certificate to pin")),
            ("http", None) if is_loopback(&url) => Trust::Loopback,
            ("http", None) => return Err(NetworkError::PlainHttp { url: cut(text, 200) }),
            _ => return Err(bad("expected https://")),
        };
        Ok(Self { url, trust })
    }
}

impl fmt::Display for HttpsAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.url.as_str())?;
        match self.trust {
            Trust::Pinned(fingerprint) => write!(f, "#{PIN_PREFIX}{fingerprint}"),
            Trust::SystemRoots | Trust::Loopback => Ok(()),
        }
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
        let address: HttpsAddress = format!("https://pool.example:8443/base#sha256={pin}").parse().unwrap();
        assert_eq!(address.pin().unwrap().to_string(), pin);
        assert_eq!(address.join("wire/v1"), "https://pool.example:8443/base/wire/v1");
    }

    #[test]
    fn plain_http_is_for_loopback_addresses_only() {
        for text in ["http://127.0.0.1:1", "http://[::1]:1", "http://127.8.0.1"] {
            assert!(text.parse::<EndpointUrl>().is_ok(), "{text}");
        }
        for text in
            ["http://10.0.0.1", "http://pool.example", "http://localhost:80", "http://127.0.0.1.evil.example"]
        {
            assert_eq!(text.parse::<EndpointUrl>().unwrap_err().code(), "network/plain-http", "{text}");
        }
    }

    #[test]
    fn an_url_that_hides_something_is_refused() {
        for text in [
            "https://a:b@host",
            "https://host?x=1",
            "ftp://host",
            "https://host#sha1=00",
            "https://host#sha256=00",
            "http://127.0.0.1#sha256=00",
            "host",
        ] {
            assert_eq!(text.parse::<EndpointUrl>().unwrap_err().code(), "network/bad-url", "{text}");
        }
    }
}
