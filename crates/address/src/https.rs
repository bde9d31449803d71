//! An HTTPS base URL that may pin its certificate.
//!
//! `https://host:8443#sha256=HEX` accepts that one certificate and no other; `https://host` accepts what the system's
//! roots accept; `http://` is accepted for loopback addresses only.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use reqwest::dns::Resolve;

use crate::error::{AddressError, cut};
use crate::pin::{self, Fingerprint, ensure_provider};

/// Longest URL accepted, in bytes.
const MAX_LENGTH: usize = 2048;
/// Before a fingerprint in a URL's fragment.
pub const PIN_PREFIX: &str = "sha256=";

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
    pub fn client(&self, timeout: Duration) -> Result<reqwest::Client, AddressError> {
        self.build(self.builder(timeout)?)
    }

    /// The same, for names that `resolver` resolves and nobody else: no proxy of the system does it in our stead.
    pub fn client_resolving(
        &self,
        timeout: Duration,
        resolver: Arc<dyn Resolve>,
    ) -> Result<reqwest::Client, AddressError> {
        self.build(self.builder(timeout)?.no_proxy().dns_resolver(resolver))
    }

    /// The host, if it is an IP address.
    pub fn ip(&self) -> Option<IpAddr> {
        literal_ip(&self.url)
    }

    /// The same with the pinned certificate, if one is pinned.
    pub fn join_pinned(&self, path: &str) -> String {
        match self.pin() {
            Some(pin) => format!("{}#{PIN_PREFIX}{pin}", self.join(path)),
            None => self.join(path),
        }
    }

    fn builder(&self, timeout: Duration) -> Result<reqwest::ClientBuilder, AddressError> {
        ensure_provider();
        let builder = reqwest::Client::builder()
            .timeout(timeout)
            .connect_timeout(timeout)
            .redirect(reqwest::redirect::Policy::none())
            .pool_max_idle_per_host(2);
        let builder = match self.trust {
            Trust::Pinned(fingerprint) => builder.https_only(true).tls_backend_preconfigured(
                pin::pinned_client_config(fingerprint).map_err(|error| self.no_client(&error))?,
            ),
            Trust::SystemRoots => builder.https_only(true),
            Trust::Loopback => builder,
        };
        // A proxy that the system names serves the way out; it has no way to this machine's own loopback.
        Ok(if self.is_loopback() { builder.no_proxy() } else { builder })
    }

    /// Makes what [`HttpsAddress::builder`] began.
    fn build(&self, builder: reqwest::ClientBuilder) -> Result<reqwest::Client, AddressError> {
        builder.build().map_err(|error| self.no_client(&error))
    }

    fn no_client(&self, error: &dyn std::error::Error) -> AddressError {
        AddressError::Client { url: self.to_string(), reason: error.to_string() }
    }

    fn is_loopback(&self) -> bool {
        is_loopback(&self.url)
    }
}

fn is_loopback(url: &Url) -> bool {
    // A name may resolve to anything, also "localhost": only literal addresses count.
    literal_ip(url).is_some_and(|ip| ip.is_loopback())
}

/// The host of a URL, if it is an IP address.
pub fn literal_ip(url: &Url) -> Option<IpAddr> {
    let host = url.host_str().unwrap_or_default();
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

impl FromStr for HttpsAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let bad = |reason: &str| AddressError::BadUrl { text: cut(text), reason: reason.to_owned() };
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
            ("http", None) => return Err(AddressError::PlainHttp { url: cut(text) }),
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
    fn a_pin_is_kept_and_paths_are_joined() {
        let pin = "ab".repeat(32);
        let address: HttpsAddress = format!("https://pool.example:8443/base#sha256={pin}").parse().unwrap();
        assert_eq!(address.pin().unwrap().to_string(), pin);
        assert_eq!(address.join("wire/v1"), "https://pool.example:8443/base/wire/v1");
    }

    #[test]
    fn plain_http_is_for_loopback_addresses_only() {
        for text in ["http://127.0.0.1:1", "http://[::1]:1", "http://127.8.0.1"] {
            assert!(text.parse::<HttpsAddress>().is_ok(), "{text}");
        }
        for text in
            ["http://10.0.0.1", "http://pool.example", "http://localhost:80", "http://127.0.0.1.evil.example"]
        {
            assert_eq!(text.parse::<HttpsAddress>().unwrap_err().code(), "network/plain-http", "{text}");
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
            assert_eq!(text.parse::<HttpsAddress>().unwrap_err().code(), "network/bad-url", "{text}");
        }
    }
}
