//! Tidies up when the test process dies without a chance to do so itself (killed for taking too long, say).
//!
//! A shell waits at the end of a pipe whose other end only the test process holds; when that closes, it runs a script.

use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

use anyhow::Context as _;

/// Stands by until it is dropped.
#[derive(Debug)]
pub struct Guardian {
    shell: Child,
}

impl Guardian {
    /// Runs `script` (POSIX shell, `$1` and so on are `arguments`) once this process is gone.
    ///
    /// # Errors
    /// When no shell can be started.
    pub fn stand_by(script: &str, arguments: &[&str]) -> anyhow::Result<Self> {
        let shell = Command::new("/bin/sh")
            .args(["-c", &format!("cat >/dev/null\n{script}"), "guardian"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Whoever kills the test's group must not kill its guardian.
            .process_group(0)
            .spawn()
            .context("starting a shell")?;
        Ok(Self { shell })
    }
}

impl Drop for Guardian {
    fn drop(&mut self) {
        // Killed before the pipe closes, so that the script does not run.
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}
