//! `/v1/events`: what happened, as pages, by long poll, or as a stream. A slow reader of the stream holds nobody up: it
//! reads the log at its own pace, and is told when it has fallen out of what is kept.

use std::convert::Infallible;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event as SseEvent, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use lode_api_types::{Event, EventEnd, EventMessage, EventPage, EventQuery};
use lode_program::Problem;
use lode_protocol::cursor::Cursor;
use lode_protocol::ids::TaskId;

use super::extract::{PathId, QueryParams, bad_query, last_event_id, limit, wants_events};
use super::refusal::no_task;
use super::tasks::summary;
use super::{ApiState, Shared};
use crate::event_log::{CursorGone, Entry, EventLog, Scope};

/// Longest wait of a long poll, in seconds.
const MAX_WAIT: u32 = 30;
/// Entries read at once for a stream.
const CHUNK: usize = 256;
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// Events of a task.
#[utoipa::path(
    get, path = "/v1/tasks/{id}/events", operation_id = "list_task_events", tag = "tasks",
    params(
        ("id" = TaskId, Path, description = "The task"),
        EventQuery,
        ("Last-Event-ID" = Option<Cursor>, Header, description = "`id` of the last message of a stream that broke off")
    ),
    responses(
        (status = 200, description = "Events: a page, or a stream of what there is and what comes", content(
            (EventPage = "application/json"), (EventMessage = "text/event-stream")
        )),
        (status = 400), (status = 401), (status = 404),
        (status = 410, description = "The cursor is not in the log any more")
    )
)]
pub(super) async fn of_task(
    State(state): Shared,
    PathId(id): PathId<TaskId>,
    QueryParams(query): QueryParams<EventQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    if query.about.is_some() {
        return Err(bad_query("about: is for /v1/events; these are about one task".to_owned()));
    }
    summary(&state, id).await?.ok_or_else(|| no_task(&id))?;
    answer(&state, Scope::Task(id), &query, &headers).await
}

/// Events of everything.
#[utoipa::path(
    get, path = "/v1/events", operation_id = "list_events", tag = "pool",
    params(
        EventQuery,
        ("Last-Event-ID" = Option<Cursor>, Header, description = "`id` of the last message of a stream that broke off")
    ),
    responses(
        (status = 200, description = "Events: a page, or a stream of what there is and what comes", content(
            (EventPage = "application/json"), (EventMessage = "text/event-stream")
        )),
        (status = 400), (status = 401),
        (status = 410, description = "The cursor is not in the log any more")
    )
)]
pub(super) async fn all(
    State(state): Shared,
    QueryParams(query): QueryParams<EventQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let scope = query.about.map_or(Scope::All, Scope::About);
    answer(&state, scope, &query, &headers).await
}

async fn answer(
    state: &ApiState,
    scope: Scope,
    query: &EventQuery,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let after = last_event_id(headers)?.map(cursor).transpose()?.or(query.after);
    let as_events = wants_events(headers);
    for (name, asked) in [("limit", query.limit), ("wait_seconds", query.wait_seconds)] {
        if as_events && asked.is_some() {
            return Err(bad_query(format!(
                "{name}: is for pages; a stream has all there is and waits for more"
            )));
        }
    }
    let limit = limit(query.limit)?;
    let wait = query.wait_seconds.unwrap_or(0);
    if wait > MAX_WAIT {
        return Err(bad_query(format!("wait_seconds: at most {MAX_WAIT}")));
    }
    if as_events {
        // A bad cursor is refused before the stream begins.
        state.events.after(after, scope, 1).map_err(gone)?;
        return Ok(stream(state.events.clone(), scope, after));
    }
    let wait = Duration::from_secs(wait.into());
    let page = wait_for_page(&state.events, scope, after, limit, wait).await.map_err(gone)?;
    let incarnation = page.next.incarnation;
    let items = page.entries.into_iter().filter_map(|entry| shown(incarnation, entry)).collect();
    Ok(Json(EventPage { items, next: page.next }).into_response())
}

fn cursor(text: &str) -> Result<Cursor, Problem> {
    text.parse().map_err(|error: <Cursor as std::str::FromStr>::Err| {
        Problem::new(StatusCode::BAD_REQUEST, "events/bad-cursor", "This is no cursor of the event log")
            .detail(format!("Last-Event-ID: {text:?}: {error}"))
            .remedy(
                "Use the `id` of the last message, or leave the header out to begin with the oldest event.",
            )
    })
}

async fn wait_for_page(
    events: &EventLog,
    scope: Scope,
    after: Option<Cursor>,
    limit: usize,
    wait: Duration,
) -> Result<crate::event_log::Page, CursorGone> {
    let mut news = events.news();
    let mut over = std::pin::pin!(tokio::time::sleep(wait));
    loop {
        news.mark_unchanged();
        let page = events.after(after, scope, limit)?;
        if !page.entries.is_empty() || wait.is_zero() {
            return Ok(page);
        }
        tokio::select! {
            () = &mut over => return Ok(page),
            changed = news.changed() => if changed.is_err() { return Ok(page) },
        }
    }
}

/// An entry as the API says it. One that another version wrote and this one cannot read costs that entry, not the log.
fn shown(incarnation: u64, entry: Entry) -> Option<Event> {
    let cursor = Cursor { incarnation, position: entry.position };
    let mut body = entry.body;
    if let Some(fields) = body.as_object_mut() {
        fields.insert("cursor".to_owned(), cursor.to_string().into());
    }
    match serde_json::from_value(body) {
        Ok(event) => Some(event),
        Err(error) => {
            tracing::warn!(%cursor, %error, "an entry of the event log cannot be read; skipped");
            None
        }
    }
}

fn stream(events: EventLog, scope: Scope, after: Option<Cursor>) -> Response {
    let (sender, receiver) = tokio::sync::mpsc::channel::<Result<SseEvent, Infallible>>(16);
    // Ends with its reader: the channel closes when the response is dropped.
    tokio::spawn(async move {
        let mut news = events.news();
        let mut after = after;
        loop {
            news.mark_unchanged();
            let page = match events.after(after, scope, CHUNK) {
                Ok(page) => page,
                Err(error) => {
                    let end = EventEnd { code: "events/cursor-gone".into(), message: error.to_string() };
                    let _ = sender.send(Ok(message(&EventMessage::End(end)))).await;
                    return;
                }
            };
            let more = page.entries.len() == CHUNK;
            for event in page.entries.into_iter().filter_map(|entry| shown(page.next.incarnation, entry)) {
                if sender.send(Ok(message(&EventMessage::Event(event)))).await.is_err() {
                    return;
                }
            }
            after = Some(page.next);
            if more {
                continue;
            }
            tokio::select! {
                changed = news.changed() => if changed.is_err() { return },
                () = sender.closed() => return,
            }
        }
    });
    Sse::new(tokio_stream::wrappers::ReceiverStream::new(receiver))
        .keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
        .into_response()
}

fn message(message: &EventMessage) -> SseEvent {
    match message {
        EventMessage::Event(event) => {
            let data = serde_json::to_string(event).unwrap_or_default();
            SseEvent::default().id(event.cursor.to_string()).event(event.kind.name()).data(data)
        }
        EventMessage::End(end) => {
            SseEvent::default().event("end").data(serde_json::to_string(end).unwrap_or_default())
        }
    }
}

fn gone(error: CursorGone) -> Problem {
    Problem::new(StatusCode::GONE, "events/cursor-gone", "The cursor is not in the log any more")
        .detail(error.to_string())
        .field("oldest", error.oldest.to_string())
        .remedy("Read the present state, then follow on from the oldest cursor.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::effect::{Occurrence, OccurrenceKind};
    use crate::core::view::{NodeState, TaskState};
    use lode_protocol::amount::Amount;
    use lode_protocol::assignment::{AssignmentState, Reason};
    use lode_protocol::error_code::ErrorCode;
    use lode_protocol::hash::Digest;
    use lode_protocol::ids::{AssignmentId, Epoch, Incarnation, NodeId, ReplicaId};
    use lode_protocol::units::Timestamp;

    /// One of each, and the compiler asks for more when there are more.
    fn every_kind() -> Vec<OccurrenceKind> {
        let task = TaskId::default();
        let node = NodeId::default();
        let assignment =
            AssignmentId { replica: ReplicaId { task, replica: 1 }, incarnation: Incarnation(2) };
        let text = || "why".to_owned();
        let all = vec![
            OccurrenceKind::Started { epoch: 3 },
            OccurrenceKind::Node { node, from: None, to: NodeState::Conflicted, message: text() },
            OccurrenceKind::Task { task, from: Some(TaskState::Pending), to: TaskState::Deleting },
            OccurrenceKind::ImagePinned { task, image: text(), by: Some(node) },
            OccurrenceKind::ImageUnpinned { task, code: ErrorCode::new("image/none"), message: text() },
            OccurrenceKind::TaskDeleted { task },
            OccurrenceKind::Assignment {
                assignment,
                node,
                from: None,
                to: AssignmentState::Failed,
                reason: Some(Reason::OomKilled),
                detail: text(),
            },
            OccurrenceKind::TaskBudgetExhausted { task, spent: Amount(1), budget: Amount(2) },
            OccurrenceKind::EpochClosed { epoch: Epoch(1), receipts: 2, amount: Amount(3) },
            OccurrenceKind::RootSubmitted { epoch: Epoch(1), root: Digest::default(), total: Amount(3) },
            OccurrenceKind::ReportRefused { assignment, node, claimed: AssignmentState::Running, count: 4 },
        ];
        for kind in &all {
            match kind {
                OccurrenceKind::Started { .. }
                | OccurrenceKind::Node { .. }
                | OccurrenceKind::Task { .. }
                | OccurrenceKind::ImagePinned { .. }
                | OccurrenceKind::ImageUnpinned { .. }
                | OccurrenceKind::TaskDeleted { .. }
                | OccurrenceKind::Assignment { .. }
                | OccurrenceKind::TaskBudgetExhausted { .. }
                | OccurrenceKind::EpochClosed { .. }
                | OccurrenceKind::RootSubmitted { .. }
                | OccurrenceKind::ReportRefused { .. } => {}
            }
        }
        all
    }

    #[test]
    fn everything_that_happens_is_said_with_all_its_fields() {
        let mut names = std::collections::BTreeSet::new();
        for kind in every_kind() {
            let written = serde_json::to_value(Occurrence { at: Timestamp(5), kind }).unwrap();
            let event = shown(1, Entry { position: 2, task: None, body: written.clone() })
                .unwrap_or_else(|| panic!("not readable: {written}"));
            names.insert(event.kind.name());
            let said = serde_json::to_value(&event).unwrap();
            assert_eq!(said["type"], event.kind.name());
            assert_eq!(said["cursor"], "1-2");
            for (field, value) in written.as_object().unwrap() {
                let field = if field == "epoch" && written["type"] == "started" { "term" } else { field };
                assert_eq!(&said[field], value, "{field} of {written}");
            }
        }
        assert_eq!(names.len(), every_kind().len());
    }
}
