//! `/v1/nodes`.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use lode_api_types::{DrainBatch, DrainBody, EjectBody, Node, NodeListQuery, NodePage};
use lode_program::Problem;
use lode_protocol::ids::NodeId;

use super::extract::{PathId, QueryParams, limit, small_body};
use super::refusal::{no_node, of_write};
use super::{ApiState, Shared, show_node};
use crate::core::event::{BatchOnDrain, Event};

/// Longest reason of an ejection, in bytes.
const MAX_MESSAGE: usize = 500;

/// List nodes by id.
#[utoipa::path(
    get, path = "/v1/nodes", operation_id = "list_nodes", tag = "nodes", params(NodeListQuery),
    responses((status = 200, description = "A page of nodes", body = NodePage), (status = 400), (status = 401))
)]
pub(super) async fn list(
    State(state): Shared,
    QueryParams(query): QueryParams<NodeListQuery>,
) -> Result<Json<NodePage>, Problem> {
    let limit = limit(query.limit)?;
    let nodes = state.driver.read(move |core, _| core.nodes(query.after, limit)).await.map_err(of_write)?;
    let next = (nodes.len() == limit).then(|| nodes.last().map(|node| node.id)).flatten();
    Ok(Json(NodePage { items: nodes.into_iter().map(show_node::summary).collect(), next }))
}

/// Show a node.
#[utoipa::path(
    get, path = "/v1/nodes/{id}", operation_id = "get_node", tag = "nodes",
    params(("id" = NodeId, Path, description = "The node")),
    responses((status = 200, description = "The node", body = Node), (status = 400), (status = 401), (status = 404))
)]
pub(super) async fn show(State(state): Shared, PathId(id): PathId<NodeId>) -> Result<Json<Node>, Problem> {
    Ok(Json(find(&state, id).await?))
}

async fn find(state: &ApiState, id: NodeId) -> Result<Node, Problem> {
    let node = state.driver.read(move |core, _| core.node(&id)).await.map_err(of_write)?;
    node.map(show_node::node).ok_or_else(|| no_node(&id))
}

async fn change(state: &ApiState, id: NodeId, event: Event) -> Result<Response, Problem> {
    let left = state.driver.write_and_read(event, move |core, _| core.node(&id)).await.map_err(of_write)?;
    let node = left.map(show_node::node).ok_or_else(|| no_node(&id))?;
    Ok((StatusCode::ACCEPTED, Json(node)).into_response())
}

/// Place nothing new on a node and empty it.
#[utoipa::path(
    post, path = "/v1/nodes/{id}/drain", operation_id = "drain_node", tag = "nodes",
    params(("id" = NodeId, Path, description = "The node")),
    request_body(content = Option<DrainBody>, description = "Left out: batch work runs to its end"),
    responses(
        (status = 202, description = "The node as it is now", body = Node),
        (status = 400), (status = 401), (status = 404), (status = 409), (status = 503)
    )
)]
pub(super) async fn drain(
    State(state): Shared,
    PathId(node): PathId<NodeId>,
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
    post, path = "/v1/nodes/{id}/undrain", operation_id = "undrain_node", tag = "nodes",
    params(("id" = NodeId, Path, description = "The node")),
    responses(
        (status = 202, description = "The node as it is now", body = Node),
        (status = 400), (status = 401), (status = 404), (status = 409), (status = 503)
    )
)]
pub(super) async fn undrain(State(state): Shared, PathId(node): PathId<NodeId>) -> Result<Response, Problem> {
    change(&state, node, Event::NodeUndrain(node)).await
}

/// Remove a node from the pool: everything on it is stopped.
#[utoipa::path(
    post, path = "/v1/nodes/{id}/eject", operation_id = "eject_node", tag = "nodes",
    params(("id" = NodeId, Path, description = "The node")),
    request_body(content = Option<EjectBody>, description = "What the node is told"),
    responses(
        (status = 202, description = "The node as it is now", body = Node),
        (status = 400), (status = 401), (status = 404), (status = 409), (status = 503)
    )
)]
pub(super) async fn eject(
    State(state): Shared,
    PathId(node): PathId<NodeId>,
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
    post, path = "/v1/nodes/{id}/readmit", operation_id = "readmit_node", tag = "nodes",
    params(("id" = NodeId, Path, description = "The node")),
    responses(
        (status = 202, description = "The node as it is now", body = Node),
        (status = 400), (status = 401), (status = 404), (status = 409), (status = 503)
    )
)]
pub(super) async fn readmit(State(state): Shared, PathId(node): PathId<NodeId>) -> Result<Response, Problem> {
    change(&state, node, Event::NodeReadmit(node)).await
}
