//! How far a deployment has come, and the file that remembers it.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use lode_protocol::hash::Digest;
use lode_protocol::ids::{Address, ChainId};
use serde::{Deserialize, Serialize};

use super::{DeployError, DeployParameters};
use crate::deployment::DeploymentError;

/// What there is of a deployment.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Progress {
    pub(super) chain_id: ChainId,
    pub(super) deployer: Address,
    pub(super) parameters: DeployParameters,
    pub(super) commit: Option<String>,
    /// Contracts that stand, by name.
    pub(super) made: BTreeMap<String, Made>,
    /// The transaction that is on its way.
    pub(super) sent: Option<Sent>,
}

/// A contract that stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Made {
    pub(super) address: Address,
    pub(super) block: u64,
    pub(super) code_hash: Digest,
}

/// A transaction that was or will be sent. One of its attempts may be mined.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sent {
    pub(super) step: String,
    pub(super) nonce: u64,
    pub(super) max_fee: u64,
    pub(super) max_priority_fee: u64,
    pub(super) attempts: Vec<Digest>,
}

impl Progress {
    pub(super) fn begin(
        chain_id: ChainId,
        deployer: Address,
        parameters: DeployParameters,
        commit: Option<String>,
    ) -> Self {
        Progress { chain_id, deployer, parameters, commit, made: BTreeMap::new(), sent: None }
    }

    /// What an earlier run left, if it is of the same deployment; `begun` where there was none.
    pub(super) fn resume(file: &Path, begun: Progress) -> Result<Self, DeployError> {
        let text = match std::fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(begun),
            Err(source) => return Err(DeploymentError::File { path: file.to_owned(), source }.into()),
        };
        let found: Progress = serde_json::from_str(&text).map_err(|error| DeploymentError::Malformed {
            path: file.to_owned(),
            detail: format!("{error}; remove it to begin anew"),
        })?;
        let differs = if found.chain_id != begun.chain_id {
            format!("is of chain {}, the RPC serves chain {}", found.chain_id, begun.chain_id)
        } else if found.deployer != begun.deployer {
            format!("was begun by {}, not by {}", found.deployer, begun.deployer)
        } else if found.parameters != begun.parameters {
            "was begun with other parameters".to_owned()
        } else {
            return Ok(found);
        };
        let file = file.display().to_string();
        let detail = format!("the half-done deployment {differs}: go on as it was begun, or remove the file");
        Err(DeployError::Conflict { file, detail })
    }

    /// Writes the file beside its final name and renames it, so that a cut-off write loses nothing.
    pub(super) fn save(&self, file: &Path) -> Result<(), DeployError> {
        let failed = |source| DeploymentError::File { path: file.to_owned(), source };
        let text = serde_json::to_string_pretty(self)
            .map_err(|error| DeploymentError::Invalid { detail: error.to_string() })?;
        let new = with_suffix(file, ".new");
        std::fs::write(&new, text).map_err(failed)?;
        Ok(std::fs::rename(&new, file).map_err(failed)?)
    }
}

/// The file beside a deployment file.
pub(super) fn beside(path: &Path) -> PathBuf {
    with_suffix(path, ".partial")
}

/// The deployment is complete: nothing needs to be remembered.
pub(super) fn forget(file: &Path) -> Result<(), DeployError> {
    match std::fs::remove_file(file) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(DeploymentError::File { path: file.to_owned(), source }.into())
        }
        _ => Ok(()),
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(suffix);
    path.with_file_name(name)
}
