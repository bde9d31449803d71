//! How many networks of tasks fit into the owner's ranges.

use std::time::Duration;

use bollard::{API_DEFAULT_VERSION, Docker};
use lode_program::finding::Finding;

use crate::config::Config;
use crate::docker::blocks;
use crate::subnets::{Ipv4Block, Subnets, host_routes};

/// An engine that is well answers within milliseconds.
const PATIENCE: Duration = Duration::from_secs(5);
/// Fewer are soon used up.
const FEW: u64 = 32;

/// Of an engine that answers; what else is wrong with one is said elsewhere.
pub(super) async fn check(config: &Config) -> Option<Finding> {
    let socket = config.docker.socket.display().to_string();
    let ask = async {
        let docker = Docker::connect_with_unix(&socket, PATIENCE.as_secs(), API_DEFAULT_VERSION)?;
        docker.list_networks(None).await
    };
    let networks = tokio::time::timeout(PATIENCE, ask).await.ok()?.ok()?;
    let taken: Vec<Ipv4Block> = networks.into_iter().flat_map(blocks).collect();
    judge(&config.docker.subnets, &taken, &host_routes().await)
}

fn judge(subnets: &Subnets, networks: &[Ipv4Block], routes: &[Ipv4Block]) -> Option<Finding> {
    let free = subnets.free(networks, routes);
    let words = format!(
        "{free} of the {} networks that tasks can have in {subnets} are free; others of this host have the rest",
        subnets.count()
    );
    let finding = match free {
        0 => Finding::error("docker/no-room", words),
        1..FEW => Finding::warning("docker/no-room", words),
        _ => return None,
    };
    Some(finding.remedy(
        "Name addresses that this host does not use in docker.subnets; the engine's default-address-pools are not asked.",
    ))
}

#[cfg(test)]
mod tests {
    use lode_program::finding::Severity;

    use super::*;

    #[test]
    fn a_range_that_is_used_up_is_an_error_and_one_that_nearly_is_a_warning() {
        let subnets: Subnets = "10.1.0.0/23".parse().unwrap();
        let blocks = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<_>>();
        assert_eq!(judge(&subnets, &[], &[]), None);
        let severity = |networks: &[&str], routes: &[&str]| {
            judge(&subnets, &blocks(networks), &blocks(routes)).map(|finding| finding.severity)
        };
        assert_eq!(severity(&["10.1.0.0/24"], &[]), None, "32 are left");
        assert_eq!(severity(&["10.1.0.0/24"], &["10.1.1.1/32"]), Some(Severity::Warning));
        assert_eq!(severity(&["10.1.0.0/24"], &["10.1.1.0/24"]), Some(Severity::Error));
    }
}
