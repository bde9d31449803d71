//! `lode task …`: submitting tasks and looking at them.

mod order;
mod show;
mod wait;

use std::io::Read as _;
use std::path::Path;

use anyhow::Context as _;
use lode_program::text::escape_controls;
use lode_protocol::task::{MAX_SPEC_BYTES, SpecError, TaskSpec};
use serde_json::{Value, json};

use crate::api::sse::SseParser;
use crate::api::{Api, LogRequest, TaskSummary, follow_logs};
use crate::arguments::{Global, TaskCommand};
use crate::failure::{Failure, Kind};
use crate::keys;
use crate::output::{self, Format, Sheet};

pub(crate) use show::why;
pub(crate) use wait::{Wanted, wait_until};

pub(super) async fn run(global: &Global, command: TaskCommand) -> anyhow::Result<()> {
    let api = || Api::of(global);
    match command {
        TaskCommand::Order(arguments) => order::run(global, arguments).await,
        TaskCommand::Run { file, order, wait, follow, timeout } => {
            let api = api()?;
            let spec = read_spec(&file)?;
            let task = match order {
                Some(order) => submit_value(&api, &order::with_spec(&order, &spec)?).await?,
                None => submit(&api, &spec).await?,
            };
            let id = task.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
            match global.output {
                Format::Json if !wait && !follow => output::json(&task)?,
                Format::Json => {}
                Format::Table | Format::Wide => output::line(&escape_controls(&id))?,
            }
            if wait || follow {
                wait::after_submission(&api, global.output, &id, follow, timeout).await?;
            }
            Ok(())
        }
        TaskCommand::Ls { state, limit } => list(&api()?, global, state, limit).await,
        TaskCommand::Show { task } => {
            let api = api()?;
            let id = api.task_id(&task).await?;
            let value = api.get(&format!("v1/tasks/{id}"), &[]).await?;
            match global.output {
                Format::Json => output::json(&value),
                Format::Table | Format::Wide => show::task(&api.view(&value)?),
            }
        }
        TaskCommand::Logs { task, follow, tail, replica, timestamps } => {
            let api = api()?;
            let task = api.task_id(&task).await?;
            if follow {
                let request = LogRequest { task, replica, tail, wait_for_start: true };
                follow_logs(&api, &request, |line| print_line(global.output, line, timestamps)).await
            } else {
                logs(&api, global.output, &task, tail, replica, timestamps).await
            }
        }
        TaskCommand::Stop { task, wait } => {
            let api = api()?;
            let id = api.task_id(&task).await?;
            let value = api.post(&format!("v1/tasks/{id}/stop"), None).await?;
            if wait {
                wait_until(&api, &id, Wanted::Ended, None).await?;
            }
            said(global.output, &value, &format!("task {id} is told to stop"))
        }
        TaskCommand::Start { task } => {
            let api = api()?;
            let id = api.task_id(&task).await?;
            let value = api.post(&format!("v1/tasks/{id}/start"), None).await?;
            said(global.output, &value, &format!("task {id} is started"))
        }
        TaskCommand::Rm { task } => {
            let api = api()?;
            let id = api.task_id(&task).await?;
            let value = api.delete(&format!("v1/tasks/{id}")).await?;
            said(global.output, &value, &format!("task {id} is being deleted"))
        }
        TaskCommand::Explain { task, nodes } => {
            let api = api()?;
            let id = api.task_id(&task).await?;
            let query = if nodes { vec![("nodes", "true".to_owned())] } else { Vec::new() };
            let value = api.get(&format!("v1/tasks/{id}/explain"), &query).await?;
            match global.output {
                Format::Json => output::json(&value),
                Format::Table | Format::Wide => show::explanation(&api.view(&value)?, nodes),
            }
        }
        TaskCommand::Events { task, follow } => {
            let api = api()?;
            let id = api.task_id(&task).await?;
            events(&api, global.output, &id, follow).await
        }
    }
}

/// Submits a task; broken connections do not make two of it.
pub(crate) async fn submit(api: &Api, spec: &TaskSpec) -> anyhow::Result<Value> {
    submit_value(api, &serde_json::to_value(spec)?).await
}

async fn submit_value(api: &Api, body: &Value) -> anyhow::Result<Value> {
    let key = format!("lode-{}", keys::random_hex(16)?);
    api.submit(body, &key).await
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

fn said(format: Format, value: &Value, words: &str) -> anyhow::Result<()> {
    match format {
        Format::Json => output::json(value),
        Format::Table | Format::Wide => output::line(words),
    }
}

async fn list(api: &Api, global: &Global, state: Option<String>, limit: usize) -> anyhow::Result<()> {
    let query: Vec<_> = state.map(|state| ("state", state)).into_iter().collect();
    let items = api.list("v1/tasks", &query, limit).await?;
    match global.output {
        Format::Json => output::json(&json!({ "items": items })),
        Format::Table | Format::Wide => {
            let mut sheet =
                Sheet::new(["id", "name", "kind", "state", "replicas", "created"]).or_else("no tasks");
            for item in &items {
                let task: TaskSummary = api.view(item)?;
                let replicas = show::replicas(&task);
                sheet.row([task.id, task.name, task.kind, task.state, replicas, task.created]);
            }
            output::sheet(&sheet)
        }
    }
}

fn print_line(format: Format, line: &crate::api::LogLine, timestamps: bool) -> anyhow::Result<()> {
    match format {
        Format::Json => {
            output::line(&json!({ "at": line.at, "source": line.source, "text": line.text }).to_string())
        }
        Format::Table | Format::Wide if timestamps => {
            output::line(&format!("{} {}", escape_controls(&line.at), escape_controls(&line.text)))
        }
        Format::Table | Format::Wide => output::line(&escape_controls(&line.text)),
    }
}

async fn logs(
    api: &Api,
    format: Format,
    id: &str,
    tail: Option<u64>,
    replica: u32,
    timestamps: bool,
) -> anyhow::Result<()> {
    let mut query = vec![("replica", replica.to_string())];
    query.extend(tail.map(|tail| ("tail", tail.to_string())));
    query.extend(timestamps.then(|| ("timestamps", "true".to_owned())));
    let mut response = api.text(&format!("v1/tasks/{id}/logs"), &query).await?;
    let mut pending = Vec::new();
    let print = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        match format {
            Format::Json => output::line(&json!({ "text": text }).to_string()),
            Format::Table | Format::Wide => output::line(&escape_controls(&text)),
        }
    };
    while let Some(chunk) = response.chunk().await.context("the output broke off")? {
        pending.extend_from_slice(&chunk);
        while let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = pending.drain(..=end).collect();
            print(line.strip_suffix(b"\n").unwrap_or(&line))?;
        }
    }
    if pending.is_empty() { Ok(()) } else { print(&pending) }
}

async fn events(api: &Api, format: Format, id: &str, follow: bool) -> anyhow::Result<()> {
    let path = format!("v1/tasks/{id}/events");
    let show = |event: &Value| match format {
        Format::Json => output::line(&event.to_string()),
        Format::Table | Format::Wide => output::line(&show::event(event)),
    };
    if !follow {
        for event in api.list(&path, &[], usize::MAX).await? {
            show(&event)?;
        }
        return Ok(());
    }
    let mut last_id: Option<String> = None;
    loop {
        let mut response = api.events(&path, &[], last_id.as_deref()).await?;
        let mut parser = SseParser::default();
        while let Ok(Some(chunk)) = response.chunk().await {
            for event in parser.push(&chunk)? {
                show(&serde_json::from_str(&event.data)?)?;
                last_id = event.id.or(last_id);
            }
        }
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
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
        let (kind, code, _) = crate::failure::classify(&error);
        assert_eq!((kind, code.as_deref()), (Kind::Usage, Some("task/spec-malformed")));
        assert!(format!("{error:#}").contains("repilcas"), "{error:#}");
        let missing = read_spec(&folder.path().join("none.toml")).unwrap_err();
        assert_eq!(crate::failure::classify(&missing).0, Kind::NotFound);
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
