//! What people may ask: `GET /v1/status`, and what other validators may: `GET /evidence/{hash}`.

mod evidence;
mod shown;

use std::sync::Arc;

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use lode_program::finding::FindingSet;
use lode_store::Store;
use serde_json::json;
use tokio::sync::watch;

use crate::core::Status;

#[derive(Clone, Debug)]
struct Asked {
    validator: String,
    status: watch::Receiver<Status>,
    findings: FindingSet,
}

/// The routes.
pub fn router(
    validator: String,
    status: watch::Receiver<Status>,
    findings: FindingSet,
    store: Arc<dyn Store>,
) -> Router {
    let asked = Asked { validator, status, findings };
    Router::new().route("/v1/status", get(tell)).with_state(asked).merge(evidence::router(store))
}

async fn tell(State(asked): State<Asked>) -> Json<serde_json::Value> {
    let status = asked.status.borrow().clone();
    Json(json!({ "validator": asked.validator, "status": status, "findings": asked.findings.list() }))
}
