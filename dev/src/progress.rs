//! The list of steps that a person watches: each with its time, notes while it takes long, the reason when it fails.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::time::Duration;

use lode_cli::output::{self, Paint};
use lode_program::text::escape_controls;
use tokio::time::Instant;

/// Bytes read from the end of a log.
const TAIL_BYTES: u64 = 64 << 10;

/// Prints steps.
#[derive(Debug)]
pub(crate) struct Progress {
    paint: Paint,
    began: Instant,
    notes: BTreeMap<String, String>,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Progress { paint: Paint::for_stdout(), began: Instant::now(), notes: BTreeMap::new() }
    }

    /// A line outside of the list.
    pub(crate) fn say(&self, text: &str) {
        // Whoever started us may have closed the pipe; the pool goes on.
        let _ = output::line(text);
    }

    /// A heading.
    pub(crate) fn head(&self, text: &str) {
        self.say(&self.paint.strong(text));
    }

    /// Since the start.
    pub(crate) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Runs a step and prints how it went.
    pub(crate) async fn step<T>(
        &self,
        name: &str,
        work: impl Future<Output = anyhow::Result<T>>,
        describe: impl FnOnce(&T) -> String,
    ) -> anyhow::Result<T> {
        let began = Instant::now();
        if self.paint.is_on() {
            let _ = output::print(&format!("  {} {name} …", self.paint.faint("·")));
        }
        let result = work.await;
        let start = if self.paint.is_on() { "\r\u{1b}[K" } else { "" };
        let time = format!("{:6.1} s", began.elapsed().as_secs_f64());
        match &result {
            Ok(value) => {
                let more = describe(value);
                self.say(&format!(
                    "{start}  {} {name:34}{}  {more}",
                    self.paint.good("✓"),
                    self.paint.faint(&time)
                ));
            }
            Err(_) => {
                self.say(&format!("{start}  {} {name:34}{}", self.paint.bad("✗"), self.paint.faint(&time)))
            }
        }
        result
    }

    /// A note under the present step, printed when it changes.
    pub(crate) fn note(&mut self, about: &str, text: &str) {
        if self.notes.get(about).is_some_and(|known| known == text) {
            return;
        }
        self.notes.insert(about.to_owned(), text.to_owned());
        let start = if self.paint.is_on() { "\r\u{1b}[K" } else { "" };
        self.say(&format!("{start}      {about}: {}", escape_controls(text)));
    }
}

/// The last lines of a log, harmless for terminals.
pub(crate) fn tail(path: &Path, lines: usize) -> Vec<String> {
    let read = || -> std::io::Result<String> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = read().unwrap_or_default();
    let all: Vec<&str> = text.lines().collect();
    all.iter().skip(all.len().saturating_sub(lines)).map(|line| escape_controls(line).into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_of_a_log_is_its_last_lines_made_harmless() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        std::fs::write(&path, "one\ntwo\n\u{1b}[2Jthree\n").unwrap();
        let lines = tail(&path, 2);
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0], "two");
        assert!(lines[1].ends_with("three") && !lines[1].contains('\u{1b}'));
        assert!(tail(&folder.path().join("none"), 2).is_empty());
    }

    #[tokio::test]
    async fn a_step_gives_on_what_it_was_given() {
        let progress = Progress::new();
        assert_eq!(progress.step("works", async { Ok(7) }, |n| n.to_string()).await.unwrap(), 7);
        let failed: anyhow::Result<()> =
            progress.step("fails", async { anyhow::bail!("why") }, |()| String::new()).await;
        assert_eq!(failed.unwrap_err().to_string(), "why");
    }
}
