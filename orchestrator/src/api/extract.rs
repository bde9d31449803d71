//! Extractors whose refusals are problems.

use std::str::FromStr;

use axum::body::Body;
use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use lode_api_types::{DEFAULT_LIMIT, MAX_LIMIT};
use lode_program::Problem;
use serde::de::DeserializeOwned;

/// The query string.
#[derive(Debug)]
pub(super) struct QueryParams<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for QueryParams<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Query(value) = Query::from_request_parts(parts, state).await.map_err(|rejection| {
            let text = rejection.body_text();
            bad_query(text.strip_prefix("Failed to deserialize query string: ").unwrap_or(&text).to_owned())
        })?;
        Ok(QueryParams(value))
    }
}

/// The id in the path.
#[derive(Debug)]
pub(super) struct PathId<T>(pub(super) T);

impl<S: Send + Sync, T: FromStr + Send> FromRequestParts<S> for PathId<T>
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
        text.parse().map(PathId).map_err(|error: T::Err| bad(error.to_string()))
    }
}

/// How many items a page has.
pub(super) fn limit(asked: Option<u32>) -> Result<usize, Problem> {
    let limit = asked.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(bad_query(format!("limit: must be between 1 and {MAX_LIMIT}"))
            .remedy("Ask for several pages with `after`."));
    }
    Ok(usize::try_from(limit).unwrap_or(usize::MAX))
}

/// A parameter's value that cannot be used.
pub(super) fn bad_query(detail: String) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "api/bad-query", "The query cannot be read")
        .detail(detail)
        .remedy("See /openapi.json for the parameters of this path.")
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

/// Where a stream that broke off was.
pub(super) fn last_event_id(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let id = headers.get("last-event-id").map(|value| value.to_str());
    id.transpose().map_err(|_| bad_query("Last-Event-ID: must be text".to_owned()))
}

/// Whether the client prefers server-sent events.
pub(super) fn wants_events(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accept.split(',').any(|part| part.trim().starts_with("text/event-stream"))
}
