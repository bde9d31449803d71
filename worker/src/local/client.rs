//! Asks the worker that runs on this machine.

use std::path::{Path, PathBuf};
use std::time::Duration;

use lode_protocol::ids::GpuUuid;
use serde::de::DeserializeOwned;

use super::{LeaveAnswer, StatusReport};
use crate::core::receipts::KeptReceipt;
use crate::gpus::ClearAnswer;

/// How long the worker may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// Nobody listens.
    #[error("no worker runs with the data directory of {}; start it with `lode-worker run`", socket.display())]
    NotRunning {
        /// The socket that was tried.
        socket: PathBuf,
    },
    /// The socket belongs to somebody else.
    #[error("no permission to talk to the worker at {}; run this as the worker's user", socket.display())]
    Denied {
        /// The socket that was tried.
        socket: PathBuf,
    },
    /// It answers otherwise than it should, or not at all.
    #[error("the worker at {} did not answer as it should: {detail}", socket.display())]
    Failed {
        /// The socket that was tried.
        socket: PathBuf,
        /// What happened.
        detail: String,
    },
}

/// How the worker is doing.
pub async fn status(socket: &Path) -> Result<StatusReport, LocalError> {
    ask(socket, "GET", "/status").await
}

/// The receipts that both sides signed.
pub async fn receipts(socket: &Path) -> Result<Vec<KeptReceipt>, LocalError> {
    ask(socket, "GET", "/receipts").await
}

/// Asks the worker to leave its pool.
pub async fn leave(socket: &Path) -> Result<LeaveAnswer, LocalError> {
    ask(socket, "POST", "/leave").await
}

/// Gives a GPU another chance.
pub async fn clear_gpu(socket: &Path, gpu: &GpuUuid) -> Result<ClearAnswer, LocalError> {
    ask(socket, "POST", &format!("/gpus/{}/clear", gpu.as_str().replace('/', "%2F"))).await
}

async fn ask<T: DeserializeOwned>(socket: &Path, method: &str, path: &str) -> Result<T, LocalError> {
    // The kernel's own word on whether somebody listens; an HTTP client would bury it.
    if let Err(error) = std::os::unix::net::UnixStream::connect(socket) {
        let socket = socket.to_owned();
        return Err(match error.kind() {
            std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused => {
                LocalError::NotRunning { socket }
            }
            std::io::ErrorKind::PermissionDenied => LocalError::Denied { socket },
            _ => LocalError::Failed { socket, detail: error.to_string() },
        });
    }
    let failed = |detail: String| LocalError::Failed { socket: socket.to_owned(), detail };
    let client = reqwest::Client::builder()
        .unix_socket(socket)
        .timeout(PATIENCE)
        .build()
        .map_err(|error| failed(error.to_string()))?;
    let url = format!("http://worker{path}");
    let request = if method == "POST" { client.post(url) } else { client.get(url) };
    let response = request.send().await.map_err(|error| failed(error.to_string()))?;
    let status = response.status();
    let body = response.bytes().await.map_err(|error| failed(error.to_string()))?;
    if !status.is_success() {
        return Err(failed(format!("{status}: {}", String::from_utf8_lossy(&body))));
    }
    serde_json::from_slice(&body).map_err(|error| failed(error.to_string()))
}
