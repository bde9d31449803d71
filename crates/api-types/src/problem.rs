//! Refusals: RFC 9457 problems.

use lode_protocol::cursor::Cursor;
use lode_protocol::error_code::ErrorCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Why a request was refused (RFC 9457, `application/problem+json`).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// `urn:lode:error:` and the code.
    #[serde(rename = "type")]
    pub type_urn: String,
    /// HTTP status.
    pub status: u16,
    /// Stable code; docs/errors.md lists them all.
    pub code: ErrorCode,
    /// The same for every occurrence of a code.
    pub title: String,
    /// What happened this time.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// What to do next.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub remedy: String,
    /// What programs want to know beyond the code.
    #[serde(default, skip_serializing_if = "ProblemFields::is_empty")]
    pub fields: ProblemFields,
}

/// What some codes say beyond their words.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct ProblemFields {
    /// `task/spec-invalid`: everything that is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problems: Option<Vec<FieldProblem>>,
    /// `task/spec-malformed`: where.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// `store/…`: whether the change may yet take effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undecided: Option<bool>,
    /// `events/cursor-gone`: the oldest cursor that can be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest: Option<Cursor>,
    /// `api/unknown-parameter`: which.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameter: Option<String>,
    /// `api/unknown-parameter`: what there is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known: Option<Vec<String>>,
}

impl ProblemFields {
    /// Whether there is nothing to say.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// One thing that is wrong with what was sent.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct FieldProblem {
    /// Path of the field.
    pub field: String,
    /// What is wrong and what is accepted.
    pub message: String,
}
