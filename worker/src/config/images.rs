//! `[images]`: where images come from, how long that may take, and when they go.

use std::time::Duration;

use lode_program::config::duration;
use lode_program::{Exit, ExitError};
use serde::Deserialize;

use crate::core::images::ImageWatermarks;
use crate::docker::ImageAccess;

/// `[images]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ImagesConfig {
    /// Registries (`host`, `host:port`, or `host:*` for every port) that may have addresses which are not public.
    pub private_registries: Vec<String>,
    /// The same, where the engine speaks plain HTTP to them. Nothing is trusted that is not listed, not even loopback: a
    /// tenant's own task may listen there, and so does what this host serves only to itself.
    pub insecure_registries: Vec<String>,
    /// Time a pull may go without any progress. Unpacking is progress.
    #[serde(with = "duration")]
    pub pull_silence: Duration,
    /// Whether images that this worker has fetched are removed when the engine's disk fills.
    pub collect: bool,
    /// Hundredths of the disk in use above which they begin to go, the least recently used first.
    pub collect_above: u8,
    /// Hundredths of the disk in use at which that ends.
    pub collect_until: u8,
}

impl Default for ImagesConfig {
    fn default() -> Self {
        let access = ImageAccess::default();
        Self {
            private_registries: access.private_registries,
            insecure_registries: access.insecure_registries,
            pull_silence: access.pull_silence,
            collect: true,
            collect_above: 85,
            collect_until: 75,
        }
    }
}

impl ImagesConfig {
    /// For the engine.
    #[must_use]
    pub fn access(&self) -> ImageAccess {
        ImageAccess {
            private_registries: self.private_registries.clone(),
            insecure_registries: self.insecure_registries.clone(),
            pull_silence: self.pull_silence,
        }
    }

    /// When images go, if they do.
    #[must_use]
    pub fn watermarks(&self) -> Option<ImageWatermarks> {
        let marks = ImageWatermarks { above: self.collect_above, until: self.collect_until };
        self.collect.then_some(marks)
    }

    pub(super) fn validate(&self) -> Result<(), ExitError> {
        let wrong = |text: String| Err(ExitError::new(Exit::BadConfig, text));
        if self.collect_above > 99 || self.collect_until >= self.collect_above {
            return wrong(format!(
                "images.collect_above = {} and images.collect_until = {} are hundredths of the disk: set collect_above \
                 to at most 99, and collect_until below it",
                self.collect_above, self.collect_until
            ));
        }
        if self.pull_silence < Duration::from_secs(1) {
            return wrong("images.pull_silence is below 1s".to_owned());
        }
        Ok(())
    }
}
