//! What stands before every handler: request id and log line, token.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use lode_program::Problem;
use tracing::Instrument as _;

use super::ApiState;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Gives every request an id (the caller's, if it is harmless), puts it on every log line and into the answer.
pub(super) async fn request_id(request: Request, next: Next) -> Response {
    let given =
        request.headers().get(&REQUEST_ID).and_then(|value| value.to_str().ok()).filter(|id| is_harmless(id));
    let id = given.map_or_else(|| uuid::Uuid::now_v7().to_string(), ToOwned::to_owned);
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let span = tracing::info_span!("request", request_id = %id, %method, %path);
    let started = Instant::now();
    let mut response = next.run(request).instrument(span.clone()).await;
    let status = response.status().as_u16();
    let millis = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    span.in_scope(|| tracing::debug!(status, millis, "answered"));
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

fn is_harmless(id: &str) -> bool {
    (1..=64).contains(&id.len())
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

/// Whether anybody may read this path: only what validators, providers and strangers must be able to check.
fn is_public(path: &str) -> bool {
    path == "/v1/epochs" || path.starts_with("/v1/epochs/") || path.starts_with("/v1/payees/")
}

/// Everything under `/v1` needs the token, but for what is public.
pub(super) async fn token(State(state): State<Arc<ApiState>>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if (path != "/v1" && !path.starts_with("/v1/")) || is_public(path) {
        return next.run(request).await;
    }
    let given = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = given.and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    if token.is_some_and(|token| state.token.admits(token)) {
        return next.run(request).await;
    }
    let mut response = Problem::new(StatusCode::UNAUTHORIZED, "api/unauthorized", "No valid token")
        .remedy("Send the header `Authorization: Bearer TOKEN` with the token from the orchestrator's token file.")
        .into_response();
    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_public_but_epochs_and_payees() {
        for path in ["/v1/epochs", "/v1/epochs/3/receipts", "/v1/payees/0x1"] {
            assert!(is_public(path), "{path}");
        }
        for path in ["/v1", "/v1/epochs-of-others", "/v1/tasks", "/v1/payees", "/v1/pool"] {
            assert!(!is_public(path), "{path}");
        }
    }

    #[test]
    fn a_request_id_that_could_forge_log_lines_is_replaced() {
        assert!(is_harmless("abc-1.2_3"));
        for bad in ["", "a b", "a\"", "x\n", &"y".repeat(65)] {
            assert!(!is_harmless(bad), "{bad:?}");
        }
    }
}
