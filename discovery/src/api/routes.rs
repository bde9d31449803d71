//! The routes.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{
    ConnectInfo, DefaultBodyLimit, FromRequest as _, Path, Query as QueryString, Request, State,
};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use axum::{Json, Router};
use lode_program::problem::Problem;
use lode_protocol::cursor::Cursor;
use lode_protocol::descriptor::{MAX_LABELS, NodeDescriptor};
use lode_protocol::directory::MAX_PAGE;
use lode_protocol::envelope::Signable;
use lode_protocol::ids::{NodeId, PoolId};
use lode_protocol::units::{Bytes as Size, Millis};
use serde::Deserialize;

use super::address::AddressLimiter;
use super::problem::refused;
use crate::core::{PageBounds, Query};
use crate::handle::{Handle, Refused};

/// Longest time that a follower may wait in one call.
const MAX_WAIT: Duration = Duration::from_secs(30);
/// Bytes of a body: a descriptor and its envelope.
const MAX_BODY: usize = NodeDescriptor::MAX_BYTES + 1_024;

#[derive(Clone, Debug)]
struct Api {
    directory: Handle,
    per_address: AddressLimiter,
    bounds: PageBounds,
}

/// All routes under `/v1`. No page is larger, or costs more, than `bounds` say.
pub fn router(directory: Handle, per_address: AddressLimiter, bounds: PageBounds) -> Router {
    Router::new()
        .route("/v1/nodes", get(list))
        .route("/v1/nodes/{node}", put(publish).get(one))
        .route("/v1/changes", get(changes))
        .route("/v1/status", get(status))
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(Api { directory, per_address, bounds })
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
    request: Request,
) -> Result<StatusCode, Problem> {
    let node: NodeId = parse("node", &node)?;
    if !api.per_address.admits(peer.ip()) {
        return Err(refused(&Refused::TooMany));
    }
    // Not before: whoever publishes too often is not even read.
    let body = Bytes::from_request(request, &()).await.map_err(|rejection| unread(rejection.status()))?;
    api.directory.publish(node, &body).await.map_err(|error| {
        tracing::debug!(%node, %error, "descriptor refused");
        refused(&error)
    })?;
    Ok(StatusCode::NO_CONTENT)
}

/// Why a body could not be had.
fn unread(status: StatusCode) -> Problem {
    if status == StatusCode::PAYLOAD_TOO_LARGE {
        return Problem::new(status, "wire/too-large", "The descriptor is too large")
            .detail(format!("at most {MAX_BODY} bytes are accepted"));
    }
    // One that broke off has nobody left who reads this.
    Problem::new(StatusCode::REQUEST_TIMEOUT, "wire/body-timeout", "The descriptor did not come in time")
        .remedy("Send it again.")
}

async fn one(State(api): State<Api>, Path(node): Path<String>) -> Result<Response, Problem> {
    let node: NodeId = parse("node", &node)?;
    let missing = || {
        Problem::new(StatusCode::NOT_FOUND, "node/not-found", "The node is not listed")
            .remedy("It may be listed elsewhere: a directory's silence proves nothing.")
    };
    api.directory.entry(&node).map(|entry| Json(entry).into_response()).ok_or_else(missing)
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
    let labels = parameters.label.as_deref().map(labels).transpose()?.unwrap_or_default();
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
        bounds: api.bounds,
    };
    Ok(Json(api.directory.query(&query)).into_response())
}

/// No more than a node may have, and each once: every node that is looked at is compared with all of them.
fn labels(text: &str) -> Result<Vec<(String, String)>, Problem> {
    let pairs = text.split(',').map(|pair| pair.split_once('='));
    let labels: Option<BTreeSet<(&str, &str)>> = pairs.collect();
    let labels = labels.ok_or_else(|| bad_parameter("label", "write key=value, several with commas"))?;
    if labels.len() > MAX_LABELS {
        return Err(bad_parameter("label", format!("a node has at most {MAX_LABELS} labels")));
    }
    Ok(labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
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
    let page = api.directory.changes(after, (limit, api.bounds.bytes), wait).await;
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(page)).into_response())
}

/// For anybody: what is wrong by its code. In words, which name paths and endpoints, it is in the log.
async fn status(State(api): State<Api>) -> Response {
    let findings = api.directory.findings.list();
    let codes: BTreeSet<String> = findings.iter().map(|row| row.finding.code.to_string()).collect();
    Json(serde_json::json!({ "nodes": api.directory.listed(), "findings": codes })).into_response()
}
