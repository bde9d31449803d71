//! Making an image available: what the engine has, who may be asked, the pull, and what it means when that fails.

use std::collections::BTreeSet;

use bollard::errors::Error;
use lode_network::RegistryError;
use lode_protocol::image::{ImageDigest, ImageReference};
use lode_protocol::task::PullPolicy;

use super::call::{CALL, within};
use super::client::DockerEngine;
use super::failure::{During, classify, is_missing};
use super::fetch::FetchError;
use super::image::repository_digest;
use super::{transport, words};
use crate::core::effect::WantedImage;
use crate::core::event::{EngineFailure, Origin, PulledImage};

/// What a registry said before the engine was sent to it, where it was asked.
type Said = Option<Result<ImageDigest, RegistryError>>;

/// An image that the engine has.
#[derive(Debug)]
struct Found {
    /// Content of its repository, or its id.
    name: String,
    /// Its id in this engine.
    id: Option<String>,
}

impl DockerEngine {
    pub(super) async fn make_available(&self, wanted: &WantedImage) -> Result<PulledImage, EngineFailure> {
        let image = &wanted.image;
        let found = self.find_image(image).await?;
        // What a digest names never changes: there is nothing to ask for, also where the registry no longer has it.
        let is_settled = image.digest().is_some();
        match (wanted.policy, found) {
            (PullPolicy::Never, None) => Err(EngineFailure::ImageNotFound(format!(
                "{image}: the node does not have this image, and the task says pull = \"never\""
            ))),
            (PullPolicy::Never | PullPolicy::Missing, Some(found)) => Ok(found.name.into()),
            (PullPolicy::Always, Some(found)) if is_settled => Ok(found.name.into()),
            (PullPolicy::Missing | PullPolicy::Always, before) => self.bring(wanted, before).await,
        }
    }

    async fn bring(&self, wanted: &WantedImage, before: Option<Found>) -> Result<PulledImage, EngineFailure> {
        let image = &wanted.image;
        let said = self.registries.judge(image).await?;
        if let Some(Err(limited @ RegistryError::Limited { .. })) = &said {
            return Err(self.registries.limited(image.registry(), Some(limited)));
        }
        if let Err(error) = self.fetch(image).await {
            return Err(self.why(wanted, said, error).await);
        }
        let found = self.find_image(image).await?.ok_or_else(|| {
            EngineFailure::PullFailed(format!("{image}: the node's engine does not have it after the pull"))
        })?;
        let origin = match before {
            None => Origin::Fetched,
            Some(before) if before.id == found.id => Origin::Present,
            Some(_) => Origin::Renewed,
        };
        Ok(PulledImage { name: found.name, origin })
    }

    async fn find_image(&self, image: &ImageReference) -> Result<Option<Found>, EngineFailure> {
        let docker = self.docker().await?;
        match within(CALL, docker.inspect_image(&image.to_string())).await {
            Ok(found) => {
                let digest = repository_digest(image, &found.repo_digests.unwrap_or_default());
                let id = found.id.filter(|id| is_engine_id(id));
                let Some(name) = digest.or_else(|| id.clone()) else {
                    words::keep(
                        "the engine has an image without a name that could be used",
                        &image.to_string(),
                    );
                    return Err(EngineFailure::Other(format!("{image}: the node's engine cannot name it")));
                };
                Ok(Some(Found { name, id }))
            }
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) if transport::is_too_large(&error) => Err(EngineFailure::CannotStart(format!(
                "{image} says more of itself (environment, labels) than the {} KiB that are read",
                transport::IMAGE >> 10
            ))),
            Err(error) => Err(classify(&error, During::Other)),
        }
    }

    /// What a failed pull means.
    async fn why(&self, wanted: &WantedImage, said: Said, error: FetchError) -> EngineFailure {
        let image = &wanted.image;
        let registry = image.registry();
        let (status, words) = match error {
            FetchError::Engine(error) => return classify(&error, During::Other),
            FetchError::Silent(silence) => {
                let detail = format!("the registry {registry} sent nothing of {image} for {silence:?}");
                return EngineFailure::PullFailed(detail);
            }
            FetchError::Refused { status, words } => (status, words),
        };
        words::keep("an image could not be pulled", &words);
        match Refusal::of(status, &words) {
            Refusal::DiskFull => EngineFailure::DiskFull(words::told(&words)),
            // For how long, the engine does not pass on.
            Refusal::Limited => {
                let said = self.registries.ask(image).await;
                self.registries.limited(registry, said.as_ref().err())
            }
            Refusal::Gone if image.digest().is_some() => self.gone(wanted).await,
            Refusal::Gone => {
                EngineFailure::ImageNotFound(format!("the registry {registry} has no image {image}"))
            }
            Refusal::Denied => EngineFailure::ImageNotFound(format!(
                "the registry {registry} has no image {image}, or gives it only to those with a name there"
            )),
            Refusal::Other => EngineFailure::PullFailed(match said {
                Some(Err(error)) => format!("{image} could not be pulled: {error}"),
                Some(Ok(_)) | None => format!(
                    "{image} could not be pulled from {registry}; why is in the log of the node's worker"
                ),
            }),
        }
    }

    /// The registry does not have the content any more. The tag, where the task names one, may name other content now.
    async fn gone(&self, wanted: &WantedImage) -> EngineFailure {
        let WantedImage { image, named, .. } = wanted;
        let registry = image.registry();
        if named.digest().is_some() {
            return EngineFailure::ImageNotFound(format!(
                "the registry {registry} does not have {image}: it was deleted, or never there"
            ));
        }
        let now = match self.registries.ask(named).await {
            Ok(digest) => format!("its tag {} names {digest} now", named.tag()),
            Err(RegistryError::NotFound { .. }) => format!("it has no tag {} either", named.tag()),
            Err(error) => {
                tracing::warn!(%error, %named, "what a tag names now cannot be told");
                format!("what its tag {} names now cannot be told from here", named.tag())
            }
        };
        let content = image.version();
        EngineFailure::PinnedImageGone(format!(
            "the registry {registry} no longer has {content}, which this task is pinned to; {now}. Replicas that run go \
             on. Submit the task again to have it pinned anew, or push that content again"
        ))
    }
}

/// Kinds of refusals, by status and by the words of engines from 20.10 to 29.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Refusal {
    DiskFull,
    Limited,
    Gone,
    Denied,
    Other,
}

impl Refusal {
    fn of(status: u16, words: &str) -> Self {
        let text = words.to_ascii_lowercase();
        let says = |known: &[&str]| known.iter().any(|words| text.contains(words));
        if says(&["no space left on device", "disk quota exceeded"]) {
            Refusal::DiskFull
        } else if status == 429 || says(&["toomanyrequests", "too many requests", "pull rate limit"]) {
            Refusal::Limited
        } else if says(&["denied", "unauthorized", "authentication required", "no basic auth"]) {
            Refusal::Denied
        } else if status == 404 || says(&["manifest unknown", "manifest for", "not found", "name unknown"]) {
            Refusal::Gone
        } else {
            Refusal::Other
        }
    }
}

fn is_engine_id(text: &str) -> bool {
    text.parse::<ImageDigest>().is_ok()
}

/// Names that an image still has, for whoever removes one of them.
#[derive(Debug)]
pub(super) enum Removal {
    Done,
    Used,
}

impl DockerEngine {
    /// Removes a name of an image, and the image with its last one; never by force.
    pub(super) async fn remove_name(&self, image: &ImageReference) -> Result<Removal, EngineFailure> {
        let docker = self.docker().await?;
        let options = bollard::query_parameters::RemoveImageOptionsBuilder::default().force(false).build();
        match within(CALL, docker.remove_image(&image.to_string(), Some(options), None)).await {
            Ok(removed) => {
                let names: BTreeSet<_> = removed.into_iter().filter_map(|item| item.deleted).collect();
                tracing::info!(%image, layers = names.len(), "an image was removed to make room");
                Ok(Removal::Done)
            }
            Err(error) if is_missing(&error) => Ok(Removal::Done),
            Err(Error::DockerResponseServerError { status_code: 409, message }) => {
                words::keep("an image stays, because something uses it", &message);
                Ok(Removal::Used)
            }
            Err(error) => Err(classify(&error, During::Other)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_of_registries_are_told_apart_by_what_engines_make_of_them() {
        for (status, words, expected) in [
            (500, "toomanyrequests: You have reached your pull rate limit.", Refusal::Limited),
            (429, "anything", Refusal::Limited),
            (500, "received unexpected HTTP status: 429 Too Many Requests", Refusal::Limited),
            (
                404,
                "manifest for 127.0.0.1:5000/x:1 not found: manifest unknown: manifest unknown",
                Refusal::Gone,
            ),
            (500, "manifest unknown: manifest unknown", Refusal::Gone),
            (
                404,
                "pull access denied for x, repository does not exist or may require 'docker login'",
                Refusal::Denied,
            ),
            (500, "unauthorized: authentication required", Refusal::Denied),
            (500, "write /var/lib/docker/tmp/x: no space left on device", Refusal::DiskFull),
            (500, "Get \"http://127.0.0.1:5000/v2/\": dial tcp: connect: connection refused", Refusal::Other),
            (500, "error parsing HTTP 403 response body: {}", Refusal::Other),
        ] {
            assert_eq!(Refusal::of(status, words), expected, "{words}");
        }
    }

    #[test]
    fn an_id_of_an_engine_is_a_hash_and_nothing_that_leads_elsewhere() {
        assert!(is_engine_id(&format!("sha256:{}", "0a".repeat(32))));
        for text in ["sha256:1", "../containers/json", ""] {
            assert!(!is_engine_id(text), "{text}");
        }
    }
}
