//! One question to a registry of container images, by the distribution API (v2): which content does this reference name?
//! Asked over the guarded way out ([`crate::Outbound`]): every hop is judged by its own host, the registry, what it
//! redirects to, where it says that tokens are.
//!
//! An index of manifests for several platforms counts as it is: each node picks its own from it. What is no image of
//! the kinds that are asked for has no digest: engines cannot pull it by one.

mod challenge;
mod error;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod limit;
mod manifest;

use std::time::{Duration, SystemTime};

use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use lode_protocol::image::{DEFAULT_REGISTRY, ImageDigest, ImageReference};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

pub use error::RegistryError;
pub use limit::RateLimit;

use crate::outbound::{Outbound, OutboundAnswer, OutboundLimits, OutboundRequest, Reach, Trust};
use challenge::Challenge;
use manifest::{ACCEPT, Kind};

/// Where Docker Hub's API is.
const DOCKER_HUB: &str = "registry-1.docker.io";
/// Largest manifest (registries refuse more than 4 MiB).
const MANIFEST: usize = 4 << 20;
/// Redirects of one question: to where a registry's content lies, and what that adds.
const REDIRECTS: usize = 5;
/// Largest answer of a token service.
const TOKEN: usize = 64 << 10;
const CONTENT_DIGEST: &str = "docker-content-digest";

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

/// Registries as they may be asked.
#[derive(Clone, Copy, Debug)]
pub struct Registry<'a> {
    /// The way out.
    pub outbound: &'a Outbound,
    /// How far it goes, by host.
    pub trust: &'a Trust,
    /// For each of the questions that one answer may need.
    pub deadline: Duration,
}

impl Registry<'_> {
    /// The content that a reference names now.
    ///
    /// # Errors
    /// When the registry cannot be asked, refuses, or has something else than an image under it.
    pub async fn digest_of(&self, image: &ImageReference) -> Result<ImageDigest, RegistryError> {
        let mut answer = self.manifest(Method::HEAD, image, None).await?;
        let mut token = None;
        if answer.status() == StatusCode::UNAUTHORIZED {
            token = Some(self.token(image, &answer).await?);
            answer = self.manifest(Method::HEAD, image, token.as_ref()).await?;
        }
        if answer.status() == StatusCode::OK {
            match Kind::of(answer.headers()) {
                Kind::Image => {
                    if let Some(digest) = named_digest(&answer) {
                        return Ok(digest);
                    }
                }
                Kind::Foreign(kind) => return Err(RegistryError::NotAnImage { registry: name(image), kind }),
                Kind::Untold => {}
            }
        }
        // Not every registry knows HEAD, names the digest, or says what it sends: the manifest itself does.
        let asks_for_more = matches!(answer.status(), StatusCode::OK | StatusCode::METHOD_NOT_ALLOWED);
        if asks_for_more {
            answer = self.manifest(Method::GET, image, token.as_ref()).await?;
        }
        match answer.status() {
            StatusCode::OK => read(image, &mut answer).await,
            _ => Err(refusal(image, &answer)),
        }
    }

    async fn manifest(
        &self,
        method: Method,
        image: &ImageReference,
        token: Option<&HeaderValue>,
    ) -> Result<OutboundAnswer, RegistryError> {
        let host = if image.registry() == DEFAULT_REGISTRY { DOCKER_HUB } else { image.registry() };
        let scheme = match self.trust.reach(host) {
            Reach::Public | Reach::Private => "https",
            Reach::Insecure => "http",
        };
        let url = format!("{scheme}://{host}/v2/{}/manifests/{}", image.repository(), image.version());
        let mut headers = HeaderMap::from_iter([(header::ACCEPT, ACCEPT)]);
        if let Some(token) = token {
            headers.insert(header::AUTHORIZATION, token.clone());
        }
        let request = OutboundRequest {
            method,
            url: &url,
            query: &[],
            headers,
            trust: self.trust,
            redirects: REDIRECTS,
            limits: OutboundLimits::new(MANIFEST, self.deadline),
        };
        Ok(self.outbound.ask(request).await?)
    }

    /// A token for reading, as anybody may have it.
    async fn token(
        &self,
        image: &ImageReference,
        refused: &OutboundAnswer,
    ) -> Result<HeaderValue, RegistryError> {
        let credentials = || RegistryError::Credentials { registry: name(image) };
        let challenge = refused.headers().get(header::WWW_AUTHENTICATE).and_then(|value| value.to_str().ok());
        let challenge = challenge.map(Challenge::parse).ok_or_else(credentials)?;
        let Challenge::Bearer { realm, service, scope } = challenge else { return Err(credentials()) };
        // Never more than reading, whatever the registry suggests.
        let scope = match scope {
            Some(scope) if scope.ends_with(":pull") => scope,
            _ => format!("repository:{}:pull", image.repository()),
        };
        let mut query = vec![("scope", scope.as_str())];
        query.extend(service.as_deref().map(|service| ("service", service)));
        let request = OutboundRequest {
            method: Method::GET,
            url: &realm,
            query: &query,
            headers: HeaderMap::new(),
            trust: self.trust,
            redirects: REDIRECTS,
            limits: OutboundLimits::new(TOKEN, self.deadline),
        };
        let mut answer = self.outbound.ask(request).await?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::TOO_MANY_REQUESTS => return Err(refusal(image, &answer)),
            _ => return Err(credentials()),
        }
        authorization(&answer.body().await?).ok_or_else(|| RegistryError::Answer {
            registry: name(image),
            what: "with a token that cannot be read".to_owned(),
        })
    }
}

/// The header that a token service's answer makes.
fn authorization(answer: &[u8]) -> Option<HeaderValue> {
    let Token { token, access_token } = serde_json::from_slice(answer).ok()?;
    let mut value = HeaderValue::from_str(&format!("Bearer {}", token.or(access_token)?)).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn name(image: &ImageReference) -> String {
    image.registry().to_owned()
}

fn named_digest(answer: &OutboundAnswer) -> Option<ImageDigest> {
    answer.headers().get(CONTENT_DIGEST)?.to_str().ok()?.parse().ok()
}

/// The digest of a manifest that was sent whole: its hash.
async fn read(image: &ImageReference, answer: &mut OutboundAnswer) -> Result<ImageDigest, RegistryError> {
    let registry = name(image);
    let said = Kind::of(answer.headers());
    let body = answer.body().await?;
    let kind = match said {
        Kind::Image | Kind::Foreign(_) => said,
        Kind::Untold => Kind::of_manifest(&body),
    };
    match kind {
        Kind::Image => Ok(ImageDigest::from_bytes(&Sha256::digest(&body).into())),
        Kind::Foreign(kind) => Err(RegistryError::NotAnImage { registry, kind }),
        Kind::Untold => {
            Err(RegistryError::Answer { registry, what: "with something else than a manifest".to_owned() })
        }
    }
}

fn refusal(image: &ImageReference, answer: &OutboundAnswer) -> RegistryError {
    let registry = name(image);
    match answer.status() {
        StatusCode::NOT_FOUND => RegistryError::NotFound { registry, image: image.to_string() },
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => RegistryError::Credentials { registry },
        StatusCode::TOO_MANY_REQUESTS => {
            let limit = RateLimit::of(answer.headers(), SystemTime::now());
            RegistryError::Limited { registry, limit }
        }
        other => RegistryError::Answer { registry, what: format!("with status {}", other.as_u16()) },
    }
}
