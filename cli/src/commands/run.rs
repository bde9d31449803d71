//! `lode run`: a task from the command line, submitted and followed.

use std::collections::BTreeMap;
use std::path::Path;

use lode_api_types::Submission;
use lode_protocol::task::{SpecError, TaskKind, TaskSpec};

use super::task::{After, send};
use crate::api::Api;
use crate::arguments::{Global, RunArguments};
use crate::failure::{Failure, Kind};
use crate::{keys, output};

pub(super) async fn run(global: &Global, arguments: RunArguments) -> anyhow::Result<()> {
    let mut spec = spec(&arguments, &|name| std::env::var(name).ok())?;
    if arguments.print {
        return output::print(&task_file(&spec)?);
    }
    if arguments.name.is_none() {
        // A name that is taken would be no handle.
        spec.name = format!("{}-{}", spec.name, keys::random_hex(2)?);
    }
    let api = Api::of(global)?;
    let after = if arguments.detach { After::Nothing } else { After::Follow { timeout: arguments.timeout } };
    send(&api, global.output, Submission { spec, order: None, signature: None }, after).await
}

/// The task that the flags describe; what is wrong with it is said before anything is sent.
fn spec(arguments: &RunArguments, here: &dyn Fn(&str) -> Option<String>) -> anyhow::Result<TaskSpec> {
    let mut spec = bare()?;
    spec.name = arguments.name.clone().unwrap_or_else(|| name_of(&arguments.image));
    spec.kind = if arguments.service { TaskKind::Service } else { TaskKind::Batch };
    spec.image.clone_from(&arguments.image);
    spec.pull = arguments.pull;
    spec.args.clone_from(&arguments.command);
    spec.command = arguments.entrypoint.clone().map(|program| vec![program]);
    spec.env = environment(arguments, here)?;
    spec.labels = pairs(&arguments.label)?;
    spec.ports.clone_from(&arguments.port);
    spec.replicas = arguments.replicas;
    spec.restart = arguments.restart;
    let resources = &mut spec.resources;
    if let Some(gpus) = &arguments.gpus {
        resources.gpus = gpus.count;
        resources.gpu_models.clone_from(&gpus.models);
    }
    resources.gpu_memory = arguments.gpu_memory.unwrap_or_default();
    resources.cpus = arguments.cpus.unwrap_or_default();
    resources.memory = arguments.memory.unwrap_or_default();
    resources.disk = arguments.disk.unwrap_or_default();
    resources.shm = arguments.shm;
    spec.clone().validate().map_err(SpecError::Invalid).map_err(|error| {
        Failure::coded(
            Kind::Usage,
            error.code().as_str(),
            error.to_string(),
            "`lode run --help` has the flags",
        )
    })?;
    Ok(spec)
}

/// A task of which only what must be said is said: all else is as it would be anyway.
fn bare() -> anyhow::Result<TaskSpec> {
    Ok(TaskSpec::from_toml("name = \"a\"\nkind = \"batch\"\nimage = \"a\"\n")?)
}

/// The last part of an image's name, as a task may be named; with room for what makes it a handle.
fn name_of(image: &str) -> String {
    let without_digest = image.split('@').next().unwrap_or_default();
    let last = without_digest.rsplit('/').next().unwrap_or_default();
    let last = last.split(':').next().unwrap_or_default();
    let fits = |letter: char| if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '-' };
    let name: String = last.chars().map(fits).take(50).collect();
    match name.trim_matches('-') {
        "" => "task".to_owned(),
        name => name.to_owned(),
    }
}

/// Files first, in their order; what the command line says counts.
fn environment(
    arguments: &RunArguments,
    here: &dyn Fn(&str) -> Option<String>,
) -> anyhow::Result<BTreeMap<String, String>> {
    let mut variables = BTreeMap::new();
    for file in &arguments.env_file {
        let text = std::fs::read_to_string(file).map_err(|error| {
            let kind =
                if error.kind() == std::io::ErrorKind::NotFound { Kind::NotFound } else { Kind::Failed };
            kind.because(format!("cannot read the variables {}: {error}", file.display()))
        })?;
        read_variables(file, &text, here, &mut variables)?;
    }
    for variable in &arguments.env {
        let (name, value) = variable_of(variable, here)?;
        variables.insert(name, value);
    }
    Ok(variables)
}

fn read_variables(
    file: &Path,
    text: &str,
    here: &dyn Fn(&str) -> Option<String>,
    variables: &mut BTreeMap<String, String>,
) -> anyhow::Result<()> {
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim_end_matches('\r');
        if line.trim().is_empty() || line.trim_start().starts_with('#') {
            continue;
        }
        let (name, value) = variable_of(line, here)
            .map_err(|error| error.context(format!("{}, line {number}", file.display())))?;
        variables.insert(name, value);
    }
    Ok(())
}

/// `NAME=VALUE`, or `NAME` with the value that it has here.
fn variable_of(text: &str, here: &dyn Fn(&str) -> Option<String>) -> anyhow::Result<(String, String)> {
    match text.split_once('=') {
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
        None => match here(text) {
            Some(value) => Ok((text.to_owned(), value)),
            None => {
                let message = format!("the variable {text} has no value here");
                Err(Kind::Usage.with_remedy(message, format!("write `{text}=VALUE`, or export it first")))
            }
        },
    }
}

fn pairs(labels: &[String]) -> anyhow::Result<BTreeMap<String, String>> {
    let pair = |label: &String| match label.split_once('=') {
        Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
        None => Err(Kind::Usage.because(format!("the label {label} has no value: write KEY=VALUE"))),
    };
    labels.iter().map(pair).collect()
}

/// The task as a file says it, without what is as it would be anyway.
fn task_file(spec: &TaskSpec) -> anyhow::Result<String> {
    let mut written = toml::Table::try_from(spec)?;
    leave_out(&mut written, &toml::Table::try_from(bare()?)?, &["name", "kind", "image"]);
    Ok(toml::to_string_pretty(&written)?)
}

fn leave_out(written: &mut toml::Table, usual: &toml::Table, always: &[&str]) {
    written.retain(|key, value| {
        if always.contains(&key) {
            return true;
        }
        if let (toml::Value::Table(inner), Some(toml::Value::Table(usual))) = (&mut *value, usual.get(key)) {
            leave_out(inner, usual, &[]);
            return !inner.is_empty();
        }
        usual.get(key) != Some(&*value)
    });
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::arguments::{Arguments, Command};

    fn arguments(line: &[&str]) -> RunArguments {
        let parsed = Arguments::try_parse_from(["lode", "run"].iter().chain(line)).unwrap();
        let Command::Run(arguments) = parsed.command else { panic!("{line:?}") };
        *arguments
    }

    fn of(line: &[&str]) -> anyhow::Result<TaskSpec> {
        spec(&arguments(line), &|name| (name == "HERE").then(|| "yes".to_owned()))
    }

    #[test]
    fn flags_say_what_a_task_file_says_and_print_it() {
        let line = [
            "--name",
            "train",
            "--gpus",
            "2xH100",
            "--gpu-memory",
            "80GB",
            "--cpus",
            "0.5",
            "--memory",
            "4GiB",
            "--disk",
            "50GB",
            "--shm",
            "1GiB",
            "-e",
            "A=b=c",
            "-e",
            "HERE",
            "-p",
            "http=8080",
            "--label",
            "team=x",
            "--pull",
            "always",
            "--service",
            "--replicas",
            "3",
            "--restart",
            "on-failure:2",
            "--entrypoint",
            "/bin/sh",
            "registry.example/a/b:1",
            "--",
            "-c",
            "echo --gpus 9",
        ];
        let flags = of(&line).unwrap();
        let text = task_file(&flags).unwrap();
        assert_eq!(TaskSpec::from_toml(&text).unwrap(), flags, "{text}");
        assert_eq!((flags.name.as_str(), flags.kind, flags.replicas), ("train", TaskKind::Service, 3));
        assert_eq!(
            (flags.resources.gpus, flags.resources.gpu_models.as_slice()),
            (2, &["H100".to_owned()][..])
        );
        assert_eq!(flags.env, BTreeMap::from([("A".into(), "b=c".into()), ("HERE".into(), "yes".into())]));
        assert_eq!(flags.command, Some(vec!["/bin/sh".to_owned()]));
        assert_eq!(flags.args, ["-c", "echo --gpus 9"]);
    }

    #[test]
    fn a_printed_file_has_nothing_that_would_be_so_anyway() {
        let text = task_file(&of(&["busybox", "echo", "-n", "hello"]).unwrap()).unwrap();
        let keys: Vec<String> =
            text.parse::<toml::Table>().unwrap().into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["args", "image", "kind", "name"], "{text}");
    }

    #[test]
    fn names_come_from_images() {
        for (image, name) in [
            ("busybox", "busybox"),
            ("registry.example:5000/team/My_Image.x:2", "my-image-x"),
            ("a/b@sha256:00", "b"),
            ("/", "task"),
        ] {
            assert_eq!(name_of(image), name);
        }
        let long = format!("a/{}", "x".repeat(200));
        assert!(of(&[&long]).is_ok());
    }

    #[test]
    fn what_cannot_be_a_task_is_refused_with_its_code_before_anything_is_sent() {
        for (line, wanted) in [
            (&["--gpus", "65", "busybox"][..], Some("task/spec-invalid")),
            (&["Not An Image"], Some("task/spec-invalid")),
            (&["-e", "LD_PRELOAD=x", "busybox"], Some("task/spec-invalid")),
            (&["-e", "ELSEWHERE", "busybox"], None),
            (&["--label", "team", "busybox"], None),
        ] {
            let error = of(line).unwrap_err();
            let (kind, code, _) = crate::report::classify(&error);
            assert_eq!((kind, code.as_deref()), (Kind::Usage, wanted), "{line:?}: {error:#}");
        }
    }

    #[test]
    fn variables_come_from_files_too_and_the_command_line_counts() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("env");
        std::fs::write(&file, "# a comment\n\nA=1\r\nB= 2 \nHERE\n").unwrap();
        let file = file.to_str().unwrap();
        let spec = of(&["--env-file", file, "-e", "A=9", "busybox"]).unwrap();
        let wanted = [("A", "9"), ("B", " 2 "), ("HERE", "yes")];
        assert_eq!(spec.env, wanted.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
        std::fs::write(folder.path().join("env"), "A=1\nNOWHERE\n").unwrap();
        let error = of(&["--env-file", file, "busybox"]).unwrap_err();
        assert!(format!("{error:#}").contains("line 2"), "{error:#}");
    }
}
