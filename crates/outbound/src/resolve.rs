//! Names become addresses once, and what was judged is what is dialled: a name that leads elsewhere a moment later (DNS
//! rebinding) gains nothing.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use futures::future::BoxFuture;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Finds the addresses of a name.
pub trait Resolver: fmt::Debug + Send + Sync + 'static {
    /// All of them.
    fn resolve(&self, host: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>>;
}

/// As this machine does.
#[derive(Debug)]
pub struct SystemResolver;

impl Resolver for SystemResolver {
    fn resolve(&self, host: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        let host = host.to_owned();
        Box::pin(async move {
            let found = tokio::net::lookup_host((host.as_str(), 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    }
}

/// A name none of whose addresses is public.
#[derive(Debug)]
struct NothingPublic(String);

impl fmt::Display for NothingPublic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} has no public address", self.0)
    }
}

impl std::error::Error for NothingPublic {}

/// Lets only those addresses through that may be dialled.
pub(super) struct Judged {
    pub(super) resolver: Arc<dyn Resolver>,
    pub(super) allowed: fn(IpAddr) -> bool,
}

/// Names as this machine resolves them, but to public addresses only.
#[must_use]
pub fn public_names() -> Arc<dyn Resolve> {
    Arc::new(Judged { resolver: Arc::new(SystemResolver), allowed: super::address::is_public })
}

impl Resolve for Judged {
    fn resolve(&self, name: Name) -> Resolving {
        let (found, allowed) = (self.resolver.resolve(name.as_str()), self.allowed);
        Box::pin(async move {
            let good: Vec<SocketAddr> =
                found.await?.into_iter().filter(|ip| allowed(*ip)).map(|ip| SocketAddr::new(ip, 0)).collect();
            if good.is_empty() {
                return Err(NothingPublic(name.as_str().to_owned()).into());
            }
            Ok(Box::new(good.into_iter()) as Addrs)
        })
    }
}

/// Whether a request failed because its name has no address that may be dialled.
pub(super) fn is_refusal(error: &reqwest::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(next) = cause {
        if next.is::<NothingPublic>() {
            return true;
        }
        cause = next.source();
    }
    false
}
