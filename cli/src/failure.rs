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

use lode_contracts::{ChainError, DeployError, DeploymentError, ErrorClass};
use lode_program::files::FileError;
use lode_program::text::escape_controls;

use crate::output::Format;
use crate::refusal::{Setting, explain};

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

/// What an error means for the exit code, and its stable code.
pub fn classify(error: &anyhow::Error) -> (Kind, Option<String>, String) {
    for cause in error.chain() {
        if let Some(failure) = cause.downcast_ref::<Failure>() {
            return (failure.kind, failure.code.clone(), failure.remedy.clone());
        }
        if let Some(ChainError::Reverted(revert)) = cause.downcast_ref::<ChainError>() {
            let explained = explain(revert, &Setting::default());
            return (explained.kind, Some("chain/reverted".to_owned()), explained.remedy);
        }
        if let Some(error) = cause.downcast_ref::<ChainError>() {
            let kind = match error.class() {
                ErrorClass::Transient => Kind::Unavailable,
                ErrorClass::Denied => Kind::Denied,
                ErrorClass::Invalid | ErrorClass::Fatal => Kind::Failed,
            };
            return (kind, Some(error.code().to_string()), String::new());
        }
        if let Some(error) = cause.downcast_ref::<DeploymentError>() {
            let kind = match error {
                DeploymentError::File { .. } => Kind::NotFound,
                DeploymentError::Malformed { .. } | DeploymentError::Invalid { .. } => Kind::Usage,
            };
            return (kind, Some(error.code().to_string()), String::new());
        }
        if let Some(DeployError::Conflict { .. }) = cause.downcast_ref::<DeployError>() {
            return (Kind::Conflict, Some("deployment/conflict".to_owned()), String::new());
        }
        if let Some(error) = cause.downcast_ref::<FileError>() {
            let kind = if error.is_not_found() { Kind::NotFound } else { Kind::Failed };
            return (kind, Some(error.code().to_owned()), String::new());
        }
    }
    (Kind::Failed, None, String::new())
}

/// Says why the command failed, on standard error, and gives the exit code.
pub fn report(error: &anyhow::Error, format: Format) -> ExitCode {
    let (kind, code, remedy) = classify(error);
    let message = format!("{error:#}");
    match format {
        Format::Json => {
            let body = serde_json::json!({
                "error": {
                    "code": code,
                    "message": message,
                    "remedy": remedy,
                    "refusal": refusal(error),
                    "exit_code": kind.code(),
                }
            });
            eprintln!("{body}");
        }
        Format::Table | Format::Wide => {
            let code = code.map(|code| format!(" [{code}]")).unwrap_or_default();
            eprintln!("error: {}{}", escape_lines(&message), escape_controls(&code));
            if !remedy.is_empty() {
                eprintln!("  next: {}", escape_lines(&remedy));
            }
        }
    }
    kind.into()
}

/// Name of the error by which a contract refused.
fn refusal(error: &anyhow::Error) -> Option<String> {
    error.chain().find_map(|cause| {
        match (cause.downcast_ref::<Failure>(), cause.downcast_ref::<ChainError>()) {
            (Some(failure), _) => failure.refusal.clone(),
            (None, Some(ChainError::Reverted(revert))) => Some(revert.name.clone()),
            (None, _) => None,
        }
    })
}

/// Control characters shown, line ends kept.
fn escape_lines(text: &str) -> String {
    text.lines().map(escape_controls).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_keeps_its_exit_code_and_code_below_added_context() {
        let failure = Failure {
            kind: Kind::NotFound,
            code: Some("task/not-found".to_owned()),
            message: "no such task".to_owned(),
            remedy: "run `lode task ls`".to_owned(),
            refusal: None,
        };
        let error = anyhow::Error::from(failure).context("showing the task");
        let (kind, code, remedy) = classify(&error);
        assert_eq!((kind.code(), code.as_deref()), (3, Some("task/not-found")));
        assert_eq!(remedy, "run `lode task ls`");
    }

    #[test]
    fn a_chain_that_does_not_answer_is_told_apart_from_one_that_says_no() {
        let silent = ChainError::Unreachable { operation: "read", detail: "refused".to_owned() };
        assert_eq!(classify(&silent.into()).0, Kind::Unavailable);
        let unfunded = ChainError::InsufficientFunds {
            account: lode_protocol::ids::Address::ZERO,
            detail: "0 < 1".to_owned(),
        };
        assert_eq!(classify(&unfunded.into()).0, Kind::Denied);
    }

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
