//! Who a process on a GPU belongs to. NVML names processes by the host's ids and knows no containers; the
//! control group of the process does, and its parents tell whether this program has started it.

use std::io;

/// Length of a container's id in hexadecimal digits.
const CONTAINER_ID_DIGITS: usize = 64;

/// The container a process of this host runs in; `None` for a process outside of any.
///
/// # Errors
/// `NotFound` when the process has ended, `PermissionDenied` where `/proc` is hidden.
pub fn container_of(pid: u32) -> io::Result<Option<String>> {
    std::fs::read_to_string(format!("/proc/{pid}/cgroup")).map(|text| container_of_cgroup(&text))
}

/// The container's id in the text of `/proc/<pid>/cgroup`, for both cgroup versions and both cgroup drivers.
#[must_use]
pub fn container_of_cgroup(text: &str) -> Option<String> {
    // The last one: nested containers belong to the innermost.
    let is_id =
        |part: &&str| part.len() == CONTAINER_ID_DIGITS && part.bytes().all(|b| b.is_ascii_hexdigit());
    text.lines()
        .filter_map(|line| line.rsplit(':').next())
        .flat_map(|path| path.split(['/', '-', '.']))
        .rfind(is_id)
        .map(str::to_owned)
}

/// Parents between a process and the one that this program started, at most.
const MOST_PARENTS: u32 = 64;

/// Who a process belongs to, as far as this host shows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ProcessOwner {
    /// This program, or one that it started.
    Us,
    /// A container.
    Container(String),
    /// Nobody of the two.
    Host,
    /// It has ended, or the host does not show it to this user.
    Hidden,
}

/// Whose a process of this host is.
#[must_use]
pub fn owner_of(pid: u32) -> ProcessOwner {
    if descends_from(pid, std::process::id()) {
        return ProcessOwner::Us;
    }
    match container_of(pid) {
        Ok(Some(container)) => ProcessOwner::Container(container),
        Ok(None) => ProcessOwner::Host,
        Err(_) => ProcessOwner::Hidden,
    }
}

fn descends_from(pid: u32, ancestor: u32) -> bool {
    let mut current = pid;
    for _ in 0..MOST_PARENTS {
        if current == ancestor {
            return true;
        }
        match parent_of(current) {
            Some(parent) if parent > 0 => current = parent,
            Some(_) | None => return false,
        }
    }
    false
}

fn parent_of(pid: u32) -> Option<u32> {
    parent_in_stat(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The parent in the text of `/proc/<pid>/stat`: the second field behind the name, which may itself hold anything.
fn parent_in_stat(text: &str) -> Option<u32> {
    let (_, behind) = text.rsplit_once(')')?;
    behind.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "4f3c2b1a00112233445566778899aabbccddeeff00112233445566778899aabb";

    #[test]
    fn a_container_is_found_under_both_cgroup_drivers() {
        for text in [
            format!("0::/system.slice/docker-{ID}.scope\n"),
            format!("12:devices:/docker/{ID}\n1:name=systemd:/docker/{ID}\n"),
            format!("0::/kubepods.slice/pod-1/cri-containerd-{ID}.scope"),
        ] {
            assert_eq!(container_of_cgroup(&text).as_deref(), Some(ID), "{text}");
        }
    }

    #[test]
    fn a_process_outside_of_containers_has_none() {
        assert_eq!(container_of_cgroup("0::/user.slice/user-1000.slice/session-3.scope\n"), None);
    }

    #[test]
    fn what_this_program_has_started_is_ours_and_the_first_process_is_not() {
        let mut child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        assert_eq!(owner_of(child.id()), ProcessOwner::Us);
        assert_eq!(owner_of(std::process::id()), ProcessOwner::Us);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(owner_of(u32::MAX), ProcessOwner::Hidden);
        assert_ne!(owner_of(1), ProcessOwner::Us);
    }

    #[test]
    fn a_parent_is_read_behind_whatever_a_program_calls_itself() {
        assert_eq!(parent_in_stat("4711 (a) b) 1 (c) S 42 4711 0"), Some(42));
        assert_eq!(parent_in_stat("nonsense"), None);
    }

    #[test]
    fn a_process_that_ended_is_an_error_and_not_a_process_without_container() {
        // Above any pid_max that Linux allows.
        assert_eq!(container_of(u32::MAX).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
