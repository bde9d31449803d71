//! Commands inside a container, one of a kind at a time.
//!
//! The engine never ends what it was told to run: a command that takes too long would stay, with a process of the
//! container's and files of the engine's. It is killed; and as long as one is left no other like it is started, also after
//! a restart of the worker.

use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error;
use bollard::exec::{CreateExecOptions, StartExecOptions, StartExecResults};
use bollard::models::ExecInspectResponse;
use futures::TryStreamExt as _;

use super::call::{CALL, within};
use super::client::DockerEngine;
use super::failure::{During, classify};
use super::processes::{Killing, kill_session};
use crate::core::event::{ContainerId, EngineFailure};
use crate::engine::Ran;

/// Time between two looks at whether a command has ended: nothing tells.
const LOOK: Duration = Duration::from_millis(20);
/// Looks between two attempts to kill: about a second.
const LOOKS_PER_KILL: u32 = 50;
/// Time that a killed process may take to be gone.
const GONE: Duration = Duration::from_secs(5);

impl DockerEngine {
    /// Runs a command, at most for `limit`.
    pub(super) async fn run_command(
        &self,
        container: &ContainerId,
        command: &[String],
        limit: Duration,
    ) -> Result<Ran, EngineFailure> {
        let docker = self.docker().await?;
        let answer = async {
            for left in self.running_like(docker, container, command).await? {
                if !end(docker, container, &left).await? {
                    return Ok(Ran::StillRuns);
                }
            }
            let options = CreateExecOptions { cmd: Some(command.to_vec()), ..Default::default() };
            let created = within(CALL, docker.create_exec(&container.0, options)).await?.id;
            match tokio::time::timeout(limit, run_to_end(docker, &created)).await {
                Ok(code) => code.map(Ran::Ended),
                Err(_) => end(docker, container, &created).await.map(|killed| Ran::TooLong { killed }),
            }
        };
        answer.await.map_err(|error| classify(&error, During::Other))
    }

    /// Of the commands that run in a container those that are this one. Somebody who looks around in it is none.
    async fn running_like(
        &self,
        docker: &Docker,
        container: &ContainerId,
        command: &[String],
    ) -> Result<Vec<String>, Error> {
        let mut like = Vec::new();
        for id in self.inspect(container).await?.exec_ids.unwrap_or_default() {
            let found = within(CALL, docker.inspect_exec(&id)).await?;
            if is_running(&found) && is_like(&found, command) {
                like.push(id);
            }
        }
        Ok(like)
    }
}

async fn run_to_end(docker: &Docker, id: &str) -> Result<i64, Error> {
    let start = StartExecOptions { detach: false, ..Default::default() };
    if let StartExecResults::Attached { output, .. } = docker.start_exec(id, Some(start)).await? {
        output.try_for_each(|_| std::future::ready(Ok(()))).await?;
    }
    // The output may end a moment before the engine has noted the exit code.
    loop {
        let found = within(CALL, docker.inspect_exec(id)).await?;
        match found.exit_code {
            Some(code) if !is_running(&found) => return Ok(code),
            _ => tokio::time::sleep(LOOK).await,
        }
    }
}

/// Kills a command; whether it is gone.
async fn end(docker: &Docker, container: &ContainerId, id: &str) -> Result<bool, Error> {
    let gone = async {
        let (mut killed, mut looks) = (false, 0u32);
        loop {
            let found = match within(CALL, docker.inspect_exec(id)).await {
                Ok(found) => found,
                // The engine has forgotten it: it ended.
                Err(Error::DockerResponseServerError { status_code: 404, .. }) => return Ok(()),
                Err(error) => return Err(error),
            };
            if !is_running(&found) && (killed || found.exit_code.is_some()) {
                return Ok(());
            }
            // A process that is just being made has no number yet.
            let pid = found.pid.and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid > 0);
            if let Some(pid) = pid.filter(|_| !killed || looks.is_multiple_of(LOOKS_PER_KILL)) {
                kill(docker, container, pid).await?;
                killed = true;
            }
            looks += 1;
            tokio::time::sleep(LOOK).await;
        }
    };
    if let Ok(ended) = tokio::time::timeout(GONE, gone).await {
        return ended.map(|()| true);
    }
    // One that was never begun has nothing to be killed, and no end.
    let left = is_running(&within(CALL, docker.inspect_exec(id)).await?);
    if left {
        tracing::warn!(container = %container.0, "a command in a container cannot be ended; no other is started there");
    }
    Ok(!left)
}

async fn kill(docker: &Docker, container: &ContainerId, pid: u32) -> Result<(), Error> {
    let owner = container.clone();
    match tokio::task::spawn_blocking(move || kill_session(&owner, pid)).await {
        Ok(Killing::Forbidden(inside)) => kill_inside(docker, container, inside).await,
        Ok(Killing::Done | Killing::Unseen) => Ok(()),
        Err(error) => {
            tracing::error!(%error, "killing a command ended in a defect");
            Ok(())
        }
    }
}

/// Has the container's own `kill` do it, if it has one. The command leads a group of processes.
async fn kill_inside(docker: &Docker, container: &ContainerId, pid: u32) -> Result<(), Error> {
    let command = vec!["kill".to_owned(), "-KILL".to_owned(), format!("-{pid}")];
    let options = CreateExecOptions { cmd: Some(command), ..Default::default() };
    let created = within(CALL, docker.create_exec(&container.0, options)).await?.id;
    let start = StartExecOptions { detach: true, ..Default::default() };
    match within(CALL, docker.start_exec(&created, Some(start))).await {
        // There is no such program in it: the engine's word for that differs.
        Ok(_) | Err(Error::DockerResponseServerError { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

fn is_running(found: &ExecInspectResponse) -> bool {
    found.running == Some(true)
}

fn is_like(found: &ExecInspectResponse, command: &[String]) -> bool {
    let Some(process) = &found.process_config else { return false };
    let words = process.entrypoint.iter().chain(process.arguments.iter().flatten());
    words.eq(command)
}

#[cfg(test)]
mod tests {
    use bollard::models::ProcessConfig;

    use super::*;

    #[test]
    fn a_command_is_known_again_by_its_words_and_nothing_else_is_taken_for_it() {
        let found = |words: &[&str]| {
            let mut words = words.iter().map(ToString::to_string);
            let process = ProcessConfig {
                entrypoint: words.next(),
                arguments: Some(words.collect()),
                ..Default::default()
            };
            ExecInspectResponse { process_config: Some(process), ..Default::default() }
        };
        let command: Vec<String> = ["sleep", "600"].map(str::to_owned).into();
        assert!(is_like(&found(&["sleep", "600"]), &command));
        assert!(!is_like(&found(&["sleep"]), &command));
        assert!(!is_like(&found(&["sh"]), &command));
        assert!(!is_like(&ExecInspectResponse::default(), &command));
    }
}
