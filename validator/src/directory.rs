//! Nodes from the public directories, of any pool of the deployment. What a directory leaves out stays known.

use lode_network::{DirectoryError, DirectoryFollower, DirectoryReader};
use lode_program::Clock;
use lode_program::finding::{Finding, FindingSet};
use lode_protocol::descriptor::{DescriptorError, Scope, VerifiedDescriptor};
use lode_protocol::directory::DirectoryEntry;
use lode_protocol::envelope::Realm;
use lode_protocol::units::Timestamp;
use prometheus_client::metrics::counter::Counter;
use tokio::sync::mpsc;

use crate::core::{Description, Event};

/// What a directory's nodes are told to.
#[derive(Clone, Debug)]
pub struct Directory {
    /// Its base URL.
    pub url: String,
    /// Chain and deployment.
    pub realm: Realm,
    /// For lifetimes.
    pub clock: Clock,
    /// The core.
    pub events: mpsc::Sender<Event>,
    /// For people.
    pub findings: FindingSet,
    /// Entries that did not pass the check.
    pub skipped: Counter,
}

impl Directory {
    /// Follows it until nobody listens any more.
    pub async fn follow(self) {
        DirectoryFollower::new(self.url.clone(), Scope::Deployment(self.realm)).run(self).await;
    }
}

impl DirectoryReader for Directory {
    fn now(&self) -> Timestamp {
        self.clock.now().wall
    }

    async fn learn(&self, descriptor: VerifiedDescriptor) -> bool {
        self.events.send(Event::Described(Description::from(&descriptor))).await.is_ok()
    }

    fn skipped(&self, entry: &DirectoryEntry, error: &DescriptorError) {
        self.skipped.inc();
        tracing::debug!(node = %entry.node, url = %self.url, code = %error.code(), %error, "a directory's entry was skipped");
    }

    fn state(&self, state: Result<(), &DirectoryError>) {
        const FINDING: &str = "discovery/unreachable";
        match state {
            Ok(()) => drop(self.findings.clear(FINDING, &self.url)),
            Err(error) => drop(
                self.findings.raise(
                    Finding::warning(FINDING, format!("the directory cannot be followed: {error}"))
                        .about(&self.url)
                        .remedy("check discovery.urls; known nodes stay known"),
                ),
            ),
        }
    }
}
