//! Why a registry says of no content that it is meant. No word of a registry is in it but for numbers: who names a
//! registry must not read through it what answers there.

use std::time::Duration;

use super::limit::RateLimit;
use crate::outbound::OutboundError;

/// Why there is no digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// It could not be asked.
    #[error(transparent)]
    Outbound(#[from] OutboundError),
    /// It says that there is no such image.
    #[error("the registry {registry} has no image {image}")]
    NotFound {
        /// Its host.
        registry: String,
        /// What was asked for.
        image: String,
    },
    /// It answers only to those who have a name there.
    #[error("the registry {registry} wants credentials, which nobody here has")]
    Credentials {
        /// Its host.
        registry: String,
    },
    /// It answers nothing more for a while.
    #[error("the registry {registry} takes no more requests from here for now ({limit})")]
    Limited {
        /// Its host.
        registry: String,
        /// What it says of its limit.
        limit: RateLimit,
    },
    /// What it has under the reference is no image that can be pulled by its digest.
    #[error(
        "the registry {registry} has something else under this name than an image in a form of today: {kind}"
    )]
    NotAnImage {
        /// Its host.
        registry: String,
        /// In our words.
        kind: &'static str,
    },
    /// It answers something else.
    #[error("the registry {registry} answered {what}")]
    Answer {
        /// Its host.
        registry: String,
        /// In our words.
        what: String,
    },
}

impl RegistryError {
    /// Stable code.
    pub fn code(&self) -> &'static str {
        match self {
            RegistryError::Outbound(OutboundError::NotPublic { .. }) => "image/registry-not-public",
            RegistryError::Outbound(_) => "image/registry-unreachable",
            RegistryError::NotFound { .. } => "image/not-found",
            RegistryError::Credentials { .. } => "image/credentials-needed",
            RegistryError::Limited { .. } => "image/rate-limited",
            RegistryError::NotAnImage { .. } => "image/not-pinnable",
            RegistryError::Answer { .. } => "image/registry-answer",
        }
    }

    /// Whether it leads, or sends its readers, where they may not go.
    pub fn leads_astray(&self) -> bool {
        matches!(
            self,
            RegistryError::Outbound(OutboundError::NotPublic { .. } | OutboundError::BadUrl { .. })
        )
    }

    /// For how long it is to be left alone, by its own word.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            RegistryError::Limited { limit, .. } => limit.retry_after,
            RegistryError::Outbound(_)
            | RegistryError::NotFound { .. }
            | RegistryError::Credentials { .. }
            | RegistryError::NotAnImage { .. }
            | RegistryError::Answer { .. } => None,
        }
    }
}
