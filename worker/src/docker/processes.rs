//! Processes of a container as the host sees them.
//!
//! The engine cannot end a command that it runs in a container: it tells its process id on the host. A worker that is root
//! (or has CAP_KILL) ends it from there, with everything that it started in its session. One that is not, but may use the
//! engine, learns by which number the container knows the process, and has the container's own `kill` end it. Of an engine
//! whose processes are not this host's nothing is found here, and nothing is killed.

use std::path::Path;

use lode_gpu::container_of;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::core::event::ContainerId;

/// How often the members of a session are looked for.
const ROUNDS: u32 = 2;

/// What came of an attempt to kill.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Killing {
    /// Everything got the signal, or was gone.
    Done,
    /// This worker may not; the container knows the process by this number.
    Forbidden(u32),
    /// There is no such process of this container here.
    Unseen,
}

/// Kills a process of a container and whatever is in the session that it leads.
pub(super) fn kill_session(container: &ContainerId, leader: u32) -> Killing {
    if !belongs(container, leader) {
        return Killing::Unseen;
    }
    let mut forbidden = false;
    // Whoever is killed may have started another one just before.
    for _ in 0..ROUNDS {
        let others = numbers().filter(|pid| *pid != leader && session_of(*pid) == Some(leader));
        for pid in others {
            forbidden |= kill(container, leader, pid) == Err(Errno::PERM);
        }
    }
    // The leader last: while it lives nobody else gets the number of its session.
    forbidden |= kill(container, leader, leader) == Err(Errno::PERM);
    if !forbidden {
        return Killing::Done;
    }
    number_inside(leader).map_or(Killing::Unseen, Killing::Forbidden)
}

/// By a descriptor, so that a number that was given anew in between hits nobody.
fn kill(container: &ContainerId, leader: u32, number: u32) -> Result<(), Errno> {
    let Some(pid) = i32::try_from(number).ok().and_then(Pid::from_raw) else { return Ok(()) };
    let process = pidfd_open(pid, PidfdFlags::empty())?;
    if !belongs(container, number) || (number != leader && session_of(number) != Some(leader)) {
        return Ok(());
    }
    pidfd_send_signal(process, Signal::KILL)
}

fn belongs(container: &ContainerId, pid: u32) -> bool {
    container_of(pid).is_ok_and(|found| found.as_ref() == Some(&container.0))
}

fn numbers() -> impl Iterator<Item = u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn session_of(pid: u32) -> Option<u32> {
    session_in(&std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).ok()?)
}

/// The session in the text of `/proc/PID/stat` (proc_pid_stat(5)): the fourth field behind the name, which may hold
/// anything but its last bracket.
fn session_in(stat: &str) -> Option<u32> {
    let (_, behind) = stat.rsplit_once(')')?;
    behind.split_whitespace().nth(3)?.parse().ok()
}

fn number_inside(pid: u32) -> Option<u32> {
    innermost(&std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("status")).ok()?)
}

/// The number in the innermost namespace, in the text of `/proc/PID/status`.
fn innermost(status: &str) -> Option<u32> {
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
    numbers.split_whitespace().last()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_and_numbers_are_read_whatever_a_process_is_called() {
        assert_eq!(session_in("7 (a) 1 (b) R 1 7 5 0 -1\n"), Some(5));
        assert_eq!(session_in("7 nonsense"), None);
        assert_eq!(innermost("Name:\tx\nNSpid:\t2709\t31\nUid:\t0\n"), Some(31));
        assert_eq!(innermost("Name:\tx\n"), None);
    }

    #[test]
    fn a_process_outside_of_the_container_is_not_touched() {
        let somebody = ContainerId("1".repeat(64));
        assert_eq!(kill_session(&somebody, std::process::id()), Killing::Unseen);
        assert_eq!(kill_session(&somebody, u32::MAX), Killing::Unseen);
    }
}
