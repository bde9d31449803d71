//! Who a process on a GPU belongs to. NVML names processes by the host's ids and knows no containers; the
//! control group of the process does.

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
    fn a_process_that_ended_is_an_error_and_not_a_process_without_container() {
        // Above any pid_max that Linux allows.
        assert_eq!(container_of(u32::MAX).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
