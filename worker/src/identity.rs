//! The node's key and what follows from it.

use lode_program::{Exit, ExitError, files};
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
    let path = config.key_path();
    let text = match files::read_secret_text(&path) {
        Ok(text) => text,
        Err(error) if error.is_not_found() => {
            let text =
                format!("there is no node key at {}; create one with `lode-worker init`", path.display());
            return Err(ExitError::new(Exit::BadConfig, text).into());
        }
        Err(error) => return Err(error.into()),
    };
    SigningKey::from_hex(text.trim())
        .map_err(|error| ExitError::new(Exit::BadConfig, format!("{}: {error}", path.display())).into())
}
