//! Host ports that are lent to tasks.

use std::net::TcpListener;

use lode_program::finding::Finding;

use crate::config::Config;

/// Ports that are tried: enough to see a foreign range, few enough to be quick.
const TRIES: u16 = 64;

pub(super) fn check(config: &Config) -> Vec<Finding> {
    let range = config.port_range();
    let tried: Vec<u16> = range.clone().take(usize::from(TRIES)).collect();
    let taken: Vec<u16> = tried
        .iter()
        .copied()
        .filter(|port| TcpListener::bind((config.ports.host_ip, *port)).is_err())
        .collect();
    if taken.is_empty() {
        return Vec::new();
    }
    let subject = format!("{}-{}", range.start(), range.end());
    let message = format!(
        "{} of the first {} ports lent to tasks are in use, like {}",
        taken.len(),
        tried.len(),
        taken[0]
    );
    let finding = if taken.len() == tried.len() {
        Finding::error("ports/taken", message)
            .remedy("Set ports.first and ports.last to a range that nothing else uses.")
    } else {
        Finding::info("ports/some-taken", message)
    };
    vec![finding.about(subject)]
}
