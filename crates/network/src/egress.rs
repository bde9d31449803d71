//! Asking other people's HTTP APIs at a URL that came from outside (an image's registry, what a registry redirects to),
//! behind the same guard as [`crate::guarded`], which fetches from Lode's own programs.
//!
//! Whoever names the URL must not gain this machine's place in its network: a name is resolved once and only public
//! addresses of it are connected to, unless the operator trusts the host; every redirect is judged like the first URL;
//! plain HTTP only where the caller allows it; size and time are bounded; no proxy, because a proxy would resolve the
//! name anew. Credentials go to the host they are for and do not follow a redirect to another.

use std::error::Error as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, Method, StatusCode, header};
use lode_protocol::error_code::ErrorCode;
use reqwest::{Client, Url};

use crate::error::cut;
use crate::guarded::{PublicOnly, is_public, is_refusal};
use crate::tls::ensure_provider;

/// Redirects followed.
const MOST_REDIRECTS: usize = 5;
/// Longest URL, in bytes.
const LONGEST_URL: usize = 4_096;

/// How far a request may go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reach {
    /// Public addresses over HTTPS.
    Public,
    /// Any address, over HTTPS: the operator trusts the host.
    Private,
    /// Any address, also over plain HTTP: the operator trusts the host and the network to it.
    Insecure,
}

/// A question.
#[derive(Clone, Debug)]
pub struct EgressRequest<'a> {
    /// GET or HEAD.
    pub method: Method,
    /// Where.
    pub url: &'a str,
    /// Added to the URL's own query.
    pub query: &'a [(&'a str, &'a str)],
    /// Besides the usual ones.
    pub headers: HeaderMap,
    /// How far it may go.
    pub reach: Reach,
    /// Most bytes of the answer's body.
    pub most_bytes: usize,
    /// For the whole of it.
    pub deadline: Duration,
}

/// The answer, whatever its status.
#[derive(Clone, Debug)]
pub struct EgressAnswer {
    /// Status of the last answer.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body; empty for HEAD.
    pub body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EgressError {
    /// Not a URL that may be asked at all.
    #[error("{url} cannot be asked: {reason}")]
    BadUrl {
        /// The URL, cut.
        url: String,
        /// Why not.
        reason: &'static str,
    },
    /// It leads into a network that is not public.
    #[error("{host} has no public address, and this program was not told to trust it")]
    NotPublic {
        /// The host.
        host: String,
    },
    /// Nobody answers.
    #[error("{host} cannot be reached: {reason}")]
    Unreachable {
        /// The host.
        host: String,
        /// In words.
        reason: String,
    },
    /// Out of time.
    #[error("{host} did not answer within {after:?}")]
    Timeout {
        /// The host that was asked first.
        host: String,
        /// The deadline.
        after: Duration,
    },
    /// Too much.
    #[error("the answer of {host} has more than {limit} bytes")]
    TooLarge {
        /// The host.
        host: String,
        /// Bytes accepted.
        limit: usize,
    },
    /// Sent around.
    #[error("{host} redirects too often")]
    TooManyRedirects {
        /// The host that was asked first.
        host: String,
    },
}

impl EgressError {
    /// Stable code.
    pub fn code(&self) -> ErrorCode {
        ErrorCode::new(match self {
            EgressError::BadUrl { .. } => "egress/bad-url",
            EgressError::NotPublic { .. } => "egress/not-public",
            EgressError::Unreachable { .. } => "egress/unreachable",
            EgressError::Timeout { .. } => "egress/timeout",
            EgressError::TooLarge { .. } => "egress/too-large",
            EgressError::TooManyRedirects { .. } => "egress/too-many-redirects",
        })
    }
}

/// Asks. Clones share their connections.
#[derive(Clone, Debug)]
pub struct Egress {
    guarded: Client,
    trusting: Client,
}

impl Egress {
    /// A client; `agent` is its User-Agent.
    ///
    /// # Errors
    /// When the system's roots of trust cannot be read.
    pub fn new(agent: &str) -> Result<Self, EgressError> {
        ensure_provider();
        let build = |resolver: Option<Arc<PublicOnly>>| {
            let builder =
                Client::builder().user_agent(agent).redirect(reqwest::redirect::Policy::none()).no_proxy();
            let builder = match resolver {
                Some(resolver) => builder.dns_resolver(resolver),
                None => builder,
            };
            builder.build().map_err(|error| EgressError::Unreachable {
                host: "any host".to_owned(),
                reason: format!("the HTTP client cannot be made: {error}"),
            })
        };
        Ok(Egress { guarded: build(Some(Arc::new(PublicOnly)))?, trusting: build(None)? })
    }

    /// Asks, and follows redirects.
    ///
    /// # Errors
    /// When there is no answer. A status that says no is an answer.
    pub async fn ask(&self, request: EgressRequest<'_>) -> Result<EgressAnswer, EgressError> {
        let first = judge(request.url, request.reach)?;
        let host = host_of(&first);
        let asked = tokio::time::timeout(request.deadline, self.follow(&request, first));
        asked.await.unwrap_or(Err(EgressError::Timeout { host, after: request.deadline }))
    }

    async fn follow(&self, request: &EgressRequest<'_>, first: Url) -> Result<EgressAnswer, EgressError> {
        let asked_first = host_of(&first);
        let mut url = first;
        let mut headers = request.headers.clone();
        if !request.query.is_empty() {
            url.query_pairs_mut().extend_pairs(request.query);
        }
        for _ in 0..=MOST_REDIRECTS {
            let answer = self.once(request, &url, headers.clone()).await?;
            let Some(target) = redirect(&answer) else { return Ok(answer) };
            let bad = |reason| EgressError::BadUrl { url: cut(&target, 200), reason };
            let next = url.join(&target).map_err(|_| bad("the redirect cannot be read"))?;
            let next = judge(next.as_str(), request.reach)?;
            if next.host() != url.host() || next.port_or_known_default() != url.port_or_known_default() {
                headers.remove(header::AUTHORIZATION);
            }
            url = next;
        }
        Err(EgressError::TooManyRedirects { host: asked_first })
    }

    async fn once(
        &self,
        request: &EgressRequest<'_>,
        url: &Url,
        headers: HeaderMap,
    ) -> Result<EgressAnswer, EgressError> {
        let client = match request.reach {
            Reach::Public => &self.guarded,
            Reach::Private | Reach::Insecure => &self.trusting,
        };
        let host = host_of(url);
        let sent = client.request(request.method.clone(), url.clone()).headers(headers).send().await;
        let mut answer = sent.map_err(|error| failure(&host, &error))?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        let too_large = || EgressError::TooLarge { host: host.clone(), limit: request.most_bytes };
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| failure(&host, &error))? {
            if body.len() + chunk.len() > request.most_bytes {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(EgressAnswer { status, headers, body })
    }
}

/// Target of a redirect, if it is one: only GET and HEAD are sent, which every redirect keeps.
fn redirect(answer: &EgressAnswer) -> Option<String> {
    let redirects = matches!(answer.status.as_u16(), 301 | 302 | 303 | 307 | 308);
    let target = answer.headers.get(header::LOCATION).filter(|_| redirects)?;
    target.to_str().ok().map(str::to_owned)
}

/// Whether a URL may be asked, as far as it can be told before its name is resolved.
fn judge(text: &str, reach: Reach) -> Result<Url, EgressError> {
    let bad = |reason| EgressError::BadUrl { url: cut(text, 200), reason };
    if text.len() > LONGEST_URL {
        return Err(bad("it is too long"));
    }
    let url: Url = text.parse().map_err(|_| bad("it is no URL"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(bad("it carries a user name or password"));
    }
    match (url.scheme(), reach) {
        ("https", _) | ("http", Reach::Insecure) => {}
        ("http", Reach::Public | Reach::Private) => {
            return Err(bad("plain HTTP is not allowed for this host"));
        }
        _ => return Err(bad("it is neither https nor http")),
    }
    let host = url.host_str().ok_or_else(|| bad("it names no host"))?;
    // A literal address is never resolved: the resolver does not see it.
    let literal = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    match (reach, literal) {
        (Reach::Public, Ok(address)) if !is_public(address) => {
            Err(EgressError::NotPublic { host: host.to_owned() })
        }
        (Reach::Public | Reach::Private | Reach::Insecure, _) => Ok(url),
    }
}

fn host_of(url: &Url) -> String {
    url.host_str().unwrap_or_default().to_owned()
}

fn failure(host: &str, error: &reqwest::Error) -> EgressError {
    if is_refusal(error) {
        return EgressError::NotPublic { host: host.to_owned() };
    }
    let mut reason = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        reason = cause.to_string();
        source = cause.source();
    }
    EgressError::Unreachable { host: host.to_owned(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(url: &str, reach: Reach) -> String {
        judge(url, reach).unwrap_err().code().to_string()
    }

    #[test]
    fn a_url_is_judged_before_anything_is_sent() {
        assert!(judge("https://registry.example/v2/", Reach::Public).is_ok());
        assert!(judge("http://127.0.0.1:5000/v2/", Reach::Insecure).is_ok());
        assert!(judge("https://10.0.0.1/v2/", Reach::Private).is_ok());
        assert_eq!(refused("http://registry.example/", Reach::Public), "egress/bad-url");
        assert_eq!(refused("http://10.0.0.1/", Reach::Private), "egress/bad-url");
        assert_eq!(refused("file:///etc/passwd", Reach::Insecure), "egress/bad-url");
        assert_eq!(refused("https://user:secret@registry.example/", Reach::Public), "egress/bad-url");
        assert_eq!(refused("https://127.0.0.1/", Reach::Public), "egress/not-public");
        assert_eq!(refused("https://[::1]/", Reach::Public), "egress/not-public");
        // Other spellings of 127.0.0.1.
        assert_eq!(refused("https://2130706433/", Reach::Public), "egress/not-public");
        assert_eq!(refused("https://0x7f.1/", Reach::Public), "egress/not-public");
        assert_eq!(refused("https://[::ffff:127.0.0.1]/", Reach::Public), "egress/not-public");
    }

    #[tokio::test]
    async fn a_name_that_resolves_to_this_machine_is_not_connected_to() {
        let egress = Egress::new("test").unwrap();
        let request = EgressRequest {
            method: Method::GET,
            url: "https://localhost:1/",
            query: &[],
            headers: HeaderMap::new(),
            reach: Reach::Public,
            most_bytes: 1_024,
            deadline: Duration::from_secs(20),
        };
        let error = egress.ask(request).await.unwrap_err();
        assert_eq!(error, EgressError::NotPublic { host: "localhost".to_owned() });
    }
}
