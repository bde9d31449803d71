//! An answer whose body is still to be read, within its bounds.

use std::error::Error as _;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use tokio::time::{Instant, timeout_at};

use super::error::{Awaited, OutboundError};
use super::limits::{CONNECT, OutboundLimits};
use super::resolve::is_refusal;

/// An answer, whatever its status.
#[derive(Debug)]
pub struct OutboundAnswer {
    response: reqwest::Response,
    host: String,
    limits: OutboundLimits,
    began: Instant,
    deadline: Instant,
    read: usize,
}

impl OutboundAnswer {
    pub(super) fn new(
        response: reqwest::Response,
        host: String,
        limits: OutboundLimits,
        deadline: Instant,
    ) -> Self {
        Self { response, host, limits, began: Instant::now(), deadline, read: 0 }
    }

    /// Who sent it.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Its status.
    pub fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// Its headers.
    pub fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// The next piece of its body; `None` at its end.
    ///
    /// # Errors
    /// When it breaks off, or a bound is crossed. What comes after is not read.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, OutboundError> {
        let limit = self.limits.most_bytes;
        let too_large = |host: &str| OutboundError::TooLarge { host: host.to_owned(), limit };
        let announced = self.response.content_length().unwrap_or_default();
        if usize::try_from(announced).unwrap_or(usize::MAX) > limit {
            return Err(too_large(&self.host));
        }
        let idle = Instant::now() + self.limits.idle;
        let (until, awaited, after) = if idle < self.deadline {
            (idle, Awaited::More, self.limits.idle)
        } else {
            (self.deadline, Awaited::End, self.limits.whole)
        };
        let Ok(next) = timeout_at(until, self.response.chunk()).await else {
            return Err(OutboundError::Timeout { host: self.host.clone(), awaited, after });
        };
        let Some(piece) = next.map_err(|error| failure(&self.host, &error))? else {
            return Ok(None);
        };
        self.read = self.read.saturating_add(piece.len());
        if self.read > limit {
            return Err(too_large(&self.host));
        }
        if self.limits.is_too_slow(self.read, self.began.elapsed()) {
            return Err(OutboundError::TooSlow { host: self.host.clone(), least: self.limits.least_rate });
        }
        Ok(Some(piece))
    }

    /// All of its body.
    ///
    /// # Errors
    /// As [`OutboundAnswer::chunk`].
    pub async fn body(&mut self) -> Result<Vec<u8>, OutboundError> {
        let mut body = Vec::new();
        while let Some(piece) = self.chunk().await? {
            body.extend_from_slice(&piece);
        }
        Ok(body)
    }
}

/// What a failed request comes to.
pub(super) fn failure(host: &str, error: &reqwest::Error) -> OutboundError {
    let host = host.to_owned();
    if is_refusal(error) {
        return OutboundError::NotPublic { host };
    }
    if error.is_timeout() {
        // The only deadline that the client itself has.
        return OutboundError::Timeout { host, awaited: Awaited::Connection, after: CONNECT };
    }
    // The innermost cause says what happened; those around it repeat the URL.
    let mut reason = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        reason = cause.to_string();
        source = cause.source();
    }
    OutboundError::Unreachable { host, reason }
}
