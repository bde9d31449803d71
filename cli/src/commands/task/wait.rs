//! Waiting for a task to end, or to run.

use std::time::Duration;

use tokio::time::Instant;

use super::{print_line, show};
use crate::api::{Api, LogRequest, Task, follow_logs};
use crate::failure::{Kind, classify};
use crate::output::{self, Format};

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(300);
/// How long an orchestrator may be away before waiting gives up.
const PATIENCE: Duration = Duration::from_secs(120);

/// What is waited for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wanted {
    /// A batch task has ended; a service runs (or will never).
    Settled,
    /// Nothing of it runs any more.
    Ended,
}

fn has_ended(state: &str) -> bool {
    matches!(state, "succeeded" | "failed" | "stopped")
}

impl Wanted {
    fn is_met(self, task: &Task) -> bool {
        let state = task.summary.state.as_str();
        match self {
            Wanted::Ended => has_ended(state),
            Wanted::Settled => has_ended(state) || (task.summary.kind == "service" && state == "running"),
        }
    }
}

/// Waits, over short absences of the orchestrator; gives the task as it is then.
pub(crate) async fn wait_until(
    api: &Api,
    id: &str,
    wanted: Wanted,
    timeout: Option<Duration>,
) -> anyhow::Result<Task> {
    let deadline = timeout.map(|timeout| Instant::now() + timeout);
    let mut last_success = Instant::now();
    let mut state = "unknown".to_owned();
    loop {
        match api.get(&format!("v1/tasks/{id}"), &[]).await {
            Ok(value) => {
                last_success = Instant::now();
                let task: Task = api.view(&value)?;
                if wanted.is_met(&task) {
                    return Ok(task);
                }
                state = task.summary.state;
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

/// After `task run`: prints logs if wanted, waits, and turns the result into an exit code.
pub(super) async fn after_submission(
    api: &Api,
    format: Format,
    id: &str,
    follow: bool,
    timeout: Option<Duration>,
) -> anyhow::Result<()> {
    let waiting = wait_until(api, id, Wanted::Settled, timeout);
    let task = if follow {
        let request = LogRequest { task: id.to_owned(), wait_for_start: true, ..LogRequest::default() };
        let logs = follow_logs(api, &request, |line| print_line(format, line, false));
        follow_until_end(waiting, logs).await?
    } else {
        waiting.await?
    };
    let state = task.summary.state.as_str();
    if format == Format::Json && !follow {
        output::json(&api.get(&format!("v1/tasks/{id}"), &[]).await?)?;
    }
    if state == "succeeded" || state == "running" {
        return Ok(());
    }
    let reasons: Vec<String> =
        task.assignments.iter().filter(|a| a.state != "succeeded").map(show::why).collect();
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
            if task.summary.kind == "service" && task.summary.state == "running" {
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
    use crate::api::TaskSummary;

    fn task(kind: &str, state: &str) -> Task {
        let summary =
            TaskSummary { kind: kind.to_owned(), state: state.to_owned(), ..TaskSummary::default() };
        Task { summary, ..Task::default() }
    }

    #[test]
    fn a_service_settles_by_running_and_a_batch_task_by_ending() {
        assert!(Wanted::Settled.is_met(&task("service", "running")));
        assert!(!Wanted::Settled.is_met(&task("batch", "running")));
        assert!(Wanted::Settled.is_met(&task("batch", "failed")));
        assert!(!Wanted::Ended.is_met(&task("service", "running")));
        assert!(Wanted::Ended.is_met(&task("service", "stopped")));
        assert!(!Wanted::Ended.is_met(&task("batch", "stopping")));
    }
}
