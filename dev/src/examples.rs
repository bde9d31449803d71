//! The examples that a new pool runs: a batch task whose answer is known, and a service that answers.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use bollard::Docker;
use bollard::query_parameters::ImportImageOptions;
use futures::StreamExt as _;
use lode_api_types::{Submission, Task, TaskState, TaskSummary};
use lode_cli::api::{Api, LogEvent, LogRequest, read_logs};
use lode_cli::failure::Kind;
use lode_cli::tasks::{Wanted, submit, wait_until, why};
use lode_program::text::escape_controls;
use lode_protocol::assignment::AssignmentState;
use lode_protocol::ids::TaskId;
use lode_protocol::task::TaskSpec;

use crate::progress::Progress;

const BATCH: &str = include_str!("../../examples/batch.toml");
const SERVICE: &str = include_str!("../../examples/service.toml");
/// The images that they run, by file and by name.
const IMAGES: [&str; 2] = ["lode-example-batch", "lode-example-service"];
/// What the batch task must find: the primes below 10⁹.
const ANSWER: &str = "primes_below=1000000000 count=50847534 sum=24739512092254535 ";
/// Where the images lie, if not beside the programs.
const IMAGES_VARIABLES: [&str; 2] = ["LODE_EXAMPLE_IMAGES", "LODE_IMAGES_DIR"];
/// How long an example may take.
const PATIENCE: Duration = Duration::from_secs(180);

/// Loads the images into the engine. Gives the names of those that it did not have.
pub(crate) async fn load_images(docker: &Docker, binaries: &Path) -> anyhow::Result<Vec<String>> {
    let told =
        IMAGES_VARIABLES.iter().find_map(|name| std::env::var_os(name).filter(|value| !value.is_empty()));
    let folder = told.map_or_else(|| binaries.join("../images"), PathBuf::from);
    let mut new = Vec::new();
    for name in IMAGES {
        let file = folder.join(format!("{name}.tar"));
        let bytes = tokio::fs::read(&file).await.map_err(|error| {
            let message = format!("cannot read the example image {}: {error}", file.display());
            Kind::NotFound
                .with_remedy(message, "run scripts/images, which builds it, or start with --no-examples")
        })?;
        let reference = format!("{name}:latest");
        if docker.inspect_image(&reference).await.is_err() {
            new.push(reference.clone());
        }
        let options = ImportImageOptions { quiet: true, ..ImportImageOptions::default() };
        let mut answers = Box::pin(docker.import_image(options, bollard::body_full(bytes.into()), None));
        while let Some(answer) = answers.next().await {
            answer.with_context(|| format!("the container engine does not take {}", file.display()))?;
        }
        docker
            .inspect_image(&reference)
            .await
            .with_context(|| format!("{} holds no {reference}", file.display()))?;
    }
    Ok(new)
}

/// Runs the batch task, shows what it prints, and checks the answer and that it saw the GPUs it was given.
pub(crate) async fn batch(api: &Api, progress: &Progress) -> anyhow::Result<()> {
    let id = start(api, BATCH).await?;
    progress.say(&format!("    task {id}"));
    let mut result = None;
    let request =
        LogRequest { task: id.to_string(), follow: true, wait_for_start: true, ..LogRequest::default() };
    let mut show = |event: &LogEvent<'_>| {
        if let LogEvent::Line(line) = event
            && let Some(text) = &line.text
        {
            progress.say(&format!("    │ {}", escape_controls(text)));
            if let Some(text) = text.strip_prefix("RESULT ") {
                result = Some(text.to_owned());
            }
        }
        Ok(())
    };
    let logs = read_logs(api, &request, &mut show);
    let (task, logs) = tokio::join!(wait_until(api, id, Wanted::Settled, Some(PATIENCE)), async {
        tokio::time::timeout(PATIENCE, logs).await.context("the logs did not end in time")?
    });
    let task = task?;
    if task.summary.state != TaskState::Succeeded {
        return Err(failed(&task));
    }
    logs?;
    let result = result.context("the task succeeded, but its logs do not show a result")?;
    check_result(&result, &task)
}

fn check_result(result: &str, task: &Task) -> anyhow::Result<()> {
    anyhow::ensure!(result.starts_with(ANSWER), "the answer is wrong: {}", escape_controls(result));
    let mut seen: Vec<&str> = result
        .split(' ')
        .find_map(|word| word.strip_prefix("gpus="))
        .unwrap_or_default()
        .split(',')
        .filter(|uuid| !uuid.is_empty())
        .collect();
    let mut given: Vec<&str> = task
        .assignments
        .last()
        .map(|last| last.gpus.iter().map(|uuid| uuid.as_str()).collect())
        .unwrap_or_default();
    seen.sort_unstable();
    given.sort_unstable();
    anyhow::ensure!(
        !given.is_empty() && seen == given,
        "the container saw the GPUs {seen:?}, but was given {given:?}"
    );
    Ok(())
}

/// Starts the service, waits until it is ready, asks it. Gives its id and URL.
pub(crate) async fn service(api: &Api, progress: &Progress) -> anyhow::Result<(TaskId, String)> {
    let id = start(api, SERVICE).await?;
    progress.say(&format!("    task {id}"));
    let task = wait_until(api, id, Wanted::Settled, Some(PATIENCE)).await?;
    if task.summary.state != TaskState::Running {
        return Err(failed(&task));
    }
    let running = task.assignments.iter().rfind(|assignment| assignment.state == AssignmentState::Running);
    let port =
        running.and_then(|assignment| assignment.ports.first()).context("the service publishes no port")?;
    let url = format!("http://127.0.0.1:{}/", port.host);
    let client = reqwest::Client::builder().timeout(Duration::from_secs(10)).no_proxy().build()?;
    let answer = client.get(&url).send().await?.error_for_status()?.text().await?;
    for line in answer.lines().take(8) {
        progress.say(&format!("    │ {}", escape_controls(line)));
    }
    Ok((id, url))
}

/// Stops a task and waits for its end.
pub(crate) async fn stop(api: &Api, id: TaskId) -> anyhow::Result<()> {
    let _: TaskSummary = api.post(&format!("v1/tasks/{id}/stop")).await?;
    wait_until(api, id, Wanted::Ended, Some(Duration::from_secs(30))).await.map(drop)
}

async fn start(api: &Api, text: &str) -> anyhow::Result<TaskId> {
    let spec = TaskSpec::from_toml(text).context("the example is not a task")?;
    Ok(submit(api, &Submission { spec, order: None, signature: None }).await?.task.id)
}

fn failed(task: &Task) -> anyhow::Error {
    let why = task.assignments.iter().map(why).filter(|why| !why.is_empty()).collect::<Vec<_>>();
    let message = format!("task {} {}: {}", task.summary.name, task.summary.state, why.join("; "));
    Kind::Failed.because(message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lode_api_types::{Assignment, Replicas, TaskSummary};
    use lode_protocol::units::Timestamp;

    fn task(gpus: &[&str]) -> Task {
        let assignment = Assignment {
            id: "0190aaaa-0000-7000-8000-000000000000.0.1".parse().unwrap(),
            replica: 0,
            incarnation: lode_protocol::ids::Incarnation(1),
            node: lode_protocol::ids::NodeId::default(),
            state: AssignmentState::Succeeded,
            reason: None,
            fault: None,
            detail: String::new(),
            exit_code: Some(0),
            restarts: 0,
            gpus: gpus.iter().map(|uuid| uuid.parse().unwrap()).collect(),
            ports: Vec::new(),
            image: None,
            history: Vec::new(),
        };
        let spec = TaskSpec::from_toml(BATCH).unwrap();
        let summary = TaskSummary {
            id: TaskId::default(),
            name: spec.name.clone(),
            kind: spec.kind,
            state: TaskState::Succeeded,
            created: Timestamp(0),
            replicas: Replicas::default(),
        };
        Task {
            summary,
            spec,
            pinned_image: None,
            order: None,
            replica_states: Vec::new(),
            assignments: vec![assignment],
        }
    }

    #[test]
    fn only_the_right_answer_on_the_granted_gpus_passes() {
        let result = |gpus: &str| format!("{ANSWER}gpus={gpus} seconds=1.0");
        assert!(check_result(&result("GPU-b,GPU-a"), &task(&["GPU-a", "GPU-b"])).is_ok());
        assert!(check_result(&result("GPU-a"), &task(&["GPU-a", "GPU-b"])).is_err());
        assert!(check_result(&result("GPU-a,GPU-c"), &task(&["GPU-a", "GPU-b"])).is_err());
        assert!(check_result(&result(""), &task(&[])).is_err());
        assert!(check_result("primes_below=1000000000 count=1 sum=2 gpus=GPU-a", &task(&["GPU-a"])).is_err());
    }
}
