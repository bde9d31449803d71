//! Extractors whose refusals are problems.

use std::str::FromStr;

use axum::body::Body;
use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use lode_program::Problem;
use serde::de::DeserializeOwned;

/// Items on a page if nobody says otherwise.
const DEFAULT_LIMIT: usize = 100;
/// Most items on a page.
pub(super) const MAX_LIMIT: usize = 1_000;

/// The query string.
#[derive(Debug)]
pub(super) struct Asked<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Query(value) = Query::from_request_parts(parts, state).await.map_err(|rejection| {
            Problem::new(StatusCode::BAD_REQUEST, "api/bad-query", "The query cannot be read")
                .detail(rejection.body_text())
                .remedy("See /openapi.json for the parameters of this path.")
        })?;
        Ok(Asked(value))
    }
}

/// The id in the path.
#[derive(Debug)]
pub(super) struct Named<T>(pub(super) T);

impl<S: Send + Sync, T: FromStr + Send> FromRequestParts<S> for Named<T>
where
    T::Err: std::fmt::Display,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let bad = |detail: String| {
            Problem::new(StatusCode::BAD_REQUEST, "api/bad-id", "The id in the path cannot be read")
                .detail(detail)
                .remedy("Use an id as a list shows it.")
        };
        let Path(text) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|rejection| bad(rejection.body_text()))?;
        text.parse().map(Named).map_err(|error: T::Err| bad(error.to_string()))
    }
}

/// How many items a page has.
pub(super) fn limit(asked: Option<usize>) -> Result<usize, Problem> {
    match asked {
        None => Ok(DEFAULT_LIMIT),
        Some(limit) if (1..=MAX_LIMIT).contains(&limit) => Ok(limit),
        Some(_) => Err(Problem::new(StatusCode::BAD_REQUEST, "api/bad-query", "The query cannot be read")
            .detail(format!("limit must be between 1 and {MAX_LIMIT}"))
            .remedy("Ask for several pages with `after`.")),
    }
}

/// The whole body, at most `most` bytes of JSON.
pub(super) async fn json_body(headers: &HeaderMap, body: Body, most: usize) -> Result<Vec<u8>, Problem> {
    let media = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media = media.split(';').next().unwrap_or_default().trim();
    let bytes = axum::body::to_bytes(body, most).await.map_err(|_| too_large(most))?;
    if !bytes.is_empty() && !media.eq_ignore_ascii_case("application/json") {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "api/media-type",
            "The body must be JSON",
        )
        .remedy("Send it with `Content-Type: application/json`."));
    }
    Ok(bytes.to_vec())
}

pub(super) fn too_large(most: usize) -> Problem {
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "api/too-large", "The body is too large or broke off")
        .detail(format!("At most {most} bytes are accepted."))
        .remedy("Send less.")
}

/// A small optional JSON body.
pub(super) async fn small_body<T: DeserializeOwned + Default>(
    headers: &HeaderMap,
    body: Body,
) -> Result<T, Problem> {
    let bytes = json_body(headers, body, 16 << 10).await?;
    if bytes.is_empty() {
        return Ok(T::default());
    }
    serde_json::from_slice(&bytes).map_err(|error| {
        Problem::new(StatusCode::BAD_REQUEST, "api/bad-body", "The body cannot be read")
            .detail(error.to_string())
            .remedy("See /openapi.json for the body of this path.")
    })
}

/// Whether the client prefers server-sent events.
pub(super) fn wants_events(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accept.split(',').any(|part| part.trim().starts_with("text/event-stream"))
}
