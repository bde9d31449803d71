//! How commands fail: what happened, what to do next, and the exit code.
//!
//! | exit code | meaning |
//! |---|---|
//! | 0 | done |
//! | 1 | failed; with `--wait`: the task did not succeed |
//! | 2 | wrong arguments, a task file that is not valid, or a missing confirmation |
//! | 3 | there is no such task, node, pool, context or file |
//! | 4 | denied: token, key or contract said no |
//! | 5 | the present state does not allow it (a conflict) |
//! | 69 | the orchestrator, the chain or the container engine does not answer |
//! | 130 | interrupted |

use std::process::ExitCode;

/// The table above, for `--help`.
pub const EXIT_CODES: &str = "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not found, 4 denied, 5 conflict, \
                              69 no answer, 130 interrupted";

/// What sort of failure it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// 1.
    Failed,
    /// 2.
    Usage,
    /// 3.
    NotFound,
    /// 4.
    Denied,
    /// 5.
    Conflict,
    /// 69.
    Unavailable,
    /// 130.
    Interrupted,
}

impl Kind {
    /// The number that the shell sees.
    pub const fn code(self) -> u8 {
        match self {
            Kind::Failed => 1,
            Kind::Usage => 2,
            Kind::NotFound => 3,
            Kind::Denied => 4,
            Kind::Conflict => 5,
            Kind::Unavailable => 69,
            Kind::Interrupted => 130,
        }
    }

    /// An error of this sort without a stable code.
    pub fn because(self, message: impl Into<String>) -> anyhow::Error {
        Failure { kind: self, code: None, message: message.into(), remedy: String::new(), refusal: None }
            .into()
    }

    /// The same with what to do next.
    pub fn with_remedy(self, message: impl Into<String>, remedy: impl Into<String>) -> anyhow::Error {
        Failure { kind: self, code: None, message: message.into(), remedy: remedy.into(), refusal: None }
            .into()
    }
}

impl From<Kind> for ExitCode {
    fn from(kind: Kind) -> Self {
        ExitCode::from(kind.code())
    }
}

/// An error that knows its sort, its stable code where there is one, and what to do next.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// Its sort.
    pub kind: Kind,
    /// `area/reason`.
    pub code: Option<String>,
    /// What happened.
    pub message: String,
    /// What to do next; may be empty.
    pub remedy: String,
    /// Name of the contracts' error, where one of them refused.
    pub refusal: Option<String>,
}

impl Failure {
    /// An error with a stable code.
    pub fn coded(kind: Kind, code: &str, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Failure {
            kind,
            code: Some(code.to_owned()),
            message: message.into(),
            remedy: remedy.into(),
            refusal: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_names_every_exit_code() {
        let kinds = [
            Kind::Failed,
            Kind::Usage,
            Kind::NotFound,
            Kind::Denied,
            Kind::Conflict,
            Kind::Unavailable,
            Kind::Interrupted,
        ];
        for kind in kinds {
            assert!(EXIT_CODES.contains(&format!(" {} ", kind.code())), "{kind:?}");
        }
    }
}
