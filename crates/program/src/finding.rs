//! One shape for everything a person should know: `check`, preflight, health and `status` all speak findings.
//!
//! A finding says what is wrong (`message`), about what (`subject`) and what to do (`remedy`), under a stable
//! code `area/reason` that scripts may rely on.

mod render;
mod set;

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

pub use render::{render_json, render_text};
pub use set::{CurrentFinding, FindingSet};

/// A stable name of the form `area/reason`, for example `docker/unreachable`. Never reused for another meaning.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Code(Cow<'static, str>);

impl Code {
    /// A code known when the program is built.
    #[must_use]
    pub const fn new(code: &'static str) -> Self {
        Self(Cow::Borrowed(code))
    }

    /// The text, `area/reason`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&'static str> for Code {
    fn from(code: &'static str) -> Self {
        Self::new(code)
    }
}

impl From<String> for Code {
    fn from(code: String) -> Self {
        Self(Cow::Owned(code))
    }
}

impl fmt::Display for Code {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// How much it matters. Ordered: `Info < Warning < Error`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Good to know; nothing to do.
    Info,
    /// Works, but something is reduced or at risk.
    Warning,
    /// Something does not work until an operator acts or the cause goes away.
    Error,
}

impl Severity {
    /// Lower-case word, as on the wire.
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Stable `area/reason`.
    pub code: Code,
    /// How much it matters.
    pub severity: Severity,
    /// What it is about: a GPU's UUID, a path, a URL; empty for the program as a whole.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub subject: String,
    /// What is so, in one sentence.
    pub message: String,
    /// What to do about it; empty where there is nothing to do.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub remedy: String,
}

impl Finding {
    /// A finding about the program as a whole, without a remedy yet.
    pub fn new(severity: Severity, code: impl Into<Code>, message: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            severity,
            subject: String::new(),
            message: message.into(),
            remedy: String::new(),
        }
    }

    /// Something does not work.
    pub fn error(code: impl Into<Code>, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, code, message)
    }

    /// Something is at risk.
    pub fn warning(code: impl Into<Code>, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, code, message)
    }

    /// Good to know.
    pub fn info(code: impl Into<Code>, message: impl Into<String>) -> Self {
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

/// The worst severity among findings.
#[must_use]
pub fn worst(findings: &[Finding]) -> Option<Severity> {
    findings.iter().map(|finding| finding.severity).max()
}
