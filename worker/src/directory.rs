//! Publishes the node's signed descriptor to every directory, each on its own: one that is down holds up nothing.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use lode_network::{DirectoryClient, DirectoryError};
use lode_program::backoff::{self, BackoffPolicy};
use lode_program::finding::{Finding, FindingSet};
use lode_protocol::ids::NodeId;
use lode_protocol::units::Millis;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::descriptor::SignedDescriptor;

/// A directory forgets what it was not told for a while (it may have restarted with an empty store).
const REFRESH: Duration = Duration::from_secs(300);
/// Between two questions whether a directory still answers.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// Where to publish, and who.
#[derive(Clone, Debug)]
pub struct DirectoryConfig {
    /// URLs of the directories.
    pub urls: Vec<String>,
    /// This node.
    pub node: NodeId,
}

/// Publishes every new descriptor everywhere, until `shutdown`.
pub async fn publish(
    config: DirectoryConfig,
    descriptors: watch::Receiver<Option<Arc<SignedDescriptor>>>,
    findings: FindingSet,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let publishers = config.urls.iter().map(|url| {
        let publisher = Publisher { url: url.clone(), node: config.node, findings: findings.clone() };
        publisher.run(descriptors.clone())
    });
    tokio::select! {
        () = shutdown.cancelled() => {}
        _ = join_all(publishers) => shutdown.cancelled().await,
    }
    Ok(())
}

struct Publisher {
    url: String,
    node: NodeId,
    findings: FindingSet,
}

impl Publisher {
    async fn run(self, mut descriptors: watch::Receiver<Option<Arc<SignedDescriptor>>>) {
        let client = match DirectoryClient::new(&self.url) {
            Ok(client) => client,
            Err(error) => return self.tell(&error),
        };
        let policy = BackoffPolicy::new(Millis::seconds(1), Millis::seconds(30));
        let mut backoff = backoff::sequence(policy);
        loop {
            let descriptor = descriptors.borrow_and_update().clone();
            let wait = match descriptor {
                None => REFRESH,
                Some(descriptor) => match client.publish(self.node, &descriptor.sealed).await {
                    Ok(()) => {
                        self.findings.clear("discovery/unreachable", &self.url);
                        self.findings.clear("discovery/refused", &self.url);
                        backoff.reset();
                        REFRESH
                    }
                    // Another process or an earlier boot was quicker; the next descriptor is newer.
                    Err(DirectoryError::Refused { code, .. }) if code == "descriptor/stale" => {
                        self.findings.clear("discovery/unreachable", &self.url);
                        backoff.reset();
                        REFRESH
                    }
                    Err(error) => {
                        self.tell(&error);
                        backoff.next_wait()
                    }
                },
            };
            if !self.look_until(Instant::now() + wait, &client, &mut descriptors).await {
                return;
            }
        }
    }

    /// Waits until there is something to publish again, and asks now and then whether the directory still answers: an
    /// outage is told when it begins, not when the next publication fails. False if there will be no more descriptors.
    async fn look_until(
        &self,
        due: Instant,
        client: &DirectoryClient,
        descriptors: &mut watch::Receiver<Option<Arc<SignedDescriptor>>>,
    ) -> bool {
        loop {
            tokio::select! {
                changed = descriptors.changed() => return changed.is_ok(),
                () = tokio::time::sleep_until(due.min(Instant::now() + LOOK_EVERY)) => {}
            }
            if Instant::now() >= due {
                return true;
            }
            match client.changes(None, Duration::ZERO).await {
                Ok(_) => drop(self.findings.clear("discovery/unreachable", &self.url)),
                // Published anew at once, and as soon as it answers: it may have lost what it knew.
                Err(error) => {
                    self.tell(&error);
                    return true;
                }
            }
        }
    }

    fn tell(&self, error: &DirectoryError) {
        let (code, remedy) = match error {
            DirectoryError::Refused { .. } => (
                "discovery/refused",
                "Read what the directory says; the usual reason is a node that its provider has not authorised yet.",
            ),
            DirectoryError::NotHttp { .. } => {
                ("discovery/bad-url", "Correct discovery.urls in the configuration.")
            }
            DirectoryError::Unreachable(_) | DirectoryError::Malformed(_) | DirectoryError::Address(_) => (
                "discovery/unreachable",
                "Running tasks are not affected. The worker tries again by itself; check the URL if it stays.",
            ),
        };
        self.findings.clear("discovery/unreachable", &self.url);
        self.findings.raise(Finding::warning(code, error.to_string()).about(&self.url).remedy(remedy));
    }
}
