//! What this host has: CPU and memory as far as its cgroup allows, disk, system, GPUs. Stable totals, never what is free
//! at the moment: a description that changed with every beat would be published with every beat.

mod cgroup;
mod host;

use std::path::Path;

use lode_protocol::hardware::{NodeSpecs, PassthroughForm};
use lode_protocol::units::{Bytes, MilliCpus};

pub use cgroup::Limits;

use crate::config::{Config, Passthrough};
use crate::gpus::Offered;

/// CPU and memory that stay with the host: a task that takes all of it takes the worker and the engine with it.
const HOST_MEMORY_SHARE: u64 = 20;
/// Disk that stays free for the host.
const HOST_DISK_SHARE: u64 = 10;

/// Describes this host. Never fails: what cannot be read is left out, and `check` says why.
pub fn host_specs(config: &Config, offered: &Offered, engine_version: Option<&str>) -> NodeSpecs {
    let limits = Limits::of_this_process();
    let gpus = offered.gpus.clone();
    let passthrough = (!gpus.is_empty()).then(|| passthrough_form(config));
    NodeSpecs {
        cpus: capped(limits.cpus, config.lend.cpus),
        cpu_model: host::cpu_model(),
        memory: lent(limits.memory, HOST_MEMORY_SHARE, config.lend.memory),
        disk: lent(disk_total(config), HOST_DISK_SHARE, config.lend.disk),
        gpus,
        driver_version: offered.driver_version.clone(),
        cuda_version: offered.cuda_version,
        engine_version: engine_version.map(str::to_owned),
        passthrough,
        os: host::os_name(),
        architecture: host::architecture().to_owned(),
        labels: config.labels.clone(),
    }
}

fn passthrough_form(config: &Config) -> PassthroughForm {
    match config.gpu.passthrough {
        Passthrough::Hook => PassthroughForm::Hook,
        Passthrough::CdiFile => PassthroughForm::CdiFile,
        Passthrough::Auto if config.gpu.cdi_file.is_some() => PassthroughForm::CdiFile,
        Passthrough::Auto => PassthroughForm::Hook,
    }
}

fn capped(total: MilliCpus, cap: Option<MilliCpus>) -> MilliCpus {
    cap.map_or(total, |cap| cap.min(total))
}

/// What is lent of `total`: everything up to the owner's cap, or all but the host's share (one part in `share`).
fn lent(total: Bytes, share: u64, cap: Option<Bytes>) -> Bytes {
    match cap {
        Some(cap) => cap.min(total),
        None => Bytes(total.0 - total.0 / share),
    }
}

/// Size of the file system that holds the engine's data, or the worker's where that cannot be seen.
fn disk_total(config: &Config) -> Bytes {
    let engine = Path::new("/var/lib/docker");
    let place = if engine.is_dir() { engine } else { config.data_dir.as_path() };
    host::file_system(place).map_or(Bytes(0), |space| space.total)
}

/// Space of the file systems that tasks and the worker write to, by path.
pub fn disk_space(config: &Config) -> Vec<(std::path::PathBuf, host::Space)> {
    let places = [config.data_dir.clone(), std::path::PathBuf::from("/var/lib/docker")];
    places.into_iter().filter_map(|place| host::file_system(&place).map(|space| (place, space))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_caps_what_is_lent_and_a_cap_never_lends_more_than_there_is() {
        assert_eq!(lent(Bytes(1_000), 10, None), Bytes(900));
        assert_eq!(lent(Bytes(1_000), 10, Some(Bytes(500))), Bytes(500));
        assert_eq!(lent(Bytes(1_000), 10, Some(Bytes(5_000))), Bytes(1_000));
        assert_eq!(capped(MilliCpus(8_000), Some(MilliCpus(2_000))), MilliCpus(2_000));
        assert_eq!(capped(MilliCpus(2_000), Some(MilliCpus(8_000))), MilliCpus(2_000));
    }
}
