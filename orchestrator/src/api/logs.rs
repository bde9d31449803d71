//! `/v1/tasks/{id}/logs`: a task's output as text or as events.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::sse::{Event as SseEvent, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures::Stream;
use futures::stream;
use lode_program::Problem;
use lode_protocol::ids::{AssignmentId, NodeId, TaskId};
use lode_protocol::logs::LogLine;
use lode_protocol::units::Timestamp;
use serde::Deserialize;

use super::extract::{Asked, Named, wants_events};
use super::refusal::{of_logs, of_write};
use super::tasks::{find, parse};
use super::{ApiState, Shared};
use crate::core::event::ConnectionId;
use crate::core::view::TaskView;
use crate::logs::{LogFailure, LogQuery, LogReader, Piece};

const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// Most lines that may be asked for from the end.
const MAX_TAIL: u32 = 1_000_000;

#[derive(Debug, Default, Deserialize)]
pub(super) struct LogsQuery {
    #[serde(default)]
    follow: bool,
    tail: Option<u32>,
    #[serde(default)]
    replica: u32,
    #[serde(default)]
    timestamps: bool,
    assignment: Option<String>,
    since: Option<String>,
}

/// Output of a task's replica.
#[utoipa::path(
    get, path = "/v1/tasks/{id}/logs", tag = "tasks",
    params(
        ("id" = String, Path),
        ("follow" = Option<bool>, Query, description = "Go on at the end"),
        ("tail" = Option<u32>, Query, description = "Only the last so many lines"),
        ("replica" = Option<u32>, Query, description = "Which replica; default 0"),
        ("assignment" = Option<String>, Query, description = "Which of its assignments; default: the latest"),
        ("timestamps" = Option<bool>, Query, description = "With the time before each line of text"),
        ("since" = Option<String>, Query, description = "Only output after this time (RFC 3339)")
    ),
    responses(
        (status = 200, description = "Lines as text/plain; or, as text/event-stream, `line` events and one `end`", content_type = "text/plain", body = String),
        (status = 400), (status = 401), (status = 404), (status = 409), (status = 503)
    )
)]
pub(super) async fn logs(
    State(state): Shared,
    Named(id): Named<TaskId>,
    Asked(query): Asked<LogsQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let since = query.since.as_deref().map(parse::<Timestamp>).transpose()?;
    let tail = query.tail.map(|lines| lines.min(MAX_TAIL));
    let task = find(&state, id).await?;
    let assignment = choose(&task, &query)?;
    let (node, connection) = locate(&state, assignment).await?;
    let query_to_node = LogQuery { assignment, follow: query.follow, tail, since };
    let source = state.logs.open(node, connection, query_to_node).await.map_err(of_logs)?;
    if wants_events(&headers) {
        return Ok(Sse::new(events(source))
            .keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
            .into_response());
    }
    let media = [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::CACHE_CONTROL, "no-store")];
    Ok((media, Body::from_stream(text(source, query.timestamps))).into_response())
}

/// The assignment whose output is meant.
fn choose(task: &TaskView, query: &LogsQuery) -> Result<AssignmentId, Problem> {
    if let Some(text) = &query.assignment {
        let wanted = parse::<AssignmentId>(text)?;
        return task.assignments.iter().map(|row| row.id).find(|id| *id == wanted).ok_or_else(|| {
            Problem::new(StatusCode::NOT_FOUND, "logs/no-assignment", "No such assignment of the task")
                .remedy("Show the task to see the assignments that are kept.")
        });
    }
    if query.replica >= task.summary.replicas.total {
        return Err(Problem::new(StatusCode::NOT_FOUND, "logs/no-replica", "No such replica")
            .detail(format!("The task has {} replicas, numbered from 0.", task.summary.replicas.total))
            .remedy("Choose another replica."));
    }
    let theirs = task.assignments.iter().filter(|row| row.id.replica.replica == query.replica);
    theirs.map(|row| row.id).max_by_key(|id| id.incarnation).ok_or_else(|| {
        Problem::new(StatusCode::CONFLICT, "logs/no-container", "There is no output yet")
            .detail(format!("Replica {} has not been placed on a node yet.", query.replica))
            .remedy("Ask `explain` why it waits, and try again when it runs.")
    })
}

async fn locate(
    state: &ApiState,
    assignment: AssignmentId,
) -> Result<(NodeId, Option<ConnectionId>), Problem> {
    let place = state.driver.read(move |core, _| core.where_is(&assignment)).await.map_err(of_write)?;
    place.ok_or_else(|| {
        Problem::new(StatusCode::CONFLICT, "logs/no-node", "The node of this output is gone")
            .remedy("Output lives on the node that made it; it went with the node.")
    })
}

/// Lines, then the end.
fn events(source: LogReader) -> impl Stream<Item = Result<SseEvent, Infallible>> {
    let pieces = stream::unfold(source, |mut source| async move {
        let piece = source.next().await?;
        let events: Vec<Result<SseEvent, Infallible>> = match piece {
            Piece::Lines(lines) => lines.iter().map(|line| Ok(line_event(line))).collect(),
            Piece::End(end) => vec![Ok(end_event(end))],
        };
        Some((stream::iter(events), source))
    });
    futures::StreamExt::flatten(pieces)
}

fn line_event(line: &LogLine) -> SseEvent {
    let data = serde_json::to_string(line).unwrap_or_default();
    SseEvent::default().event("line").data(data)
}

fn end_event(end: Result<(), LogFailure>) -> SseEvent {
    let data = match end {
        Ok(()) => serde_json::json!({ "status": "complete" }),
        Err(failure) => {
            serde_json::json!({ "status": "failed", "code": failure.code.to_string(), "message": failure.message })
        }
    };
    SseEvent::default().event("end").data(data.to_string())
}

fn text(source: LogReader, timestamps: bool) -> impl Stream<Item = Result<Bytes, Infallible>> {
    stream::unfold(source, move |mut source| async move {
        let text = match source.next().await? {
            Piece::Lines(lines) => lines.iter().map(|line| text_line(line, timestamps)).collect(),
            Piece::End(Ok(())) => String::new(),
            Piece::End(Err(failure)) => {
                format!("[lode] the output broke off: {}: {}\n", failure.code, failure.message)
            }
        };
        Some((Ok(Bytes::from(text)), source))
    })
}

fn text_line(line: &LogLine, timestamps: bool) -> String {
    if timestamps { format!("{} {}\n", line.at, line.text) } else { format!("{}\n", line.text) }
}
