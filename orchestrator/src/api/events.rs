//! `/v1/events`: what happened, as pages, by long poll, or as a stream. A slow reader of the stream holds nobody up: it
//! reads the log at its own pace, and is told when it has fallen out of what is kept.

use std::convert::Infallible;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event as SseEvent, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use lode_program::Problem;
use lode_protocol::cursor::Cursor;
use lode_protocol::ids::TaskId;
use lode_protocol::units::Millis;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::extract::{Asked, Named, limit, wants_events};
use super::tasks::{find, parse};
use super::{ApiState, Shared};
use crate::event_log::{CursorGone, Entry, EventLog};

/// Longest wait of a long poll.
const MAX_WAIT: Duration = Duration::from_secs(30);
/// Entries read at once for a stream.
const CHUNK: usize = 256;
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// A page of events. Each has `cursor`, `at`, `type` and the fields of its type.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct EventPage {
    #[schema(value_type = Vec<Object>)]
    items: Vec<serde_json::Value>,
    /// `after` of the next page; there is always one.
    next: String,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct EventQuery {
    after: Option<String>,
    limit: Option<usize>,
    wait: Option<String>,
}

/// Events of a task.
#[utoipa::path(
    get, path = "/v1/tasks/{id}/events", tag = "tasks",
    params(
        ("id" = String, Path),
        ("after" = Option<String>, Query, description = "Cursor; left out: from the oldest that is kept"),
        ("limit" = Option<usize>, Query, description = "1 to 1000; default 100"),
        ("wait" = Option<String>, Query, description = "Wait up to so long for the first event, at most 30s")
    ),
    responses(
        (status = 200, body = EventPage), (status = 400), (status = 401), (status = 404),
        (status = 410, description = "The cursor is not in the log any more")
    )
)]
pub(super) async fn of_task(
    State(state): Shared,
    Named(id): Named<TaskId>,
    Asked(query): Asked<EventQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    find(&state, id).await?;
    answer(&state, Some(id), &query, &headers).await
}

/// Events of everything.
#[utoipa::path(
    get, path = "/v1/events", tag = "pool",
    params(
        ("after" = Option<String>, Query, description = "Cursor; left out: from the oldest that is kept"),
        ("limit" = Option<usize>, Query, description = "1 to 1000; default 100"),
        ("wait" = Option<String>, Query, description = "Wait up to so long for the first event, at most 30s")
    ),
    responses(
        (status = 200, body = EventPage), (status = 400), (status = 401),
        (status = 410, description = "The cursor is not in the log any more")
    )
)]
pub(super) async fn all(
    State(state): Shared,
    Asked(query): Asked<EventQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    answer(&state, None, &query, &headers).await
}

async fn answer(
    state: &ApiState,
    task: Option<TaskId>,
    query: &EventQuery,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let last_event = headers.get("last-event-id").and_then(|value| value.to_str().ok());
    let after = last_event.or(query.after.as_deref()).map(parse::<Cursor>).transpose()?;
    let limit = limit(query.limit)?;
    if wants_events(headers) {
        // A bad cursor is refused before the stream begins.
        state.events.after(after, task, 1).map_err(gone)?;
        return Ok(stream(state.events.clone(), task, after));
    }
    let wait = match &query.wait {
        None => Duration::ZERO,
        Some(text) => parse::<Millis>(text)?.to_duration().min(MAX_WAIT),
    };
    let page = wait_for_page(&state.events, task, after, limit, wait).await.map_err(gone)?;
    let incarnation = page.next.incarnation;
    let items = page.entries.into_iter().map(|entry| shown(incarnation, entry).1).collect();
    Ok(Json(EventPage { items, next: page.next.to_string() }).into_response())
}

async fn wait_for_page(
    events: &EventLog,
    task: Option<TaskId>,
    after: Option<Cursor>,
    limit: usize,
    wait: Duration,
) -> Result<crate::event_log::Page, CursorGone> {
    let mut news = events.news();
    let mut over = std::pin::pin!(tokio::time::sleep(wait));
    loop {
        news.mark_unchanged();
        let page = events.after(after, task, limit)?;
        if !page.entries.is_empty() || wait.is_zero() {
            return Ok(page);
        }
        tokio::select! {
            () = &mut over => return Ok(page),
            changed = news.changed() => if changed.is_err() { return Ok(page) },
        }
    }
}

/// An entry's cursor and JSON form.
fn shown(incarnation: u64, entry: Entry) -> (String, serde_json::Value) {
    let cursor = Cursor { incarnation, position: entry.position }.to_string();
    let mut body = entry.body;
    if let Some(fields) = body.as_object_mut() {
        fields.insert("cursor".to_owned(), cursor.clone().into());
    }
    (cursor, body)
}

fn stream(events: EventLog, task: Option<TaskId>, after: Option<Cursor>) -> Response {
    let (sender, receiver) = tokio::sync::mpsc::channel::<Result<SseEvent, Infallible>>(16);
    // Ends with its reader: the channel closes when the response is dropped.
    tokio::spawn(async move {
        let mut news = events.news();
        let mut after = after;
        loop {
            news.mark_unchanged();
            let page = match events.after(after, task, CHUNK) {
                Ok(page) => page,
                Err(error) => {
                    let data =
                        serde_json::json!({ "code": "events/cursor-gone", "message": error.to_string() });
                    let _ = sender.send(Ok(SseEvent::default().event("end").data(data.to_string()))).await;
                    return;
                }
            };
            let more = page.entries.len() == CHUNK;
            for entry in page.entries {
                let (cursor, body) = shown(page.next.incarnation, entry);
                let kind = body.get("type").and_then(|kind| kind.as_str()).unwrap_or("event").to_owned();
                let event = SseEvent::default().id(cursor).event(kind).data(body.to_string());
                if sender.send(Ok(event)).await.is_err() {
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

fn gone(error: CursorGone) -> Problem {
    Problem::new(StatusCode::GONE, "events/cursor-gone", "The cursor is not in the log any more")
        .detail(error.to_string())
        .field("oldest", error.oldest.to_string())
        .remedy("Read the present state, then follow on from the oldest cursor.")
}
