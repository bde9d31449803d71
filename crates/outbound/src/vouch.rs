//! Whether somebody else may be sent to a host: a program that dials by itself, like a container engine, and cannot be
//! held to what was judged here. So every address of the host must be good, not only the one that would be dialled here.

use std::net::IpAddr;

use reqwest::Url;

use super::Outbound;
use super::error::OutboundError;
use super::judge::Reach;
use super::trust::Trust;
use lode_address::literal_ip;

impl Outbound {
    /// Whether `host` or `host:port` leads to the public internet and nowhere else, or is trusted. Names without a dot are
    /// somebody's own network's.
    ///
    /// # Errors
    /// [`OutboundError::NotPublic`] where it does not; another one where that cannot be told.
    pub async fn vouch_for(&self, host: &str, trust: &Trust) -> Result<(), OutboundError> {
        match trust.reach(host) {
            Reach::Private | Reach::Insecure => return Ok(()),
            Reach::Public => {}
        }
        let bad = |reason: &str| OutboundError::BadUrl { url: host.to_owned(), reason: reason.to_owned() };
        let not_public = || OutboundError::NotPublic { host: host.to_owned() };
        let url: Url = format!("https://{host}/").parse().map_err(|_| bad("it is no host"))?;
        let allowed = self.guard.allowed;
        if let Some(ip) = literal_ip(&url) {
            return if allowed(ip) { Ok(()) } else { Err(not_public()) };
        }
        let name = url.host_str().ok_or_else(|| bad("it names no host"))?;
        if !name.contains('.') {
            return Err(not_public());
        }
        let unreachable = |reason: String| OutboundError::Unreachable { host: host.to_owned(), reason };
        let found: Vec<IpAddr> =
            self.guard.resolver.resolve(name).await.map_err(|error| unreachable(error.to_string()))?;
        match found.iter().all(|ip| allowed(*ip)) {
            true if found.is_empty() => Err(unreachable("its name has no address".to_owned())),
            true => Ok(()),
            false => Err(not_public()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use futures::FutureExt as _;
    use futures::future::BoxFuture;

    use super::super::resolve::Resolver;
    use super::*;

    #[derive(Debug)]
    struct Names;

    impl Resolver for Names {
        fn resolve(&self, host: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
            let addresses: &[&str] = match host {
                "public.example" => &["8.8.8.8", "2606:4700::1111"],
                "mixed.example" => &["8.8.8.8", "10.0.0.1"],
                "inside.example" => &["169.254.169.254"],
                "mapped.example" => &["::ffff:127.0.0.1"],
                "nothing.example" => &[],
                "registry" => &["8.8.8.8"],
                _ => return std::future::ready(Err(io::Error::other("no such name"))).boxed(),
            };
            let addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
            std::future::ready(Ok(addresses)).boxed()
        }
    }

    #[tokio::test]
    async fn a_host_is_vouched_for_when_all_of_its_addresses_are_public_or_it_is_trusted() {
        let outbound = Outbound::with_resolver("test", Arc::new(Names)).unwrap();
        let trust = Trust::hosts(&["inside.example".to_owned()], &["127.0.0.1:5000".to_owned()]);
        let judge = async |host: &str, trust: &Trust| {
            outbound.vouch_for(host, trust).await.map_err(|error| error.code().to_string())
        };
        let nobody = Trust::everybody(Reach::Public);
        for host in ["public.example", "public.example:5000", "8.8.8.8", "[2606:4700::1111]:443"] {
            assert_eq!(judge(host, &nobody).await, Ok(()), "{host}");
        }
        for host in [
            "127.0.0.1:28794",
            "127.0.0.2",
            "127.1:80",
            "0x7f.1:80",
            "2130706433:80",
            "10.0.0.1:5000",
            "169.254.169.254",
            "100.64.0.1",
            "[::1]:5000",
            "[::ffff:10.0.0.1]:80",
            "[fe80::1]",
            "0.0.0.0:80",
            "localhost:5000",
            "localhost",
            "registry:5000",
            "mixed.example",
            "inside.example",
            "mapped.example",
        ] {
            assert_eq!(judge(host, &nobody).await, Err("fetch/not-public".to_owned()), "{host}");
        }
        for host in ["nothing.example", "unknown.example"] {
            assert_eq!(judge(host, &nobody).await, Err("fetch/unreachable".to_owned()), "{host}");
        }
        assert_eq!(judge("inside.example", &trust).await, Ok(()));
        assert_eq!(judge("127.0.0.1:5000", &trust).await, Ok(()));
        assert_eq!(judge("127.0.0.1:5001", &trust).await, Err("fetch/not-public".to_owned()));
    }
}
