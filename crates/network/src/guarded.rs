//! The one way out to addresses that strangers name: on chain, in accusations, in pools' endpoints.
//!
//! Whoever names an address may name one inside this machine's own network. So only public addresses are spoken to,
//! unless the operator allows others: literal addresses are looked at before, names where they are resolved, so that
//! what was looked at is what is dialled. No redirects, no proxy, a limit for bytes and one for time.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use lode_protocol::error_code::ErrorCode;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::directory_client::describe;
use crate::error::NetworkError;
use crate::url::HttpsAddress;

/// What may be reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GuardPolicy {
    /// Also addresses that are not public: for development and for networks of one's own.
    pub private_addresses: bool,
    /// For one request from dialling to its last byte.
    pub timeout: Duration,
}

/// Why nothing was fetched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GuardedError {
    /// The address is none, or none that may be dialled in the clear.
    #[error(transparent)]
    Address(#[from] NetworkError),
    /// The address is not public.
    #[error("{url} leads to an address that is not public")]
    NotPublic {
        /// What was asked for.
        url: String,
    },
    /// It cannot be reached, or broke off.
    #[error("{url} cannot be fetched: {reason}")]
    Unreachable {
        /// What was asked for.
        url: String,
        /// Why.
        reason: String,
    },
    /// It answered something else than 200.
    #[error("{url} answered {status}")]
    Refused {
        /// What was asked for.
        url: String,
        /// HTTP status.
        status: u16,
    },
    /// It sends more than is read.
    #[error("{url} sends more than {limit} bytes")]
    TooLarge {
        /// What was asked for.
        url: String,
        /// Bytes that would have been read.
        limit: usize,
    },
}

impl GuardedError {
    /// Stable code.
    pub fn code(&self) -> ErrorCode {
        match self {
            GuardedError::Address(error) => error.code(),
            GuardedError::NotPublic { .. } => ErrorCode::new("fetch/not-public"),
            GuardedError::Unreachable { .. } => ErrorCode::new("fetch/unreachable"),
            GuardedError::Refused { .. } => ErrorCode::new("fetch/refused"),
            GuardedError::TooLarge { .. } => ErrorCode::new("fetch/too-large"),
        }
    }
}

/// Fetches what strangers point at.
#[derive(Clone, Debug)]
pub struct GuardedClient {
    policy: GuardPolicy,
}

impl GuardedClient {
    /// With this policy.
    pub fn new(policy: GuardPolicy) -> Self {
        Self { policy }
    }

    /// The body of a `GET` of the address itself, of at most `limit` bytes.
    pub async fn get(&self, url: &str, limit: usize) -> Result<Vec<u8>, GuardedError> {
        let address: HttpsAddress = url.parse()?;
        let whole = address.url().to_owned();
        self.fetch(&address, whole, limit).await
    }

    /// The body of a `GET` of a path (and query) below an address, of at most `limit` bytes.
    pub async fn get_below(
        &self,
        address: &HttpsAddress,
        path: &str,
        limit: usize,
    ) -> Result<Vec<u8>, GuardedError> {
        self.fetch(address, address.join(path), limit).await
    }

    async fn fetch(
        &self,
        address: &HttpsAddress,
        url: String,
        limit: usize,
    ) -> Result<Vec<u8>, GuardedError> {
        let allowed = self.policy.private_addresses || address.ip().is_none_or(is_public);
        if !allowed {
            return Err(GuardedError::NotPublic { url });
        }
        let mut builder = address.builder(self.policy.timeout)?.no_proxy();
        if !self.policy.private_addresses {
            builder = builder.dns_resolver(Arc::new(PublicOnly));
        }
        let client = address.build(builder)?;
        let failed = |error: reqwest::Error| match is_refusal(&error) {
            true => GuardedError::NotPublic { url: url.clone() },
            false => GuardedError::Unreachable { url: url.clone(), reason: describe(&error) },
        };
        let mut response = client.get(&url).send().await.map_err(failed)?;
        let status = response.status();
        if status != reqwest::StatusCode::OK {
            return Err(GuardedError::Refused { url, status: status.as_u16() });
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > limit {
                return Err(GuardedError::TooLarge { url, limit });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

/// A name none of whose addresses is public.
#[derive(Debug)]
struct NothingPublic(String);

impl fmt::Display for NothingPublic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} has no public address", self.0)
    }
}

impl std::error::Error for NothingPublic {}

/// Resolves names by the system, and lets only public addresses through.
pub(crate) struct PublicOnly;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let public: Vec<SocketAddr> = found.filter(|address| is_public(address.ip())).collect();
            if public.is_empty() {
                return Err(NothingPublic(name.as_str().to_owned()).into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

/// Whether a request failed because its name has no public address.
pub(crate) fn is_refusal(error: &reqwest::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(next) = cause {
        if next.is::<NothingPublic>() {
            return true;
        }
        cause = next.source();
    }
    false
}

/// Whether an address is one of the public internet (IANA's special-purpose registries, RFC 6890 and its updates).
pub(crate) fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let special = ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_multicast()
        || ip.is_documentation()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && (b == 18 || b == 19));
    !special
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    // Addresses that stand for an IPv4 address are judged by it.
    if let Some(mapped) = ip.to_ipv4_mapped() {
        return is_public_v4(mapped);
    }
    let segments = ip.segments();
    if let [0x64, 0xff9b, 0, 0, 0, 0, high, low] = segments {
        let [[a, b], [c, d]] = [high.to_be_bytes(), low.to_be_bytes()];
        return is_public_v4(Ipv4Addr::new(a, b, c, d));
    }
    // Only 2000::/3 is given out; within it, transition mechanisms and documentation are not.
    let [first, second, ..] = segments;
    (first & 0xe000) == 0x2000
        && first != 0x2002
        && !(first == 0x2001 && (second < 0x200 || second == 0xdb8))
        && !(first == 0x3fff && second < 0x1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    const GUARDED: GuardPolicy = GuardPolicy { private_addresses: false, timeout: Duration::from_secs(10) };
    const OPEN: GuardPolicy = GuardPolicy { private_addresses: true, ..GUARDED };

    /// Answers every connection with these bytes.
    async fn server(answer: Vec<u8>) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0; 1024];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(&answer).await;
            }
        });
        format!("http://{address}/x")
    }

    fn ok(body: &str) -> Vec<u8> {
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
            .into_bytes()
    }

    #[test]
    fn only_addresses_of_the_public_internet_are_public() {
        for text in ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"] {
            assert!(is_public(text.parse().unwrap()), "{text}");
        }
        for text in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "192.0.0.8",
            "192.0.2.1",
            "198.18.0.1",
            "198.51.100.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
            "fe80::1",
            "fc00::1",
            "fd12::1",
            "ff02::1",
            "2001:db8::1",
            "2002:a00:1::",
            "2001::1",
            "::127.0.0.1",
            "100::1",
            "3fff::1",
        ] {
            assert!(!is_public(text.parse().unwrap()), "{text}");
        }
    }

    #[tokio::test]
    async fn this_machine_is_not_reached_from_outside_unless_the_operator_allows_it() {
        let url = server(ok("secret")).await;
        let refused = GuardedClient::new(GUARDED).get(&url, 100).await.unwrap_err();
        assert_eq!(refused.code(), "fetch/not-public");
        assert_eq!(GuardedClient::new(OPEN).get(&url, 100).await.unwrap(), b"secret");
    }

    #[tokio::test]
    async fn a_name_of_this_machine_is_refused_where_it_is_resolved() {
        let refused = GuardedClient::new(GUARDED).get("https://localhost:1/x", 100).await.unwrap_err();
        assert_eq!(refused.code(), "fetch/not-public");
    }

    #[tokio::test]
    async fn redirects_and_other_answers_and_too_many_bytes_are_refused() {
        let client = GuardedClient::new(OPEN);
        let moved =
            b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n".to_vec();
        assert_eq!(client.get(&server(moved).await, 100).await.unwrap_err().code(), "fetch/refused");
        let long = server(ok(&"x".repeat(101))).await;
        assert_eq!(client.get(&long, 100).await.unwrap_err().code(), "fetch/too-large");
        assert_eq!(client.get(&long, 101).await.unwrap().len(), 101);
        let gone = client.get("http://127.0.0.1:1/x", 100).await.unwrap_err();
        assert_eq!(gone.code(), "fetch/unreachable");
        assert_eq!(client.get("http://192.0.2.1/x", 100).await.unwrap_err().code(), "network/plain-http");
    }
}
