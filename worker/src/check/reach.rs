//! Whether the directories answer.

use std::time::Duration;

use futures::future::join_all;
use lode_network::DirectoryClient;
use lode_program::finding::Finding;

use crate::config::Config;

pub(super) async fn directories(config: &Config) -> Vec<Finding> {
    let asked = config.discovery.urls.iter().map(|url| async move {
        let outcome = match DirectoryClient::new(url) {
            Ok(client) => client.changes(None, Duration::ZERO).await.map(drop),
            Err(error) => Err(error),
        };
        outcome.err().map(|error| {
            Finding::warning(error.code(), error.to_string())
                .about(url)
                .remedy("Check discovery.urls; the pool finds this node through a directory.")
        })
    });
    let mut findings: Vec<Finding> = join_all(asked).await.into_iter().flatten().collect();
    if config.discovery.urls.is_empty() {
        findings.push(
            Finding::warning(
                "discovery/none",
                "no directory is configured, so that validators cannot find this node",
            )
            .remedy("Set discovery.urls."),
        );
    }
    findings
}
