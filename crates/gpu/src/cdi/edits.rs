//! From a specification and UUIDs to what one container gets.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use lode_protocol::finding::Finding;
use lode_protocol::ids::GpuUuid;

use super::spec::{CdiSpec, ContainerEdits};

/// Why a specification cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CdiError {
    #[error("the CDI file {path} cannot be read")]
    Unreadable {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{path} is no CDI specification: {detail}")]
    Malformed { path: PathBuf, detail: String },
    #[error("the CDI specification cannot be written: {detail}")]
    Unwritable { detail: String },
    /// The file describes no device of that name.
    #[error("the CDI specification has no device {uuid}; it has {known}")]
    UnknownDevice { uuid: GpuUuid, known: String },
    /// The specification relies on programs that nobody would run.
    #[error(
        "the CDI specification needs hooks ({hooks}), which only a container engine can run; let the engine use \
         CDI itself, or allow to ignore the hooks in the configuration"
    )]
    NeedsHooks { hooks: String },
    /// Two edits contradict each other, or one would leave the container's file system.
    #[error("the CDI specification cannot be applied: {detail}")]
    Unsafe { detail: String },
}

impl CdiError {
    /// Stable name of the failure.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "gpu/cdi-unreadable",
            Self::Malformed { .. } => "gpu/cdi-malformed",
            Self::Unwritable { .. } => "gpu/cdi-unwritable",
            Self::UnknownDevice { .. } => "gpu/cdi-unknown-device",
            Self::NeedsHooks { .. } => "gpu/cdi-needs-hooks",
            Self::Unsafe { .. } => "gpu/cdi-unsafe",
        }
    }

    /// What an operator does next.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "check the path and its permissions",
            Self::Malformed { .. } => "generate the file again (`nvidia-ctk cdi generate`)",
            Self::Unwritable { .. } => "use paths that are text",
            Self::UnknownDevice { .. } => {
                "generate the file again; it goes stale when the driver, the GPUs or MIG instances change"
            }
            Self::NeedsHooks { .. } => "turn CDI on in the engine, or configure the hooks to be ignored",
            Self::Unsafe { .. } => "correct the file",
        }
    }

    /// The same as a finding about the file.
    #[must_use]
    pub fn finding(&self, path: &Path) -> Finding {
        Finding::error(self.code(), self.to_string()).about(path.display().to_string()).remedy(self.remedy())
    }
}

/// What to do about hooks, which cannot be run here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HookPolicy {
    #[default]
    Refuse,
    /// Containers then lack what hooks do: links to libraries, the loader's cache.
    Ignore,
}

impl CdiSpec {
    /// Everything a container with these GPUs gets: the specification's own edits once, then each device's. What
    /// several devices ask for alike appears once. The result has no hooks.
    ///
    /// # Errors
    /// An unknown UUID, hooks that are not to be ignored, a path that is not absolute or climbs up.
    pub fn edits_for(&self, uuids: &[GpuUuid], hooks: HookPolicy) -> Result<ContainerEdits, CdiError> {
        let mut merged = ContainerEdits::default();
        if uuids.is_empty() {
            // Without a device the specification's own edits do not apply either.
            return Ok(merged);
        }
        let wanted: BTreeSet<&GpuUuid> = uuids.iter().collect();
        let mut parts = vec![&self.container_edits];
        for uuid in wanted {
            let device = self.devices.iter().find(|device| device.name == uuid.as_str());
            let device = device.ok_or_else(|| self.unknown(uuid))?;
            parts.push(&device.container_edits);
        }
        for part in parts {
            if hooks == HookPolicy::Refuse && !part.hooks.is_empty() {
                return Err(needs_hooks(part));
            }
            merge(&mut merged, part)?;
        }
        Ok(merged)
    }

    fn unknown(&self, uuid: &GpuUuid) -> CdiError {
        let names: Vec<&str> = self.devices.iter().map(|device| device.name.as_str()).collect();
        let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        CdiError::UnknownDevice { uuid: uuid.clone(), known }
    }
}

fn needs_hooks(edits: &ContainerEdits) -> CdiError {
    let name = |hook: &super::CdiHook| format!("{} {}", hook.hook_name, hook.path.display());
    CdiError::NeedsHooks { hooks: edits.hooks.iter().map(name).collect::<Vec<_>>().join(", ") }
}

fn merge(into: &mut ContainerEdits, part: &ContainerEdits) -> Result<(), CdiError> {
    for variable in &part.env {
        let Some((name, _)) = variable.split_once('=') else {
            return Err(CdiError::Unsafe { detail: format!("`{variable}` is not NAME=value") });
        };
        // As in a runtime, the later value of a variable wins.
        into.env.retain(|other| other.split_once('=').is_none_or(|(other, _)| other != name));
        into.env.push(variable.clone());
    }
    for node in &part.device_nodes {
        plain(&node.path)?;
        plain(node.on_host())?;
        if let Some(other) = into.device_nodes.iter().find(|other| other.path == node.path) {
            if other != node {
                return Err(contradiction(&node.path));
            }
        } else {
            into.device_nodes.push(node.clone());
        }
    }
    for mount in &part.mounts {
        plain(&mount.host_path)?;
        plain(&mount.container_path)?;
        if let Some(other) = into.mounts.iter().find(|other| other.container_path == mount.container_path) {
            if other != mount {
                return Err(contradiction(&mount.container_path));
            }
        } else {
            into.mounts.push(mount.clone());
        }
    }
    for gid in &part.additional_gids {
        if !into.additional_gids.contains(gid) {
            into.additional_gids.push(*gid);
        }
    }
    Ok(())
}

/// Refuses paths whose meaning depends on where one stands.
fn plain(path: &Path) -> Result<(), CdiError> {
    let climbs = path.components().any(|part| part == std::path::Component::ParentDir);
    if path.is_absolute() && !climbs {
        return Ok(());
    }
    Err(CdiError::Unsafe { detail: format!("{} is not an absolute path without `..`", path.display()) })
}

fn contradiction(path: &Path) -> CdiError {
    CdiError::Unsafe { detail: format!("two different entries for {} in the container", path.display()) }
}

#[cfg(test)]
mod tests;
