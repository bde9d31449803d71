//! One way to say that something about a host, a program or a pool is not as it should be.
//!
//! `check`, preflight, health and `status` all speak in findings.

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::error_code::ErrorCode;

/// How bad a finding is.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Encode, Decode, Serialize, Deserialize,
)]
#[cbor(index_only)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing; nothing to do.
    #[n(0)]
    Info,
    /// Works, but worse than it could or not for long.
    #[n(1)]
    Warning,
    /// Does not work until somebody acts.
    #[n(2)]
    Error,
}

/// Something that was found, what it means, and what to do about it.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, Serialize, Deserialize)]
pub struct Finding {
    /// Stable `area/reason`.
    #[n(0)]
    pub code: ErrorCode,
    /// How bad it is.
    #[n(1)]
    pub severity: Severity,
    /// What it is about: a GPU's UUID, a path, a URL. Empty for the host or program as a whole.
    #[n(2)]
    pub subject: String,
    /// What was found and what it means.
    #[n(3)]
    pub message: String,
    /// What to do next.
    #[n(4)]
    pub remedy: String,
}

impl Finding {
    fn new(
        severity: Severity,
        code: &'static str,
        subject: impl Into<String>,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Finding {
            code: ErrorCode::new(code),
            severity,
            subject: subject.into(),
            message: message.into(),
            remedy: remedy.into(),
        }
    }

    /// A finding of severity error.
    pub fn error(
        code: &'static str,
        subject: impl Into<String>,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self::new(Severity::Error, code, subject, message, remedy)
    }

    /// A finding of severity warning.
    pub fn warning(
        code: &'static str,
        subject: impl Into<String>,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self::new(Severity::Warning, code, subject, message, remedy)
    }

    /// A finding of severity info.
    pub fn info(code: &'static str, subject: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Severity::Info, code, subject, message, "")
    }
}
