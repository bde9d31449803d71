//! Errors as RFC 9457 problem details, the one shape of every refusal over HTTP.
//!
//! Bodies never leak internals: a caller puts only what the other side may know into `detail`.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use lode_protocol::error_code::ErrorCode;

/// One problem. `type` on the wire is `urn:lode:error:{code}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// URN made of the code.
    #[serde(rename = "type")]
    pub type_urn: String,
    /// HTTP status, repeated in the body as the RFC asks.
    pub status: u16,
    /// Stable `area/reason`.
    pub code: ErrorCode,
    /// What kind of problem, in a few words; the same for every occurrence of a code.
    pub title: String,
    /// What happened this time.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// What the caller can do next.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub remedy: String,
    /// Further members: the field that is wrong, limits, counts.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub fields: serde_json::Map<String, serde_json::Value>,
}

impl Problem {
    /// A problem with a status, a stable code and a short title.
    pub fn new(status: StatusCode, code: impl Into<ErrorCode>, title: impl Into<String>) -> Self {
        let code = code.into();
        Self {
            type_urn: format!("urn:lode:error:{code}"),
            status: status.as_u16(),
            code,
            title: title.into(),
            detail: String::new(),
            remedy: String::new(),
            fields: serde_json::Map::new(),
        }
    }

    /// What happened this time.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    /// What to do next.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = remedy.into();
        self
    }

    /// One further member.
    #[must_use]
    pub fn field(mut self, name: impl Into<String>, value: impl Into<serde_json::Value>) -> Self {
        self.fields.insert(name.into(), value.into());
        self
    }

    /// 500 without a word about why; the caller has logged it.
    #[must_use]
    pub fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "server/internal", "Internal error")
            .remedy("Retry; if it stays, ask the operator to look at the log.")
    }

    /// The HTTP status.
    #[must_use]
    pub fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.status_code();
        let mut response = (status, axum::Json(self)).into_response();
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_carries_status_code_and_remedy() {
        let problem = Problem::new(StatusCode::CONFLICT, "task/exists", "Task exists")
            .detail("There is a task of this name.")
            .remedy("Choose another name.")
            .field("name", "hello");
        assert_eq!(
            serde_json::to_value(&problem).expect("serialises"),
            serde_json::json!({
                "type": "urn:lode:error:task/exists", "status": 409, "code": "task/exists",
                "title": "Task exists", "detail": "There is a task of this name.",
                "remedy": "Choose another name.", "fields": {"name": "hello"}
            })
        );
        let response = problem.into_response();
        assert_eq!(response.status(), StatusCode::CONFLICT);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
    }
}
