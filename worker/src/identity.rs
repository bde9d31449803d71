//! The node's key and what follows from it.

use lode_protocol::eip712::Domain;
use lode_protocol::envelope::Realm;
use lode_protocol::ids::{Address, NodeId};
use lode_protocol::join::pools_domain;
use lode_protocol::keys::SigningKey;

use crate::config::Config;

/// Who this node is, and where it speaks.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The node's key.
    pub key: SigningKey,
    /// Chain, deployment and pool.
    pub realm: Realm,
}

impl Identity {
    /// The node's address: its one name everywhere.
    pub fn address(&self) -> Address {
        self.key.address()
    }

    /// The same as a node id.
    pub fn node(&self) -> NodeId {
        NodeId(self.address())
    }

    /// EIP-712 domain of the pool's contract.
    pub fn pools_domain(&self) -> Domain {
        pools_domain(self.realm.chain, self.realm.deployment)
    }
}

/// Reads the node's key; a file that others may read is refused.
pub fn load_key(config: &Config) -> anyhow::Result<SigningKey> {
    lode_daemon::read_key(&config.key_path(), "lode-worker init")
}
