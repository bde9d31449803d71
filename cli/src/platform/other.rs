//! Any other system, by what the standard library and the runtime offer everywhere.

use std::ffi::OsString;
use std::io;
use std::path::Path;

/// Ctrl-C.
#[derive(Debug)]
pub(crate) struct Interruption;

impl Interruption {
    pub(crate) fn new() -> anyhow::Result<Self> {
        Ok(Self)
    }

    /// Until it comes; where it cannot be listened for, never.
    pub(crate) async fn wait(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await
        }
    }
}

/// No process becomes another program there.
pub(crate) fn become_program(_: &Path, _: impl Iterator<Item = OsString>) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "dev pools run on Linux")
}

/// It is not known whether two streams lead to one place: then order is kept.
pub(crate) fn is_one_file<L, R>(_: &L, _: &R) -> bool {
    true
}

/// Not known; the variable `COLUMNS` says it.
pub(crate) fn terminal_width() -> Option<usize> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_cannot_be_known_or_done_is_said() {
        assert!(is_one_file(&io::stdout(), &io::stderr()));
        assert_eq!(terminal_width(), None);
        let refused = become_program(Path::new("/bin/true"), std::iter::empty());
        assert_eq!(refused.kind(), io::ErrorKind::Unsupported);
        let mut interruption = Interruption::new().unwrap();
        let wait = tokio::time::timeout(std::time::Duration::from_millis(1), interruption.wait());
        assert!(wait.await.is_err(), "nobody has pressed anything");
    }
}
