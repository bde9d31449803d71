//! Waiting for a task to end, or to run.

use std::time::Duration;

use lode_api_types::{Task, TaskState};
use lode_protocol::assignment::AssignmentState;
use lode_protocol::ids::TaskId;
use lode_protocol::task::TaskKind;
use tokio::time::Instant;

use super::{LogPrinter, show, waiting};
use crate::api::{Api, LogRequest, read_logs};
use crate::failure::Kind;
use crate::output::{self, Format};
use crate::platform::Interruption;
use crate::report::classify;

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(300);
/// How long an orchestrator may be away before waiting gives up.
const PATIENCE: Duration = Duration::from_secs(120);

/// What is waited for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wanted {
    /// A batch task has ended; a service runs (or will never).
    Settled,
    /// Nothing of it runs any more.
    Ended,
}

impl Wanted {
    fn is_met(self, task: &Task) -> bool {
        let state = task.summary.state;
        match self {
            Wanted::Ended => state.has_ended(),
            Wanted::Settled => state.has_ended() || is_running_service(task),
        }
    }
}

fn is_running_service(task: &Task) -> bool {
    task.summary.kind == TaskKind::Service && task.summary.state == TaskState::Running
}

/// Waits, over short absences of the orchestrator; gives the task as it is then.
pub async fn wait_until(
    api: &Api,
    id: TaskId,
    wanted: Wanted,
    timeout: Option<Duration>,
) -> anyhow::Result<Task> {
    let deadline = timeout.map(|timeout| Instant::now() + timeout);
    let mut last_success = Instant::now();
    let mut state = "unknown";
    loop {
        match api.task(id).await {
            Ok(task) => {
                last_success = Instant::now();
                if wanted.is_met(&task) {
                    return Ok(task);
                }
                state = task.summary.state.as_str();
            }
            Err(error) if classify(&error).0 == Kind::Unavailable && last_success.elapsed() < PATIENCE => {}
            Err(error) => return Err(error),
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            let message = format!("task {id} is still {state}; it goes on");
            return Err(Kind::Failed.with_remedy(message, format!("`lode task explain {id}` says why")));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// After `task run`: prints logs if wanted, waits, says what it waits for, and turns the result into an exit code.
pub(super) async fn after_submission(
    api: &Api,
    format: Format,
    id: TaskId,
    follow: bool,
    timeout: Option<Duration>,
) -> anyhow::Result<()> {
    let mut interruption = Interruption::new()?;
    tokio::select! {
        result = until_settled(api, format, id, follow, timeout) => result,
        () = waiting::explain(api, id), if format != Format::Json => Ok(()),
        () = interruption.wait() => {
            let remedy = format!("`lode logs -f {id}` follows it, `lode task stop {id}` ends it");
            Err(Kind::Interrupted.with_remedy(format!("interrupted; task {id} goes on"), remedy))
        }
    }
}

async fn until_settled(
    api: &Api,
    format: Format,
    id: TaskId,
    follow: bool,
    timeout: Option<Duration>,
) -> anyhow::Result<()> {
    let waiting = wait_until(api, id, Wanted::Settled, timeout);
    let task = if follow {
        let request =
            LogRequest { task: id.to_string(), follow: true, wait_for_start: true, ..LogRequest::default() };
        let mut printer = LogPrinter::new(format, false, false);
        let logs = read_logs(api, &request, &mut printer);
        follow_until_end(waiting, logs).await?
    } else {
        waiting.await?
    };
    if format == Format::Json && !follow {
        output::json(&api.task(id).await?)?;
    }
    let state = task.summary.state;
    match state {
        TaskState::Succeeded | TaskState::Running => return Ok(()),
        TaskState::Pending
        | TaskState::Stopping
        | TaskState::Stopped
        | TaskState::Failed
        | TaskState::Deleting => {}
    }
    let failed = task.assignments.iter().filter(|row| row.state != AssignmentState::Succeeded);
    let reasons: Vec<String> = failed.map(show::why).collect();
    let reason = reasons.last().filter(|reason| !reason.is_empty()).map(|reason| format!(": {reason}"));
    let message = format!("task {id} {state}{}", reason.unwrap_or_default());
    Err(Kind::Failed
        .with_remedy(message, format!("`lode task logs {id}` and `lode task show {id}` say more")))
}

/// A task that settles without output (or whose logs fail) must not be waited for in vain; one that has settled gets a
/// moment for its last lines. A service's logs are followed until they end or the user has had enough.
async fn follow_until_end(
    waiting: impl Future<Output = anyhow::Result<Task>>,
    logs: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<Task> {
    tokio::pin!(waiting, logs);
    tokio::select! {
        task = &mut waiting => {
            let task = task?;
            if is_running_service(&task) {
                logs.await?;
                return Ok(task);
            }
            // The logs of an ended task end by themselves; what is lost here is still in `task logs`.
            let _ = tokio::time::timeout(Duration::from_secs(5), logs).await;
            Ok(task)
        }
        outcome = &mut logs => {
            if let Err(error) = outcome {
                if error.is::<output::ReaderGone>() {
                    return Err(error);
                }
                eprintln!("warning: {error:#}");
            }
            waiting.await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::task::show::tests::task;

    #[test]
    fn a_service_settles_by_running_and_a_batch_task_by_ending() {
        assert!(Wanted::Settled.is_met(&task(TaskKind::Service, TaskState::Running)));
        assert!(!Wanted::Settled.is_met(&task(TaskKind::Batch, TaskState::Running)));
        assert!(Wanted::Settled.is_met(&task(TaskKind::Batch, TaskState::Failed)));
        assert!(!Wanted::Ended.is_met(&task(TaskKind::Service, TaskState::Running)));
        assert!(Wanted::Ended.is_met(&task(TaskKind::Service, TaskState::Stopped)));
        assert!(!Wanted::Ended.is_met(&task(TaskKind::Batch, TaskState::Stopping)));
    }
}
