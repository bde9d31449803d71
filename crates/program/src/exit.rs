//! Exit codes: one table for every program and command.
//!
//! | code | meaning | what to do |
//! |---|---|---|
//! | 0 | done, or stopped cleanly on a signal | |
//! | 1 | failed while running | read the last error |
//! | 2 | a check found errors (`check`, `--once`) | follow the remedies |
//! | 64 | bad configuration or arguments (EX_USAGE) | correct the named setting |
//! | 69 | a needed part does not answer (EX_UNAVAILABLE) | start it, check the address |
//! | 70 | a defect: the program panicked (EX_SOFTWARE) | report it |
//! | 73 | the data directory cannot be used: locked by another process, wrong permissions (EX_CANTCREAT) | |
//! | 77 | refused: not allowed (EX_NOPERM) | check the token or key |
//! | 130 | a second signal ended the program before it had drained | |

use std::process::ExitCode;

use lode_files::FileError;

use crate::config::ConfigError;

/// Why a program ends. The numbers follow sysexits.h where it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0.
    Clean,
    /// 1.
    Failure,
    /// 2.
    Findings,
    /// 64.
    BadConfig,
    /// 69.
    Unavailable,
    /// 70.
    Defect,
    /// 73.
    DataDir,
    /// 77.
    Denied,
    /// 130.
    Interrupted,
}

impl Exit {
    /// The number that the shell sees.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Clean => 0,
            Self::Failure => 1,
            Self::Findings => 2,
            Self::BadConfig => 64,
            Self::Unavailable => 69,
            Self::Defect => 70,
            Self::DataDir => 73,
            Self::Denied => 77,
            Self::Interrupted => 130,
        }
    }

    /// The exit that an error asks for: the first error in its chain that has one, else [`Exit::Failure`].
    #[must_use]
    pub fn of(error: &anyhow::Error) -> Self {
        error
            .chain()
            .find_map(|cause| {
                if let Some(error) = cause.downcast_ref::<ExitError>() {
                    Some(error.exit)
                } else if cause.is::<ConfigError>() {
                    Some(Self::BadConfig)
                } else {
                    cause.downcast_ref::<FileError>().map(|error| match error {
                        FileError::Locked { .. } | FileError::NotADirectory { .. } => Self::DataDir,
                        FileError::TooOpen { .. } => Self::BadConfig,
                        FileError::Io { .. } | FileError::Exists { .. } => Self::Failure,
                    })
                }
            })
            .unwrap_or(Self::Failure)
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// An error that says with which code the program should end.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct ExitError {
    exit: Exit,
    message: String,
}

impl ExitError {
    /// Ends the program with this code and these words.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn an_error_keeps_its_exit_code_below_added_context() {
        let config = ConfigError::Missing { key: "data_dir".into() };
        assert_eq!(Exit::of(&anyhow::Error::from(config).context("starting the worker")), Exit::BadConfig);
        let denied: anyhow::Result<()> = Err(ExitError::new(Exit::Denied, "no").into());
        assert_eq!(Exit::of(&denied.context("listing").expect_err("is an error")), Exit::Denied);
        assert_eq!(Exit::of(&anyhow::anyhow!("plain")), Exit::Failure);
    }
}
