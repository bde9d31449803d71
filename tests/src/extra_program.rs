//! A program beside a dev pool: started, watched and ended by its process id.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::guardian::Guardian;
use crate::programs;

/// How long it may take to end.
const END_PATIENCE: Duration = Duration::from_secs(20);
/// Between two looks whether it has ended.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Lines of its log that a failed test shows.
const TAIL: usize = 40;
/// Of the last resort, if the test process is killed.
const GUARD: &str = "kill -TERM \"$1\" 2>/dev/null";

/// A program that runs, or does not.
#[derive(Debug)]
pub struct ExtraProgram {
    program: &'static str,
    arguments: Vec<String>,
    log: PathBuf,
    running: Option<(Child, Guardian)>,
}

impl ExtraProgram {
    /// One that does not run yet.
    pub fn new(program: &'static str, arguments: Vec<String>, log: &Path) -> Self {
        Self { program, arguments, log: log.to_owned(), running: None }
    }

    /// Starts it.
    ///
    /// # Errors
    /// When it cannot be, or runs already.
    pub fn start(&mut self) -> anyhow::Result<()> {
        ensure!(self.running.is_none(), "{} runs already", self.program);
        let log = File::options().create(true).append(true).open(&self.log)?;
        let process = Command::new(programs::path(self.program)?)
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("starting {}", self.program))?;
        let guardian = Guardian::stand_by(GUARD, &[&process.id().to_string()])?;
        self.running = Some((process, guardian));
        Ok(())
    }

    /// Asks it to end and waits until it has.
    ///
    /// # Errors
    /// When it does not run, or does not end.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        let (mut process, _guardian) = self.running.take().context("it does not run")?;
        kill_process(Pid::from_child(&process), Signal::TERM)?;
        let deadline = Instant::now() + END_PATIENCE;
        while process.try_wait()?.is_none() {
            if Instant::now() >= deadline {
                process.kill()?;
                process.wait()?;
                bail!("{} did not end:\n{}", self.program, self.tail());
            }
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    /// The end of its log.
    pub fn tail(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines.iter().skip(lines.len().saturating_sub(TAIL)).flat_map(|line| [line, "\n"]).collect()
    }
}

impl Drop for ExtraProgram {
    fn drop(&mut self) {
        // It is only still there when the test failed: what it said says why.
        if let Some((process, _guardian)) = &mut self.running {
            let _ = process.kill();
            let _ = process.wait();
            eprintln!("--- the end of {}'s log\n{}", self.program, self.tail());
        }
    }
}
