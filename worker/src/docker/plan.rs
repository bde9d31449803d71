//! From an assignment to the body of Docker's create call. Pure: what a container may do is decided here.
//!
//! Hardened by default (GPU.md §4.2, §4.5): no capabilities, no new privileges, limits of processes, memory and CPU time,
//! private IPC, own bridge network, no host paths. The root file system is read-only with a tmpfs on `/tmp`, unless the task asks
//! for disk: then its own layer is writable (ADR 0003).

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};

use bollard::models::{
    ContainerCreateBody, DeviceMapping, DeviceRequest, EndpointSettings, HostConfig, HostConfigLogConfig,
    Mount, MountType, NetworkingConfig, PortBinding, RestartPolicy, RestartPolicyNameEnum,
};
use lode_gpu::cdi::{CdiSpec, ContainerEdits, HookPolicy};
use lode_protocol::ids::{AssignmentId, GpuUuid, PoolId};
use lode_protocol::task::PortProtocol;
use lode_protocol::units::Bytes;

use super::labels::Ownership;
use super::mounts::{TMP, tmpfs_options, volumes};
use super::ulimits::{Ceiling, ProcessLimits};
use crate::core::effect::ContainerPlan;
use crate::core::event::EngineFailure;

/// How GPUs reach a container.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum GpuAccess {
    /// The engine's `nvidia` driver (the hook).
    Hook,
    /// A CDI file that the worker applies itself. Read at each use: it changes with the driver.
    CdiFile(PathBuf),
    /// This host lends no GPUs.
    None,
}

/// Limits that the host's owner sets for every task.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hardening {
    /// Most processes and threads of a task.
    pub pids: u32,
    /// Open files and locked memory.
    pub limits: ProcessLimits,
    /// Size of `/tmp`, and of each volume of an image.
    pub tmpfs: Bytes,
    /// Address on which ports are published.
    pub host_address: std::net::IpAddr,
    /// Size of a log file before it is rotated.
    pub log_size: Bytes,
    /// OCI runtime; `None` is the engine's default.
    pub runtime: Option<String>,
}

/// What a container is made of.
#[derive(Debug)]
pub(super) struct Blueprint<'a> {
    pub(super) plan: &'a ContainerPlan,
    pub(super) ownership: &'a Ownership,
    pub(super) pool: PoolId,
    pub(super) hardening: &'a Hardening,
    pub(super) access: &'a GpuAccess,
    pub(super) image: &'a ImageFacts,
    /// What the engine can give.
    pub(super) ceiling: Ceiling,
}

/// What an image brings that a container must not simply have.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct ImageFacts {
    /// `Env`: variables of it that steer GPUs or the loader are overridden.
    pub(super) environment: Vec<String>,
    /// `VOLUME`s.
    pub(super) volumes: Vec<String>,
    /// `USER`; empty for the superuser.
    pub(super) user: String,
}

/// Name of a container: unique per try.
pub(super) fn container_name(ownership: &Ownership, id: &AssignmentId, attempt: u32) -> String {
    format!("{}-{attempt}", ownership.name(id))
}

impl Blueprint<'_> {
    /// The body of the create call.
    pub(super) fn body(&self) -> Result<ContainerCreateBody, EngineFailure> {
        let edits = self.cdi_edits()?;
        let spec = &self.plan.order.spec;
        let network = self.ownership.name(&self.plan.id);
        Ok(ContainerCreateBody {
            image: Some(self.plan.image.clone()),
            entrypoint: spec.command.clone(),
            cmd: if spec.args.is_empty() && spec.command.is_none() { None } else { Some(spec.args.clone()) },
            env: Some(self.environment(edits.as_ref())),
            labels: Some(self.ownership.labels(&self.plan.id, self.plan.attempt)),
            exposed_ports: Some(self.plan.ports.iter().map(|p| port_key(p.container, p.protocol)).collect()),
            host_config: Some(self.host_config(edits.unwrap_or_default(), &network)?),
            networking_config: Some(NetworkingConfig {
                endpoints_config: Some(HashMap::from([(network, EndpointSettings::default())])),
            }),
            ..Default::default()
        })
    }

    fn cdi_edits(&self) -> Result<Option<ContainerEdits>, EngineFailure> {
        match self.access {
            GpuAccess::CdiFile(path) if !self.plan.order.gpus.is_empty() => {
                let read =
                    |path: &Path| CdiSpec::load(path)?.edits_for(&self.plan.order.gpus, HookPolicy::Refuse);
                read(path).map(Some).map_err(|error| EngineFailure::Gpu(error.to_string()))
            }
            GpuAccess::None if !self.plan.order.gpus.is_empty() => {
                Err(EngineFailure::Gpu("this worker is not set up to pass GPUs through".to_owned()))
            }
            GpuAccess::CdiFile(_) | GpuAccess::Hook | GpuAccess::None => Ok(None),
        }
    }

    /// The task's variables, then the image's that must not count, then ours: of two equal names the last one stays.
    fn environment(&self, edits: Option<&ContainerEdits>) -> Vec<String> {
        let order = &self.plan.order;
        let mut env: Vec<String> =
            order.spec.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
        env.extend(edits.into_iter().flat_map(|edits| edits.env.iter().cloned()));
        // What the image brings must not widen what the task sees; emptied, because Docker cannot unset.
        for name in
            self.image.environment.iter().filter_map(|entry| entry.split_once('=').map(|(name, _)| name))
        {
            let steers_gpus = name.starts_with("NVIDIA_") || name.starts_with("CUDA_MPS_");
            // CUDA images need their search path; it concerns nothing outside of the container.
            let steers_loader = name.starts_with("LD_") && name != "LD_LIBRARY_PATH";
            if steers_gpus || steers_loader {
                env.push(format!("{name}="));
            }
        }
        let uuids = join(&self.plan.order.gpus);
        let visible = if uuids.is_empty() { "void" } else { &uuids };
        env.push(format!("NVIDIA_VISIBLE_DEVICES={visible}"));
        if !self.plan.order.gpus.is_empty() {
            env.push("NVIDIA_DRIVER_CAPABILITIES=compute,utility".to_owned());
        }
        env.push("LD_PRELOAD=".to_owned());
        env.push("LD_AUDIT=".to_owned());
        env.push(format!("LODE_GPU_UUIDS={uuids}"));
        env.push(format!("LODE_TASK_ID={}", self.plan.id.replica.task));
        env.push(format!("LODE_TASK_NAME={}", order.spec.name));
        env.push(format!("LODE_ASSIGNMENT={}", self.plan.id));
        env.push(format!("LODE_REPLICA={}", self.plan.id.replica.replica));
        env.push(format!("LODE_NODE={}", self.ownership.node()));
        env.push(format!("LODE_POOL={}", self.pool));
        for port in &self.plan.ports {
            let name = port.name.to_ascii_uppercase().replace('-', "_");
            env.push(format!("LODE_PORT_{name}={}", port.container));
        }
        last_of_each(env)
    }

    fn host_config(&self, edits: ContainerEdits, network: &str) -> Result<HostConfig, EngineFailure> {
        let resources = &self.plan.order.spec.resources;
        let bytes = |size: Bytes| Some(i64::try_from(size.0).unwrap_or(i64::MAX));
        let wants_disk = resources.disk > Bytes(0);
        let hook = matches!(self.access, GpuAccess::Hook) && !self.plan.order.gpus.is_empty();
        Ok(HostConfig {
            network_mode: Some(network.to_owned()),
            port_bindings: Some(self.port_bindings()),
            device_requests: hook.then(|| vec![gpu_request(&self.plan.order.gpus)]),
            devices: Some(edits.device_nodes.iter().map(device_mapping).collect()),
            mounts: Some(self.mounts(&edits)?),
            memory: bytes(resources.memory),
            memory_swap: bytes(resources.memory),
            nano_cpus: Some(i64::from(resources.cpus.0) * 1_000_000),
            pids_limit: Some(i64::from(self.hardening.pids)),
            ulimits: Some(self.hardening.limits.within(self.ceiling)),
            // Data loaders share batches through it.
            shm_size: bytes(resources.shared_memory()),
            ipc_mode: Some("private".to_owned()),
            cap_drop: Some(vec!["ALL".to_owned()]),
            security_opt: Some(vec!["no-new-privileges:true".to_owned()]),
            privileged: Some(false),
            readonly_rootfs: Some(!wants_disk),
            tmpfs: Some(HashMap::from([(
                TMP.to_owned(),
                tmpfs_options(self.hardening.tmpfs, &self.image.user),
            )])),
            // The kernel takes a task before it takes the host's own programs.
            oom_score_adj: Some(500),
            runtime: self.hardening.runtime.clone(),
            restart_policy: Some(RestartPolicy {
                name: Some(RestartPolicyNameEnum::NO),
                maximum_retry_count: None,
            }),
            log_config: Some(HostConfigLogConfig {
                // Of the drivers that can be read back the one that keeps bytes: `json-file` makes U+FFFD of what is
                // no UTF-8, and of each character that lies across 16 KiB of a line.
                typ: Some("local".to_owned()),
                config: Some(HashMap::from([
                    ("max-size".to_owned(), self.hardening.log_size.0.to_string()),
                    ("max-file".to_owned(), "2".to_owned()),
                    // What is rotated away was read long before.
                    ("compress".to_owned(), "false".to_owned()),
                ])),
            }),
            ..Default::default()
        })
    }

    /// What GPUs need of the host, and memory where the image has volumes.
    fn mounts(&self, edits: &ContainerEdits) -> Result<Vec<Mount>, EngineFailure> {
        let mounted: BTreeSet<PathBuf> =
            edits.mounts.iter().map(|mount| mount.container_path.clone()).collect();
        let mut mounts: Vec<Mount> = edits.mounts.iter().map(bind_mount).collect();
        mounts.extend(volumes(&self.image.volumes, self.hardening.tmpfs, &mounted)?);
        Ok(mounts)
    }

    fn port_bindings(&self) -> HashMap<String, Option<Vec<PortBinding>>> {
        let binding = |host: u16| PortBinding {
            host_ip: Some(self.hardening.host_address.to_string()),
            host_port: Some(host.to_string()),
        };
        let ports = self.plan.ports.iter();
        ports.map(|port| (port_key(port.container, port.protocol), Some(vec![binding(port.host)]))).collect()
    }
}

/// One entry per name, the last one: of two equal names some readers take the first.
fn last_of_each(env: Vec<String>) -> Vec<String> {
    let name = |entry: &str| entry.split_once('=').map_or(entry, |(name, _)| name).to_owned();
    let mut seen = HashSet::new();
    let mut kept: Vec<String> = env.into_iter().rev().filter(|entry| seen.insert(name(entry))).collect();
    kept.reverse();
    kept
}

fn join(gpus: &[GpuUuid]) -> String {
    gpus.iter().map(GpuUuid::as_str).collect::<Vec<_>>().join(",")
}

fn port_key(port: u16, protocol: PortProtocol) -> String {
    let protocol = match protocol {
        PortProtocol::Tcp => "tcp",
        PortProtocol::Udp => "udp",
    };
    format!("{port}/{protocol}")
}

/// Docker's `nvidia` driver wants a capability, and never a count beside ids.
fn gpu_request(gpus: &[GpuUuid]) -> DeviceRequest {
    DeviceRequest {
        driver: Some("nvidia".to_owned()),
        count: None,
        device_ids: Some(gpus.iter().map(ToString::to_string).collect()),
        capabilities: Some(vec![vec!["gpu".to_owned(), "compute".to_owned(), "utility".to_owned()]]),
        options: None,
    }
}

fn device_mapping(node: &lode_gpu::cdi::CdiDeviceNode) -> DeviceMapping {
    DeviceMapping {
        path_on_host: Some(node.on_host().display().to_string()),
        path_in_container: Some(node.path.display().to_string()),
        cgroup_permissions: Some(node.cgroup_permissions().to_owned()),
    }
}

fn bind_mount(mount: &lode_gpu::cdi::CdiMount) -> Mount {
    Mount {
        typ: Some(MountType::BIND),
        source: Some(mount.host_path.display().to_string()),
        target: Some(mount.container_path.display().to_string()),
        read_only: Some(!mount.is_writable()),
        ..Default::default()
    }
}
