//! The deployment file: on which chain the contracts are, and where. Addresses come from here and nowhere else.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use lode_protocol::eip712::Domain;
use lode_protocol::envelope::Realm;
use lode_protocol::error_code::ErrorCode;
use lode_protocol::hash::Digest;
use lode_protocol::ids::{Address, ChainId, PoolId};
use lode_protocol::join::{pools_domain, registry_domain};
use lode_protocol::settlement::{rewards_domain, slashing_domain, task_order_domain};
use serde::{Deserialize, Serialize};

/// Largest file accepted, in bytes.
const MAX_BYTES: u64 = 64 * 1024;

/// Where one set of contracts lives.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deployment {
    /// EIP-155 id of the chain.
    pub chain_id: ChainId,
    /// Number of the block before which no contract of this deployment existed: followers start here.
    pub block: u64,
    /// An RPC that serves the chain; a hint, every program has its own setting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rpc_url: Option<String>,
    /// The token that is staked.
    pub token: Address,
    /// `ComputeRegistry`.
    pub registry: Address,
    /// `ComputePools`.
    pub pools: Address,
    /// `ValidatorSet`.
    pub validators: Address,
    /// `Slashing`.
    pub slashing: Address,
    /// `Rewards`.
    pub rewards: Address,
    /// Commit of the sources that were deployed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// keccak-256 of each contract's code as it was deployed, by the contract's name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub code_hashes: BTreeMap<String, Digest>,
}

/// A deployment file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DeploymentError {
    /// It cannot be read or written.
    #[error("deployment file {}: {source}; get the file of the pool's contracts from its owner", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not a deployment.
    #[error("deployment file {}: {detail}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// Its content makes no sense.
    #[error("the deployment is not valid: {detail}")]
    Invalid {
        /// What is wrong.
        detail: String,
    },
}

impl DeploymentError {
    /// Stable code.
    pub fn code(&self) -> ErrorCode {
        ErrorCode::new(match self {
            DeploymentError::File { .. } => "deployment/file",
            DeploymentError::Malformed { .. } => "deployment/malformed",
            DeploymentError::Invalid { .. } => "deployment/invalid",
        })
    }
}

impl Deployment {
    /// Reads and checks a file.
    pub fn load(path: &Path) -> Result<Self, DeploymentError> {
        let file = |source| DeploymentError::File { path: path.to_owned(), source };
        let malformed = |detail| DeploymentError::Malformed { path: path.to_owned(), detail };
        if std::fs::metadata(path).map_err(file)?.len() > MAX_BYTES {
            return Err(malformed(format!("it is larger than {MAX_BYTES} bytes")));
        }
        let text = std::fs::read_to_string(path).map_err(file)?;
        let deployment: Deployment =
            serde_json::from_str(&text).map_err(|error| malformed(error.to_string()))?;
        deployment.validate()?;
        Ok(deployment)
    }

    /// Writes the file beside its final name and renames it: readers see the old or the new one, nothing between.
    pub fn save(&self, path: &Path) -> Result<(), DeploymentError> {
        self.validate()?;
        let file = |source| DeploymentError::File { path: path.to_owned(), source };
        let mut text = serde_json::to_string_pretty(self)
            .map_err(|error| DeploymentError::Invalid { detail: error.to_string() })?;
        text.push('\n');
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.new", std::process::id()));
        let beside = path.with_file_name(name);
        std::fs::write(&beside, text).map_err(file)?;
        std::fs::rename(&beside, path).map_err(file)
    }

    /// Checks what can be checked without a chain.
    pub fn validate(&self) -> Result<(), DeploymentError> {
        let invalid = |detail: String| Err(DeploymentError::Invalid { detail });
        if self.chain_id.0 == 0 {
            return invalid("chain_id is 0".to_owned());
        }
        let contracts = self.contracts();
        for (index, (name, address)) in contracts.iter().enumerate() {
            if *address == Address::ZERO {
                return invalid(format!("the address of {name} is zero"));
            }
            if let Some((twin, _)) = contracts.iter().take(index).find(|(_, other)| other == address) {
                return invalid(format!("{twin} and {name} have the same address {address}"));
            }
        }
        Ok(())
    }

    /// The contracts by name.
    pub fn contracts(&self) -> [(&'static str, Address); 6] {
        [
            ("LodeToken", self.token),
            ("ComputeRegistry", self.registry),
            ("ComputePools", self.pools),
            ("ValidatorSet", self.validators),
            ("Slashing", self.slashing),
            ("Rewards", self.rewards),
        ]
    }

    /// Where messages of a pool of this deployment count.
    pub fn realm(&self, pool: PoolId) -> Realm {
        Realm { chain: self.chain_id, deployment: self.pools, pool }
    }

    /// EIP-712 domain of invites, consents to join, leaves, and approvals of pools.
    pub fn pools_domain(&self) -> Domain {
        pools_domain(self.chain_id, self.pools)
    }

    /// EIP-712 domain of node consents and authorisations.
    pub fn registry_domain(&self) -> Domain {
        registry_domain(self.chain_id, self.registry)
    }

    /// EIP-712 domain of receipts.
    pub fn rewards_domain(&self) -> Domain {
        rewards_domain(self.chain_id, self.rewards)
    }

    /// EIP-712 domain of answers to accusations.
    pub fn slashing_domain(&self) -> Domain {
        slashing_domain(self.chain_id, self.slashing)
    }

    /// EIP-712 domain of tenants' orders.
    pub fn task_order_domain(&self) -> Domain {
        task_order_domain(self.chain_id, self.pools)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn deployment() -> Deployment {
        Deployment {
            chain_id: ChainId(31337),
            block: 1,
            rpc_url: Some("http://127.0.0.1:8545".to_owned()),
            token: Address([1; 20]),
            registry: Address([2; 20]),
            pools: Address([3; 20]),
            validators: Address([4; 20]),
            slashing: Address([5; 20]),
            rewards: Address([6; 20]),
            commit: None,
            code_hashes: BTreeMap::from([("Rewards".to_owned(), Digest([7; 32]))]),
        }
    }

    #[test]
    fn a_deployment_survives_its_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("deployment.json");
        deployment().save(&path).unwrap();
        assert_eq!(Deployment::load(&path).unwrap(), deployment());
    }

    #[test]
    fn a_missing_cut_or_senseless_file_is_refused_with_its_reason() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("deployment.json");
        assert_eq!(Deployment::load(&path).unwrap_err().code(), "deployment/file");
        std::fs::write(&path, "{\"chain_id\": 1").unwrap();
        assert_eq!(Deployment::load(&path).unwrap_err().code(), "deployment/malformed");
        let twice = Deployment { pools: Address([2; 20]), ..deployment() };
        std::fs::write(&path, serde_json::to_string(&twice).unwrap()).unwrap();
        let error = Deployment::load(&path).unwrap_err();
        assert_eq!(error.code(), "deployment/invalid");
        assert!(error.to_string().contains("ComputeRegistry and ComputePools"), "{error}");
        assert!(twice.save(&path).is_err());
    }
}
