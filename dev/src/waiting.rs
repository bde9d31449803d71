//! Waiting for a program to do its part: with a deadline, and without patience for one that keeps failing.

use std::time::Duration;

use tokio::time::Instant;

use crate::supervisor::{Activity, Supervisor};

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// A program that ended by itself this often will not come up.
const MOST_FAILURES: u32 = 3;
/// Endings that another try does not change: bad configuration, a data directory in use, not allowed.
const FINAL_ENDS: [&str; 3] = ["exit status: 64", "exit status: 73", "exit status: 77"];

/// A failure, and whose log says more.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Blamed {
    pub(crate) program: String,
    pub(crate) message: String,
}

/// Looks until there is something, the deadline passes, or one of the programs is beyond hope.
pub(crate) async fn wait_for<T>(
    supervisor: &Supervisor,
    programs: &[&'static str],
    patience: Duration,
    mut look: impl AsyncFnMut() -> Look<T>,
) -> anyhow::Result<T> {
    let deadline = Instant::now() + patience;
    loop {
        let missing = match look().await {
            Look::Done(value) => return Ok(value),
            Look::NotYet(missing) => missing,
        };
        let blamed = |program: &str, message: String| Blamed { program: program.to_owned(), message };
        let list = supervisor.list();
        for program in programs {
            let Some(status) = list.get(program) else { continue };
            let end = status.last_end.as_deref().unwrap_or("ended");
            let is_final = FINAL_ENDS.iter().any(|known| end.starts_with(known));
            if status.activity == Activity::Waiting && (status.failures >= MOST_FAILURES || is_final) {
                return Err(blamed(program, format!("{program} does not stay up: {end}")).into());
            }
        }
        if Instant::now() >= deadline {
            let program = programs.first().copied().unwrap_or_default();
            return Err(blamed(program, format!("not after {} s: {missing}", patience.as_secs())).into());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// What a look found.
#[derive(Debug)]
pub(crate) enum Look<T> {
    Done(T),
    /// What is missing, in words.
    NotYet(String),
}

/// Waits until a URL answers with success.
pub(crate) async fn wait_for_http(
    supervisor: &Supervisor,
    program: &'static str,
    url: &str,
    patience: Duration,
) -> anyhow::Result<()> {
    let client = reqwest::Client::builder().timeout(Duration::from_secs(2)).no_proxy().build()?;
    wait_for(supervisor, &[program], patience, async || match client.get(url).send().await {
        Ok(answer) if answer.status().is_success() => Look::Done(()),
        Ok(answer) => {
            let status = answer.status();
            let text = answer.text().await.unwrap_or_default();
            Look::NotYet(format!("{url} answers {status}: {}", text.chars().take(300).collect::<String>()))
        }
        Err(error) => Look::NotYet(format!("{url} does not answer: {error}")),
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervisor::{Launch, StopSignal};
    use lode_program::BackoffPolicy;
    use lode_protocol::units::Millis;

    async fn supervisor_of(script: &str, folder: &std::path::Path) -> Supervisor {
        let quick = BackoffPolicy::new(Millis(10), Millis(50));
        let (supervisor, _news) = Supervisor::new(quick).unwrap();
        let launch = Launch {
            name: "anvil",
            program: "/bin/sh".into(),
            arguments: vec!["-c".into(), script.into()],
            environment: Vec::new(),
            log: folder.join("log"),
            stop: StopSignal::Terminate,
            grace: Duration::from_secs(5),
            guarded: None,
        };
        supervisor.run(launch).await.unwrap();
        supervisor
    }

    #[tokio::test]
    async fn a_program_that_keeps_failing_is_given_up_and_blamed() {
        let folder = tempfile::tempdir().unwrap();
        for script in ["exit 5", "exit 64"] {
            let supervisor = supervisor_of(script, folder.path()).await;
            let look = async || Look::<()>::NotYet("nothing".to_owned());
            let error = wait_for(&supervisor, &["anvil"], Duration::from_secs(60), look).await.unwrap_err();
            let blamed = error.downcast_ref::<Blamed>().unwrap();
            assert_eq!(blamed.program, "anvil");
            assert!(blamed.message.contains("exit status"), "{blamed}");
        }
    }

    #[tokio::test]
    async fn what_does_not_come_is_said_after_the_deadline() {
        let folder = tempfile::tempdir().unwrap();
        let supervisor = supervisor_of("exec sleep 600", folder.path()).await;
        let look = async || Look::<()>::NotYet("no proof".to_owned());
        let error = wait_for(&supervisor, &["anvil"], Duration::from_millis(300), look).await.unwrap_err();
        assert!(error.to_string().contains("no proof"), "{error}");
    }
}
