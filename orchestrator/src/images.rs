//! Tags are resolved to content when a task is submitted, so that all replicas, also later ones, run the same bytes.
//!
//! Where the registry cannot be asked, the task is accepted all the same, unpinned, and says why; the first worker that
//! reports which content it runs pins it then ([`crate::core`]). A registry that did not answer is not asked again for a
//! while, longer each time, nor is one that says that it has answered enough: it must not slow every submission down.

mod limit;
mod silence;

use std::sync::Arc;

use lode_network::{Outbound, OutboundError, Registry, RegistryError, Trust};
use lode_program::finding::FindingSet;
use lode_protocol::image::{ImageReference, PinnedImage};
use lode_protocol::task::{PullPolicy, ValidTaskSpec};

use crate::config::ImagesConfig;
use crate::core::event::{ImageResolution, Unpinned};
use limit::Limits;
use silence::Silences;

/// Resolves images. Clones are the same.
#[derive(Clone, Debug)]
pub struct ImageResolver {
    inner: Arc<Inner>,
    findings: Option<FindingSet>,
}

#[derive(Debug)]
struct Inner {
    config: ImagesConfig,
    trust: Trust,
    outbound: Result<Outbound, OutboundError>,
    silences: Silences,
    limits: Limits,
}

impl ImageResolver {
    /// A resolver that has asked nobody yet.
    pub fn new(config: ImagesConfig) -> Self {
        let outbound = Outbound::by_proxy(
            concat!("lode-orchestrator/", env!("CARGO_PKG_VERSION")),
            config.proxy.clone(),
        );
        if let Err(error) = &outbound {
            tracing::warn!(%error, "registries cannot be asked; tasks are not pinned when they are submitted");
        }
        let trust = Trust::hosts(&config.private_registries, &config.insecure_registries);
        let (silences, limits) = (Silences::default(), Limits::default());
        let inner = Arc::new(Inner { config, trust, outbound, silences, limits });
        ImageResolver { inner, findings: None }
    }

    /// The same, which tells when the registries that everybody uses do not answer.
    #[must_use]
    pub fn telling(self, findings: FindingSet) -> Self {
        ImageResolver { findings: Some(findings), ..self }
    }

    /// What is known of a task's image. Takes at most the configured time.
    pub async fn resolve(&self, spec: &ValidTaskSpec) -> ImageResolution {
        let image = spec.image_reference();
        if let Some(digest) = image.digest() {
            return ImageResolution::Pinned(PinnedImage::new(image, digest.clone()));
        }
        match spec.pull {
            // No node will ask the registry either.
            PullPolicy::Never => unpinned(
                "image/never-pulled",
                "pull is \"never\": the tag means what each node has under it".to_owned(),
            ),
            PullPolicy::Always | PullPolicy::Missing => self.ask(image).await,
        }
    }

    async fn ask(&self, image: &ImageReference) -> ImageResolution {
        let inner = &self.inner;
        if !inner.config.resolve {
            return unpinned("image/not-resolved", "this orchestrator asks no registries".to_owned());
        }
        let registry = image.registry();
        if let Some(said) = inner.limits.in_force(registry) {
            return ImageResolution::Unpinned(said);
        }
        let Some(patience) = inner.silences.patience(registry, inner.config.timeout) else {
            let message = format!("the registry {registry} did not answer a moment ago");
            return unpinned("image/registry-unreachable", message);
        };
        let outbound = match &inner.outbound {
            Ok(outbound) => outbound,
            Err(error) => return unpinned("image/registry-unreachable", error.to_string()),
        };
        let asked = Registry { outbound, trust: &inner.trust, deadline: patience };
        // Several questions may be needed: all of them together have the time that is configured.
        let resolved = tokio::time::timeout(patience, asked.digest_of(image)).await;
        let findings = self.findings.as_ref();
        match &resolved {
            Ok(Err(error)) if is_silence(error) => inner.silences.silent(registry, &inner.trust, findings),
            Err(_) => inner.silences.silent(registry, &inner.trust, findings),
            Ok(Ok(_) | Err(_)) => inner.silences.answered(registry, findings),
        }
        match resolved {
            Ok(Ok(digest)) => ImageResolution::Pinned(PinnedImage::new(image, digest)),
            Ok(Err(error)) => {
                let said = Unpinned { code: error.code().into(), message: error.to_string() };
                if let RegistryError::Limited { limit, .. } = &error {
                    inner.limits.leave_alone(registry, limit.retry_after, said.clone());
                }
                ImageResolution::Unpinned(said)
            }
            Err(_) => {
                let message = format!("the registry {registry} did not answer within {patience:?}");
                unpinned("image/registry-unreachable", message)
            }
        }
    }
}

fn unpinned(code: &'static str, message: String) -> ImageResolution {
    ImageResolution::Unpinned(Unpinned { code: code.into(), message })
}

fn is_silence(error: &RegistryError) -> bool {
    match error {
        RegistryError::Outbound(
            OutboundError::Unreachable { .. } | OutboundError::Timeout { .. } | OutboundError::TooSlow { .. },
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
        | RegistryError::Limited { .. }
        | RegistryError::NotAnImage { .. }
        | RegistryError::Answer { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use lode_protocol::task::TaskSpec;

    use super::*;

    #[tokio::test]
    async fn a_reference_with_a_digest_is_pinned_already_and_what_nodes_never_pull_is_not_asked_for() {
        let resolver = ImageResolver::new(ImagesConfig::default());
        let resolve = async |text: &str| {
            let toml = format!("name = \"t\"\nkind = \"batch\"\n{text}\n");
            resolver.resolve(&TaskSpec::from_toml(&toml).unwrap().validate().unwrap()).await
        };
        let digest = format!("sha256:{}", "a".repeat(64));
        let pinned = resolve(&format!("image = \"r.example/a:1@{digest}\"")).await;
        assert_eq!(pinned, ImageResolution::Pinned(format!("r.example/a@{digest}").parse().unwrap()));
        let ImageResolution::Unpinned(never) = resolve("image = \"a:1\"\npull = \"never\"").await else {
            panic!("a local tag was resolved");
        };
        assert_eq!(never.code, "image/never-pulled");
    }
}
