//! From a specification and UUIDs to what one container gets.

use std::collections::BTreeSet;
use std::path::Path;

use lode_protocol::ids::GpuUuid;

use super::error::CdiError;
use super::spec::{CdiSpec, ContainerEdits};

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
