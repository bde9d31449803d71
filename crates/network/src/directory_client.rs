//! A client of the public directory, for workers that publish and for orchestrators and validators that follow.

use std::time::Duration;

use lode_address::{AddressError, EndpointUrl, HttpsAddress};
use lode_protocol::cursor::Cursor;
use lode_protocol::directory::{ChangesPage, DirectoryPage};
use lode_protocol::error_code::ErrorCode;
use lode_protocol::ids::{NodeId, PoolId};
use serde::de::DeserializeOwned;

/// Time an ordinary call may take.
const CALL: Duration = Duration::from_secs(15);
/// Longest answer accepted.
const MAX_ANSWER: usize = 64 << 20;

/// Why a directory did not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DirectoryError {
    /// The address is not that of an HTTP server.
    #[error("{url}: a directory is reached by an https URL, or by http on loopback")]
    NotHttp {
        /// The address.
        url: String,
    },
    /// It cannot be reached.
    #[error("the directory cannot be reached: {0}")]
    Unreachable(String),
    /// It answered something that is no directory's answer.
    #[error("the directory's answer cannot be read: {0}")]
    Malformed(String),
    /// It refused.
    #[error("the directory refused ({code}): {message}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// Its code.
        code: String,
        /// Its words, with the remedy.
        message: String,
    },
    /// The transport could not be set up.
    #[error(transparent)]
    Address(#[from] AddressError),
}

impl DirectoryError {
    /// Stable code.
    pub fn code(&self) -> ErrorCode {
        match self {
            DirectoryError::NotHttp { .. } => ErrorCode::new("discovery/bad-url"),
            DirectoryError::Unreachable(_) => ErrorCode::new("discovery/unreachable"),
            DirectoryError::Malformed(_) => ErrorCode::new("discovery/malformed-answer"),
            DirectoryError::Refused { .. } => ErrorCode::new("discovery/refused"),
            DirectoryError::Address(error) => error.code(),
        }
    }

    /// Whether trying again can help without anybody changing anything.
    pub fn is_transient(&self) -> bool {
        match self {
            DirectoryError::NotHttp { .. } => false,
            DirectoryError::Unreachable(_) | DirectoryError::Malformed(_) => true,
            DirectoryError::Refused { status, .. } => *status >= 500 || *status == 429,
            DirectoryError::Address(error) => error.is_transient(),
        }
    }
}

/// One directory.
#[derive(Debug, Clone)]
pub struct DirectoryClient {
    address: HttpsAddress,
    http: reqwest::Client,
    patient: reqwest::Client,
}

impl DirectoryClient {
    /// For `https://host[:port][#sha256=HEX]`, or `http://` on loopback. Connects at the first call.
    pub fn new(url: &str) -> Result<Self, DirectoryError> {
        let EndpointUrl::Https(address) = url.parse::<EndpointUrl>()? else {
            return Err(DirectoryError::NotHttp { url: url.to_owned() });
        };
        let http = address.client(CALL)?;
        let patient = address.client(CALL + Duration::from_secs(60))?;
        Ok(Self { address, http, patient })
    }

    /// Puts a sealed descriptor into the directory.
    pub async fn publish(&self, node: NodeId, descriptor: &[u8]) -> Result<(), DirectoryError> {
        let url = self.address.join(&format!("/v1/nodes/{node}"));
        let request = self.http.put(url).header("content-type", "application/cbor").body(descriptor.to_vec());
        answer(request).await.map(drop)
    }

    /// A page of the directory: nodes of `pool` after `after`.
    pub async fn page(
        &self,
        pool: Option<PoolId>,
        after: Option<NodeId>,
    ) -> Result<DirectoryPage, DirectoryError> {
        let mut url = self.address.join("/v1/nodes?limit=1000");
        if let Some(pool) = pool {
            url.push_str(&format!("&pool={pool}"));
        }
        if let Some(after) = after {
            url.push_str(&format!("&after={after}"));
        }
        decode(&answer(self.http.get(url)).await?)
    }

    /// Changes after a cursor; waits up to `wait` (at most 30 s) for the first one.
    pub async fn changes(
        &self,
        after: Option<Cursor>,
        wait: Duration,
    ) -> Result<ChangesPage, DirectoryError> {
        let wait = wait.min(Duration::from_secs(30));
        let mut url = self.address.join(&format!("/v1/changes?wait={}ms", wait.as_millis()));
        if let Some(after) = after {
            url.push_str(&format!("&after={after}"));
        }
        decode(&answer(self.patient.get(url)).await?)
    }
}

async fn answer(request: reqwest::RequestBuilder) -> Result<Vec<u8>, DirectoryError> {
    let unreachable = |error: reqwest::Error| DirectoryError::Unreachable(describe(&error));
    let mut response = request.send().await.map_err(unreachable)?;
    let status = response.status();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        if body.len() + chunk.len() > MAX_ANSWER {
            return Err(DirectoryError::Malformed(format!("more than {MAX_ANSWER} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    if status.is_success() {
        return Ok(body);
    }
    let problem: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    let text =
        |field: &str| problem.get(field).and_then(|value| value.as_str()).unwrap_or_default().to_owned();
    let message = [text("title"), text("detail"), text("remedy")].into_iter().filter(|part| !part.is_empty());
    Err(DirectoryError::Refused {
        status: status.as_u16(),
        code: text("code"),
        message: message.collect::<Vec<_>>().join(". "),
    })
}

fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, DirectoryError> {
    serde_json::from_slice(body).map_err(|error| DirectoryError::Malformed(error.to_string()))
}

/// An error with its causes: reqwest's own text leaves them out.
pub(crate) fn describe(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        text.push_str(": ");
        text.push_str(&next.to_string());
        cause = next.source();
    }
    text
}
