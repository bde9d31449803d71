//! `/v1/tasks`.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use lode_program::Problem;
use lode_protocol::ids::{NodeId, TaskId};
use lode_protocol::keys::EthereumSignature;
use lode_protocol::settlement::TaskOrder;
use lode_protocol::task::{MAX_SPEC_BYTES, SpecError, TaskSpec, ValidTaskSpec};
use serde::Deserialize;

use super::extract::{Asked, Named, json_body, limit};
use super::refusal::{no_task, of_spec, of_write};
use super::task_types::{ExplainQuery, Explanation, Submitted, Task, TaskListQuery, TaskPage};
use super::{ApiState, Shared};
use crate::core::event::{Event, ImageStanding};
use crate::core::query::TaskQuery;
use crate::core::settlement::SignedOrder;
use crate::core::view::TaskView;
use crate::driver::Written;

/// Bytes that an order adds to a spec, at most.
const MAX_ORDER_BYTES: usize = 4 << 10;
/// Longest idempotency key.
const MAX_KEY: usize = 200;

/// Submit a task.
#[utoipa::path(
    post, path = "/v1/tasks", tag = "tasks",
    request_body(
        content = Object, content_type = "application/json",
        description = "A task spec, version 1; or `{spec, order, signature}` with a tenant's order for it (docs/protocol.md)"
    ),
    params(("Idempotency-Key" = Option<String>, Header, description = "The same key and spec name the same task")),
    responses(
        (status = 201, body = Submitted),
        (status = 200, description = "Submitted before with this key", body = Submitted),
        (status = 400), (status = 401), (status = 409), (status = 413), (status = 415), (status = 422), (status = 503)
    )
)]
pub(super) async fn submit(
    State(state): Shared,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let bytes =
        json_body(&headers, body, MAX_SPEC_BYTES + MAX_ORDER_BYTES).await.map_err(|problem| match problem
            .status_code()
        {
            StatusCode::PAYLOAD_TOO_LARGE => of_spec(&SpecError::TooLarge { size: MAX_SPEC_BYTES + 1 }),
            _ => problem,
        })?;
    let (spec, order) = submission(&bytes)?;
    let idempotency_key = idempotency_key(&headers)?;
    let image = state.images.resolve(spec.as_spec()).await;
    let doubt = match &image {
        ImageStanding::Pinned(_) => None,
        ImageStanding::Unpinned(unpinned) => Some(unpinned.clone()),
    };
    let event = Event::TaskSubmitted { id: (state.task_id)(), spec, order, idempotency_key, image };
    let Written::Task { id, created } = state.driver.write(event).await.map_err(of_write)? else {
        return Err(Problem::internal());
    };
    let task = find(&state, id).await?;
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    let answer = Submitted::new(task, doubt);
    Ok((status, [(header::LOCATION, format!("/v1/tasks/{id}"))], Json(answer)).into_response())
}

/// A spec with an order for it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ordered {
    spec: serde_json::Value,
    order: TaskOrder,
    signature: EthereumSignature,
}

/// Reads a bare spec, or a spec with an order beside it: no spec has a field `spec`.
fn submission(bytes: &[u8]) -> Result<(ValidTaskSpec, Option<SignedOrder>), Problem> {
    let read = |bytes: &[u8]| TaskSpec::checked_from_json(bytes).map_err(|error| of_spec(&error));
    let has_spec = serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(bytes)
        .is_ok_and(|fields| fields.contains_key("spec"));
    if !has_spec {
        return Ok((read(bytes)?, None));
    }
    let Ordered { spec, order, signature } = serde_json::from_slice(bytes).map_err(|error| {
        Problem::new(StatusCode::BAD_REQUEST, "api/bad-body", "The body cannot be read")
            .detail(error.to_string())
            .remedy("Send a task spec, or an object of `spec`, `order` and `signature`.")
    })?;
    let spec = read(&serde_json::to_vec(&spec).map_err(|_| Problem::internal())?)?;
    Ok((spec, Some(SignedOrder { order, signature })))
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let key = value.to_str().ok().filter(|key| (1..=MAX_KEY).contains(&key.len()));
    key.map(|key| Some(key.to_owned())).ok_or_else(|| {
        Problem::new(StatusCode::BAD_REQUEST, "api/bad-idempotency-key", "The Idempotency-Key cannot be used")
            .remedy("Use 1 to 200 visible ASCII characters.")
    })
}

/// List tasks, newest first.
#[utoipa::path(
    get, path = "/v1/tasks", tag = "tasks",
    params(
        ("state" = Option<String>, Query, description = "Only those in this state"),
        ("after" = Option<String>, Query, description = "`next` of the page before"),
        ("limit" = Option<usize>, Query, description = "1 to 1000; default 100")
    ),
    responses((status = 200, body = TaskPage), (status = 400), (status = 401))
)]
pub(super) async fn list(
    State(state): Shared,
    Asked(query): Asked<TaskListQuery>,
) -> Result<Json<TaskPage>, Problem> {
    let limit = limit(query.limit)?;
    let after = query.after.as_deref().map(parse::<TaskId>).transpose()?;
    let question = TaskQuery { state: query.state, after };
    let tasks = state.driver.read(move |core, _| core.tasks(question, limit)).await.map_err(of_write)?;
    let next = (tasks.len() == limit).then(|| tasks.last().map(|task| task.id.to_string())).flatten();
    Ok(Json(TaskPage { items: tasks.into_iter().map(Into::into).collect(), next }))
}

/// An id in a query.
pub(super) fn parse<T: std::str::FromStr>(text: &str) -> Result<T, Problem>
where
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|error: T::Err| {
        Problem::new(StatusCode::BAD_REQUEST, "api/bad-query", "The query cannot be read")
            .detail(error.to_string())
            .remedy("Use `next` of the page before, or an id as a list shows it.")
    })
}

/// Show a task.
#[utoipa::path(
    get, path = "/v1/tasks/{id}", tag = "tasks", params(("id" = String, Path)),
    responses((status = 200, body = Task), (status = 401), (status = 404))
)]
pub(super) async fn show(State(state): Shared, Named(id): Named<TaskId>) -> Result<Json<Task>, Problem> {
    Ok(Json(find(&state, id).await?.into()))
}

pub(super) async fn find(state: &ApiState, id: TaskId) -> Result<TaskView, Problem> {
    let task = state.driver.read(move |core, _| core.task(&id)).await.map_err(of_write)?;
    task.ok_or_else(|| no_task(&id))
}

async fn change(state: &ApiState, id: TaskId, event: Event) -> Result<Response, Problem> {
    state.driver.write(event).await.map_err(of_write)?;
    Ok((StatusCode::ACCEPTED, Json(Task::from(find(state, id).await?))).into_response())
}

/// Stop a task: every replica is ended within its grace.
#[utoipa::path(
    post, path = "/v1/tasks/{id}/stop", tag = "tasks", params(("id" = String, Path)),
    responses((status = 202, body = Task), (status = 401), (status = 404), (status = 409), (status = 503))
)]
pub(super) async fn stop(State(state): Shared, Named(id): Named<TaskId>) -> Result<Response, Problem> {
    change(&state, id, Event::TaskStop(id)).await
}

/// Start a stopped or ended task again.
#[utoipa::path(
    post, path = "/v1/tasks/{id}/start", tag = "tasks", params(("id" = String, Path)),
    responses((status = 202, body = Task), (status = 401), (status = 404), (status = 409), (status = 503))
)]
pub(super) async fn start(State(state): Shared, Named(id): Named<TaskId>) -> Result<Response, Problem> {
    change(&state, id, Event::TaskStart(id)).await
}

/// Delete a task; what runs of it is stopped first.
#[utoipa::path(
    delete, path = "/v1/tasks/{id}", tag = "tasks", params(("id" = String, Path)),
    responses(
        (status = 202, description = "Something still runs; the task is gone when it has stopped", body = Task),
        (status = 204, description = "Gone"), (status = 401), (status = 404), (status = 409), (status = 503)
    )
)]
pub(super) async fn delete(State(state): Shared, Named(id): Named<TaskId>) -> Result<Response, Problem> {
    state.driver.write(Event::TaskDelete(id)).await.map_err(of_write)?;
    let left = state.driver.read(move |core, _| core.task(&id)).await.map_err(of_write)?;
    Ok(match left {
        Some(task) => (StatusCode::ACCEPTED, Json(Task::from(task))).into_response(),
        None => StatusCode::NO_CONTENT.into_response(),
    })
}

/// Explain why a task is where it is.
#[utoipa::path(
    get, path = "/v1/tasks/{id}/explain", tag = "tasks",
    params(
        ("id" = String, Path),
        ("nodes" = Option<bool>, Query, description = "With a verdict for every node"),
        ("after" = Option<String>, Query, description = "`next` of the page before"),
        ("limit" = Option<usize>, Query, description = "Verdicts per page, 1 to 1000; default 100")
    ),
    responses((status = 200, body = Explanation), (status = 400), (status = 401), (status = 404))
)]
pub(super) async fn explain(
    State(state): Shared,
    Named(id): Named<TaskId>,
    Asked(query): Asked<ExplainQuery>,
) -> Result<Json<Explanation>, Problem> {
    let limit = limit(query.limit)?;
    let after = query.after.as_deref().map(parse::<NodeId>).transpose()?;
    let with_nodes = query.nodes;
    let (explanation, verdicts) = state
        .driver
        .read(move |core, now| {
            let verdicts = if with_nodes { core.explain_nodes(&id, after, limit) } else { None };
            (core.explain(&id, now), verdicts)
        })
        .await
        .map_err(of_write)?;
    let mut explanation = Explanation::from(explanation.ok_or_else(|| no_task(&id))?);
    let verdicts = verdicts.unwrap_or_default();
    explanation.next =
        (verdicts.len() == limit).then(|| verdicts.last().map(|row| row.node.to_string())).flatten();
    explanation.verdicts = verdicts.into_iter().map(Into::into).collect();
    Ok(Json(explanation))
}
