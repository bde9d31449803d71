//! `lode task …`: submitting tasks and looking at them.

mod logs;
mod order;
mod show;
mod wait;
mod waiting;

use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use lode_api_types::{Event, ExplainQuery, Explanation, Pool, Submission, Submitted, TaskState, TaskSummary};
use lode_protocol::ids::TaskId;
use lode_protocol::task::{MAX_SPEC_BYTES, SpecError, TaskSpec};

use crate::api::sse::SseParser;
use crate::api::{Api, LogRequest, read_logs};
use crate::arguments::{Global, ListArguments, LogArguments, TaskCommand};
use crate::failure::{Failure, Kind};
use crate::keys;
use crate::output::{self, Format, Sheet};

pub(crate) use logs::LogPrinter;
pub use show::why;
pub use wait::{Wanted, wait_until};

pub(super) async fn run(global: &Global, command: TaskCommand) -> anyhow::Result<()> {
    let api = || Api::of(global);
    match command {
        TaskCommand::Order(arguments) => order::run(global, arguments).await,
        TaskCommand::Run { file, order, wait, follow, timeout } => {
            let api = api()?;
            let spec = read_spec(&file)?;
            let submission = match order {
                Some(order) => order::with_spec(&order, spec)?,
                None => Submission { spec, order: None, signature: None },
            };
            let after = match (wait, follow) {
                (_, true) => After::Follow { timeout },
                (true, false) => After::Wait { timeout },
                (false, false) => After::Nothing,
            };
            send(&api, global.output, submission, after).await
        }
        TaskCommand::Schema => output::json(&lode_protocol::task::json_schema()),
        TaskCommand::Ls(ListArguments { state, limit }) => list(&api()?, global, state, limit).await,
        TaskCommand::Show { task } => {
            let api = api()?;
            let id = api.task_id(&task).await?;
            let task = api.task(id).await?;
            match global.output {
                Format::Json => output::json(&task),
                Format::Table | Format::Wide => show::task(&task),
            }
        }
        TaskCommand::Logs(LogArguments { task, follow, tail, since, replica, timestamps }) => {
            let api = api()?;
            let request = LogRequest {
                task: api.task_id(&task).await?.to_string(),
                replica: replica.unwrap_or_default(),
                follow,
                tail,
                since: since.map(|since| since.to_string()),
                wait_for_start: follow,
            };
            let mut printer = LogPrinter::new(global.output, timestamps, replica.is_some());
            read_logs(&api, &request, &mut printer).await
        }
        TaskCommand::Stop { tasks, wait } => {
            let (api, ids) = named(global, &tasks).await?;
            let say = Answers::to(global.output, &ids);
            for id in &ids {
                let value: TaskSummary = api.post(&format!("v1/tasks/{id}/stop")).await?;
                let words = match value.state {
                    TaskState::Succeeded | TaskState::Failed => format!("had ended already: {}", value.state),
                    TaskState::Stopped => "is stopped".to_owned(),
                    TaskState::Pending | TaskState::Running | TaskState::Stopping | TaskState::Deleting => {
                        "is told to stop".to_owned()
                    }
                };
                say.one(&value, &format!("task {id} {words}"))?;
            }
            if wait {
                for id in ids {
                    wait_until(&api, id, Wanted::Ended, None).await?;
                }
            }
            Ok(())
        }
        TaskCommand::Start { tasks } => {
            let (api, ids) = named(global, &tasks).await?;
            let say = Answers::to(global.output, &ids);
            for id in ids {
                let value: TaskSummary = api.post(&format!("v1/tasks/{id}/start")).await?;
                say.one(&value, &format!("task {id} is started"))?;
            }
            Ok(())
        }
        TaskCommand::Rm { tasks } => {
            let (api, ids) = named(global, &tasks).await?;
            let say = Answers::to(global.output, &ids);
            for id in ids {
                say.one(&api.delete_task(id).await?, &format!("task {id} is being deleted"))?;
            }
            Ok(())
        }
        TaskCommand::Explain { task, nodes } => {
            let api = api()?;
            let id = api.task_id(&task).await?;
            let query = ExplainQuery { nodes, ..ExplainQuery::default() };
            let explanation: Explanation = api.get(&format!("v1/tasks/{id}/explain"), &query).await?;
            match global.output {
                Format::Json => output::json(&explanation),
                Format::Table | Format::Wide => show::explanation(&explanation, nodes),
            }
        }
        TaskCommand::Events { task, follow } => {
            let api = api()?;
            let id = api.task_id(&task).await?;
            events(&api, global.output, id, follow).await
        }
    }
}

/// What follows a submission.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum After {
    /// Its id is printed.
    Nothing,
    /// It is waited for.
    Wait { timeout: Option<Duration> },
    /// What it writes is printed, and it is waited for.
    Follow { timeout: Option<Duration> },
}

/// Submits a task, says the API's warnings, and does what is to follow.
pub(super) async fn send(
    api: &Api,
    format: Format,
    submission: Submission,
    after: After,
) -> anyhow::Result<()> {
    let submitted = submit(api, &submission).await?;
    let id = submitted.task.id;
    for warning in &submitted.warnings {
        output::note(&format!("warning: {} [{}]", warning.message, warning.code));
    }
    let (follow, timeout) = match after {
        After::Nothing if format == Format::Json => return output::json(&submitted),
        After::Nothing => return output::line(&id.to_string()),
        After::Wait { timeout } => (false, timeout),
        After::Follow { timeout } => (true, timeout),
    };
    if format != Format::Json {
        // What a followed task writes is the output; a pipe gets nothing else.
        if follow {
            output::note(&format!("task {} is {id}", submitted.task.name));
        } else {
            output::line(&id.to_string())?;
        }
    }
    wait::after_submission(api, format, id, follow, timeout).await
}

/// The tasks that are meant. All of them are looked up before anything is done to one.
async fn named(global: &Global, tasks: &[String]) -> anyhow::Result<(Api, Vec<TaskId>)> {
    let api = Api::of(global)?;
    let mut ids = Vec::new();
    for task in tasks {
        let id = api.task_id(task).await?;
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    Ok((api, ids))
}

/// Submits a task; broken connections do not make two of it.
pub async fn submit(api: &Api, submission: &Submission) -> anyhow::Result<Submitted> {
    let key = format!("lode-{}", keys::random_hex(16)?);
    api.submit(submission, &key).await
}

/// Reads a task file: JSON where it is named so or starts with a brace, TOML otherwise. What is wrong with it is said
/// here, before anything is sent.
fn read_spec(file: &Path) -> anyhow::Result<TaskSpec> {
    let mut text = String::new();
    let unreadable = |error: &std::io::Error| {
        let kind = if error.kind() == std::io::ErrorKind::NotFound { Kind::NotFound } else { Kind::Failed };
        kind.because(format!("cannot read the task {}: {error}", file.display()))
    };
    let limit = u64::try_from(MAX_SPEC_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    if file == Path::new("-") {
        std::io::stdin().lock().take(limit).read_to_string(&mut text).map_err(|error| unreadable(&error))?;
    } else {
        let opened = std::fs::File::open(file).map_err(|error| unreadable(&error))?;
        opened.take(limit).read_to_string(&mut text).map_err(|error| unreadable(&error))?;
    }
    parse_spec(file, &text).map_err(|error| {
        let message = format!("{}: {error}", file.display());
        let remedy = "correct the task file; examples/ has two that work";
        Failure::coded(Kind::Usage, error.code().as_str(), message, remedy).into()
    })
}

fn parse_spec(file: &Path, text: &str) -> Result<TaskSpec, SpecError> {
    let is_json =
        file.extension().is_some_and(|extension| extension == "json") || text.trim_start().starts_with('{');
    let spec = if is_json { TaskSpec::from_json(text.as_bytes()) } else { TaskSpec::from_toml(text) }?;
    spec.clone().validate().map_err(SpecError::Invalid)?;
    Ok(spec)
}

/// Says what was answered about each task as soon as it was: a later one may fail. In JSON one answer is a document, of
/// several each is a line.
struct Answers {
    format: Format,
    several: bool,
}

impl Answers {
    fn to(format: Format, ids: &[TaskId]) -> Self {
        Self { format, several: ids.len() > 1 }
    }

    fn one(&self, value: &impl serde::Serialize, words: &str) -> anyhow::Result<()> {
        match self.format {
            Format::Json if self.several => output::json_line(value),
            Format::Json => output::json(value),
            Format::Table | Format::Wide => output::line(words),
        }
    }
}

async fn list(api: &Api, global: &Global, state: Option<TaskState>, limit: usize) -> anyhow::Result<()> {
    let page = api.tasks(state, limit).await?;
    match global.output {
        Format::Json => output::json(&page)?,
        Format::Table | Format::Wide => {
            let mut sheet =
                Sheet::new(["id", "name", "kind", "state", "replicas", "created"]).or_else("no tasks");
            for task in &page.items {
                sheet.row([
                    task.id.to_string(),
                    task.name.clone(),
                    show::word(&task.kind),
                    task.state.to_string(),
                    show::replicas(task),
                    task.created.to_string(),
                ]);
            }
            output::sheet(&sheet)?;
        }
    }
    if page.next.is_some() {
        let pool: Pool = api.get("v1/pool", &()).await?;
        let left = unlisted(&pool, state, page.items.len());
        if left > 0 {
            output::note(&format!("{left} more: --limit {}", page.items.len().saturating_add(left)));
        }
    }
    Ok(())
}

/// How many tasks are in no list that shows so many of them.
fn unlisted(pool: &Pool, state: Option<TaskState>, shown: usize) -> usize {
    let counted = pool.tasks.iter().filter(|(of, _)| state.is_none_or(|state| state == **of));
    let all: u64 = counted.map(|(_, count)| u64::from(*count)).sum();
    usize::try_from(all).unwrap_or(usize::MAX).saturating_sub(shown)
}

async fn events(api: &Api, format: Format, id: TaskId, follow: bool) -> anyhow::Result<()> {
    let show = |event: &Event| match format {
        Format::Json => output::json_line(event),
        Format::Table | Format::Wide => output::line(&show::event(event)),
    };
    if !follow {
        for event in api.events_of(id).await? {
            show(&event)?;
        }
        return Ok(());
    }
    let path = format!("v1/tasks/{id}/events");
    let mut last_id: Option<String> = None;
    loop {
        let mut response = api.events(&path, &[], last_id.as_deref()).await?;
        let mut parser = SseParser::default();
        while let Ok(Some(chunk)) = response.chunk().await {
            for event in parser.push(&chunk)? {
                // The stream ends when its reader has fallen out of what is kept; the next one is told so.
                if event.kind != "end" {
                    show(&serde_json::from_str(&event.data)?)?;
                }
                last_id = event.id.or(last_id);
            }
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn toml_and_json_are_told_apart_by_name_or_first_letter() {
        let toml = "name = \"a\"\nkind = \"batch\"\nimage = \"busybox\"\n";
        let json = r#" {"name":"a","kind":"batch","image":"busybox"}"#;
        for (file, text) in [("t.toml", toml), ("-", toml), ("t.json", json), ("-", json)] {
            assert_eq!(parse_spec(Path::new(file), text).unwrap().name, "a", "{file}");
        }
        assert!(parse_spec(Path::new("t.json"), toml).is_err());
    }

    #[test]
    fn a_spec_that_is_not_valid_is_refused_before_it_is_sent() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("bad.toml");
        std::fs::write(&file, "name = \"a\"\nkind = \"batch\"\nimage = \"busybox\"\nrepilcas = 2\n").unwrap();
        let error = read_spec(&file).unwrap_err();
        let (kind, code, _) = crate::report::classify(&error);
        assert_eq!((kind, code.as_deref()), (Kind::Usage, Some("task/spec-malformed")));
        assert!(format!("{error:#}").contains("repilcas"), "{error:#}");
        let missing = read_spec(&folder.path().join("none.toml")).unwrap_err();
        assert_eq!(crate::report::classify(&missing).0, Kind::NotFound);
    }

    #[test]
    fn the_examples_are_valid_and_survive_being_sent() {
        for text in
            [include_str!("../../../examples/batch.toml"), include_str!("../../../examples/service.toml")]
        {
            let spec = parse_spec(Path::new("example.toml"), text).unwrap();
            let sent = serde_json::to_vec(&spec).unwrap();
            assert_eq!(TaskSpec::from_json(&sent).unwrap(), spec);
        }
    }
}
