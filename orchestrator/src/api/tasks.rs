//! `/v1/tasks`.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use lode_api_types::{
    ExplainQuery, Explanation, Submission, Submitted, Task, TaskListQuery, TaskPage, TaskSummary,
};
use lode_program::Problem;
use lode_protocol::ids::TaskId;
use lode_protocol::keys::EthereumSignature;
use lode_protocol::settlement::SpendAuthorization;
use lode_protocol::task::{MAX_SPEC_BYTES, SpecError, TaskSpec, ValidTaskSpec};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::extract::{PathId, QueryParams, json_body, limit};
use super::refusal::{no_task, of_spec, of_write};
use super::{ApiState, Shared, show_task};
use crate::core::Core;
use crate::core::event::{Event, ImageResolution};
use crate::core::query::TaskQuery;
use crate::core::settlement::SignedSpendAuthorization;
use crate::driver::Written;

/// Bytes that a submission has beside its spec, at most.
const MAX_ORDER_BYTES: usize = 4 << 10;
/// Longest idempotency key.
const MAX_KEY: usize = 200;

/// Submit a task.
#[utoipa::path(
    post, path = "/v1/tasks", operation_id = "submit_task", tag = "tasks",
    request_body(
        content = Submission, content_type = "application/json",
        description = "A task and, where it is paid for, the tenant's order for it (docs/protocol.md)"
    ),
    params((
        "Idempotency-Key" = Option<String>, Header, max_length = 200,
        description = "The same key and spec name the same task"
    )),
    responses(
        (status = 201, description = "Accepted", body = Submitted, headers(("Location" = String, description = "The task's path"))),
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
    let image = state.images.resolve(&spec).await;
    let doubt = match &image {
        ImageResolution::Pinned(_) => None,
        ImageResolution::Unpinned(unpinned) => Some(unpinned.clone()),
    };
    let event = Event::TaskSubmitted { id: (state.task_id)(), spec, order, idempotency_key, image };
    let question = |core: &Core, written| match written {
        Written::Task { id, created } => {
            let task = core.task_summary(&id)?;
            Some((id, created, task, core.pinned_image(&id).map(ToString::to_string)))
        }
        Written::Done => None,
    };
    let accepted = state.driver.write_and_read(event, question).await.map_err(of_write)?;
    let (id, created, task, pinned_image) = accepted.ok_or_else(Problem::internal)?;
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    let answer = show_task::submitted(task, pinned_image, doubt);
    Ok((status, [(header::LOCATION, format!("/v1/tasks/{id}"))], Json(answer)).into_response())
}

/// A [`Submission`] whose spec has not been read yet: the spec's own parser names lines and fields.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope<'a> {
    #[serde(borrow)]
    spec: &'a RawValue,
    #[serde(default)]
    order: Option<SpendAuthorization>,
    #[serde(default)]
    signature: Option<EthereumSignature>,
}

pub(super) fn submission(bytes: &[u8]) -> Result<(ValidTaskSpec, Option<SignedSpendAuthorization>), Problem> {
    let bad = |detail: String| {
        Problem::new(StatusCode::BAD_REQUEST, "api/bad-body", "The body cannot be read")
            .detail(detail)
            .remedy(
                "Send `{\"spec\": TASK}`, with `order` and `signature` beside it where somebody pays for it.",
            )
    };
    let Envelope { spec, order, signature } =
        serde_json::from_slice(bytes).map_err(|error| bad(error.to_string()))?;
    let spec = TaskSpec::checked_from_json(spec.get().as_bytes()).map_err(|error| of_spec(&error))?;
    match (order, signature) {
        (None, None) => Ok((spec, None)),
        (Some(order), Some(signature)) => Ok((spec, Some(SignedSpendAuthorization { order, signature }))),
        (Some(_), None) => Err(bad("There is an order without its signature.".to_owned())),
        (None, Some(_)) => Err(bad("There is a signature without its order.".to_owned())),
    }
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
    get, path = "/v1/tasks", operation_id = "list_tasks", tag = "tasks", params(TaskListQuery),
    responses((status = 200, description = "A page of tasks", body = TaskPage), (status = 400), (status = 401))
)]
pub(super) async fn list(
    State(state): Shared,
    QueryParams(query): QueryParams<TaskListQuery>,
) -> Result<Json<TaskPage>, Problem> {
    let limit = limit(query.limit)?;
    let question = TaskQuery { state: query.state.map(show_task::state_of), after: query.after };
    let tasks = state.driver.read(move |core, _| core.tasks(question, limit)).await.map_err(of_write)?;
    let next = (tasks.len() == limit).then(|| tasks.last().map(|task| task.id)).flatten();
    Ok(Json(TaskPage { items: tasks.into_iter().map(show_task::summary).collect(), next }))
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
    get, path = "/v1/tasks/{id}", operation_id = "get_task", tag = "tasks",
    params(("id" = TaskId, Path, description = "The task")),
    responses((status = 200, description = "The task", body = Task), (status = 400), (status = 401), (status = 404))
)]
pub(super) async fn show(State(state): Shared, PathId(id): PathId<TaskId>) -> Result<Json<Task>, Problem> {
    let task = state.driver.read(move |core, _| core.task(&id)).await.map_err(of_write)?;
    Ok(Json(show_task::task(task.ok_or_else(|| no_task(&id))?)))
}

/// What the list shows of a task.
pub(super) async fn summary(state: &ApiState, id: TaskId) -> Result<Option<TaskSummary>, Problem> {
    let task = state.driver.read(move |core, _| core.task_summary(&id)).await.map_err(of_write)?;
    Ok(task.map(show_task::summary))
}

/// Changes a task, and tells how the change left it; `None` where it is gone.
async fn changed(state: &ApiState, id: TaskId, event: Event) -> Result<Option<TaskSummary>, Problem> {
    let left = state.driver.write_and_read(event, move |core, _| core.task_summary(&id)).await;
    Ok(left.map_err(of_write)?.map(show_task::summary))
}

async fn change(state: &ApiState, id: TaskId, event: Event) -> Result<Response, Problem> {
    let task = changed(state, id, event).await?.ok_or_else(|| no_task(&id))?;
    Ok((StatusCode::ACCEPTED, Json(task)).into_response())
}

/// Stop a task: every replica is ended within its grace.
#[utoipa::path(
    post, path = "/v1/tasks/{id}/stop", operation_id = "stop_task", tag = "tasks",
    params(("id" = TaskId, Path, description = "The task")),
    responses(
        (status = 202, description = "How the task stands now", body = TaskSummary),
        (status = 400), (status = 401), (status = 404), (status = 409), (status = 503)
    )
)]
pub(super) async fn stop(State(state): Shared, PathId(id): PathId<TaskId>) -> Result<Response, Problem> {
    change(&state, id, Event::TaskStop(id)).await
}

/// Start a stopped or ended task again.
#[utoipa::path(
    post, path = "/v1/tasks/{id}/start", operation_id = "start_task", tag = "tasks",
    params(("id" = TaskId, Path, description = "The task")),
    responses(
        (status = 202, description = "How the task stands now", body = TaskSummary),
        (status = 400), (status = 401), (status = 404), (status = 409), (status = 503)
    )
)]
pub(super) async fn start(State(state): Shared, PathId(id): PathId<TaskId>) -> Result<Response, Problem> {
    change(&state, id, Event::TaskStart(id)).await
}

/// Delete a task; what runs of it is stopped first.
#[utoipa::path(
    delete, path = "/v1/tasks/{id}", operation_id = "delete_task", tag = "tasks",
    params(("id" = TaskId, Path, description = "The task")),
    responses(
        (status = 202, description = "Something still runs; the task is gone when it has stopped", body = TaskSummary),
        (status = 204, description = "Gone"), (status = 400), (status = 401), (status = 404), (status = 409), (status = 503)
    )
)]
pub(super) async fn delete(State(state): Shared, PathId(id): PathId<TaskId>) -> Result<Response, Problem> {
    Ok(match changed(&state, id, Event::TaskDelete(id)).await? {
        Some(task) => (StatusCode::ACCEPTED, Json(task)).into_response(),
        None => StatusCode::NO_CONTENT.into_response(),
    })
}

/// Explain why a task is where it is.
#[utoipa::path(
    get, path = "/v1/tasks/{id}/explain", operation_id = "explain_task", tag = "tasks",
    params(("id" = TaskId, Path, description = "The task"), ExplainQuery),
    responses(
        (status = 200, description = "Why", body = Explanation), (status = 400), (status = 401), (status = 404)
    )
)]
pub(super) async fn explain(
    State(state): Shared,
    PathId(id): PathId<TaskId>,
    QueryParams(query): QueryParams<ExplainQuery>,
) -> Result<Json<Explanation>, Problem> {
    let limit = limit(query.limit)?;
    let ExplainQuery { nodes, after, limit: _ } = query;
    let (explanation, verdicts) = state
        .driver
        .read(move |core, now| {
            let verdicts = if nodes { core.explain_nodes(&id, after, limit) } else { None };
            (core.explain(&id, now), verdicts)
        })
        .await
        .map_err(of_write)?;
    let mut explanation = show_task::explanation(explanation.ok_or_else(|| no_task(&id))?);
    let verdicts = verdicts.unwrap_or_default();
    explanation.next = (verdicts.len() == limit).then(|| verdicts.last().map(|row| row.node)).flatten();
    explanation.verdicts = verdicts.into_iter().map(show_task::verdict).collect();
    Ok(Json(explanation))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_submission_is_and_what_is_read_of_one_are_the_same() {
        let spec = TaskSpec::from_json(br#"{"name":"t","kind":"batch","image":"i:1"}"#).unwrap();
        let order = SpendAuthorization {
            pool: lode_protocol::ids::PoolId(1),
            tenant: lode_protocol::ids::Address([7; 20]),
            spec: spec.clone().validate().unwrap().digest(),
            price_per_gpu_hour: lode_protocol::amount::Amount::tokens(1),
            budget: lode_protocol::amount::Amount::tokens(2),
            deadline: 3,
        };
        let signature = EthereumSignature([9; 65]);
        let bare = Submission { spec, order: None, signature: None };
        let paid = Submission { order: Some(order), signature: Some(signature), ..bare.clone() };
        let (read, none) = submission(&serde_json::to_vec(&bare).unwrap()).unwrap();
        let settled = bare.spec.clone().validate().unwrap();
        assert_eq!((read.as_spec(), none), (settled.as_spec(), None), "with the limits that it leaves out");
        let (_, signed) = submission(&serde_json::to_vec(&paid).unwrap()).unwrap();
        assert_eq!(signed, Some(SignedSpendAuthorization { order, signature }));
        for half in [Submission { signature: None, ..paid.clone() }, Submission { order: None, ..paid }] {
            let problem = submission(&serde_json::to_vec(&half).unwrap()).unwrap_err();
            assert_eq!(problem.code.as_str(), "api/bad-body", "{problem:?}");
        }
        for twice in [
            r#"{"spec":{"name":"t","kind":"batch","image":"i:1","env":{"A":"1","\u0041":"2"}}}"#,
            r#"{"spec":{"name":"t","kind":"batch","image":"i:1","resources":{"gpus":1,"gpus":2}}}"#,
            r#"{"spec":{"name":"t","kind":"batch","image":"i:1"},"spec":{"name":"u","kind":"batch","image":"i:1"}}"#,
        ] {
            let problem = submission(twice.as_bytes()).unwrap_err();
            let code = problem.code.as_str();
            assert!(matches!(code, "task/spec-malformed" | "api/bad-body"), "{twice}: {problem:?}");
        }
        let problem = submission(br#"{"name":"t","kind":"batch","image":"i:1"}"#).unwrap_err();
        assert!(problem.remedy.contains("spec"), "{problem:?}");
    }
}
