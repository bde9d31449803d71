//! Facts about the host that do not depend on a cgroup.

use std::path::Path;

use lode_protocol::units::Bytes;

/// Space of a file system.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Space {
    /// Its size.
    pub total: Bytes,
    /// What an unprivileged user may still write.
    pub free: Bytes,
}

/// Space of the file system that holds `path`, or its nearest parent that exists.
pub(super) fn file_system(path: &Path) -> Option<Space> {
    let existing = path.ancestors().find(|place| place.exists())?;
    let stat = rustix::fs::statvfs(existing).ok()?;
    Some(Space {
        total: Bytes(stat.f_blocks.saturating_mul(stat.f_frsize)),
        free: Bytes(stat.f_bavail.saturating_mul(stat.f_frsize)),
    })
}

/// Name of the CPU.
pub(super) fn cpu_model() -> Option<String> {
    model_of(&std::fs::read_to_string("/proc/cpuinfo").ok()?)
}

fn model_of(cpuinfo: &str) -> Option<String> {
    let line = cpuinfo.lines().find(|line| line.starts_with("model name"))?;
    let (_, model) = line.split_once(':')?;
    Some(model.trim().chars().take(128).collect())
}

/// The operating system as it names itself.
pub(super) fn os_name() -> String {
    let text = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    pretty_name(&text).unwrap_or_else(|| std::env::consts::OS.to_owned())
}

fn pretty_name(os_release: &str) -> Option<String> {
    let value = os_release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
    Some(value.trim_matches('"').chars().take(128).collect())
}

/// Architecture as Docker names it.
pub(super) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_from_what_linux_writes() {
        let cpuinfo = "processor\t: 0\nvendor_id\t: X\nmodel name\t: AMD EPYC 9654\nflags\t: a b\n";
        assert_eq!(model_of(cpuinfo).as_deref(), Some("AMD EPYC 9654"));
        assert_eq!(pretty_name("ID=debian\nPRETTY_NAME=\"Debian 12\"\n").as_deref(), Some("Debian 12"));
        assert_eq!(pretty_name("ID=debian\n"), None);
    }

    #[test]
    fn a_folder_that_does_not_exist_yet_has_the_space_of_its_parent() {
        let space = file_system(Path::new("/tmp/lode-no-such-folder/data")).unwrap();
        assert!(space.total >= space.free && space.total > Bytes(0));
    }
}
