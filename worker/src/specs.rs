//! What this host has: CPU and memory as far as its cgroup allows, disk, system, GPUs. Stable totals, never what is free
//! at the moment: a description that changed with every beat would be published with every beat.

mod cgroup;
mod host;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use lode_protocol::hardware::{NodeSpecs, PassthroughForm};
use lode_protocol::units::{Bytes, MilliCpus};

pub use cgroup::Limits;
pub use host::Space;

use crate::config::{Config, Passthrough};
use crate::gpus::Offered;

/// CPU and memory that stay with the host: a task that takes all of it takes the worker and the engine with it.
const HOST_MEMORY_SHARE: u64 = 20;
/// Disk that stays free for the host.
const HOST_DISK_SHARE: u64 = 10;
/// Where engines keep their data unless they are told otherwise.
const USUAL_ROOT: &str = "/var/lib/docker";

/// Describes this host. Never fails: what cannot be read is left out, and `check` says why.
pub fn host_specs(
    config: &Config,
    offered: &Offered,
    engine_version: Option<&str>,
    engine_root: Option<&Path>,
) -> NodeSpecs {
    let limits = Limits::of_this_process();
    let gpus = offered.gpus.clone();
    let passthrough = (!gpus.is_empty()).then(|| passthrough_form(config));
    NodeSpecs {
        cpus: capped(limits.cpus, config.lend.cpus),
        cpu_model: host::cpu_model(),
        memory: lent(limits.memory, HOST_MEMORY_SHARE, config.lend.memory),
        disk: lent(disk_total(config, engine_root), HOST_DISK_SHARE, config.lend.disk),
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

fn disk_total(config: &Config, engine_root: Option<&Path>) -> Bytes {
    space_for_tasks(engine_root, &config.data_dir).map_or(Bytes(0), |space| space.total)
}

/// Space where the engine keeps its images and containers: where it says, or where engines usually do before it has said
/// anything; else that of the worker's own folder.
pub fn space_for_tasks(engine_root: Option<&Path>, data_dir: &Path) -> Option<Space> {
    space_of_images(engine_root.unwrap_or(Path::new(USUAL_ROOT))).or_else(|| host::file_system(data_dir))
}

/// Space of the engine's own folder. `None`: it is not there, which means that the worker sees other file systems than
/// the engine (it runs in a container, or the engine on another host).
pub fn space_of_images(root: &Path) -> Option<Space> {
    match std::fs::metadata(root) {
        Ok(_) => host::file_system(root),
        // It is there, and closed: its nearest open parent lies beside it on most hosts.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => host::file_system(root),
        Err(_) => None,
    }
}

/// Space of the file systems that tasks and the worker write to, by path.
pub fn disk_space(config: &Config, engine_root: Option<&Path>) -> Vec<(PathBuf, Space)> {
    let root = engine_root.unwrap_or(Path::new(USUAL_ROOT));
    let own = host::file_system(&config.data_dir).map(|space| (config.data_dir.clone(), space));
    let engine = space_of_images(root).map(|space| (root.to_owned(), space));
    own.into_iter().chain(engine).collect()
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

    #[test]
    fn the_disk_is_the_one_where_the_engine_says_that_its_data_is() {
        // Two file systems that are there on every Linux.
        let (engine, own) = (Path::new("/proc"), Path::new("/tmp"));
        let total = |space: Option<Space>| space.map(|space| space.total);
        assert_eq!(total(space_for_tasks(Some(engine), own)), total(host::file_system(engine)));
        assert_ne!(total(space_for_tasks(Some(engine), own)), total(host::file_system(own)));
    }

    #[test]
    fn a_folder_of_the_engine_that_cannot_be_seen_from_here_says_nothing_about_the_disk_it_would_lie_on() {
        let (elsewhere, own) = (Path::new("/proc/no-such-folder/docker"), Path::new("/tmp"));
        assert_eq!(space_of_images(elsewhere), None);
        let total = |space: Option<Space>| space.map(|space| space.total);
        assert_eq!(total(space_for_tasks(Some(elsewhere), own)), total(host::file_system(own)));
    }
}
