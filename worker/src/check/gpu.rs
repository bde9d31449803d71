//! The driver library and its GPUs.

use lode_gpu::cdi::{CdiSpec, HookPolicy};
use lode_gpu::{Excluded, Inventory, NvmlConfig, NvmlError, NvmlHandle};
use lode_program::finding::Finding;
use lode_protocol::ids::GpuUuid;

use crate::config::{Config, Passthrough};
use crate::gpus::unused_exclusion;

#[derive(Default)]
pub(super) struct Gpus {
    pub(super) findings: Vec<Finding>,
    pub(super) inventory: Option<Inventory>,
}

pub(super) async fn check(config: &Config) -> Gpus {
    if !config.gpu.enabled {
        return Gpus::default();
    }
    let nvml = NvmlConfig { library: config.gpu.nvml_library.clone(), ..NvmlConfig::default() };
    let handle = match NvmlHandle::start(nvml) {
        Ok(handle) => handle,
        Err(error) => {
            let finding =
                Finding::error("gpu/not-reached", format!("no thread could be started for NVML: {error}"))
                    .remedy("Raise the process limit of this user.");
            return Gpus { findings: vec![finding], inventory: None };
        }
    };
    match handle.inventory().await {
        Ok(mut inventory) => {
            let mut excluded = Excluded::new(config.gpu.exclude.clone());
            excluded.apply(&mut inventory);
            let mut findings = inventory.findings();
            findings.extend(excluded.unused().map(unused_exclusion));
            Gpus { findings, inventory: Some(inventory) }
        }
        Err(error) => Gpus { findings: vec![without_gpus(config, &error)], inventory: None },
    }
}

/// A host without GPUs, or without the driver library, is fine where its owner says that it lends CPUs only.
fn without_gpus(config: &Config, error: &NvmlError) -> Finding {
    let finding = error.finding("");
    let none = matches!(finding.code.as_str(), "gpu/none-found" | "gpu/library-missing");
    if none && config.gpu.allow_none {
        let message = format!("{}; this host lends CPUs only", finding.message);
        return Finding::info(finding.code, message);
    }
    finding
}

/// Whether the CDI file names every GPU.
pub(super) fn check_cdi(config: &Config, inventory: Option<&Inventory>) -> Vec<Finding> {
    let Some(path) = &config.gpu.cdi_file else { return Vec::new() };
    if config.gpu.passthrough == Passthrough::Hook || !config.gpu.enabled {
        return Vec::new();
    }
    let spec = match CdiSpec::load(path) {
        Ok(spec) => spec,
        Err(error) => return vec![error.finding(path)],
    };
    let uuids: Vec<GpuUuid> =
        inventory.map(lode_gpu::gpu_specs).unwrap_or_default().into_iter().map(|gpu| gpu.uuid).collect();
    match spec.edits_for(&uuids, HookPolicy::Refuse) {
        Ok(_) => Vec::new(),
        Err(error) => vec![error.finding(path)],
    }
}
