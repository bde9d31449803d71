//! The one way out to addresses that others name: images' registries, what they redirect to, places that stand on
//! chain, in accusations and in pools' endpoints.
//!
//! Whoever names a URL must not gain this machine's place in its network. So a name is resolved once, only public
//! addresses of it are dialled unless the operator trusts the host, and every redirect is judged by its own host ([`Trust`]).
//! Plain HTTP only where that is allowed. No proxy but one that the operator names for public hosts ([`ProxyUrl`]), because a
//! proxy resolves the name anew. Whoever answers must not hold its reader up either: each step has a deadline, the body a size and a least rate ([`OutboundLimits`]).
//! Credentials go to the host they are for and do not follow a redirect to another.

mod address;
mod answer;
mod error;
mod fetch;
mod judge;
mod limits;
mod proxy;
mod resolve;
#[cfg(test)]
mod tests;
mod trust;
mod vouch;

use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderMap, Method, header};
use reqwest::Client;
use tokio::time::{Instant, timeout_at};

pub use address::is_public as is_public_address;
pub use answer::OutboundAnswer;
pub use error::{Awaited, OutboundError};
pub use fetch::{FetchPolicy, Fetcher};
pub use judge::Reach;
use judge::Target;
use limits::CONNECT;
pub use limits::OutboundLimits;
use lode_address::{Fingerprint, ensure_provider, pinned_client_config};
pub use proxy::ProxyUrl;
use resolve::Judged;
pub use resolve::{Resolver, SystemResolver, public_names};
pub use trust::Trust;

/// A question.
#[derive(Clone, Debug)]
pub struct OutboundRequest<'a> {
    /// GET or HEAD: every redirect keeps them.
    pub method: Method,
    /// Where. `#sha256=…` pins the certificate.
    pub url: &'a str,
    /// Added to the URL's own query.
    pub query: &'a [(&'a str, &'a str)],
    /// Besides the usual ones.
    pub headers: HeaderMap,
    /// How far it may go, by host.
    pub trust: &'a Trust,
    /// Redirects that are followed. With none a redirect is the answer.
    pub redirects: usize,
    /// How much, and how long.
    pub limits: OutboundLimits,
}

/// Asks. Clones share their connections.
#[derive(Clone, Debug)]
pub struct Outbound {
    guard: Guard,
    guarded: Client,
    trusting: Client,
}

/// What is dialled where nobody is trusted.
#[derive(Clone, Debug)]
struct Guard {
    agent: String,
    resolver: Arc<dyn Resolver>,
    allowed: fn(IpAddr) -> bool,
    /// By which hosts are asked that are not trusted.
    proxy: Option<ProxyUrl>,
}

impl Guard {
    /// A client that dials what `reach` allows, and accepts one certificate only if one is pinned.
    fn client(&self, reach: Reach, pin: Option<Fingerprint>) -> Result<Client, OutboundError> {
        ensure_provider();
        let failed = |reason: String| OutboundError::Unreachable {
            host: "any host".to_owned(),
            reason: format!("the HTTP client cannot be made: {reason}"),
        };
        let builder = Client::builder()
            .user_agent(&self.agent)
            .connect_timeout(CONNECT)
            .redirect(reqwest::redirect::Policy::none())
            .pool_max_idle_per_host(2)
            .no_proxy();
        let (allowed, builder): (fn(IpAddr) -> bool, _) = match (reach, &self.proxy) {
            // The only name that is resolved here is the proxy's own.
            (Reach::Public, Some(proxy)) => {
                let proxy = reqwest::Proxy::all(proxy.url()).map_err(|error| failed(error.to_string()))?;
                (|_| true, builder.proxy(proxy))
            }
            (Reach::Public, None) => (self.allowed, builder),
            (Reach::Private | Reach::Insecure, _) => (|_| true, builder),
        };
        let builder =
            builder.dns_resolver(Arc::new(Judged { resolver: Arc::clone(&self.resolver), allowed }));
        let builder = match pin {
            Some(pin) => {
                let config = pinned_client_config(pin).map_err(|error| failed(error.to_string()))?;
                builder.https_only(true).tls_backend_preconfigured(config)
            }
            None => builder,
        };
        builder.build().map_err(|error| failed(error.to_string()))
    }
}

impl Outbound {
    /// A client that resolves names as this machine does; `agent` is its User-Agent.
    ///
    /// # Errors
    /// When the system's roots of trust cannot be read.
    pub fn new(agent: &str) -> Result<Self, OutboundError> {
        Self::with_resolver(agent, Arc::new(SystemResolver))
    }

    /// One that asks hosts which are not trusted by the operator's proxy, if there is one.
    ///
    /// # Errors
    /// As [`Outbound::new`].
    pub fn by_proxy(agent: &str, proxy: Option<ProxyUrl>) -> Result<Self, OutboundError> {
        let resolver = Arc::new(SystemResolver);
        Self::guarded_by(Guard { agent: agent.to_owned(), resolver, allowed: address::is_public, proxy })
    }

    /// One that resolves names so.
    ///
    /// # Errors
    /// As [`Outbound::new`].
    pub fn with_resolver(agent: &str, resolver: Arc<dyn Resolver>) -> Result<Self, OutboundError> {
        Self::guarded_by(Guard {
            agent: agent.to_owned(),
            resolver,
            allowed: address::is_public,
            proxy: None,
        })
    }

    fn guarded_by(guard: Guard) -> Result<Self, OutboundError> {
        let guarded = guard.client(Reach::Public, None)?;
        let trusting = guard.client(Reach::Private, None)?;
        Ok(Outbound { guard, guarded, trusting })
    }

    /// Asks, and follows redirects. The body is still to be read.
    ///
    /// # Errors
    /// When there is no answer. A status that says no is an answer.
    pub async fn ask(&self, request: OutboundRequest<'_>) -> Result<OutboundAnswer, OutboundError> {
        let deadline = Instant::now() + request.limits.whole;
        let allowed = self.guard.allowed;
        let mut target = Target::named(request.url, request.trust, allowed)?;
        let asked_first = target.host();
        if !request.query.is_empty() {
            target.url.query_pairs_mut().extend_pairs(request.query);
        }
        let mut headers = request.headers.clone();
        let mut left = request.redirects;
        loop {
            let answer = self.once(&request, &target, headers.clone(), deadline).await?;
            if request.redirects == 0 {
                return Ok(answer);
            }
            let Some(location) = redirect(&answer) else { return Ok(answer) };
            left = left
                .checked_sub(1)
                .ok_or_else(|| OutboundError::TooManyRedirects { host: asked_first.clone() })?;
            let next = target.redirected(&location, request.trust, allowed)?;
            if !target.is_same_host(&next.url) {
                headers.remove(header::AUTHORIZATION);
            }
            target = next;
        }
    }

    async fn once(
        &self,
        request: &OutboundRequest<'_>,
        target: &Target,
        headers: HeaderMap,
        deadline: Instant,
    ) -> Result<OutboundAnswer, OutboundError> {
        let client = match (target.pin, target.reach) {
            (Some(_), _) => self.guard.client(target.reach, target.pin)?,
            (None, Reach::Public) => self.guarded.clone(),
            (None, Reach::Private | Reach::Insecure) => self.trusting.clone(),
        };
        let (host, limits) = (target.host(), request.limits);
        let head = Instant::now() + limits.head;
        let (until, awaited, after) = if head < deadline {
            (head, Awaited::Head, limits.head)
        } else {
            (deadline, Awaited::End, limits.whole)
        };
        let sent = client.request(request.method.clone(), target.url.clone()).headers(headers).send();
        match timeout_at(until, sent).await {
            Ok(Ok(response)) => Ok(OutboundAnswer::new(response, host, limits, deadline)),
            Ok(Err(error)) => Err(answer::failure(&host, &error)),
            Err(_) => Err(OutboundError::Timeout { host, awaited, after }),
        }
    }
}

/// Target of a redirect, if it is one.
fn redirect(answer: &OutboundAnswer) -> Option<String> {
    let redirects = matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308);
    let target = answer.headers().get(header::LOCATION).filter(|_| redirects)?;
    target.to_str().ok().map(str::to_owned)
}
