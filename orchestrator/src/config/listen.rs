//! Where the orchestrator is reached: the API and the workers' side.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use lode_network::PeerAddress;
use serde::Deserialize;

/// `[api]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct ApiConfig {
    /// Where REST, health and metrics are served. Plain HTTP on loopback only.
    pub listen: SocketAddr,
    /// Certificate chain (PEM); with `tls_key`.
    pub tls_cert: Option<PathBuf>,
    /// Its key (PEM).
    pub tls_key: Option<PathBuf>,
    /// Host names that are accepted besides loopback ones, where the API listens on loopback.
    pub hosts: Vec<String>,
}

impl Default for ApiConfig {
    fn default() -> Self {
        ApiConfig {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7_070),
            tls_cert: None,
            tls_key: None,
            hosts: Vec::new(),
        }
    }
}

/// `[wire]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct WireConfig {
    /// libp2p addresses to listen on.
    pub listen: Vec<PeerAddress>,
    /// Where the HTTPS fallback is served, if anywhere.
    pub https: Option<SocketAddr>,
    /// Plain HTTP for the fallback; on loopback only.
    pub https_plain: bool,
    /// Certificate chain (PEM); with `tls_key`. Left out: a self-signed one, kept in the data directory.
    pub tls_cert: Option<PathBuf>,
    /// Its key (PEM).
    pub tls_key: Option<PathBuf>,
    /// Workers that may be connected at once.
    pub max_connections: usize,
    /// Of these, from one IP address.
    pub max_connections_per_address: usize,
}

impl Default for WireConfig {
    fn default() -> Self {
        WireConfig {
            listen: vec![PeerAddress::tcp(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 7_000))],
            https: None,
            https_plain: false,
            tls_cert: None,
            tls_key: None,
            max_connections: 10_000,
            max_connections_per_address: 256,
        }
    }
}
