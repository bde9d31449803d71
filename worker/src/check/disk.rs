//! Room for the worker's own state and for images.

use std::path::Path;

use lode_program::finding::Finding;
use lode_protocol::units::Bytes;

use crate::config::Config;
use crate::specs;

/// Below this images of common frameworks do not fit.
const TIGHT: Bytes = Bytes::gibi(20);
/// Below this the worker's own state is at risk.
const CRITICAL: Bytes = Bytes::gibi(1);

pub(super) fn check(config: &Config, engine_root: Option<&Path>) -> Vec<Finding> {
    specs::disk_space(config, engine_root)
        .into_iter()
        .filter_map(|(path, space)| judge(&path.display().to_string(), space.free))
        .collect()
}

fn judge(path: &str, free: Bytes) -> Option<Finding> {
    let message = format!("only {free} are free");
    let finding = match free {
        free if free < CRITICAL => Finding::error("disk/full", message)
            .remedy("Make room: the worker cannot keep its journal, and images cannot be pulled."),
        free if free < TIGHT => Finding::warning("disk/little", message)
            .remedy("Make room, or lend less with lend.disk: images of machine learning frameworks need 10 GiB and more."),
        _ => return None,
    };
    Some(finding.about(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_disk_is_a_warning_and_none_an_error() {
        assert!(judge("/", Bytes::gibi(100)).is_none());
        assert_eq!(judge("/", Bytes::gibi(5)).unwrap().code.as_str(), "disk/little");
        assert_eq!(judge("/", Bytes::mebi(100)).unwrap().code.as_str(), "disk/full");
    }
}
