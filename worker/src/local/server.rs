//! The socket's server.

use std::path::Path;
use std::sync::Arc;

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use http::StatusCode;
use lode_program::listen::{LocalLimits, serve_local};
use lode_program::problem::Problem;
use lode_protocol::ids::{GpuUuid, ParseIdError};
use tokio::net::UnixListener;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::{LeaveAnswer, StatusReport};
use crate::core::receipts::KeptReceipt;
use crate::gpus::{ClearAnswer, ClearRequest};

/// How long the worker may take to answer.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);

/// A wish that came over the socket.
#[derive(Debug)]
pub enum LocalRequest {
    /// Leave the pool.
    Leave(oneshot::Sender<LeaveAnswer>),
    /// Show the receipts that both sides signed.
    Receipts(oneshot::Sender<Vec<KeptReceipt>>),
}

/// Makes a report of now.
pub type Reporter = Arc<dyn Fn() -> StatusReport + Send + Sync>;

#[derive(Clone)]
struct Access {
    reporter: Reporter,
    requests: mpsc::Sender<LocalRequest>,
    clears: mpsc::Sender<ClearRequest>,
}

/// Binds the socket. A socket file that an earlier worker left behind is replaced: the data directory's lock says that
/// no other worker lives.
pub fn bind(path: &Path) -> anyhow::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(anyhow::anyhow!("cannot replace {}: {error}", path.display())),
    }
    UnixListener::bind(path).map_err(|error| {
        anyhow::anyhow!(
            "cannot listen on {}: {error}; a shorter data_dir helps where the path is too long",
            path.display()
        )
    })
}

/// Serves until shutdown, within the limits of sockets of this machine.
pub async fn serve(
    listener: UnixListener,
    reporter: Reporter,
    (requests, clears): (mpsc::Sender<LocalRequest>, mpsc::Sender<ClearRequest>),
    shutdown: CancellationToken,
) {
    let router = Router::new()
        .route("/status", get(status))
        .route("/leave", post(leave))
        .route("/receipts", get(receipts))
        .route("/gpus/{uuid}/clear", post(clear_gpu))
        .with_state(Access { reporter, requests, clears });
    serve_local(router, listener, LocalLimits::default(), shutdown).await;
}

async fn status(State(access): State<Access>) -> Json<StatusReport> {
    Json((access.reporter)())
}

async fn leave(State(access): State<Access>) -> Result<Json<LeaveAnswer>, Problem> {
    ask(&access.requests, LocalRequest::Leave).await
}

async fn receipts(State(access): State<Access>) -> Result<Json<Vec<KeptReceipt>>, Problem> {
    ask(&access.requests, LocalRequest::Receipts).await
}

async fn clear_gpu(
    State(access): State<Access>,
    axum::extract::Path(uuid): axum::extract::Path<String>,
) -> Result<Json<ClearAnswer>, Problem> {
    let gpu: GpuUuid = uuid.parse().map_err(|error: ParseIdError| {
        Problem::new(StatusCode::BAD_REQUEST, "worker/no-gpu-uuid", error.to_string())
            .remedy("name a GPU as `lode-worker status` does")
    })?;
    ask(&access.clears, |reply| ClearRequest { gpu, reply }).await
}

/// Has somebody answer.
async fn ask<R, T>(
    whom: &mpsc::Sender<R>,
    request: impl FnOnce(oneshot::Sender<T>) -> R,
) -> Result<Json<T>, Problem> {
    let busy = || {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "worker/busy", "the worker does not answer now")
            .remedy("try again; look at the worker's log if it stays so")
    };
    let (reply, answer) = oneshot::channel();
    whom.try_send(request(reply)).map_err(|_| busy())?;
    match tokio::time::timeout(PATIENCE, answer).await {
        Ok(Ok(answer)) => Ok(Json(answer)),
        Ok(Err(_)) | Err(_) => Err(busy()),
    }
}
