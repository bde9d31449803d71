//! `/livez`, `/readyz` and `/metrics`, the same in every program.
//!
//! Live means that the loops turn: each owner loop touches its [`Pulse`], and a pulse that is silent for too long
//! makes `/livez` answer 503. It never means that the work is done: a busy program is alive.
//! Ready means that no named [`Condition`] fails; `/readyz` lists those that do, as findings.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use prometheus_client::registry::Registry;
use serde::Serialize;

use crate::finding::Finding;

const METRICS_CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A program's health. Cheap to clone; all clones are the same.
#[derive(Debug, Clone)]
pub struct Health {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    started: Instant,
    pulses: Mutex<BTreeMap<String, PulseState>>,
    conditions: Mutex<BTreeMap<String, Option<Finding>>>,
    registry: Mutex<Registry>,
}

#[derive(Debug)]
struct PulseState {
    max_silence: Duration,
    /// Milliseconds after `Inner::started`.
    last: Arc<AtomicU64>,
}

/// Touched by an owner loop each time it turns.
#[derive(Debug, Clone)]
pub struct Pulse {
    started: Instant,
    last: Arc<AtomicU64>,
}

impl Pulse {
    /// The loop turned. Costs one clock reading.
    pub fn beat(&self) {
        self.last.store(millis_since(self.started), Ordering::Relaxed);
    }
}

/// Something that must hold before the program should be given work.
#[derive(Debug, Clone)]
pub struct Condition {
    name: String,
    inner: Arc<Inner>,
}

impl Condition {
    /// It holds.
    pub fn holds(&self) {
        self.set(None);
    }

    /// It does not hold, because of this.
    pub fn fails(&self, finding: Finding) {
        self.set(Some(finding));
    }

    fn set(&self, state: Option<Finding>) {
        let changed = {
            let mut conditions = lock(&self.inner.conditions);
            let row = conditions.entry(self.name.clone()).or_default();
            let changed =
                row.as_ref().map(|finding| &finding.code) != state.as_ref().map(|finding| &finding.code);
            row.clone_from(&state);
            changed
        };
        match (changed, state) {
            (false, _) => {}
            (true, None) => tracing::info!(condition = %self.name, "condition holds"),
            (true, Some(finding)) => {
                tracing::warn!(condition = %self.name, code = %finding.code, "{}", finding.message);
            }
        }
    }
}

/// A condition that fails, as `/readyz` lists it.
#[derive(Debug, Clone, Serialize)]
pub struct FailingCondition {
    /// Its name.
    pub condition: String,
    /// Why.
    #[serde(flatten)]
    pub finding: Finding,
}

impl Default for Health {
    fn default() -> Self {
        Self::new()
    }
}

impl Health {
    /// Nothing is watched yet: alive and ready.
    #[must_use]
    pub fn new() -> Self {
        Self {
            inner: Arc::new(Inner {
                started: Instant::now(),
                pulses: Mutex::default(),
                conditions: Mutex::default(),
                registry: Mutex::new(Registry::default()),
            }),
        }
    }

    /// Watches a loop that must turn at least every `max_silence`. It counts as having turned now.
    #[must_use]
    pub fn pulse(&self, name: impl Into<String>, max_silence: Duration) -> Pulse {
        let last = Arc::new(AtomicU64::new(millis_since(self.inner.started)));
        lock(&self.inner.pulses).insert(name.into(), PulseState { max_silence, last: Arc::clone(&last) });
        Pulse { started: self.inner.started, last }
    }

    /// Adds a condition, which fails with this finding until it is said to hold.
    #[must_use]
    pub fn condition(&self, name: impl Into<String>, until_it_holds: Finding) -> Condition {
        let name = name.into();
        lock(&self.inner.conditions).insert(name.clone(), Some(until_it_holds));
        Condition { name, inner: Arc::clone(&self.inner) }
    }

    /// Registers metrics.
    pub fn register_metrics<R>(&self, register: impl FnOnce(&mut Registry) -> R) -> R {
        register(&mut lock(&self.inner.registry))
    }

    /// Names of the loops that are silent for too long.
    #[must_use]
    pub fn silent_pulses(&self) -> Vec<String> {
        let now = millis_since(self.inner.started);
        lock(&self.inner.pulses)
            .iter()
            .filter(|(_, state)| {
                let silence = now.saturating_sub(state.last.load(Ordering::Relaxed));
                u128::from(silence) > state.max_silence.as_millis()
            })
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// The conditions that fail now.
    #[must_use]
    pub fn failing(&self) -> Vec<FailingCondition> {
        lock(&self.inner.conditions)
            .iter()
            .filter_map(|(name, state)| {
                Some(FailingCondition { condition: name.clone(), finding: state.clone()? })
            })
            .collect()
    }

    /// Whether no condition fails.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        lock(&self.inner.conditions).values().all(Option::is_none)
    }

    /// The metrics as OpenMetrics text.
    pub fn metrics_text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &lock(&self.inner.registry))?;
        Ok(text)
    }

    /// What anybody may know, for an address that anybody may ask: whether the program lives and does its part, and no more.
    /// Which conditions fail, which loops are silent and how much is done are for [`Health::router`]. With `metrics` they are
    /// told here as well, because the operator says so.
    pub fn public_router<S: Clone + Send + Sync + 'static>(&self, metrics_too: bool) -> Router<S> {
        let router = Router::new().route("/livez", get(public_livez)).route("/readyz", get(public_readyz));
        let router = if metrics_too { router.route("/metrics", get(metrics)) } else { router };
        router.with_state(self.clone())
    }

    /// The three routes, for an address of the operator's own.
    pub fn router<S: Clone + Send + Sync + 'static>(&self) -> Router<S> {
        Router::new()
            .route("/livez", get(livez))
            .route("/readyz", get(readyz))
            .route("/metrics", get(metrics))
            .with_state(self.clone())
    }
}

fn status_of(good: bool) -> StatusCode {
    if good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

async fn public_livez(State(health): State<Health>) -> Response {
    let live = health.silent_pulses().is_empty();
    (status_of(live), Json(serde_json::json!({ "live": live }))).into_response()
}

async fn public_readyz(State(health): State<Health>) -> Response {
    let ready = health.is_ready();
    (status_of(ready), Json(serde_json::json!({ "ready": ready }))).into_response()
}

async fn livez(State(health): State<Health>) -> Response {
    let silent = health.silent_pulses();
    (status_of(silent.is_empty()), Json(serde_json::json!({ "live": silent.is_empty(), "silent": silent })))
        .into_response()
}

async fn readyz(State(health): State<Health>) -> Response {
    let failing = health.failing();
    (
        status_of(failing.is_empty()),
        Json(serde_json::json!({ "ready": failing.is_empty(), "failing": failing })),
    )
        .into_response()
}

async fn metrics(State(health): State<Health>) -> Response {
    match health.metrics_text() {
        Ok(text) => ([(header::CONTENT_TYPE, METRICS_CONTENT_TYPE)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "cannot encode metrics");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

fn millis_since(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each change under these locks is one insert or assignment: a panic elsewhere leaves nothing half-done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use prometheus_client::metrics::counter::Counter;
    use tower::ServiceExt as _;

    use super::*;

    async fn ask(health: &Health, path: &str) -> (StatusCode, String) {
        ask_at(health.router(), path).await
    }

    async fn ask_at(router: Router, path: &str) -> (StatusCode, String) {
        let request = Request::get(path).body(Body::empty()).expect("a request");
        let response = router.oneshot(request).await.expect("infallible");
        let status = response.status();
        let body = to_bytes(response.into_body(), 1 << 16).await.expect("a body");
        (status, String::from_utf8(body.to_vec()).expect("text"))
    }

    #[tokio::test]
    async fn a_condition_that_fails_is_listed_with_its_finding() {
        let health = Health::new();
        let docker = health.condition("docker", Finding::warning("docker/unknown", "not asked yet"));
        let chain = health.condition("chain", Finding::warning("chain/unknown", "not asked yet"));
        chain.holds();
        docker.fails(Finding::error("docker/unreachable", "no answer").remedy("start it"));
        let (status, body) = ask(&health, "/readyz").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        let body: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!(body["failing"][0]["condition"], "docker");
        assert_eq!(body["failing"][0]["code"], "docker/unreachable");
        assert_eq!(body["failing"].as_array().map(Vec::len), Some(1));
        docker.holds();
        assert_eq!(ask(&health, "/readyz").await.0, StatusCode::OK);
    }

    #[tokio::test]
    async fn a_loop_that_stopped_turning_is_not_alive_until_it_turns_again() {
        let health = Health::new();
        let pulse = health.pulse("owner loop", Duration::ZERO);
        let _steady = health.pulse("steady", Duration::from_secs(3600));
        while health.silent_pulses().is_empty() {
            std::thread::yield_now();
        }
        let (status, body) = ask(&health, "/livez").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(body.contains("owner loop") && !body.contains("steady"), "{body}");
        let before = pulse.last.load(Ordering::Relaxed);
        pulse.beat();
        assert!(pulse.last.load(Ordering::Relaxed) > before);
    }

    #[tokio::test]
    async fn at_a_public_address_nobody_reads_which_conditions_fail_or_how_much_is_done_unless_that_is_asked_for()
     {
        let health = Health::new();
        let chain = health.condition("chain", Finding::warning("chain/unknown", "not asked yet"));
        let (status, body) = ask_at(health.public_router(false), "/readyz").await;
        assert_eq!((status, body.as_str()), (StatusCode::SERVICE_UNAVAILABLE, "{\"ready\":false}"));
        chain.holds();
        let (status, body) = ask_at(health.public_router(false), "/readyz").await;
        assert_eq!((status, body.as_str()), (StatusCode::OK, "{\"ready\":true}"));
        let (status, body) = ask_at(health.public_router(false), "/livez").await;
        assert_eq!((status, body.as_str()), (StatusCode::OK, "{\"live\":true}"));
        assert_eq!(ask_at(health.public_router(false), "/metrics").await.0, StatusCode::NOT_FOUND);
        assert_eq!(ask_at(health.public_router(true), "/metrics").await.0, StatusCode::OK);
    }

    #[tokio::test]
    async fn registered_metrics_are_served_as_text() {
        let health = Health::new();
        let beats: Counter = Counter::default();
        health.register_metrics(|registry| registry.register("lode_beats", "Beats accepted", beats.clone()));
        beats.inc_by(3);
        let (status, body) = ask(&health, "/metrics").await;
        assert_eq!(status, StatusCode::OK);
        assert!(body.contains("lode_beats_total 3"), "{body}");
    }
}
