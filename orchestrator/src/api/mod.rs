//! The REST API: parse, authorise, ask the driver, answer. No handler decides anything.
//!
//! Everything under `/v1` needs the bearer token, but for what anybody may check: `/v1/epochs` and `/v1/payees`. Every refusal is problem+json with a stable code. On a loopback bind
//! the `Host` header must name the loopback (a web page of elsewhere must not reach the API through the user's browser).

mod epochs;
mod events;
mod extract;
mod guard;
mod logs;
mod node_types;
mod nodes;
mod pool;
mod refusal;
mod task_types;
mod tasks;

use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use axum::routing::get;
use lode_network::PeerServer;
use lode_program::finding::FindingSet;
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
use crate::discovery::DirectoryStatus;
use crate::driver::Handle;
use crate::event_log::EventLog;
use crate::hold::StoreTrouble;
use crate::images::ImageResolver;
use crate::logs::LogHub;
use crate::token::TokenHash;
use crate::wire::Identity;

pub use epochs::Turnstile;

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
    pub store: StoreTrouble,
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
    pub turnstile: Turnstile,
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
    /// Host names that are accepted; `None`: any (the API does not listen on loopback).
    pub hosts: Option<Vec<String>>,
}

/// State of handlers.
pub(crate) type Shared = axum::extract::State<Arc<ApiState>>;

#[derive(OpenApi)]
#[openapi(
    info(title = "Lode orchestrator", description = "Tasks, nodes and the pool. Errors are RFC 9457 problems with a stable `code`."),
    modifiers(&Token),
    security(("token" = []))
)]
struct Description;

struct Token;

impl utoipa::Modify for Token {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
        let components = openapi.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
    }
}

fn described() -> (Router<Arc<ApiState>>, utoipa::openapi::OpenApi) {
    OpenApiRouter::with_openapi(Description::openapi())
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
        .merge(public_routes())
        .split_for_parts()
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
    public_routes().split_for_parts().0.with_state(state)
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
    let openapi = openapi.to_json().unwrap_or_else(|_| "{}".to_owned());
    let openapi: Arc<str> = openapi.into();
    let health = state.health.router();
    routes
        .route(
            "/openapi.json",
            get(move || {
                let text = openapi.to_string();
                async move { ([("content-type", "application/json")], text) }
            }),
        )
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(Arc::clone(&state))
        .merge(health)
        .layer(axum::middleware::from_fn_with_state(Arc::clone(&state), guard::token))
        .layer(axum::middleware::from_fn_with_state(state, guard::host))
        .layer(CatchPanicLayer::custom(|_panic: Box<dyn std::any::Any + Send>| {
            Problem::internal().into_response()
        }))
        .layer(axum::middleware::from_fn(guard::request_id))
}

async fn not_found() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "api/not-found", "No such path")
        .remedy("See /openapi.json for what there is.")
}

async fn method_not_allowed() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "api/method-not-allowed", "The path has no such method")
        .remedy("See /openapi.json for what there is.")
}
