//! How much of a container's memory its files in `/tmp` and `/dev/shm` take. They are gone with the container, so that it is
//! looked at again and again while it runs: the last look explains an end.
//!
//! The kernel counts them as shared memory (`shmem`) of the container's control group. Where that cannot be seen (another
//! process namespace) nothing is said.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use lode_protocol::units::Bytes;

use crate::core::event::ContainerId;

/// The last looks, by container that is waited for.
#[derive(Debug, Default)]
pub(super) struct MemoryFiles(Mutex<BTreeMap<String, Bytes>>);

impl MemoryFiles {
    /// Looks at a container whose first process is this.
    pub(super) fn look(&self, container: &ContainerId, process: i64) {
        if let Some(bytes) = in_memory(Path::new("/"), process) {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(container.0.clone(), bytes);
        }
    }

    /// What was seen last; it is forgotten.
    pub(super) fn take(&self, container: &ContainerId) -> Option<Bytes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&container.0)
    }
}

/// With the files below `root`.
fn in_memory(root: &Path, process: i64) -> Option<Bytes> {
    let groups = std::fs::read_to_string(root.join(format!("proc/{process}/cgroup"))).ok()?;
    let read = |folder: PathBuf| std::fs::read_to_string(root.join(folder).join("memory.stat")).ok();
    shared(&groups.lines().filter_map(memory_group).find_map(read)?)
}

/// Folder of the group that counts memory, from a line of `/proc/PID/cgroup`: of version 1, or the one of version 2.
fn memory_group(line: &str) -> Option<PathBuf> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (controllers, path) = (parts.next()?, parts.next()?.trim_start_matches('/'));
    if controllers.is_empty() {
        return Some(Path::new("sys/fs/cgroup").join(path));
    }
    let counts_memory = controllers.split(',').any(|controller| controller == "memory");
    counts_memory.then(|| Path::new("sys/fs/cgroup/memory").join(path))
}

fn shared(stat: &str) -> Option<Bytes> {
    let field = |name: &str| {
        let value = stat.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
        value.trim().parse().ok().map(Bytes)
    };
    field("total_shmem").or_else(|| field("shmem"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_in_memory_are_counted_by_either_version_of_control_groups() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("proc/7/cgroup", "0::/docker/abc\n");
        write("sys/fs/cgroup/docker/abc/memory.stat", "anon 1\nshmem 4096\nshmem_thp 9\n");
        assert_eq!(in_memory(root.path(), 7), Some(Bytes(4_096)));
        write("proc/8/cgroup", "12:cpu,cpuacct:/docker/x\n5:memory:/docker/x\n0::/\n");
        write("sys/fs/cgroup/memory/docker/x/memory.stat", "shmem 1\ntotal_shmem 8192\n");
        assert_eq!(in_memory(root.path(), 8), Some(Bytes(8_192)));
        assert_eq!(in_memory(root.path(), 9), None, "out of sight");
    }

    #[test]
    fn the_last_look_counts_and_is_taken_once() {
        let (files, container) = (MemoryFiles::default(), ContainerId("c".to_owned()));
        assert_eq!(files.take(&container), None);
        files.look(&container, -1);
        assert_eq!(files.take(&container), None, "there is no such process");
        files.0.lock().unwrap().insert("c".to_owned(), Bytes(5));
        assert_eq!((files.take(&container), files.take(&container)), (Some(Bytes(5)), None));
    }
}
