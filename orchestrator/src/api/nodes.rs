//! `/v1/nodes`.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use lode_program::Problem;
use lode_protocol::ids::NodeId;

use super::extract::{Asked, Named, limit, small_body};
use super::node_types::{DrainBatch, DrainBody, EjectBody, Node, NodeListQuery, NodePage};
use super::refusal::{no_node, of_write};
use super::tasks::parse;
use super::{ApiState, Shared};
use crate::core::event::{BatchOnDrain, Event};

/// Longest reason of an ejection, in bytes.
const MAX_MESSAGE: usize = 500;

/// List nodes by id.
#[utoipa::path(
    get, path = "/v1/nodes", tag = "nodes",
    params(
        ("after" = Option<String>, Query, description = "`next` of the page before"),
        ("limit" = Option<usize>, Query, description = "1 to 1000; default 100")
    ),
    responses((status = 200, body = NodePage), (status = 400), (status = 401))
)]
pub(super) async fn list(
    State(state): Shared,
    Asked(query): Asked<NodeListQuery>,
) -> Result<Json<NodePage>, Problem> {
    let limit = limit(query.limit)?;
    let after = query.after.as_deref().map(parse::<NodeId>).transpose()?;
    let nodes = state.driver.read(move |core, _| core.nodes(after, limit)).await.map_err(of_write)?;
    let next = (nodes.len() == limit).then(|| nodes.last().map(|node| node.id.to_string())).flatten();
    Ok(Json(NodePage { items: nodes.into_iter().map(Into::into).collect(), next }))
}

/// Show a node.
#[utoipa::path(
    get, path = "/v1/nodes/{id}", tag = "nodes", params(("id" = String, Path)),
    responses((status = 200, body = Node), (status = 401), (status = 404))
)]
pub(super) async fn show(State(state): Shared, Named(id): Named<NodeId>) -> Result<Json<Node>, Problem> {
    Ok(Json(find(&state, id).await?))
}

async fn find(state: &ApiState, id: NodeId) -> Result<Node, Problem> {
    let node = state.driver.read(move |core, _| core.node(&id)).await.map_err(of_write)?;
    node.map(Node::from).ok_or_else(|| no_node(&id))
}

async fn change(state: &ApiState, id: NodeId, event: Event) -> Result<Response, Problem> {
    state.driver.write(event).await.map_err(of_write)?;
    Ok((StatusCode::ACCEPTED, Json(find(state, id).await?)).into_response())
}

/// Place nothing new on a node and empty it.
#[utoipa::path(
    post, path = "/v1/nodes/{id}/drain", tag = "nodes", params(("id" = String, Path)),
    request_body(content = Option<DrainBody>),
    responses((status = 202, body = Node), (status = 401), (status = 404), (status = 409), (status = 503))
)]
pub(super) async fn drain(
    State(state): Shared,
    Named(node): Named<NodeId>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let DrainBody { batch } = small_body(&headers, body).await?;
    let batch = match batch {
        DrainBatch::Finish => BatchOnDrain::Finish,
        DrainBatch::Move => BatchOnDrain::Move,
    };
    change(&state, node, Event::NodeDrain { node, batch }).await
}

/// End a drain.
#[utoipa::path(
    post, path = "/v1/nodes/{id}/undrain", tag = "nodes", params(("id" = String, Path)),
    responses((status = 202, body = Node), (status = 401), (status = 404), (status = 409), (status = 503))
)]
pub(super) async fn undrain(State(state): Shared, Named(node): Named<NodeId>) -> Result<Response, Problem> {
    change(&state, node, Event::NodeUndrain(node)).await
}

/// Remove a node from the pool: everything on it is stopped.
#[utoipa::path(
    post, path = "/v1/nodes/{id}/eject", tag = "nodes", params(("id" = String, Path)),
    request_body(content = Option<EjectBody>),
    responses((status = 202, body = Node), (status = 401), (status = 404), (status = 409), (status = 503))
)]
pub(super) async fn eject(
    State(state): Shared,
    Named(node): Named<NodeId>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let EjectBody { message } = small_body(&headers, body).await?;
    let message = message.unwrap_or_else(|| "ejected by the pool's owner".to_owned());
    if message.len() > MAX_MESSAGE {
        return Err(Problem::new(StatusCode::BAD_REQUEST, "api/bad-body", "The body cannot be read")
            .detail(format!("message has more than {MAX_MESSAGE} bytes"))
            .remedy("Shorten the message."));
    }
    change(&state, node, Event::NodeEject { node, message }).await
}

/// Let an ejected or given-up node try again.
#[utoipa::path(
    post, path = "/v1/nodes/{id}/readmit", tag = "nodes", params(("id" = String, Path)),
    responses((status = 202, body = Node), (status = 401), (status = 404), (status = 409), (status = 503))
)]
pub(super) async fn readmit(State(state): Shared, Named(node): Named<NodeId>) -> Result<Response, Problem> {
    change(&state, node, Event::NodeReadmit(node)).await
}
