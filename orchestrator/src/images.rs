//! Tags are resolved to content when a task is submitted, so that all replicas, also later ones, run the same bytes.
//!
//! Where the registry cannot be asked, the task is accepted all the same, unpinned, and says why; the first worker that
//! reports which content it runs pins it then ([`crate::core`]). A registry that did not answer is not asked again for a
//! while: one that is away must not slow every submission down.

mod challenge;
mod registry;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lode_network::{Outbound, OutboundError, Trust};
use lode_protocol::image::ImageReference;
use lode_protocol::task::{PullPolicy, TaskSpec};

use crate::config::ImagesConfig;
use crate::core::event::{ImageResolution, Unpinned};
use registry::{Registry, RegistryError};

/// How long a registry that did not answer is left alone.
const LEFT_ALONE: Duration = Duration::from_secs(30);
/// Registries remembered as silent.
const MOST_SILENT: usize = 256;

/// Resolves images. Clones are the same.
#[derive(Clone, Debug)]
pub struct ImageResolver {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: ImagesConfig,
    trust: Trust,
    outbound: Result<Outbound, OutboundError>,
    /// Registries that did not answer, until when they are left alone.
    silent: Mutex<HashMap<String, Instant>>,
}

impl ImageResolver {
    /// A resolver that has asked nobody yet.
    pub fn new(config: ImagesConfig) -> Self {
        let outbound = Outbound::new(concat!("lode-orchestrator/", env!("CARGO_PKG_VERSION")));
        if let Err(error) = &outbound {
            tracing::warn!(%error, "registries cannot be asked; tasks are not pinned when they are submitted");
        }
        let trust = Trust::hosts(&config.private_registries, &config.insecure_registries);
        ImageResolver { inner: Arc::new(Inner { config, trust, outbound, silent: Mutex::default() }) }
    }

    /// What is known of a task's image. Takes at most the configured time.
    pub async fn resolve(&self, spec: &TaskSpec) -> ImageResolution {
        let image = match spec.image.parse::<ImageReference>() {
            Ok(image) => image,
            Err(error) => return unpinned("image/reference", error.to_string()),
        };
        if let Some(digest) = image.digest() {
            return ImageResolution::Pinned(image.pinned(digest));
        }
        match spec.pull {
            // No node will ask the registry either.
            PullPolicy::Never => unpinned(
                "image/never-pulled",
                "pull is \"never\": the tag means what each node has under it".to_owned(),
            ),
            PullPolicy::Always | PullPolicy::Missing => self.ask(&image).await,
        }
    }

    async fn ask(&self, image: &ImageReference) -> ImageResolution {
        let inner = &self.inner;
        if !inner.config.resolve {
            return unpinned("image/not-resolved", "this orchestrator asks no registries".to_owned());
        }
        let registry = image.registry();
        if inner.is_silent(registry) {
            let message = format!("the registry {registry} did not answer a moment ago");
            return unpinned("image/registry-unreachable", message);
        }
        let outbound = match &inner.outbound {
            Ok(outbound) => outbound,
            Err(error) => return unpinned("image/registry-unreachable", error.to_string()),
        };
        let asked = Registry { outbound, trust: &inner.trust, deadline: inner.config.timeout };
        // Several questions may be needed: all of them together have the time that is configured.
        let resolved = tokio::time::timeout(inner.config.timeout, asked.digest_of(image)).await;
        match resolved {
            Ok(Ok(digest)) => ImageResolution::Pinned(image.pinned(&digest)),
            Ok(Err(error)) => {
                if error.is_silence() {
                    inner.remember_silence(registry);
                }
                unpinned(error.code(), error.to_string())
            }
            Err(_) => {
                inner.remember_silence(registry);
                let message =
                    format!("the registry {registry} did not answer within {:?}", inner.config.timeout);
                unpinned("image/registry-unreachable", message)
            }
        }
    }
}

impl Inner {
    fn silent(&self) -> MutexGuard<'_, HashMap<String, Instant>> {
        self.silent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_silent(&self, registry: &str) -> bool {
        self.silent().get(registry).is_some_and(|until| *until > Instant::now())
    }

    fn remember_silence(&self, registry: &str) {
        let now = Instant::now();
        let mut silent = self.silent();
        silent.retain(|_, until| *until > now);
        if silent.len() < MOST_SILENT {
            silent.insert(registry.to_owned(), now + LEFT_ALONE);
        }
    }
}

fn unpinned(code: &'static str, message: String) -> ImageResolution {
    ImageResolution::Unpinned(Unpinned { code: code.into(), message })
}

impl RegistryError {
    fn is_silence(&self) -> bool {
        match self {
            RegistryError::Outbound(
                OutboundError::Unreachable { .. }
                | OutboundError::Timeout { .. }
                | OutboundError::TooSlow { .. },
            ) => true,
            RegistryError::Outbound(
                OutboundError::BadUrl { .. }
                | OutboundError::NotPublic { .. }
                | OutboundError::TooLarge { .. }
                | OutboundError::TooManyRedirects { .. }
                | OutboundError::Refused { .. },
            )
            | RegistryError::NotFound { .. }
            | RegistryError::Credentials { .. }
            | RegistryError::Answer { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_reference_with_a_digest_is_pinned_already_and_what_nodes_never_pull_is_not_asked_for() {
        let resolver = ImageResolver::new(ImagesConfig::default());
        let resolve = async |text: &str| {
            let toml = format!("name = \"t\"\nkind = \"batch\"\n{text}\n");
            resolver.resolve(&TaskSpec::from_toml(&toml).unwrap()).await
        };
        let digest = format!("sha256:{}", "a".repeat(64));
        let pinned = resolve(&format!("image = \"r.example/a:1@{digest}\"")).await;
        assert_eq!(pinned, ImageResolution::Pinned(format!("r.example/a@{digest}")));
        let ImageResolution::Unpinned(never) = resolve("image = \"a:1\"\npull = \"never\"").await else {
            panic!("a local tag was resolved");
        };
        assert_eq!(never.code, "image/never-pulled");
        let ImageResolution::Unpinned(wrong) = resolve("image = \"Not/A reference\"").await else {
            panic!("nonsense was resolved");
        };
        assert_eq!(wrong.code, "image/reference");
    }
}
