//! The file's types and its two notations, YAML and JSON.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::CdiError;

/// Largest file that is read. Real ones are a few dozen kilobytes.
const MOST_BYTES: u64 = 4 << 20;

/// One specification file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CdiSpec {
    pub cdi_version: String,
    /// Vendor and class, like `nvidia.com/gpu`.
    pub kind: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    pub devices: Vec<CdiDevice>,
    /// What every container with any of the devices gets.
    #[serde(default, skip_serializing_if = "ContainerEdits::is_empty")]
    pub container_edits: ContainerEdits,
}

/// One device and what a container needs to use it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CdiDevice {
    /// A UUID, an index, or `all`.
    pub name: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    pub container_edits: ContainerEdits,
}

/// Changes to a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ContainerEdits {
    /// `NAME=value`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub device_nodes: Vec<CdiDeviceNode>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<CdiMount>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hooks: Vec<CdiHook>,
    #[serde(skip_serializing_if = "Vec::is_empty", rename = "additionalGids")]
    pub additional_gids: Vec<u32>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CdiDeviceNode {
    /// In the container.
    pub path: PathBuf,
    /// On the host, where it differs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_path: Option<PathBuf>,
    /// `c`, `b`, `u` or `p`.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "type")]
    pub kind: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub major: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minor: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_mode: Option<u32>,
    /// Of `r`, `w`, `m`; `rwm` where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permissions: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gid: Option<u32>,
}

impl CdiDeviceNode {
    /// Where the node is on the host.
    #[must_use]
    pub fn on_host(&self) -> &Path {
        self.host_path.as_deref().unwrap_or(&self.path)
    }

    /// The device cgroup's permissions.
    #[must_use]
    pub fn cgroup_permissions(&self) -> &str {
        self.permissions.as_deref().unwrap_or("rwm")
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CdiMount {
    pub host_path: PathBuf,
    pub container_path: PathBuf,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "type")]
    pub kind: Option<String>,
}

impl CdiMount {
    /// Whether the container may write through it. Said by `rw` only: a mount without options is read-only here.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.options.iter().any(|option| option == "rw")
    }
}

/// A program that a container runtime runs on the host while it creates a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CdiHook {
    pub hook_name: String,
    pub path: PathBuf,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<i64>,
}

impl CdiSpec {
    /// Reads a file, as JSON when it is named so, as YAML otherwise.
    ///
    /// # Errors
    /// When it cannot be read, is absurdly large, or is no CDI specification.
    pub fn load(path: &Path) -> Result<Self, CdiError> {
        let unreadable = |source| CdiError::Unreadable { path: path.to_owned(), source };
        let size = std::fs::metadata(path).map_err(unreadable)?.len();
        if size > MOST_BYTES {
            let detail = format!("it has {size} bytes; at most {MOST_BYTES} are read");
            return Err(CdiError::Malformed { path: path.to_owned(), detail });
        }
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        let is_json = path.extension().is_some_and(|extension| extension == "json");
        let spec = if is_json { Self::from_json(&text) } else { Self::from_yaml(&text) };
        spec.map_err(|detail| CdiError::Malformed { path: path.to_owned(), detail })
    }

    fn from_json(text: &str) -> Result<Self, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    fn from_yaml(text: &str) -> Result<Self, String> {
        serde_saphyr::from_str(text).map_err(|error| error.to_string())
    }

    /// The specification as YAML.
    ///
    /// # Errors
    /// When a path is not text.
    pub fn to_yaml(&self) -> Result<String, CdiError> {
        serde_saphyr::to_string(self).map_err(|error| CdiError::Unwritable { detail: error.to_string() })
    }

    /// The specification as JSON.
    ///
    /// # Errors
    /// When a path is not text.
    pub fn to_json(&self) -> Result<String, CdiError> {
        serde_json::to_string_pretty(self).map_err(|error| CdiError::Unwritable { detail: error.to_string() })
    }
}

impl ContainerEdits {
    /// Whether nothing would change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
