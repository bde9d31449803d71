//! From which registries this host pulls. The engine stands in the host's own network and goes wherever it is sent, so
//! that nobody's image sends it anywhere but to the public internet, unless the host's owner lists the registry. The
//! registry is asked once before the engine is: what it redirects to, and where it says that tokens are, is judged too.
//! Docker Hub is not asked before: an engine may have a mirror for it.
//!
//! A registry that takes no more requests is left alone for as long as it says, whichever task wants it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lode_network::{Outbound, OutboundError, Registry, RegistryError, Trust};
use lode_protocol::image::{DEFAULT_REGISTRY, ImageDigest, ImageReference};
use lode_protocol::units::Millis;

use crate::core::event::EngineFailure;

/// Time for one question to a registry: what is asked is small.
const PATIENCE: Duration = Duration::from_secs(10);
/// Registries that are remembered as resting.
const MOST_RESTING: usize = 256;
/// How long one rests that does not say for how long.
const REST: Duration = Duration::from_secs(60);

/// Whom the host's owner trusts, and how pulls are waited for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ImageAccess {
    /// Registries (`host`, `host:port`, `host:*`) that may have addresses which are not public.
    pub private_registries: Vec<String>,
    /// The same, spoken to over plain HTTP.
    pub insecure_registries: Vec<String>,
    /// Time a pull may go without any progress.
    pub pull_silence: Duration,
}

impl Default for ImageAccess {
    fn default() -> Self {
        let (private_registries, insecure_registries) = (Vec::new(), Vec::new());
        Self { private_registries, insecure_registries, pull_silence: Duration::from_secs(600) }
    }
}

/// The judge.
#[derive(Debug)]
pub(super) struct Registries {
    outbound: Result<Outbound, OutboundError>,
    trust: Trust,
    resting: Mutex<BTreeMap<String, (Instant, String)>>,
}

impl Registries {
    pub(super) fn new(access: &ImageAccess) -> Self {
        let outbound = Outbound::new(concat!("lode-worker/", env!("CARGO_PKG_VERSION")));
        let trust = Trust::hosts(&access.private_registries, &access.insecure_registries);
        Self { outbound, trust, resting: Mutex::default() }
    }

    /// Whether the engine may be sent to an image's registry now. What the registry said, where it was asked.
    pub(super) async fn judge(
        &self,
        image: &ImageReference,
    ) -> Result<Option<Result<ImageDigest, RegistryError>>, EngineFailure> {
        let registry = image.registry();
        if let Some((left, detail)) = self.rests(registry) {
            let retry_after = Some(Millis::from_duration(left));
            return Err(EngineFailure::RegistryLimit { detail, retry_after });
        }
        if registry == DEFAULT_REGISTRY {
            return Ok(None);
        }
        let vouched = match &self.outbound {
            // A name that nobody resolves holds the pull up no longer than a registry that nobody answers for.
            Ok(outbound) => {
                let vouched = tokio::time::timeout(PATIENCE, outbound.vouch_for(registry, &self.trust)).await;
                vouched.unwrap_or_else(|_| {
                    let reason = format!("its name was not resolved within {PATIENCE:?}");
                    Err(OutboundError::Unreachable { host: registry.to_owned(), reason })
                })
            }
            Err(error) => Err(error.clone()),
        };
        match vouched {
            Ok(()) => {}
            Err(OutboundError::NotPublic { .. }) => return Err(not_allowed(registry)),
            Err(error) => {
                tracing::warn!(%error, registry, "whether a registry is public cannot be told, so nothing is pulled");
                return Err(EngineFailure::PullFailed(format!(
                    "the node cannot tell whether the registry {registry} is on the public internet: its name could \
                     not be resolved there"
                )));
            }
        }
        match self.ask(image).await {
            Err(error) if error.leads_astray() => {
                tracing::warn!(%error, registry, "a registry sends its readers where this host does not go");
                Err(EngineFailure::RegistryNotAllowed(format!(
                    "the registry {registry} sends whoever pulls from it elsewhere: not by HTTPS, or not to the public \
                     internet, and to nothing that the node's owner has listed"
                )))
            }
            said => Ok(Some(said)),
        }
    }

    /// What a registry says of an image.
    pub(super) async fn ask(&self, image: &ImageReference) -> Result<ImageDigest, RegistryError> {
        let outbound = self.outbound.as_ref().map_err(|error| RegistryError::Outbound(error.clone()))?;
        let registry = Registry { outbound, trust: &self.trust, deadline: PATIENCE };
        tokio::time::timeout(PATIENCE, registry.digest_of(image)).await.unwrap_or_else(|_| {
            Err(RegistryError::Answer {
                registry: image.registry().to_owned(),
                what: format!("nothing within {PATIENCE:?}"),
            })
        })
    }

    /// A registry takes no more requests: what is said of it, and it is left alone.
    pub(super) fn limited(&self, registry: &str, said: Option<&RegistryError>) -> EngineFailure {
        let told = said.and_then(RegistryError::retry_after);
        let limit = match said {
            Some(error @ RegistryError::Limited { .. }) => error.to_string(),
            _ => format!("the registry {registry} takes no more requests from here for now (429)"),
        };
        let detail = format!(
            "{limit}. The pull waits and is tried again by itself. The limit counts for everybody behind the node's \
             address; the node's owner keeps below it with a mirror (`registry-mirrors` of the Docker engine), a tenant \
             with an image in another registry"
        );
        let rest = told.unwrap_or(REST);
        let now = Instant::now();
        let mut resting = self.resting();
        resting.retain(|_, (until, _)| *until > now);
        if resting.len() < MOST_RESTING
            && let Some(until) = now.checked_add(rest)
        {
            resting.insert(registry.to_owned(), (until, detail.clone()));
        }
        EngineFailure::RegistryLimit { detail, retry_after: told.map(Millis::from_duration) }
    }

    fn rests(&self, registry: &str) -> Option<(Duration, String)> {
        let resting = self.resting();
        let (until, detail) = resting.get(registry)?;
        let left = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
        Some((left, detail.clone()))
    }

    fn resting(&self) -> MutexGuard<'_, BTreeMap<String, (Instant, String)>> {
        self.resting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn not_allowed(registry: &str) -> EngineFailure {
    EngineFailure::RegistryNotAllowed(format!(
        "the node does not pull from {registry}: it is not, or not only, on the public internet. Name a registry that is, \
         or nodes whose owner lists this one (`[images] private_registries` or `insecure_registries` of the worker)"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(text: &str) -> ImageReference {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn the_engine_is_sent_to_no_address_inside_unless_the_owner_lists_it() {
        let registries = Registries::new(&ImageAccess::default());
        for text in [
            "127.0.0.1:28794/internal/admin:v1",
            "127.1:80/a",
            "localhost:5000/a",
            "localhost/a",
            "registry:5000/a",
            "10.0.0.1:5000/a",
            "192.168.1.1/a",
            "169.254.169.254/latest/meta-data",
            "[::1]:5000/a",
            "[::ffff:127.0.0.1]:5000/a",
            "[fe80::1]/a",
        ] {
            let judged = registries.judge(&image(text)).await;
            assert!(matches!(judged, Err(EngineFailure::RegistryNotAllowed(_))), "{text}: {judged:?}");
        }
        assert!(
            matches!(registries.judge(&image("busybox")).await, Ok(None)),
            "Docker Hub is not asked before"
        );
    }

    #[test]
    fn a_registry_at_its_limit_rests_for_all_tasks_as_long_as_it_says() {
        let registries = Registries::new(&ImageAccess::default());
        let limit =
            lode_network::RateLimit { retry_after: Some(Duration::from_secs(3_600)), ..Default::default() };
        let said = RegistryError::Limited { registry: "r.example".to_owned(), limit };
        let EngineFailure::RegistryLimit { detail, retry_after } =
            registries.limited("r.example", Some(&said))
        else {
            panic!("it is a limit");
        };
        assert_eq!(retry_after, Some(Millis::seconds(3_600)));
        assert!(detail.contains("come again in 3600 s") && detail.contains("registry-mirrors"), "{detail}");
        let (left, again) = registries.rests("r.example").unwrap();
        assert!(left > Duration::from_secs(3_500), "{left:?}");
        assert_eq!(again, detail);
        assert_eq!(registries.rests("other.example"), None);
    }
}
