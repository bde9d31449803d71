//! CPU and memory that this process may use: the host's, cut down by cgroups of either version and by CPU affinity.

use std::path::{Path, PathBuf};

use lode_protocol::units::{Bytes, MilliCpus};

/// What may be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// CPU time.
    pub cpus: MilliCpus,
    /// Memory.
    pub memory: Bytes,
}

impl Limits {
    /// Of the process that asks.
    pub fn of_this_process() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
        Self::read(Path::new("/"), u32::try_from(threads).unwrap_or(u32::MAX))
    }

    /// With the files below `root`, on a host that grants `threads` CPUs.
    fn read(root: &Path, threads: u32) -> Self {
        let file = |path: &str| std::fs::read_to_string(root.join(path)).ok();
        let host = Limits {
            cpus: MilliCpus(threads.saturating_mul(1_000)),
            memory: file("proc/meminfo").as_deref().and_then(total_memory).unwrap_or_default(),
        };
        let groups = file("proc/self/cgroup").unwrap_or_default();
        let mut limits = host;
        for group in groups.lines().filter_map(Group::parse) {
            for folder in group.folders() {
                let read = |name: &str| std::fs::read_to_string(root.join(&folder).join(name)).ok();
                let quota = read("cpu.max").as_deref().and_then(quota_v2).or_else(|| {
                    quota_v1(read("cpu.cfs_quota_us")?.trim(), read("cpu.cfs_period_us")?.trim())
                });
                let memory = read("memory.max").or_else(|| read("memory.limit_in_bytes"));
                let memory = memory.and_then(|text| text.trim().parse::<u64>().ok()).map(Bytes);
                limits.cpus = limits.cpus.min(quota.unwrap_or(limits.cpus));
                limits.memory = limits.memory.min(memory.unwrap_or(limits.memory));
            }
        }
        limits
    }
}

fn total_memory(meminfo: &str) -> Option<Bytes> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(Bytes(kibibytes << 10))
}

/// `quota period` or `max period`.
fn quota_v2(text: &str) -> Option<MilliCpus> {
    let (quota, period) = text.trim().split_once(' ')?;
    quota_v1(quota, period)
}

fn quota_v1(quota: &str, period: &str) -> Option<MilliCpus> {
    let quota: u64 = quota.parse().ok()?;
    let period: u64 = period.parse().ok().filter(|period| *period > 0)?;
    u32::try_from(quota.saturating_mul(1_000) / period).ok().map(MilliCpus)
}

/// A line of `/proc/self/cgroup`.
struct Group<'a> {
    controllers: &'a str,
    path: &'a str,
}

impl<'a> Group<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut parts = line.splitn(3, ':');
        let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        Some(Self { controllers, path: path.trim_start_matches('/') })
    }

    /// Folders that limit this group, relative to the root: its own and its parents', in either version's layout. In a
    /// container the path is the host's, and only the mount's root can be seen.
    fn folders(&self) -> Vec<PathBuf> {
        let mount = match self.controllers {
            "" => PathBuf::from("sys/fs/cgroup"),
            names if names.split(',').any(|name| name == "memory") => PathBuf::from("sys/fs/cgroup/memory"),
            names if names.split(',').any(|name| name == "cpu") => PathBuf::from("sys/fs/cgroup/cpu"),
            _ => return Vec::new(),
        };
        let own = Path::new(self.path);
        own.ancestors().map(|place| mount.join(place)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        root
    }

    const MEMINFO: (&str, &str) = ("proc/meminfo", "MemTotal:       16777216 kB\nMemFree: 1 kB\n");

    #[test]
    fn a_cgroup_of_version_2_with_a_quota_of_two_cpus_reports_two() {
        let root = host(&[
            MEMINFO,
            ("proc/self/cgroup", "0::/system.slice/worker.service\n"),
            ("sys/fs/cgroup/system.slice/worker.service/cpu.max", "200000 100000\n"),
            ("sys/fs/cgroup/system.slice/worker.service/memory.max", "max\n"),
            ("sys/fs/cgroup/system.slice/memory.max", "4294967296\n"),
        ]);
        assert_eq!(Limits::read(root.path(), 16), Limits { cpus: MilliCpus(2_000), memory: Bytes::gibi(4) });
    }

    #[test]
    fn a_cgroup_of_version_1_inside_a_container_is_found_at_the_mounts_root() {
        let root = host(&[
            MEMINFO,
            ("proc/self/cgroup", "4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n"),
            ("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "150000\n"),
            ("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "1073741824\n"),
        ]);
        assert_eq!(Limits::read(root.path(), 16), Limits { cpus: MilliCpus(1_500), memory: Bytes::gibi(1) });
    }

    #[test]
    fn without_limits_the_host_counts() {
        let root = host(&[
            MEMINFO,
            ("proc/self/cgroup", "0::/\n"),
            ("sys/fs/cgroup/cpu.max", "max 100000\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
        ]);
        assert_eq!(
            Limits::read(root.path(), 16),
            Limits { cpus: MilliCpus(16_000), memory: Bytes::gibi(16) }
        );
    }
}
