//! Fetching a document from a place that others name: `GET`, 200 or nothing, no redirects.

use std::time::Duration;

use http::{HeaderMap, Method, StatusCode};

use super::{Outbound, OutboundError, OutboundLimits, OutboundRequest, Reach, Trust};
use lode_address::HttpsAddress;

/// What may be reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FetchPolicy {
    /// Also addresses that are not public: for development and for networks of one's own.
    pub private_addresses: bool,
    /// For one request from dialling to its last byte.
    pub timeout: Duration,
    /// Bytes a second that an answer must bring: who sends next to nothing holds its reader up.
    pub least_rate: u64,
    /// From when on the rate counts.
    pub grace: Duration,
}

/// Fetches what strangers point at.
#[derive(Clone, Debug)]
pub struct Fetcher {
    /// An error says that nothing can be fetched at all.
    outbound: Result<Outbound, OutboundError>,
    policy: FetchPolicy,
    trust: Trust,
}

impl Fetcher {
    /// With this policy; `agent` is its User-Agent.
    pub fn new(agent: &str, policy: FetchPolicy) -> Self {
        let reach = if policy.private_addresses { Reach::Private } else { Reach::Public };
        Self { outbound: Outbound::new(agent), policy, trust: Trust::everybody(reach) }
    }

    /// What lies at a URL, of at most `limit` bytes.
    ///
    /// # Errors
    /// When it may not be asked, does not answer, or answers something else than 200.
    pub async fn get(&self, url: &str, limit: usize) -> Result<Vec<u8>, OutboundError> {
        let request = OutboundRequest {
            method: Method::GET,
            url,
            query: &[],
            headers: HeaderMap::new(),
            trust: &self.trust,
            redirects: 0,
            limits: OutboundLimits {
                least_rate: self.policy.least_rate,
                grace: self.policy.grace,
                ..OutboundLimits::new(limit, self.policy.timeout)
            },
        };
        let outbound = self.outbound.as_ref().map_err(Clone::clone)?;
        let mut answer = outbound.ask(request).await?;
        match answer.status() {
            StatusCode::OK => answer.body().await,
            status => Err(OutboundError::Refused { host: answer.host().to_owned(), status: status.as_u16() }),
        }
    }

    /// What lies at a path (and query) below an address, of at most `limit` bytes.
    ///
    /// # Errors
    /// As [`Fetcher::get`].
    pub async fn get_below(
        &self,
        address: &HttpsAddress,
        path: &str,
        limit: usize,
    ) -> Result<Vec<u8>, OutboundError> {
        self.get(&address.join_pinned(path), limit).await
    }
}
