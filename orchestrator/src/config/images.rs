//! `[images]`: how tags are resolved to content when a task is submitted.

use std::time::Duration;

use lode_program::config::duration;
use serde::Deserialize;

/// `[images]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct ImagesConfig {
    /// Whether registries are asked at all.
    pub resolve: bool,
    /// How long a submission waits for the registry; then the task goes unpinned.
    #[serde(with = "duration")]
    pub timeout: Duration,
    /// Registries (`host`, `host:port`, or `host:*` for every port) that may have addresses which are not public.
    pub private_registries: Vec<String>,
    /// Registries that may besides be spoken to over plain HTTP. Nothing is trusted that is not listed, not even loopback:
    /// a tenant's own task may listen there, and its answers say where to ask next.
    pub insecure_registries: Vec<String>,
}

impl Default for ImagesConfig {
    fn default() -> Self {
        ImagesConfig {
            resolve: true,
            timeout: Duration::from_secs(5),
            private_registries: Vec::new(),
            insecure_registries: Vec::new(),
        }
    }
}
