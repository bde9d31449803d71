//! What this container can see of GPUs: what the environment says, and the device nodes that are there.
//!
//! The two are kept apart on purpose: the environment is a statement, a device node is a fact.

use std::{env, fs, io, path::Path};

/// The GPUs of this container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gpus {
    /// `NVIDIA_VISIBLE_DEVICES`, as the container runtime set it.
    pub nvidia_visible_devices: Option<String>,
    /// `LODE_GPU_UUIDS`, as the worker set it.
    pub lode_gpu_uuids: Option<String>,
    /// `/dev/nvidia0`, `/dev/nvidia1`, … in ascending order.
    pub devices: Vec<String>,
}

impl Gpus {
    /// Looks at the environment and at `/dev`.
    pub fn detect() -> io::Result<Self> {
        Ok(Self {
            nvidia_visible_devices: env::var("NVIDIA_VISIBLE_DEVICES").ok(),
            lode_gpu_uuids: env::var("LODE_GPU_UUIDS").ok(),
            devices: device_nodes(Path::new("/dev"))?,
        })
    }

    /// The UUIDs the worker assigned, else those the runtime names; empty when there are none.
    pub fn uuids(&self) -> Vec<&str> {
        let listed = self.lode_gpu_uuids.as_deref().or(self.nvidia_visible_devices.as_deref()).unwrap_or("");
        listed
            .split(',')
            .map(str::trim)
            .filter(|uuid| uuid.starts_with("GPU-") || uuid.starts_with("MIG-"))
            .collect()
    }

    /// One line for a log.
    pub fn describe(&self) -> String {
        let devices = if self.devices.is_empty() { "none".to_owned() } else { self.devices.join(",") };
        format!(
            "gpus: LODE_GPU_UUIDS={} NVIDIA_VISIBLE_DEVICES={} devices={devices}",
            self.lode_gpu_uuids.as_deref().unwrap_or("(unset)"),
            self.nvidia_visible_devices.as_deref().unwrap_or("(unset)"),
        )
    }
}

/// Whole GPUs only: `nvidiactl`, `nvidia-uvm` and the like are no GPUs.
fn device_nodes(folder: &Path) -> io::Result<Vec<String>> {
    let mut indices = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let index = name
            .to_str()
            .and_then(|name| name.strip_prefix("nvidia"))
            .and_then(|text| text.parse::<u32>().ok());
        indices.extend(index);
    }
    indices.sort_unstable();
    Ok(indices.into_iter().map(|index| folder.join(format!("nvidia{index}")).display().to_string()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_gpus_count_as_device_nodes_and_ten_follows_nine() {
        let folder = env::temp_dir().join(format!("lode-example-gpus-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        for name in ["nvidia10", "nvidia9", "nvidia0", "nvidiactl", "nvidia-uvm", "null"] {
            fs::write(folder.join(name), "").unwrap();
        }
        let found = device_nodes(&folder).unwrap();
        fs::remove_dir_all(&folder).unwrap();
        let names: Vec<_> = found.iter().map(|path| path.rsplit('/').next().unwrap()).collect();
        assert_eq!(names, ["nvidia0", "nvidia9", "nvidia10"]);
    }

    #[test]
    fn what_the_worker_assigned_wins_and_void_is_no_uuid() {
        let assigned = Gpus {
            nvidia_visible_devices: Some("void".to_owned()),
            lode_gpu_uuids: Some("GPU-a, GPU-b".to_owned()),
            devices: Vec::new(),
        };
        assert_eq!(assigned.uuids(), ["GPU-a", "GPU-b"]);
        let none = Gpus { nvidia_visible_devices: Some("void".to_owned()), ..Gpus::default() };
        assert!(none.uuids().is_empty());
    }
}
