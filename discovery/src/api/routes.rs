//! The routes.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Path, Query as QueryString, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use axum::{Json, Router};
use governor::RateLimiter;
use governor::clock::DefaultClock;
use governor::state::keyed::DashMapStateStore;
use lode_program::problem::Problem;
use lode_protocol::cursor::Cursor;
use lode_protocol::descriptor::NodeDescriptor;
use lode_protocol::directory::MAX_PAGE;
use lode_protocol::envelope::Signable;
use lode_protocol::ids::{NodeId, PoolId};
use lode_protocol::units::{Bytes as Size, Millis};
use serde::Deserialize;

use super::problem::refused;
use crate::core::query::Query;
use crate::service::{Refused, Service};

/// Longest time that a follower may wait in one call.
const MAX_WAIT: Duration = Duration::from_secs(30);
/// Bytes of a body: a descriptor and its envelope.
const MAX_BODY: usize = NodeDescriptor::MAX_BYTES + 1_024;

#[derive(Clone, Debug)]
struct Api {
    service: Arc<Service>,
    per_address: Arc<RateLimiter<IpAddr, DashMapStateStore<IpAddr>, DefaultClock>>,
}

/// All routes under `/v1`.
pub fn router(service: Arc<Service>) -> Router {
    let per_address = Arc::new(service.address_limiter());
    Router::new()
        .route("/v1/nodes", get(list))
        .route("/v1/nodes/{node}", put(publish).get(one))
        .route("/v1/changes", get(changes))
        .route("/v1/status", get(status))
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(Api { service, per_address })
}

async fn unknown() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "http/not-found", "There is no such route")
        .remedy("See docs/operations.md.")
}

async fn wrong_method() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "http/method-not-allowed", "This route has no such method")
}

fn bad_parameter(name: &str, error: impl std::fmt::Display) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "http/bad-parameter", "A parameter is not valid")
        .detail(format!("{name}: {error}"))
}

fn parse<T: std::str::FromStr>(name: &str, text: &str) -> Result<T, Problem>
where
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|error| bad_parameter(name, error))
}

async fn publish(
    State(api): State<Api>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Path(node): Path<String>,
    body: Result<Bytes, axum::extract::rejection::BytesRejection>,
) -> Result<StatusCode, Problem> {
    let node: NodeId = parse("node", &node)?;
    if api.per_address.check_key(&peer.ip()).is_err() {
        return Err(refused(&Refused::TooMany));
    }
    let body = body.map_err(|_| {
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "wire/too-large", "The descriptor is too large")
            .detail(format!("at most {MAX_BODY} bytes are accepted"))
    })?;
    api.service.publish(node, body.to_vec()).await.map_err(|error| {
        tracing::debug!(%node, %error, "descriptor refused");
        refused(&error)
    })?;
    Ok(StatusCode::NO_CONTENT)
}

async fn one(State(api): State<Api>, Path(node): Path<String>) -> Result<Response, Problem> {
    let node: NodeId = parse("node", &node)?;
    let missing = || {
        Problem::new(StatusCode::NOT_FOUND, "node/not-found", "The node is not listed")
            .remedy("It may be listed elsewhere: a directory's silence proves nothing.")
    };
    api.service.entry(&node).map(|entry| Json(entry).into_response()).ok_or_else(missing)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ListParameters {
    pool: Option<String>,
    gpu_model: Option<String>,
    min_gpus: Option<u32>,
    min_gpu_memory: Option<String>,
    label: Option<String>,
    after: Option<String>,
    limit: Option<usize>,
}

async fn list(
    State(api): State<Api>,
    parameters: Result<QueryString<ListParameters>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Problem> {
    let QueryString(parameters) = parameters.map_err(|error| bad_parameter("query", error.body_text()))?;
    let labels = match &parameters.label {
        None => Vec::new(),
        Some(text) => text
            .split(',')
            .map(|pair| pair.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned())))
            .collect::<Option<_>>()
            .ok_or_else(|| bad_parameter("label", "write key=value, several with commas"))?,
    };
    let query = Query {
        pool: parameters.pool.as_deref().map(|text| parse::<PoolId>("pool", text)).transpose()?,
        gpu_model: parameters.gpu_model,
        min_gpus: parameters.min_gpus.unwrap_or(0),
        min_gpu_memory: parameters
            .min_gpu_memory
            .as_deref()
            .map(|text| parse::<Size>("min_gpu_memory", text))
            .transpose()?
            .unwrap_or_default(),
        labels,
        after: parameters.after.as_deref().map(|text| parse::<NodeId>("after", text)).transpose()?,
        limit: parameters.limit.unwrap_or(100).min(MAX_PAGE),
    };
    Ok(Json(api.service.query(&query)).into_response())
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ChangesParameters {
    after: Option<String>,
    wait: Option<String>,
    limit: Option<usize>,
}

async fn changes(
    State(api): State<Api>,
    parameters: Result<QueryString<ChangesParameters>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Problem> {
    let QueryString(parameters) = parameters.map_err(|error| bad_parameter("query", error.body_text()))?;
    let after = parameters.after.as_deref().map(|text| parse::<Cursor>("after", text)).transpose()?;
    let wait = parameters.wait.as_deref().map(|text| parse::<Millis>("wait", text)).transpose()?;
    let wait = wait.unwrap_or_default().to_duration().min(MAX_WAIT);
    let limit = parameters.limit.unwrap_or(MAX_PAGE).clamp(1, MAX_PAGE);
    let page = api.service.changes(after, limit, wait).await;
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(page)).into_response())
}

async fn status(State(api): State<Api>) -> Response {
    Json(serde_json::json!({ "nodes": api.service.listed(), "findings": api.service.findings.list() }))
        .into_response()
}
