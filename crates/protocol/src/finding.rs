//! One way to say that something about a host, a program or a pool is not as it should be.
//!
//! `check`, preflight, health, `status` and heartbeats all speak in findings. A finding says what is wrong (`message`),
//! about what (`subject`) and what to do (`remedy`), under a stable code `area/reason` that scripts may rely on.

use std::fmt;

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::error_code::ErrorCode;

/// How much it matters. Ordered: `Info < Warning < Error`.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Encode, Decode, Serialize, Deserialize, ToSchema,
)]
#[cbor(index_only)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Good to know; nothing to do.
    #[n(0)]
    Info,
    /// Works, but something is reduced or at risk.
    #[n(1)]
    Warning,
    /// Does not work until somebody acts or the cause goes away.
    #[n(2)]
    Error,
}

impl Severity {
    /// Lower-case word, as in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

/// One thing a person should know.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, Serialize, Deserialize)]
pub struct Finding {
    /// Stable `area/reason`.
    #[n(0)]
    pub code: ErrorCode,
    /// How much it matters.
    #[n(1)]
    pub severity: Severity,
    /// What it is about: a GPU's UUID, a path, a URL; empty for the host or program as a whole.
    #[n(2)]
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub subject: String,
    /// What is so and what it means, in one sentence.
    #[n(3)]
    pub message: String,
    /// What to do about it; empty where there is nothing to do.
    #[n(4)]
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub remedy: String,
}

impl Finding {
    /// A finding about the host or program as a whole, without a remedy yet.
    pub fn new(severity: Severity, code: impl Into<ErrorCode>, message: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            severity,
            subject: String::new(),
            message: message.into(),
            remedy: String::new(),
        }
    }

    /// Something does not work.
    pub fn error(code: impl Into<ErrorCode>, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, code, message)
    }

    /// Something is at risk.
    pub fn warning(code: impl Into<ErrorCode>, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, code, message)
    }

    /// Good to know.
    pub fn info(code: impl Into<ErrorCode>, message: impl Into<String>) -> Self {
        Self::new(Severity::Info, code, message)
    }

    /// Says what it is about.
    #[must_use]
    pub fn about(mut self, subject: impl Into<String>) -> Self {
        self.subject = subject.into();
        self
    }

    /// Says what to do.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = remedy.into();
        self
    }
}
