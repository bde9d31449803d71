//! One table from refusals to problem details.

use axum::http::StatusCode;
use lode_program::problem::Problem;
use lode_protocol::descriptor::DescriptorError;
use lode_protocol::envelope::EnvelopeError;
use lode_protocol::error_code::ErrorCode;

use crate::core::Rejected;
use crate::handle::Refused;

/// The answer to a refused publication.
pub(super) fn refused(refused: &Refused) -> Problem {
    let (status, code, title, remedy) = match refused {
        Refused::Descriptor(error) => {
            (status_of(error), error.code(), "The descriptor is not acceptable", error.remedy())
        }
        Refused::WrongPlace { .. } => (
            StatusCode::FORBIDDEN,
            ErrorCode::new("descriptor/wrong-node"),
            "A node may describe only itself",
            "Send the descriptor to the node's own address.",
        ),
        Refused::TooMany => (
            StatusCode::TOO_MANY_REQUESTS,
            ErrorCode::new("limit/too-many-publications"),
            "Too many publications",
            "Publish only when something changed, and when half of the lifetime is over.",
        ),
        Refused::Stopping => (
            StatusCode::SERVICE_UNAVAILABLE,
            ErrorCode::new("program/stopping"),
            "The directory is stopping",
            "Try again later.",
        ),
        Refused::Rejected(rejected) => {
            let (status, title, remedy) = rejection(rejected);
            (status, rejected.code(), title, remedy)
        }
    };
    Problem::new(status, code, title).detail(told(refused)).remedy(remedy)
}

/// In words, for anybody: what a library says of our chain or disk names endpoints and paths, and stays in our log.
fn told(refused: &Refused) -> String {
    match refused {
        Refused::Rejected(Rejected::ChainUnknown(_)) => {
            "the chain cannot be asked whether the node is registered".to_owned()
        }
        Refused::Rejected(Rejected::NotStored(_)) => {
            "the descriptor is listed, and cannot be stored".to_owned()
        }
        Refused::Descriptor(_)
        | Refused::WrongPlace { .. }
        | Refused::TooMany
        | Refused::Stopping
        | Refused::Rejected(_) => refused.to_string(),
    }
}

fn rejection(rejected: &Rejected) -> (StatusCode, &'static str, &'static str) {
    match rejected {
        Rejected::Stale { .. } => (
            StatusCode::CONFLICT,
            "A newer descriptor is known",
            "Publish a descriptor with a higher boot or sequence.",
        ),
        Rejected::Expired { .. } => (
            StatusCode::UNPROCESSABLE_ENTITY,
            "The descriptor has expired",
            "Sign a new descriptor; check the machine's clock.",
        ),
        Rejected::NotRegistered(_) => (
            StatusCode::FORBIDDEN,
            "The node is not registered",
            "Let the provider authorise the node (`lode provider authorize`), then publish again.",
        ),
        Rejected::NotEligible(_) => (
            StatusCode::FORBIDDEN,
            "The provider's stake is too low",
            "Add stake, or release nodes, until the stake covers the provider's nodes.",
        ),
        Rejected::ChainUnknown(_) => (
            StatusCode::SERVICE_UNAVAILABLE,
            "The chain cannot be asked",
            "Try again later; nothing is wrong with the descriptor as far as is known.",
        ),
        Rejected::TooOften { .. } => (
            StatusCode::TOO_MANY_REQUESTS,
            "Too many publications",
            "Publish only when something changed, and when half of the lifetime is over.",
        ),
        Rejected::Busy => (
            StatusCode::SERVICE_UNAVAILABLE,
            "The directory is busy",
            "Try again later; use another directory as well.",
        ),
        Rejected::Full => {
            (StatusCode::SERVICE_UNAVAILABLE, "The directory is full", "Use another directory as well.")
        }
        Rejected::NotStored(_) => (
            StatusCode::SERVICE_UNAVAILABLE,
            "The descriptor is listed, but not stored",
            "Publish it again later; use another directory as well.",
        ),
    }
}

fn status_of(error: &DescriptorError) -> StatusCode {
    match error {
        DescriptorError::Envelope(error) => match error {
            EnvelopeError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            EnvelopeError::Malformed(_)
            | EnvelopeError::NotCanonical(_)
            | EnvelopeError::UnsupportedVersion { .. }
            | EnvelopeError::WrongPurpose { .. } => StatusCode::BAD_REQUEST,
            EnvelopeError::ExpiresBeforeIssue { .. }
            | EnvelopeError::CountsTooLong { .. }
            | EnvelopeError::NotAddressed { .. }
            | EnvelopeError::Expired { .. }
            | EnvelopeError::NotYetValid { .. }
            | EnvelopeError::WrongAudience { .. }
            | EnvelopeError::WrongRealm { .. }
            | EnvelopeError::WrongSigner { .. }
            | EnvelopeError::BadSignature
            | EnvelopeError::BadTag => StatusCode::UNAUTHORIZED,
        },
        DescriptorError::WrongNode { .. } => StatusCode::FORBIDDEN,
        DescriptorError::TooMany { .. }
        | DescriptorError::TooLong { .. }
        | DescriptorError::RepeatedGpu(_)
        | DescriptorError::Lifetime { .. }
        | DescriptorError::Expired { .. } => StatusCode::UNPROCESSABLE_ENTITY,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_tells_no_stranger_where_our_disk_and_chain_are() {
        let secret = "/var/lib/lode/directory.redb at https://rpc.example/KEY".to_owned();
        for rejected in [Rejected::ChainUnknown(secret.clone()), Rejected::NotStored(secret.clone())] {
            let problem = refused(&Refused::Rejected(rejected));
            let text = serde_json::to_string(&problem).unwrap();
            assert!(!text.contains("redb") && !text.contains("KEY"), "{text}");
        }
    }
}
