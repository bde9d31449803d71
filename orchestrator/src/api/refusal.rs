//! From errors to problems: the one table of HTTP statuses.

use axum::http::StatusCode;
use lode_program::Problem;
use lode_protocol::task::SpecError;

use crate::core::error::{Class, Rejected};
use crate::driver::WriteError;
use crate::logs::LogFailure;

/// A refusal of the driver.
pub(super) fn of_write(error: WriteError) -> Problem {
    match error {
        WriteError::Rejected(rejected) => of_core(rejected),
        WriteError::Store { code, undecided, .. } => {
            // The words name paths of the host: they are in the log and in `status`, not here.
            let problem =
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, code, "Nothing can be made durable at present")
                    .field("undecided", undecided);
            if undecided {
                problem
                    .detail("The store failed while this was being kept; it may yet take effect.")
                    .remedy("Look whether it did, or repeat it with the same Idempotency-Key, once `status` is well again.")
            } else {
                problem.detail("Nothing was changed.").remedy("Repeat it once `status` is well again.")
            }
        }
        WriteError::Busy => {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "api/busy", "Too many requests wait")
                .remedy("Try again shortly.")
        }
        WriteError::Stopped => {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "api/stopping", "The orchestrator is stopping")
                .remedy("Try again when it is back.")
        }
    }
}

fn of_core(rejected: Rejected) -> Problem {
    let (status, title) = match rejected.class {
        Class::Conflict => (StatusCode::CONFLICT, "In conflict with the present state"),
        Class::Denied => (StatusCode::FORBIDDEN, "Not allowed"),
        Class::Invalid => (StatusCode::UNPROCESSABLE_ENTITY, "Can never be done"),
        Class::NotFound => (StatusCode::NOT_FOUND, "No such thing"),
        Class::Unauthenticated => (StatusCode::UNAUTHORIZED, "Not authenticated"),
        Class::Transient => (StatusCode::SERVICE_UNAVAILABLE, "Not now"),
    };
    Problem::new(status, rejected.code, title).detail(rejected.message).remedy(rejected.remedy)
}

/// A spec that is none.
pub(super) fn of_spec(error: &SpecError) -> Problem {
    let problem = |status, title: &str| Problem::new(status, error.code(), title).detail(error.to_string());
    match error {
        SpecError::TooLarge { .. } => problem(StatusCode::PAYLOAD_TOO_LARGE, "The task spec is too large")
            .remedy("Shorten env and labels."),
        SpecError::Malformed { at, .. } => problem(StatusCode::BAD_REQUEST, "The task spec cannot be read")
            .field("at", at.clone())
            .remedy("Correct the named field; unknown fields are errors."),
        SpecError::Invalid(problems) => {
            let rows: Vec<serde_json::Value> = problems
                .iter()
                .map(|problem| serde_json::json!({ "field": problem.field, "message": problem.message }))
                .collect();
            problem(StatusCode::UNPROCESSABLE_ENTITY, "The task spec is not valid")
                .field("problems", rows)
                .remedy("Correct every named field.")
        }
    }
}

/// Output that cannot be had.
pub(super) fn of_logs(error: LogFailure) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, error.code.clone(), "The output cannot be had at present")
        .detail(error.message)
        .remedy("Try again shortly; the node's state says more.")
}

/// No such task.
pub(super) fn no_task(id: &lode_protocol::ids::TaskId) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "task/not-found", "No such thing")
        .detail(format!("there is no task {id}"))
        .remedy("List the tasks to see their ids.")
}

/// No such node.
pub(super) fn no_node(id: &lode_protocol::ids::NodeId) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "node/not-found", "No such thing")
        .detail(format!("there is no node {id}"))
        .remedy("List the nodes to see their ids.")
}
