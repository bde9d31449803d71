//! What the host uses now: CPU time since the last look, memory, free disk. Everything here is a report; nothing is
//! decided by it.

use std::path::{Path, PathBuf};
use std::time::Instant;

use lode_protocol::session::Usage;
use lode_protocol::units::{Bytes, MilliCpus};

use crate::specs;

/// Reads the host's use.
#[derive(Debug)]
pub struct UsageProbe {
    disk: PathBuf,
    last: Option<(Instant, f64)>,
}

impl UsageProbe {
    /// `disk` lies on the file system whose free space counts until the engine has said where it keeps its data.
    pub fn new(disk: PathBuf) -> Self {
        Self { disk, last: None }
    }

    /// Use now; CPU use is averaged since the call before. `root` is where the engine keeps its data.
    pub fn read(&mut self, root: Option<&Path>) -> Usage {
        let now = Instant::now();
        let busy = std::fs::read_to_string("/proc/stat").ok().and_then(|text| busy_seconds(&text));
        let cpus = match (self.last, busy) {
            (Some((then, before)), Some(busy)) => {
                let elapsed = now.duration_since(then).as_secs_f64();
                if elapsed > 0.0 { (busy - before).max(0.0) / elapsed } else { 0.0 }
            }
            _ => 0.0,
        };
        self.last = busy.map(|busy| (now, busy));
        let memory = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| memory_used(&text));
        let disk = specs::space_for_tasks(root, &self.disk).map(|space| space.free);
        Usage {
            cpus: MilliCpus(thousandths(cpus)),
            memory: Bytes(memory.unwrap_or(0)),
            disk_free: disk.unwrap_or(Bytes(0)),
        }
    }
}

/// A cast from float saturates, and NaN becomes zero.
fn thousandths(cpus: f64) -> u32 {
    (cpus * 1_000.0) as u32
}

/// Seconds that all CPUs together were not idle, from `/proc/stat` (hundredths of a second, by the kernel's ABI).
fn busy_seconds(text: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let ticks: Vec<f64> = line.split_whitespace().map_while(|field| field.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal; guest time is part of user time.
    let busy: f64 =
        ticks.iter().take(8).enumerate().filter(|(at, _)| !matches!(at, 3 | 4)).map(|(_, t)| t).sum();
    Some(busy / 100.0)
}

/// Bytes in use, from `/proc/meminfo`.
fn memory_used(text: &str) -> Option<u64> {
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    Some(field("MemTotal:")?.saturating_sub(field("MemAvailable:")?).saturating_mul(1024))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_time_and_waiting_do_not_count_as_use() {
        assert_eq!(busy_seconds("cpu  100 0 50 900 70 0 0 0 0 0\ncpu0 1 1 1 1\n"), Some(1.5));
        assert_eq!(busy_seconds("intr 1\n"), None);
    }

    #[test]
    fn memory_that_can_be_had_does_not_count_as_used() {
        assert_eq!(memory_used("MemTotal:  100 kB\nMemFree: 1 kB\nMemAvailable: 40 kB\n"), Some(60 * 1024));
    }

    #[test]
    fn this_host_can_be_read() {
        let mut probe = UsageProbe::new(PathBuf::from("/"));
        assert!(probe.read(None).memory > Bytes(0));
    }
}
