//! One server of the HTTPS fallback.

use std::time::Duration;

use lode_address::{HttpsAddress, is_pin_mismatch};
use reqwest::header::CONTENT_TYPE;
use reqwest::{RequestBuilder, Response, StatusCode};

use crate::error::{NetworkError, cut};
use crate::outbound::public_names;

const MEDIA_TYPE: &str = "application/cbor";
/// A problem document is short; more of it is not read.
const MAX_PROBLEM_BYTES: usize = 16 << 10;

/// What became of a piece of output.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogPost {
    /// Taken; send the next.
    Accepted,
    /// Nobody reads this stream (any more): stop sending it.
    NotWanted,
}

#[derive(Clone, Debug)]
pub(super) struct HttpsLink {
    client: reqwest::Client,
    address: HttpsAddress,
    timeout: Duration,
}

impl HttpsLink {
    /// With `public_names_only` a name that leads nowhere but into networks that are not public is not dialled.
    pub(super) fn new(
        address: HttpsAddress,
        timeout: Duration,
        public_names_only: bool,
    ) -> Result<Self, NetworkError> {
        let client = if public_names_only {
            address.client_resolving(timeout, public_names())?
        } else {
            address.client(timeout)?
        };
        Ok(Self { client, address, timeout })
    }

    /// Whether the server is there and, where pinned, the right one.
    pub(super) async fn probe(&self) -> Result<(), NetworkError> {
        let url = self.address.join("wire/v1");
        let response = self.exchange(self.client.get(&url), self.timeout).await?;
        match response.status() {
            StatusCode::NO_CONTENT => Ok(()),
            _ => Err(self.refused(response).await),
        }
    }

    /// Sends a frame and returns the answer.
    pub(super) async fn post(&self, frame: Vec<u8>, limit: usize) -> Result<Vec<u8>, NetworkError> {
        let url = self.address.join("wire/v1");
        let request = self.client.post(&url).header(CONTENT_TYPE, MEDIA_TYPE).body(frame);
        let response = self.exchange(request, self.timeout).await?;
        if response.status() != StatusCode::OK {
            return Err(self.refused(response).await);
        }
        let answer = self.collect(response, limit).await?;
        if answer.is_empty() { Err(NetworkError::FrameEmpty) } else { Ok(answer) }
    }

    pub(super) async fn post_logs(
        &self,
        batch: Vec<u8>,
        deadline: Duration,
    ) -> Result<LogPost, NetworkError> {
        let url = self.address.join("wire/v1/logs");
        let request = self.client.post(&url).header(CONTENT_TYPE, MEDIA_TYPE).body(batch);
        let response = self.exchange(request, deadline).await?;
        match response.status() {
            StatusCode::NO_CONTENT => Ok(LogPost::Accepted),
            StatusCode::GONE => Ok(LogPost::NotWanted),
            _ => Err(self.refused(response).await),
        }
    }

    async fn exchange(&self, request: RequestBuilder, deadline: Duration) -> Result<Response, NetworkError> {
        request.timeout(deadline).send().await.map_err(|error| self.failed(&error, deadline))
    }

    /// The body, never more than `limit` bytes of it.
    async fn collect(&self, mut response: Response, limit: usize) -> Result<Vec<u8>, NetworkError> {
        let too_large = |size: u64| NetworkError::FrameTooLarge { size, limit };
        if let Some(announced) = response.content_length().filter(|length| *length > limit as u64) {
            return Err(too_large(announced));
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.failed(&error, self.timeout))? {
            if bytes.len() + chunk.len() > limit {
                return Err(too_large((bytes.len() + chunk.len()) as u64));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }

    fn failed(&self, error: &reqwest::Error, after: Duration) -> NetworkError {
        let url = self.address.to_string();
        if is_pin_mismatch(error) {
            NetworkError::PinMismatch { url }
        } else if error.is_timeout() {
            NetworkError::HttpTimeout { url, after }
        } else {
            NetworkError::Http { url, reason: cut(&innermost(error), 200) }
        }
    }

    async fn refused(&self, response: Response) -> NetworkError {
        let status = response.status().as_u16();
        let body = self.collect(response, MAX_PROBLEM_BYTES).await.unwrap_or_default();
        let problem: Option<serde_json::Value> = serde_json::from_slice(&body).ok();
        let code = problem.as_ref().and_then(|problem| problem.get("code")?.as_str()).unwrap_or("no code");
        NetworkError::HttpRefused { url: self.address.to_string(), status, code: cut(code, 64) }
    }
}

fn innermost(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
