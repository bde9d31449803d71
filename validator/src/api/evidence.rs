//! `GET /evidence/{hash}`: evidence and notes of this validator, for whoever votes on them. Public by design: nothing
//! in a file is a secret, and who asks for one must know its hash.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Extension, Router};
use lode_program::Problem;
use lode_program::listen::Resident;
use lode_protocol::hash::Digest;
use lode_store::Store;
use tokio::sync::Semaphore;

use super::shown::{Shown, Sight};
use crate::storage;

/// Files that are read at once: each may have some megabytes.
const AT_ONCE: usize = 8;

#[derive(Clone, Debug)]
struct Shelf {
    store: Arc<dyn Store>,
    turns: Arc<Semaphore>,
    shown: Arc<Shown>,
}

/// The route.
pub(super) fn router(store: Arc<dyn Store>) -> Router {
    let (turns, shown) = (Arc::new(Semaphore::new(AT_ONCE)), Arc::default());
    Router::new().route("/evidence/{hash}", get(show)).with_state(Shelf { store, turns, shown })
}

async fn show(State(shelf): State<Shelf>, Path(hash): Path<String>) -> Response {
    let Ok(hash) = hash.parse::<Digest>() else { return missing().into_response() };
    if let Some(sight) = shelf.shown.get(hash) {
        return file(sight);
    }
    let Ok(turn) = shelf.turns.try_acquire_owned() else { return busy().into_response() };
    let read = tokio::task::spawn_blocking(move || storage::file(shelf.store.as_ref(), hash)).await;
    // The turn is over when the file is read; sending it is the listener's to limit.
    drop(turn);
    match read {
        Ok(Ok(Some(bytes))) => file(shelf.shown.add(hash, bytes.into())),
        Ok(Ok(None)) => missing().into_response(),
        Ok(Err(error)) => {
            tracing::error!(%error, "a file cannot be read");
            Problem::internal().into_response()
        }
        Err(error) => {
            tracing::error!(%error, "reading a file broke off");
            Problem::internal().into_response()
        }
    }
}

fn file(sight: Sight) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream"),
        (header::CACHE_CONTROL, "public, immutable, max-age=31536000"),
    ];
    match sight {
        Sight::Shared(bytes) => (Extension(Resident), headers, bytes).into_response(),
        Sight::Own(bytes) => (headers, bytes).into_response(),
    }
}

fn missing() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "evidence/not-found", "No such file")
        .remedy("Ask for it by the hash that was named on chain; old files are not kept for ever.")
}

fn busy() -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "evidence/busy", "Too many ask at once")
        .remedy("Try again in a moment.")
}
