//! The GPUs of a dev pool: the machine's own where a driver and a way into containers exist, otherwise simulated ones.
//!
//! Simulated GPUs are honest about being so: the mock management library answers the worker, and a CDI file gives a
//! container device nodes backed by `/dev/null` and variables that name exactly the GPUs it got.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use bollard::Docker;
use lode_cli::failure::Kind;
use lode_cli::keys;
use lode_gpu::cdi::{CdiDevice, CdiDeviceNode, CdiSpec, ContainerEdits};
use lode_gpu::{NvmlConfig, NvmlHandle};
use lode_program::files::{create_private_dir, write_atomic};
use serde_json::Value;

use crate::plan::Layout;

/// Name of the mock library, beside the programs.
const MOCK_LIBRARY: &str = "liblode_nvml_mock.so";
/// The simulated machines of worker 1 and worker 2.
const MACHINES: [&str; 2] = [
    include_str!("../../crates/nvml-mock/profiles/h200x8.json"),
    include_str!("../../crates/nvml-mock/profiles/l4x2.json"),
];
/// Where NVIDIA's tools put the machine's own CDI file.
const CDI_FILES: [&str; 2] = ["/etc/cdi/nvidia.yaml", "/var/run/cdi/nvidia.yaml"];
/// How long the driver may take to answer.
const DRIVER_PATIENCE: Duration = Duration::from_secs(20);

/// How one worker comes by its GPUs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum GpuSource {
    /// The machine's own, by the engine's NVIDIA hook.
    Hook { count: u32 },
    /// The machine's own, by its CDI file.
    CdiFile { count: u32, file: PathBuf },
    /// Simulated.
    Simulated { uuids: Vec<String>, library: PathBuf, file: PathBuf },
}

impl GpuSource {
    /// How many there are: the units that stake must cover.
    pub(crate) fn count(&self) -> u32 {
        match self {
            GpuSource::Hook { count } | GpuSource::CdiFile { count, .. } => *count,
            GpuSource::Simulated { uuids, .. } => u32::try_from(uuids.len()).unwrap_or(u32::MAX),
        }
    }

    /// In words.
    pub(crate) fn describe(&self) -> String {
        match self {
            GpuSource::Hook { count } => format!("{count} GPUs of this machine, through the NVIDIA runtime"),
            GpuSource::CdiFile { count, file } => {
                format!("{count} GPUs of this machine, through {}", file.display())
            }
            GpuSource::Simulated { uuids, .. } => format!("{} simulated GPUs", uuids.len()),
        }
    }
}

/// Decides for both workers. The second one always simulates: two workers must not lend the same GPUs.
pub(crate) async fn sources(
    layout: &Layout,
    binaries: &Path,
    docker: &Docker,
    simulate: bool,
) -> anyhow::Result<[GpuSource; 2]> {
    let first = match if simulate { None } else { own_gpus(docker).await } {
        Some(source) => source,
        None => simulated(layout, binaries, 1)?,
    };
    Ok([first, simulated(layout, binaries, 2)?])
}

/// The machine's own GPUs, if the driver loads and containers can have them.
async fn own_gpus(docker: &Docker) -> Option<GpuSource> {
    if !Path::new("/proc/driver/nvidia/version").exists() {
        return None;
    }
    let nvml = NvmlHandle::start(NvmlConfig::default()).ok()?;
    let inventory = tokio::time::timeout(DRIVER_PATIENCE, nvml.inventory()).await.ok()?.ok()?;
    let count = u32::try_from(inventory.gpus.len()).ok().filter(|count| *count > 0)?;
    if let Some(file) = CDI_FILES.iter().map(Path::new).find(|file| file.exists()) {
        let spec = CdiSpec::load(file).ok()?;
        let uuids: Vec<_> = inventory.gpus.iter().map(|gpu| gpu.uuid.clone()).collect();
        if spec.edits_for(&uuids, lode_gpu::cdi::HookPolicy::Refuse).is_ok() {
            return Some(GpuSource::CdiFile { count, file: file.to_owned() });
        }
    }
    let runtimes = docker.info().await.ok()?.runtimes.unwrap_or_default();
    runtimes.contains_key("nvidia").then_some(GpuSource::Hook { count })
}

fn simulated(layout: &Layout, binaries: &Path, number: usize) -> anyhow::Result<GpuSource> {
    let folder = layout.gpus(&format!("worker-{number}"));
    create_private_dir(&folder)?;
    let library = folder.join(MOCK_LIBRARY);
    let from = binaries.join(MOCK_LIBRARY);
    std::fs::copy(&from, &library).map_err(|error| {
        let remedy = "build it with `cargo build --release -p lode-nvml-mock`, or run scripts/up";
        Kind::Failed
            .with_remedy(format!("cannot copy the simulated driver {}: {error}", from.display()), remedy)
    })?;
    // A copy of the library reads the file of its own name; the worker's host sees it as its driver.
    let machine_file = folder.join(format!("{MOCK_LIBRARY}.json"));
    let machine: Value = match std::fs::read(&machine_file) {
        Ok(bytes) => {
            serde_json::from_slice(&bytes).with_context(|| format!("{} is broken", machine_file.display()))?
        }
        Err(_) => {
            let text = MACHINES.get(number - 1).context("there are two workers")?;
            let mut machine = serde_json::from_str(text)?;
            give_own_uuids(&mut machine)?;
            write_atomic(&machine_file, serde_json::to_string_pretty(&machine)?.as_bytes(), 0o600)?;
            machine
        }
    };
    let gpus = gpus_of(&machine);
    let file = folder.join("cdi.yaml");
    write_atomic(&file, cdi(&gpus).to_yaml()?.as_bytes(), 0o600)?;
    Ok(GpuSource::Simulated { uuids: gpus.into_iter().map(|(uuid, _)| uuid).collect(), library, file })
}

/// Pools beside each other must not claim the same GPUs.
fn give_own_uuids(machine: &mut Value) -> anyhow::Result<()> {
    for gpu in machine.get_mut("gpus").and_then(Value::as_array_mut).into_iter().flatten() {
        let digits = keys::random_hex(16)?;
        let part = |from: usize, to: usize| digits.get(from..to).unwrap_or_default();
        let uuid = format!(
            "GPU-{}-{}-4{}-8{}-{}",
            part(0, 8),
            part(8, 12),
            part(12, 15),
            part(15, 18),
            part(18, 30)
        );
        if let Some(field) = gpu.get_mut("uuid") {
            *field = Value::String(uuid);
        }
    }
    Ok(())
}

/// UUID and device number of each GPU.
fn gpus_of(machine: &Value) -> Vec<(String, u64)> {
    let gpus = machine.get("gpus").and_then(Value::as_array).into_iter().flatten();
    gpus.filter_map(|gpu| Some((gpu.get("uuid")?.as_str()?.to_owned(), gpu.get("minor")?.as_u64()?)))
        .collect()
}

fn cdi(gpus: &[(String, u64)]) -> CdiSpec {
    let null = |path: String| CdiDeviceNode {
        path: path.into(),
        host_path: Some("/dev/null".into()),
        permissions: Some("rw".to_owned()),
        ..CdiDeviceNode::default()
    };
    let device = |(uuid, minor): &(String, u64)| CdiDevice {
        name: uuid.clone(),
        container_edits: ContainerEdits {
            env: vec![format!("SIMULATED_GPU_{minor}={uuid}")],
            device_nodes: vec![null(format!("/dev/nvidia{minor}"))],
            ..ContainerEdits::default()
        },
        ..CdiDevice::default()
    };
    CdiSpec {
        cdi_version: "0.6.0".to_owned(),
        kind: "nvidia.com/gpu".to_owned(),
        devices: gpus.iter().map(device).collect(),
        container_edits: ContainerEdits {
            device_nodes: vec![null("/dev/nvidiactl".to_owned())],
            ..ContainerEdits::default()
        },
        ..CdiSpec::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lode_protocol::ids::GpuUuid;

    #[test]
    fn a_simulated_container_sees_its_gpus_and_no_others() {
        let mut machine: Value = serde_json::from_str(MACHINES[0]).unwrap();
        give_own_uuids(&mut machine).unwrap();
        let gpus = gpus_of(&machine);
        assert_eq!(gpus.len(), 8);
        let spec = cdi(&gpus);
        let uuids: Vec<GpuUuid> = gpus.iter().take(2).map(|(uuid, _)| uuid.parse().unwrap()).collect();
        let edits = spec.edits_for(&uuids, lode_gpu::cdi::HookPolicy::Refuse).unwrap();
        let mut paths: Vec<_> =
            edits.device_nodes.iter().map(|node| node.path.display().to_string()).collect();
        paths.sort();
        assert_eq!(paths, ["/dev/nvidia0", "/dev/nvidia1", "/dev/nvidiactl"]);
        assert_eq!(edits.env.len(), 2);
    }

    #[test]
    fn two_pools_simulate_different_gpus() {
        let fresh = || {
            let mut machine: Value = serde_json::from_str(MACHINES[1]).unwrap();
            give_own_uuids(&mut machine).unwrap();
            gpus_of(&machine)
        };
        let (first, second) = (fresh(), fresh());
        assert_eq!((first.len(), second.len()), (2, 2));
        assert!(first.iter().all(|gpu| !second.contains(gpu)));
    }

    #[test]
    fn simulated_gpus_are_the_same_when_a_pool_is_continued() {
        let folder = tempfile::tempdir().unwrap();
        let binaries = tempfile::tempdir().unwrap();
        std::fs::write(binaries.path().join(MOCK_LIBRARY), "library").unwrap();
        let layout = Layout::create(folder.path()).unwrap();
        let first = simulated(&layout, binaries.path(), 1).unwrap();
        assert_eq!(first.count(), 8);
        assert_eq!(simulated(&layout, binaries.path(), 1).unwrap(), first);
        let missing = simulated(&layout, folder.path(), 2).unwrap_err();
        assert!(missing.to_string().contains(MOCK_LIBRARY));
    }
}
