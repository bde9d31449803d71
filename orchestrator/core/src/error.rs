//! Why an event was not accepted. The core's state is unchanged then.

use lode_protocol::error_code::ErrorCode;
use lode_protocol::units::Millis;

/// What kind of refusal it is: decides the HTTP status and whether trying again can help.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// The request contradicts the state (409).
    Conflict,
    /// Whoever asks must not (403).
    Denied,
    /// The request can never be met (422).
    Invalid,
    /// There is no such thing (404).
    NotFound,
    /// A message of an unknown or superseded session, or a replayed one (401).
    Unauthenticated,
    /// Not now (503).
    Transient,
}

/// A refused event.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Rejected {
    /// Stable `area/reason`.
    pub code: ErrorCode,
    /// What kind.
    pub class: Class,
    /// What happened.
    pub message: String,
    /// What to do next.
    pub remedy: String,
    /// For nodes: whether to open a new session.
    pub reopen: bool,
    /// When to try again, where trying again can help.
    pub retry_after: Option<Millis>,
}

impl Rejected {
    fn new(class: Class, code: &'static str, message: impl Into<String>, remedy: &'static str) -> Self {
        Rejected {
            code: ErrorCode::new(code),
            class,
            message: message.into(),
            remedy: remedy.to_owned(),
            reopen: false,
            retry_after: None,
        }
    }

    pub(crate) fn conflict(code: &'static str, message: impl Into<String>, remedy: &'static str) -> Self {
        Self::new(Class::Conflict, code, message, remedy)
    }

    pub(crate) fn denied(code: &'static str, message: impl Into<String>, remedy: &'static str) -> Self {
        Self::new(Class::Denied, code, message, remedy)
    }

    pub(crate) fn invalid(code: &'static str, message: impl Into<String>, remedy: &'static str) -> Self {
        Self::new(Class::Invalid, code, message, remedy)
    }

    pub(crate) fn not_found(code: &'static str, message: impl Into<String>, remedy: &'static str) -> Self {
        Self::new(Class::NotFound, code, message, remedy)
    }

    pub(crate) fn unauthenticated(
        code: &'static str,
        message: impl Into<String>,
        remedy: &'static str,
    ) -> Self {
        Self::new(Class::Unauthenticated, code, message, remedy)
    }

    pub(crate) fn transient(code: &'static str, message: impl Into<String>, remedy: &'static str) -> Self {
        Self::new(Class::Transient, code, message, remedy)
    }

    pub(crate) fn reopening(mut self) -> Self {
        self.reopen = true;
        self
    }

    pub(crate) fn retry_after(mut self, wait: Millis) -> Self {
        self.retry_after = Some(wait);
        self
    }
}
