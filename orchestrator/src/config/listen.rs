//! Where the orchestrator is reached: the API and the workers' side.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use lode_network::{ConnectionLimits, FramePace, PeerAddress, ServerConfig, StrangerLimits};
use serde::Deserialize;

/// `[api]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ApiConfig {
    /// Where REST is served, and whether the program lives and is ready. Plain HTTP on loopback only.
    pub listen: SocketAddr,
    /// Certificate chain (PEM); with `tls_key`.
    pub tls_cert: Option<PathBuf>,
    /// Its key (PEM).
    pub tls_key: Option<PathBuf>,
    /// Host names under which the API is asked, besides IP addresses, `localhost` and, with TLS, those that clients
    /// compare the certificate with.
    pub hosts: Vec<String>,
    /// Whether `/metrics` is served here, too, to anybody who can reach it.
    pub metrics: bool,
}

impl Default for ApiConfig {
    fn default() -> Self {
        ApiConfig {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7_070),
            tls_cert: None,
            tls_key: None,
            hosts: Vec::new(),
            metrics: false,
        }
    }
}

/// `[wire]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WireConfig {
    /// libp2p addresses to listen on.
    pub listen: Vec<PeerAddress>,
    /// Where the HTTPS fallback is served, if anywhere.
    pub https: Option<SocketAddr>,
    /// Host names under which the fallback is asked, besides IP addresses, `localhost` and, with TLS, those that workers
    /// compare the certificate with.
    pub hosts: Vec<String>,
    /// Plain HTTP for the fallback; on loopback only.
    pub https_plain: bool,
    /// Certificate chain (PEM); with `tls_key`. Left out: a self-signed one, kept in the data directory.
    pub tls_cert: Option<PathBuf>,
    /// Its key (PEM).
    pub tls_key: Option<PathBuf>,
    /// Workers that may be connected at once.
    pub max_connections: usize,
    /// Of these, from one IP address (IPv6: from one /64).
    pub max_connections_per_address: usize,
    /// Requests of the fallback at once from one IP address (IPv6: from one /64); those from loopback are not counted so.
    pub http_requests_per_address: usize,
    /// What is borne of peers before they have a session.
    pub strangers: StrangerLimits,
    /// How slow messages may come.
    pub frames: FramePace,
}

impl Default for WireConfig {
    fn default() -> Self {
        WireConfig {
            listen: vec![PeerAddress::tcp(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 7_000))],
            https: None,
            hosts: Vec::new(),
            https_plain: false,
            tls_cert: None,
            tls_key: None,
            max_connections: ConnectionLimits::default().incoming,
            max_connections_per_address: ConnectionLimits::default().per_address,
            http_requests_per_address: ServerConfig::default().http_requests_per_address,
            strangers: StrangerLimits::default(),
            frames: FramePace::default(),
        }
    }
}
