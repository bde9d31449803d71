//! The REST API: parse, authorise, ask the driver, answer. No handler decides anything.
//!
//! Everything under `/v1` needs the bearer token, but for what anybody may check: `/v1/epochs` and `/v1/payees`. Every refusal is problem+json with a stable code. Under which
//! names anybody is answered at all, the listener decides ([`lode_program::listen::Hosts`]).

mod description;
mod epochs;
mod events;
mod extract;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod guard;
mod logs;
mod nodes;
mod pool;
mod refusal;
mod show_node;
mod show_task;
mod tasks;
mod turnstile;

use std::sync::Arc;

use axum::body::Bytes;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse as _;
use axum::routing::{MethodRouter, get};
use axum::{Extension, Router};
use lode_network::PeerServer;
use lode_program::finding::FindingSet;
use lode_program::listen::Resident;
use lode_program::{Health, Problem};
use lode_protocol::ids::{Address, TaskId};
use lode_protocol::units::Timestamp;
use tokio::sync::watch;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::archive::Archive;
use crate::chain::ChainStatus;
use crate::directory::DirectoryStatus;
use crate::driver::Handle;
use crate::driver::outage::StoreHealth;
use crate::event_log::EventLog;
use crate::identity::Identity;
use crate::images::ImageResolver;
use crate::logs::LogHub;
use crate::token::TokenHash;

pub use turnstile::PublicRateLimit;

use description::{Description, KnownParameters};

/// What handlers need.
#[derive(Debug)]
pub struct ApiState {
    /// The core.
    pub driver: Handle,
    /// The event log.
    pub events: EventLog,
    /// Output of tasks.
    pub logs: LogHub,
    /// Resolves images.
    pub images: ImageResolver,
    /// What is wrong now.
    pub findings: FindingSet,
    /// Readiness.
    pub health: Health,
    /// The chain's view.
    pub chain: ChainStatus,
    /// The directories.
    pub directories: DirectoryStatus,
    /// The store's trouble.
    pub store: StoreHealth,
    /// The outbox.
    pub outbox: watch::Receiver<lode_contracts::OutboxStatus>,
    /// The workers' transport.
    pub server: PeerServer,
    /// What admits.
    pub token: TokenHash,
    /// Receipts and roots.
    pub archive: Archive,
    /// Signs receipts for whoever reads them.
    pub identity: Identity,
    /// Before what is public.
    pub turnstile: PublicRateLimit,
    /// Who we are.
    pub about: About,
    /// Makes task ids.
    pub task_id: fn() -> TaskId,
}

/// Facts that never change while the program runs.
#[derive(Clone, Debug)]
pub struct About {
    /// When the program started.
    pub started: Timestamp,
    /// Chain, contract and pool.
    pub realm: lode_protocol::envelope::Realm,
    /// The orchestrator's address.
    pub address: Address,
    /// Where workers reach it.
    pub endpoints: Vec<String>,
    /// Whether anybody may read the metrics.
    pub public_metrics: bool,
}

/// State of handlers.
pub(crate) type Shared = axum::extract::State<Arc<ApiState>>;

fn described() -> (Router<Arc<ApiState>>, utoipa::openapi::OpenApi) {
    let routes = OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(tasks::submit, tasks::list))
        .routes(routes!(tasks::show, tasks::delete))
        .routes(routes!(tasks::stop))
        .routes(routes!(tasks::start))
        .routes(routes!(tasks::explain))
        .routes(routes!(logs::logs))
        .routes(routes!(events::of_task))
        .routes(routes!(events::all))
        .routes(routes!(nodes::list))
        .routes(routes!(nodes::show))
        .routes(routes!(nodes::drain))
        .routes(routes!(nodes::undrain))
        .routes(routes!(nodes::eject))
        .routes(routes!(nodes::readmit))
        .routes(routes!(pool::pool))
        .routes(routes!(pool::status))
        .merge(public_routes());
    strict(routes)
}

/// The routes, which take no parameters but those they describe, with their description.
fn strict(routes: OpenApiRouter<Arc<ApiState>>) -> (Router<Arc<ApiState>>, utoipa::openapi::OpenApi) {
    let (routes, mut openapi) = routes.split_for_parts();
    description::complete(&mut openapi);
    let known = KnownParameters::of(&openapi);
    let check = axum::middleware::from_fn_with_state(known, description::refuse_unknown_parameters);
    (routes.route_layer(check), openapi)
}

/// What needs no token.
fn public_routes() -> OpenApiRouter<Arc<ApiState>> {
    OpenApiRouter::new()
        .routes(routes!(epochs::list))
        .routes(routes!(epochs::receipts))
        .routes(routes!(epochs::payee))
}

/// The public part alone, for the pool's HTTPS endpoint: where the chain says that receipts are served.
pub fn public_router(state: Arc<ApiState>) -> Router {
    strict(public_routes()).0.with_state(state)
}

/// The OpenAPI description, made from the handlers.
///
/// # Errors
/// Never in practice: it has a JSON form.
pub fn openapi_json() -> Result<String, serde_json::Error> {
    described().1.to_pretty_json()
}

/// The whole API with health routes.
pub fn router(state: Arc<ApiState>) -> Router {
    let (routes, openapi) = described();
    let openapi = document(openapi.to_json().unwrap_or_else(|_| "{}".to_owned()));
    let task = document(lode_protocol::task::json_schema().to_string());
    let health = state.health.public_router(state.about.public_metrics);
    routes
        .route("/openapi.json", openapi)
        .route("/schemas/task.json", task)
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(Arc::clone(&state))
        .merge(health)
        .layer(axum::middleware::from_fn_with_state(state, guard::token))
        .layer(CatchPanicLayer::custom(|_panic: Box<dyn std::any::Any + Send>| {
            Problem::internal().into_response()
        }))
        .layer(axum::middleware::from_fn(guard::request_id))
}

/// A document that is made once: whoever reads it slowly holds no copy of it.
fn document(json: String) -> MethodRouter<Arc<ApiState>> {
    let json = Bytes::from(json);
    get(move || async move { (Extension(Resident), [(header::CONTENT_TYPE, "application/json")], json) })
}

async fn not_found() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "api/not-found", "No such path")
        .remedy("See /openapi.json for what there is.")
}

async fn method_not_allowed() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "api/method-not-allowed", "The path has no such method")
        .remedy("See /openapi.json for what there is.")
}
