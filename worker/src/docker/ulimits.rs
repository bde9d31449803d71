//! Limits of a container's processes, as far as the engine can give them.
//!
//! What the engine itself was started with must not decide how many files a task may open or how much memory RDMA may
//! pin. But an engine without CAP_SYS_RESOURCE cannot raise its own hard limits, and a container that asks for more does
//! not start: so the engine's process is looked at first.

use std::path::Path;

use bollard::models::ResourcesUlimits;
use lode_protocol::units::Bytes;
use tokio::net::UnixStream;

/// `CAP_SYS_RESOURCE` (linux/capability.h).
const CAP_SYS_RESOURCE: u32 = 24;
/// All users of the system, as a process of its first user namespace sees them (user_namespaces(7)).
const ALL_USERS: [&str; 3] = ["0", "0", "4294967295"];

/// What the host's owner wants tasks to have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProcessLimits {
    /// Open files.
    pub open_files: u64,
    /// Memory that may be locked; `None`: as much as the task's memory limit allows.
    pub locked_memory: Option<Bytes>,
}

/// The most that an engine can give; `None`: anything.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Ceiling {
    open_files: Option<u64>,
    locked_memory: Option<u64>,
}

impl Ceiling {
    /// Of the engine that listens on a socket. Whatever cannot be read limits nothing.
    pub(super) async fn of_engine(socket: &Path) -> Self {
        let mut ceiling = Self::of_process(socket).await.unwrap_or_default();
        let most = tokio::fs::read_to_string("/proc/sys/fs/nr_open").await;
        let most = most.ok().and_then(|text| text.trim().parse::<u64>().ok());
        ceiling.open_files = [ceiling.open_files, most].into_iter().flatten().min();
        ceiling
    }

    async fn of_process(socket: &Path) -> Option<Self> {
        let listener = UnixStream::connect(socket).await.ok()?.peer_cred().ok()?;
        let folder = format!("/proc/{}", listener.pid()?);
        let read = async |name: &str| tokio::fs::read_to_string(format!("{folder}/{name}")).await.ok();
        let (status, users) = (read("status").await?, read("uid_map").await?);
        if may_raise(&status, &users) {
            return Some(Self::default());
        }
        let limits = read("limits").await?;
        Some(Self {
            open_files: hard_limit(&limits, "Max open files"),
            locked_memory: hard_limit(&limits, "Max locked memory"),
        })
    }
}

impl ProcessLimits {
    /// As the engine wants them told, within what it can give.
    pub(super) fn within(self, ceiling: Ceiling) -> Vec<ResourcesUlimits> {
        let files = ceiling.open_files.map_or(self.open_files, |most| most.min(self.open_files));
        let locked = [self.locked_memory.map(|limit| limit.0), ceiling.locked_memory];
        vec![ulimit("nofile", Some(files)), ulimit("memlock", locked.into_iter().flatten().min())]
    }
}

/// `None` is without limit.
fn ulimit(name: &str, limit: Option<u64>) -> ResourcesUlimits {
    let limit = limit.map_or(-1, |limit| i64::try_from(limit).unwrap_or(i64::MAX));
    ResourcesUlimits { name: Some(name.to_owned()), soft: Some(limit), hard: Some(limit) }
}

/// Whether a process can raise hard limits: with the capability, and that in the system's own user namespace.
fn may_raise(status: &str, users: &str) -> bool {
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    effective.is_some_and(|mask| mask & (1 << CAP_SYS_RESOURCE) != 0)
        && users.split_whitespace().eq(ALL_USERS)
}

/// A hard limit in `/proc/PID/limits`; `None` if there is none.
fn hard_limit(limits: &str, name: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: &str = "\
Limit                     Soft Limit           Hard Limit           Units
Max open files            1024                 20000                files
Max locked memory         unlimited            unlimited            bytes
";
    const HOST: &str = "         0          0 4294967295\n";

    #[test]
    fn only_an_engine_of_the_host_with_the_capability_can_raise_limits() {
        let (with, without) = ("CapEff:\t000001ffffffffff\n", "CapEff:\t000001fffeffffff\n");
        assert!(may_raise(with, HOST));
        assert!(!may_raise(without, HOST));
        assert!(!may_raise(with, "         0       1000          1\n         1     100000      65536\n"));
    }

    #[test]
    fn what_is_asked_for_is_given_as_far_as_the_engine_can() {
        let wanted = ProcessLimits { open_files: 1_048_576, locked_memory: None };
        let told = |limits: ProcessLimits, ceiling: Ceiling| -> Vec<(String, i64, i64)> {
            let told = limits.within(ceiling);
            told.into_iter().map(|one| (one.name.unwrap(), one.soft.unwrap(), one.hard.unwrap())).collect()
        };
        let pair =
            |files, locked| vec![("nofile".to_owned(), files, files), ("memlock".to_owned(), locked, locked)];
        assert_eq!(told(wanted, Ceiling::default()), pair(1_048_576, -1));
        let ceiling = Ceiling {
            open_files: hard_limit(LIMITS, "Max open files"),
            locked_memory: hard_limit(LIMITS, "Max locked memory"),
        };
        assert_eq!(ceiling, Ceiling { open_files: Some(20_000), locked_memory: None });
        assert_eq!(told(wanted, ceiling), pair(20_000, -1));
        let tight = Ceiling { locked_memory: Some(8 << 20), ..ceiling };
        assert_eq!(told(wanted, tight), pair(20_000, 8 << 20));
        let own = ProcessLimits { open_files: 100, locked_memory: Some(Bytes(1 << 20)) };
        assert_eq!(told(own, tight), pair(100, 1 << 20));
    }
}
