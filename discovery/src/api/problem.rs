//! One table from refusals to problem details.

use axum::http::StatusCode;
use lode_program::problem::Problem;
use lode_protocol::envelope::EnvelopeError;

use crate::core::directory::NotListed;
use crate::service::Refused;

/// The answer to a refused publication.
pub(super) fn refused(refused: &Refused) -> Problem {
    let detail = refused.to_string();
    let (status, code, title, remedy) = match refused {
        Refused::Envelope(error) => return envelope(error),
        Refused::WrongNode { .. } => (
            StatusCode::FORBIDDEN,
            "descriptor/wrong-node",
            "A node may describe only itself",
            "Sign the descriptor with the node's own key and send it to the node's own address.",
        ),
        Refused::NotRegistered(_) => (
            StatusCode::FORBIDDEN,
            "node/not-registered",
            "The node is not registered",
            "Let the provider authorise the node (`lode provider authorize`), then publish again.",
        ),
        Refused::NotEligible(_) => (
            StatusCode::FORBIDDEN,
            "node/not-eligible",
            "The provider's stake is too low",
            "Add stake, or release nodes, until the stake covers the provider's nodes.",
        ),
        Refused::ChainUnknown(_) => (
            StatusCode::SERVICE_UNAVAILABLE,
            "chain/unreachable",
            "The chain cannot be asked",
            "Try again later; nothing is wrong with the descriptor as far as is known.",
        ),
        Refused::TooMany => (
            StatusCode::TOO_MANY_REQUESTS,
            "limit/too-many-publications",
            "Too many publications",
            "Publish only when something changed, and when half of the lifetime is over.",
        ),
        Refused::Full => (
            StatusCode::SERVICE_UNAVAILABLE,
            "limit/directory-full",
            "The directory is full",
            "Use another directory as well.",
        ),
        Refused::NotListed(NotListed::Stale { .. }) => (
            StatusCode::CONFLICT,
            "descriptor/stale",
            "A newer descriptor is listed",
            "Publish a descriptor with a higher boot or sequence.",
        ),
        Refused::NotListed(NotListed::Lifetime) => (
            StatusCode::UNPROCESSABLE_ENTITY,
            "descriptor/lifetime",
            "The lifetime is not acceptable",
            "Check the machine's clock; descriptors live for at most 24 hours.",
        ),
    };
    Problem::new(status, code, title).detail(detail).remedy(remedy)
}

fn envelope(error: &EnvelopeError) -> Problem {
    let status = match error {
        EnvelopeError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        EnvelopeError::Malformed(_)
        | EnvelopeError::UnsupportedVersion { .. }
        | EnvelopeError::WrongPurpose { .. } => StatusCode::BAD_REQUEST,
        EnvelopeError::Expired { .. }
        | EnvelopeError::NotYetValid { .. }
        | EnvelopeError::WrongAudience { .. }
        | EnvelopeError::WrongRealm { .. }
        | EnvelopeError::WrongSigner { .. }
        | EnvelopeError::BadSignature => StatusCode::UNAUTHORIZED,
    };
    Problem::new(status, error.code(), "The descriptor's envelope is not acceptable")
        .detail(error.to_string())
        .remedy("Sign a descriptor for this chain and deployment with the node's key and a correct clock.")
}
