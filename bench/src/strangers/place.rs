//! Where the orchestrator is, as its process says it.

use std::net::SocketAddr;
use std::path::PathBuf;

use lode_network::PeerAddress;
use lode_protocol::envelope::Realm;
use lode_protocol::ids::{ChainId, PoolId};
use serde::{Deserialize, Serialize};

use crate::heartbeats::Target;

/// Everything that is known of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Place {
    pub(super) libp2p: SocketAddr,
    pub(super) wire: SocketAddr,
    pub(super) api: SocketAddr,
    /// Answers each connection with how often the chain was asked.
    pub(super) chain_requests: SocketAddr,
    pub(super) token: String,
    pub(super) data: PathBuf,
    pub(super) orchestrator: String,
    pub(super) deployment: String,
    pub(super) chain: u64,
    pub(super) pool: u32,
}

impl Place {
    /// As nodes know it that go through these addresses.
    pub(super) fn target(&self, pid: u64, libp2p: SocketAddr, http: SocketAddr) -> anyhow::Result<Target> {
        Ok(Target {
            pid,
            libp2p: PeerAddress::tcp(libp2p),
            http: http.to_string(),
            orchestrator: self.orchestrator.parse()?,
            realm: Realm {
                chain: ChainId(self.chain),
                deployment: self.deployment.parse()?,
                pool: PoolId(self.pool.into()),
            },
        })
    }
}
