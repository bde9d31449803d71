//! One question to a registry, by the distribution API (v2): which manifest does this tag name?
//!
//! An index of manifests for several platforms counts as it is: each node picks its own from it.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use lode_network::{Outbound, OutboundAnswer, OutboundError, OutboundLimits, OutboundRequest, Reach, Trust};
use lode_protocol::image::{DEFAULT_REGISTRY, ImageDigest, ImageReference};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::challenge::Challenge;

/// Where Docker Hub's API is.
const DOCKER_HUB: &str = "registry-1.docker.io";
/// Largest manifest (registries refuse more than 4 MiB).
const MANIFEST: usize = 4 << 20;
/// Redirects of one question: to where a registry's content lies, and what that adds.
const REDIRECTS: usize = 5;
/// Largest answer of a token service.
const TOKEN: usize = 64 << 10;
/// What engines ask for: an index before a manifest, OCI's and Docker's.
const ACCEPT: HeaderValue = HeaderValue::from_static(
    "application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json",
);
const CONTENT_DIGEST: &str = "docker-content-digest";

/// Why there is no digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum RegistryError {
    /// It could not be asked.
    #[error(transparent)]
    Outbound(#[from] OutboundError),
    /// It says that there is no such image.
    #[error("the registry {registry} has no image {image}")]
    NotFound { registry: String, image: String },
    /// It answers only to those who have a name there.
    #[error("the registry {registry} wants credentials, which this orchestrator does not have")]
    Credentials { registry: String },
    /// It answers something else.
    #[error("the registry {registry} answered {what}")]
    Answer { registry: String, what: String },
}

impl RegistryError {
    pub(super) fn code(&self) -> &'static str {
        match self {
            RegistryError::Outbound(OutboundError::NotPublic { .. }) => "image/registry-not-public",
            RegistryError::Outbound(_) => "image/registry-unreachable",
            RegistryError::NotFound { .. } => "image/not-found",
            RegistryError::Credentials { .. } => "image/credentials-needed",
            RegistryError::Answer { .. } => "image/registry-answer",
        }
    }
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

/// A registry as it may be asked.
#[derive(Debug)]
pub(super) struct Registry<'a> {
    pub(super) outbound: &'a Outbound,
    /// Each hop is judged by its own host: the registry, what it redirects to, where its tokens are.
    pub(super) trust: &'a Trust,
    /// For each question.
    pub(super) deadline: Duration,
}

impl Registry<'_> {
    /// The content that a tag names now.
    pub(super) async fn digest_of(&self, image: &ImageReference) -> Result<ImageDigest, RegistryError> {
        let mut answer = self.manifest(Method::HEAD, image, None).await?;
        let mut token = None;
        if answer.status() == StatusCode::UNAUTHORIZED {
            token = Some(self.token(image, &answer).await?);
            answer = self.manifest(Method::HEAD, image, token.as_ref()).await?;
        }
        if let Some(digest) = named_digest(&answer).filter(|_| answer.status() == StatusCode::OK) {
            return Ok(digest);
        }
        // Not every registry knows HEAD or names the digest: its hash is the digest.
        let asks_for_more = matches!(answer.status(), StatusCode::OK | StatusCode::METHOD_NOT_ALLOWED);
        if asks_for_more {
            answer = self.manifest(Method::GET, image, token.as_ref()).await?;
        }
        match answer.status() {
            StatusCode::OK => Ok(ImageDigest::from_bytes(&Sha256::digest(&answer.body().await?).into())),
            status => Err(refusal(image, status)),
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
        let credentials = || RegistryError::Credentials { registry: image.registry().to_owned() };
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
        if answer.status() != StatusCode::OK {
            return Err(credentials());
        }
        let unreadable = || RegistryError::Answer {
            registry: image.registry().to_owned(),
            what: "with a token that cannot be read".to_owned(),
        };
        let Token { token, access_token } =
            serde_json::from_slice(&answer.body().await?).map_err(|_| unreadable())?;
        let token = token.or(access_token).ok_or_else(unreadable)?;
        let mut value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| unreadable())?;
        value.set_sensitive(true);
        Ok(value)
    }
}

fn named_digest(answer: &OutboundAnswer) -> Option<ImageDigest> {
    answer.headers().get(CONTENT_DIGEST)?.to_str().ok()?.parse().ok()
}

fn refusal(image: &ImageReference, status: StatusCode) -> RegistryError {
    let registry = image.registry().to_owned();
    match status {
        StatusCode::NOT_FOUND => {
            let image = format!("{}:{}", image.repository(), image.tag());
            RegistryError::NotFound { registry, image }
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => RegistryError::Credentials { registry },
        other => RegistryError::Answer { registry, what: format!("with status {}", other.as_u16()) },
    }
}
