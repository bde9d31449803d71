//! Nodes from the public directories, each followed on its own. A directory that omits, replays or is down changes
//! nothing about known nodes; all of them down is a finding and no more.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use lode_network::{DirectoryError, DirectoryFollower, DirectoryReader};
use lode_program::finding::{Finding, FindingSet};
use lode_protocol::descriptor::{DescriptorError, Scope, VerifiedDescriptor};
use lode_protocol::directory::DirectoryEntry;
use lode_protocol::units::Timestamp;

use crate::core::event::Event;
use crate::driver::Handle;
use crate::identity::Identity;

const FINDING: &str = "discovery/unreachable";

/// How each directory does: `None` is well. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct DirectoryStatus(Arc<Mutex<BTreeMap<String, Option<String>>>>);

impl DirectoryStatus {
    /// Every directory with what is wrong with it.
    pub fn current(&self) -> BTreeMap<String, Option<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, url: &str, trouble: Option<String>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(url.to_owned(), trouble);
    }
}

/// What a directory's nodes are told to.
#[derive(Clone, Debug)]
pub struct Directory {
    /// Its base URL.
    pub url: String,
    /// For verification.
    pub identity: Identity,
    /// The core.
    pub driver: Handle,
    /// For people.
    pub status: DirectoryStatus,
    /// For people.
    pub findings: FindingSet,
}

impl Directory {
    /// Follows it until nobody listens any more.
    pub async fn follow(self) {
        DirectoryFollower::new(self.url.clone(), Scope::Pool(self.identity.realm)).run(self).await;
    }
}

impl DirectoryReader for Directory {
    fn now(&self) -> Timestamp {
        self.identity.now()
    }

    async fn learn(&self, descriptor: VerifiedDescriptor) -> bool {
        self.driver.fact(Event::DescriptorLearned { descriptor: descriptor.into_body() }).await
    }

    fn skipped(&self, entry: &DirectoryEntry, error: &DescriptorError) {
        tracing::debug!(node = %entry.node, url = %self.url, code = %error.code(), %error, "a directory's entry was skipped");
    }

    fn state(&self, state: Result<(), &DirectoryError>) {
        let Err(error) = state else {
            self.status.set(&self.url, None);
            self.findings.clear(FINDING, &self.url);
            return;
        };
        self.status.set(&self.url, Some(error.to_string()));
        self.findings.raise(
            Finding::warning(
                FINDING,
                format!("the directory cannot be followed ({}): {error}", error.code()),
            )
            .about(self.url.clone())
            .remedy("Known nodes stay known and new ones may still dial in; check the URL if this lasts."),
        );
    }
}
