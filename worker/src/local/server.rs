//! The socket's server.

use std::path::Path;
use std::sync::Arc;

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use http::StatusCode;
use lode_program::problem::Problem;
use tokio::net::UnixListener;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::{LeaveAnswer, StatusReport};
use crate::core::receipts::KeptReceipt;

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

/// Serves until shutdown.
pub async fn serve(
    listener: UnixListener,
    reporter: Reporter,
    requests: mpsc::Sender<LocalRequest>,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    let router = Router::new()
        .route("/status", get(status))
        .route("/leave", post(leave))
        .route("/receipts", get(receipts))
        .with_state(Access { reporter, requests });
    axum::serve(listener, router).with_graceful_shutdown(shutdown.cancelled_owned()).await
}

async fn status(State(access): State<Access>) -> Json<StatusReport> {
    Json((access.reporter)())
}

async fn leave(State(access): State<Access>) -> Result<Json<LeaveAnswer>, Problem> {
    ask(&access, LocalRequest::Leave).await
}

async fn receipts(State(access): State<Access>) -> Result<Json<Vec<KeptReceipt>>, Problem> {
    ask(&access, LocalRequest::Receipts).await
}

/// Has the driver answer.
async fn ask<T>(
    access: &Access,
    request: impl FnOnce(oneshot::Sender<T>) -> LocalRequest,
) -> Result<Json<T>, Problem> {
    let busy = || {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "worker/busy", "the worker does not answer now")
            .remedy("try again; look at the worker's log if it stays so")
    };
    let (reply, answer) = oneshot::channel();
    access.requests.try_send(request(reply)).map_err(|_| busy())?;
    match tokio::time::timeout(PATIENCE, answer).await {
        Ok(Ok(answer)) => Ok(Json(answer)),
        Ok(Err(_)) | Err(_) => Err(busy()),
    }
}
