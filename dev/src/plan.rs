//! Where a dev pool keeps what, and what of it must be the same after a restart.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use lode_cli::failure::Kind;
use lode_cli::keys;
use lode_program::files::{create_private_dir, replace_secret};
use lode_protocol::ids::{Address, PoolId};
use lode_protocol::keys::SigningKey;
use serde::{Deserialize, Serialize};

use crate::ports::Ports;

/// Longest path of the folder: sockets below it must stay under 108 bytes.
const LONGEST_PATH: usize = 80;

/// The files and folders of a pool.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    root: PathBuf,
}

impl Layout {
    /// Makes the folders that are not there.
    pub(crate) fn create(root: &Path) -> anyhow::Result<Self> {
        let root = std::path::absolute(root)?;
        if root.as_os_str().len() > LONGEST_PATH {
            let message = format!("the path {} is too long for the sockets in it", root.display());
            return Err(Kind::Usage
                .with_remedy(message, format!("choose a folder of at most {LONGEST_PATH} letters")));
        }
        let layout = Layout { root };
        for name in ["config", "keys", "logs", "gpus", "anvil"] {
            create_private_dir(&layout.root.join(name))?;
        }
        Ok(layout)
    }

    /// Of a pool that exists.
    pub(crate) fn of(root: &Path) -> Self {
        Layout { root: root.to_owned() }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn plan(&self) -> PathBuf {
        self.root.join("plan.json")
    }

    pub(crate) fn deployment(&self) -> PathBuf {
        self.root.join("deployment.json")
    }

    pub(crate) fn contexts(&self) -> PathBuf {
        self.root.join("contexts.toml")
    }

    pub(crate) fn control_socket(&self) -> PathBuf {
        self.root.join("control.sock")
    }

    pub(crate) fn key(&self, name: &str) -> PathBuf {
        self.root.join("keys").join(format!("{name}.key"))
    }

    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.root.join("logs").join(format!("{name}.log"))
    }

    pub(crate) fn config(&self, name: &str) -> PathBuf {
        self.root.join("config").join(format!("{name}.toml"))
    }

    /// The data directory of a program.
    pub(crate) fn data(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    pub(crate) fn chain_state(&self) -> PathBuf {
        self.root.join("anvil/state.json")
    }

    pub(crate) fn gpus(&self, worker: &str) -> PathBuf {
        self.root.join("gpus").join(worker)
    }

    pub(crate) fn token(&self) -> PathBuf {
        self.data("orchestrator").join("token")
    }
}

/// What is decided once per pool.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Plan {
    /// First of its ports.
    pub(crate) first_port: u16,
    /// Its number on its chain, once it is created.
    pub(crate) pool: Option<PoolId>,
}

impl Plan {
    /// The plan in the folder, if there is one.
    pub(crate) fn load(layout: &Layout) -> anyhow::Result<Option<Self>> {
        let path = layout.plan();
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        let plan = serde_json::from_str(&text).map_err(|error| {
            let message = format!("{} is not the plan of a dev pool: {error}", path.display());
            Kind::Failed.with_remedy(message, "choose another --data-dir, or remove this one")
        })?;
        Ok(Some(plan))
    }

    pub(crate) fn save(&self, layout: &Layout) -> anyhow::Result<()> {
        Ok(replace_secret(&layout.plan(), serde_json::to_string_pretty(self)?.as_bytes())?)
    }

    pub(crate) fn ports(&self) -> Ports {
        Ports::from(self.first_port)
    }
}

/// The keys of everybody in the pool. All are made here; nobody else has them.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    /// Deploys the contracts, makes tokens, owns the pool.
    pub(crate) owner: SigningKey,
    pub(crate) provider: SigningKey,
    pub(crate) orchestrator: SigningKey,
    pub(crate) validator: SigningKey,
    /// Never get any coins.
    pub(crate) workers: [SigningKey; 2],
}

impl Keys {
    pub(crate) fn load_or_create(layout: &Layout) -> anyhow::Result<Self> {
        let key = |name: &str| keys::load_or_create(&layout.key(name));
        Ok(Keys {
            owner: key("owner")?,
            provider: key("provider")?,
            orchestrator: key("orchestrator")?,
            validator: key("validator")?,
            workers: [key("worker-1")?, key("worker-2")?],
        })
    }

    /// Of a pool that exists.
    pub(crate) fn load(layout: &Layout) -> anyhow::Result<Self> {
        let key = |name: &str| keys::load(&layout.key(name));
        Ok(Keys {
            owner: key("owner")?,
            provider: key("provider")?,
            orchestrator: key("orchestrator")?,
            validator: key("validator")?,
            workers: [key("worker-1")?, key("worker-2")?],
        })
    }

    /// The nodes' addresses.
    pub(crate) fn nodes(&self) -> [Address; 2] {
        self.workers.each_ref().map(SigningKey::address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_and_its_keys_are_the_same_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::create(folder.path()).unwrap();
        assert_eq!(Plan::load(&layout).unwrap(), None);
        let plan = Plan { first_port: 20_000, pool: Some(PoolId(1)) };
        plan.save(&layout).unwrap();
        let nodes = Keys::load_or_create(&layout).unwrap().nodes();
        assert_eq!(Plan::load(&layout).unwrap(), Some(plan));
        assert_eq!(Keys::load_or_create(&layout).unwrap().nodes(), nodes);
        assert_ne!(nodes[0], nodes[1]);
    }

    #[test]
    fn a_folder_too_deep_for_sockets_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("x".repeat(90));
        assert!(Layout::create(&deep).unwrap_err().to_string().contains("too long"));
        assert!(!deep.exists());
    }
}
