//! `/v1/tasks/{id}/logs`: a task's output as text or as events.

mod event;
mod replica;

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use event::{LogEvent, Position};
use futures::{Stream, StreamExt as _, stream};
use lode_api_types::LogMessage;
use lode_program::Problem;
use lode_protocol::ids::{AssignmentId, NodeId, ReplicaId, TaskId};
use lode_protocol::logs::{LineEnd, LogRecord};
use lode_protocol::units::Timestamp;
use replica::{Next, ReplicaLog, Wanted};
use serde::Deserialize;

use super::Shared;
use super::extract::{PathId, QueryParams, bad_query, last_event_id, wants_events};
use super::refusal::{no_task, of_logs, of_write};
use super::tasks::parse;
use crate::core::view::ReplicaRuns;

const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// Most lines that may be asked for from the end.
const MAX_TAIL: u32 = 1_000_000;

#[derive(Debug, Default, Deserialize)]
pub(super) struct LogsQuery {
    #[serde(default)]
    follow: bool,
    tail: Option<u32>,
    replica: Option<u32>,
    timestamps: Option<bool>,
    assignment: Option<String>,
    since: Option<String>,
    after: Option<String>,
    before: Option<String>,
}

/// Output of a task's replica.
#[utoipa::path(
    get, path = "/v1/tasks/{id}/logs", operation_id = "get_task_logs", tag = "tasks",
    params(
        ("id" = TaskId, Path, description = "The task"),
        ("follow" = Option<bool>, Query, description = "Go on at the end, through restarts, until the replica ends"),
        ("tail" = Option<u32>, Query, maximum = 1_000_000, description = "Only the last so many lines"),
        ("replica" = Option<u32>, Query, description = "Which replica; default 0, or that of `assignment`"),
        ("assignment" = Option<AssignmentId>, Query, description = "Only this one of its assignments; default: the latest"),
        ("timestamps" = Option<bool>, Query, description = "With the time before each line of text; \
            not for events, which all have theirs"),
        ("since" = Option<Timestamp>, Query, description = "Only lines of this time or later, by the node's clock"),
        ("after" = Option<String>, Query, description = "Only what is behind this `position`"),
        ("before" = Option<String>, Query, description = "Only what comes before the message with this `position`, \
            of the same placement: with `tail` the page before it; not with `follow`"),
        ("Last-Event-ID" = Option<String>, Header, description = "The same; counts more")
    ),
    responses(
        (status = 200, description = "What the task wrote, or a stream of messages about it", content(
            (String = "text/plain"), (LogMessage = "text/event-stream")
        )),
        (status = 400), (status = 401), (status = 404), (status = 409), (status = 503)
    )
)]
pub(super) async fn logs(
    State(state): Shared,
    PathId(id): PathId<TaskId>,
    QueryParams(query): QueryParams<LogsQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let as_events = wants_events(&headers);
    if as_events && query.timestamps.is_some() {
        return Err(bad_query("timestamps: events have theirs anyway; it is for text".to_owned()));
    }
    if query.tail.is_some_and(|tail| tail > MAX_TAIL) {
        return Err(bad_query(format!("tail: at most {MAX_TAIL}")));
    }
    let last_event = last_event_id(&headers)?;
    let wanted = Wanted {
        follow: query.follow,
        tail: query.tail,
        since: query.since.as_deref().map(parse::<Timestamp>).transpose()?,
        after: last_event.or(query.after.as_deref()).map(position).transpose()?,
        before: query.before.as_deref().map(position).transpose()?,
        goes_on: query.assignment.is_none(),
    };
    if wanted.follow && wanted.before.is_some() {
        return Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "api/bad-query",
            "What is before a position has an end",
        )
        .remedy("Leave `follow` out, or `before`."));
    }
    let meant = query.assignment.as_deref().map(parse::<AssignmentId>).transpose()?;
    let replica = replica_of(id, query.replica, meant)?;
    let runs = state.driver.read(move |core, _| core.replica_runs(replica)).await.map_err(of_write)?;
    let runs = runs.ok_or_else(|| no_task(&id))?;
    let assignment = match meant {
        Some(meant) => {
            let known = state.driver.read(move |core, _| core.assignment(&meant)).await.map_err(of_write)?;
            known.map(|known| known.id).ok_or_else(no_assignment)?
        }
        None => latest(&runs, replica, &wanted)?,
    };
    let (log, node) = ReplicaLog::open(Arc::clone(&state), assignment, wanted).await.map_err(of_logs)?;
    let mut log = Box::pin(log.into_stream());
    let mut first = Vec::new();
    // What fails at once is a problem, not a stream that breaks off.
    while !query.follow && first.iter().all(|next| matches!(next, Next::Forgotten)) {
        match log.next().await {
            Some(Next::End(Err(failure))) => return Err(of_logs(failure)),
            Some(next) => first.push(next),
            None => break,
        }
    }
    let log = stream::iter(first).chain(log);
    let (media, body) = if as_events {
        let begin = begin(assignment, node, runs.replicas);
        ("text/event-stream", Body::from_stream(events(log, begin, KEEP_ALIVE)))
    } else {
        ("text/plain; charset=utf-8", Body::from_stream(text(log, query.timestamps.unwrap_or_default())))
    };
    let headers = [(header::CONTENT_TYPE, media), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, body).into_response())
}

/// A place in an output, as a reader says it.
fn position(text: &str) -> Result<Position, Problem> {
    text.parse().map_err(|error: event::NotAPosition| {
        Problem::new(StatusCode::BAD_REQUEST, "logs/bad-position", "This is no position in an output")
            .detail(format!("{text:?}: {error}"))
            .remedy("Use the `position` of a message, which is also the `id` of its event.")
    })
}

/// Whose output is meant. An assignment that is named must be one of the task, and of the replica if that is named too.
fn replica_of(
    task: TaskId,
    replica: Option<u32>,
    assignment: Option<AssignmentId>,
) -> Result<ReplicaId, Problem> {
    let Some(assignment) = assignment else {
        return Ok(ReplicaId { task, replica: replica.unwrap_or_default() });
    };
    let meant = assignment.replica;
    if meant.task != task {
        return Err(no_assignment());
    }
    match replica.filter(|replica| *replica != meant.replica) {
        Some(replica) => {
            Err(bad_query(format!("assignment {assignment} is of replica {}, not {replica}", meant.replica)))
        }
        None => Ok(meant),
    }
}

/// The assignment whose output is meant if none is named.
fn latest(runs: &ReplicaRuns, replica: ReplicaId, wanted: &Wanted) -> Result<AssignmentId, Problem> {
    let replica = replica.replica;
    if replica >= runs.replicas {
        return Err(Problem::new(StatusCode::NOT_FOUND, "logs/no-replica", "No such replica")
            .detail(format!("The task has {} replicas, numbered from 0.", runs.replicas))
            .remedy("Choose another replica."));
    }
    if let Some(before) = wanted.before {
        let meant = runs.assignments.iter().find(|id| id.incarnation == before.incarnation);
        return meant.copied().ok_or_else(no_assignment);
    }
    let interrupted =
        wanted.after.and_then(|after| runs.assignments.iter().find(|id| id.incarnation >= after.incarnation));
    interrupted.or(runs.assignments.last()).copied().ok_or_else(|| {
        Problem::new(StatusCode::CONFLICT, "logs/no-container", "There is no output yet")
            .detail(format!("Replica {replica} has not been placed on a node yet."))
            .remedy("Ask `explain` why it waits, and try again when it runs.")
    })
}

fn no_assignment() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "logs/no-assignment", "No such assignment of the task")
        .remedy("Show the task to see the assignments that are kept.")
}

fn begin(assignment: AssignmentId, node: Option<NodeId>, replicas: u32) -> Vec<u8> {
    let replica = assignment.replica.replica;
    let mut stream = Vec::new();
    LogEvent::Begin { assignment: assignment.to_string(), node, replica, replicas }.write_to(&mut stream);
    stream
}

/// Server-sent events, as many in one piece as come in one, and a sign of life where nothing comes for long.
fn events(
    log: impl Stream<Item = Next> + Send + 'static,
    begin: Vec<u8>,
    keep_alive: Duration,
) -> impl Stream<Item = Result<Bytes, Infallible>> {
    let begin = stream::iter([Bytes::from(begin)]);
    let log = stream::unfold(Box::pin(log), move |mut log| async move {
        // Only the wait is given up: what the stream is at goes on with the next one.
        let piece = match tokio::time::timeout(keep_alive, log.next()).await {
            Ok(next) => piece_of(&next?),
            Err(_) => b":\n\n".to_vec(),
        };
        Some((Bytes::from(piece), log))
    });
    begin.chain(log).map(Ok)
}

fn piece_of(next: &Next) -> Vec<u8> {
    let mut piece = Vec::new();
    match next {
        Next::Records(assignment, records) => {
            piece.reserve(records.iter().map(|record| record.len() + LogEvent::OVERHEAD).sum());
            records.iter().for_each(|record| LogEvent::of(*assignment, record).write_to(&mut piece));
        }
        Next::NodeGone => LogEvent::gone().write_to(&mut piece),
        Next::Forgotten => LogEvent::forgotten().write_to(&mut piece),
        Next::Restart(assignment, node) => LogEvent::restart(*assignment, *node).write_to(&mut piece),
        Next::End(end) => LogEvent::end(end).write_to(&mut piece),
    }
    piece
}

/// What the task wrote, as it wrote it. Where something is missing a line says so; output that broke off breaks the
/// transfer off, since nothing in the text could be told from what the task wrote.
fn text(
    log: impl Stream<Item = Next> + Send + 'static,
    timestamps: bool,
) -> impl Stream<Item = io::Result<Bytes>> {
    let mut is_at_start = true;
    log.map(move |next| match next {
        Next::Records(_, records) => {
            let mut piece = Vec::new();
            for record in &records {
                write_text(record, timestamps, &mut is_at_start, &mut piece);
            }
            Ok(Bytes::from(piece))
        }
        Next::NodeGone => Ok(Bytes::from(note("the rest is on a node that is gone"))),
        Next::Forgotten => Ok(Bytes::from(note("output that is not kept any more is missing here"))),
        Next::Restart(..) | Next::End(Ok(())) => Ok(Bytes::new()),
        Next::End(Err(failure)) => {
            Err(io::Error::other(format!("the output broke off: {}: {failure}", failure.code)))
        }
    })
}

fn write_text(record: &LogRecord, timestamps: bool, is_at_start: &mut bool, text: &mut Vec<u8>) {
    match record {
        LogRecord::Line(line) => {
            if timestamps && *is_at_start {
                text.extend_from_slice(format!("{} ", line.position.at).as_bytes());
            }
            text.extend_from_slice(&line.bytes);
            *is_at_start = line.end != LineEnd::Cut;
            if line.end == LineEnd::Newline {
                text.push(b'\n');
            }
        }
        LogRecord::Gap(gap) => {
            let count = |number: Option<u64>, what| number.map(|number| format!("{number} {what}"));
            let counts: Vec<String> =
                [count(gap.records, "lines"), count(gap.bytes, "bytes")].into_iter().flatten().collect();
            let counts = if counts.is_empty() { "lines".to_owned() } else { counts.join(", ") };
            text.extend_from_slice(note(&format!("{counts} are missing here")).as_bytes());
        }
        LogRecord::Restart(_) => {}
    }
}

fn note(words: &str) -> String {
    format!("[lode] {words}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::failure;

    /// Nothing for so long, and then its failure: as streams of nodes do it.
    fn silent(deadline: Duration) -> impl Stream<Item = Next> + Send {
        stream::once(async move {
            let never = tokio::time::timeout(deadline, std::future::pending::<()>()).await;
            Next::End(never.map_err(|_| failure("logs/silent", "nothing came")))
        })
    }

    #[tokio::test]
    async fn a_deadline_longer_than_that_of_the_signs_of_life_runs_out_nevertheless() {
        let keep_alive = Duration::from_millis(10);
        let log = events(silent(keep_alive * 30), b"begin".to_vec(), keep_alive);
        let reading = log.map(|piece| piece.unwrap()).collect::<Vec<_>>();
        let pieces = tokio::time::timeout(Duration::from_secs(60), reading).await.expect("it ends");
        let [begin, alive @ .., end] = &pieces[..] else { panic!("{pieces:?}") };
        assert_eq!(begin, &b"begin"[..]);
        assert!(!alive.is_empty() && alive.iter().all(|piece| piece == &b":\n\n"[..]), "{alive:?}");
        let end = std::str::from_utf8(end).unwrap();
        assert!(end.contains("event: end") && end.contains("logs/silent"), "{end}");
    }

    #[test]
    fn an_assignment_is_one_of_the_task_and_of_the_replica() {
        let task = |number| TaskId(uuid::Uuid::from_u128(number));
        let of = |task, replica| AssignmentId {
            replica: ReplicaId { task, replica },
            incarnation: lode_protocol::ids::Incarnation(1),
        };
        let code = |meant: Result<ReplicaId, Problem>| meant.map_err(|problem| problem.status);
        let replica = |replica| ReplicaId { task: task(1), replica };
        assert_eq!(code(replica_of(task(1), None, None)), Ok(replica(0)));
        assert_eq!(code(replica_of(task(1), Some(2), None)), Ok(replica(2)));
        assert_eq!(code(replica_of(task(1), None, Some(of(task(1), 2)))), Ok(replica(2)));
        assert_eq!(code(replica_of(task(1), Some(2), Some(of(task(1), 2)))), Ok(replica(2)));
        assert_eq!(code(replica_of(task(1), Some(0), Some(of(task(1), 2)))), Err(400));
        assert_eq!(code(replica_of(task(1), None, Some(of(task(2), 0)))), Err(404));
    }

    #[test]
    fn output_that_is_not_kept_any_more_is_said_to_be_missing() {
        let event = String::from_utf8(piece_of(&Next::Forgotten)).unwrap();
        assert_eq!(event, "event: gap\ndata: {\"reason\":\"retention\"}\n\n");
    }
}
