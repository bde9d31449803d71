//! What is said of an error in the end, and the exit code that the shell sees.
//!
//! Every error comes down to one [`Kind`]: ours say it themselves, those of other rooms are looked up here.

use std::process::ExitCode;

use lode_contracts::{ChainError, DeployError, DeploymentError, ErrorClass};
use lode_files::FileError;
use lode_protocol::text::escape_controls;

use crate::failure::{Failure, Kind};
use crate::output::Format;
use crate::refusal::{Setting, explain};

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
}
