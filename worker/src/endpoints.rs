//! Which endpoints that stand on chain are dialled. Whoever owns a pool or is a validator writes there what he likes: an
//! endpoint inside of this host's network would have every worker ask there in his name.
//!
//! Literal addresses and `localhost` are told by looking. Other names are judged by where they lead when they are dialled
//! (`public_names_only` of the client): a certificate protects nothing inside, where the writer may pin it, or where it is a
//! public one. Plain HTTP goes to literal loopback only, which this refuses.

use std::net::IpAddr;

use lode_network::{EndpointUrl, is_public_address};

/// Code of the finding about endpoints that are not dialled because of where they lead.
pub(crate) const PRIVATE: &str = "chain/private-endpoint";

/// How far endpoints on chain are followed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EndpointPolicy {
    /// Public ones only.
    Public,
    /// Also into networks that are not public: the host's owner says that they are the pool's.
    Anywhere,
}

impl EndpointPolicy {
    /// Endpoints that may be dialled, in their order. Those that cannot be read are left out.
    #[must_use]
    pub fn usable(self, endpoints: &str) -> Vec<EndpointUrl> {
        read(endpoints)
            .filter(|endpoint| self == EndpointPolicy::Anywhere || !leads_inside(endpoint))
            .collect()
    }

    /// Whether there are endpoints, and none may be dialled.
    #[must_use]
    pub fn refuses_all(self, endpoints: &str) -> bool {
        read(endpoints).next().is_some() && self.usable(endpoints).is_empty()
    }
}

fn read(endpoints: &str) -> impl Iterator<Item = EndpointUrl> {
    let texts = endpoints.split(|sign: char| sign.is_whitespace() || sign == ',');
    texts.filter(|text| !text.is_empty()).filter_map(|text| {
        text.parse::<EndpointUrl>()
            .inspect_err(|error| tracing::debug!(text, %error, "endpoint skipped"))
            .ok()
    })
}

fn leads_inside(endpoint: &EndpointUrl) -> bool {
    let host = match endpoint {
        EndpointUrl::Peer(address) => match address.socket_address() {
            Some(address) => return !is_public_address(address.ip()),
            // `/dns4/name/tcp/7000`
            None => address.to_string().split('/').nth(2).unwrap_or_default().to_owned(),
        },
        EndpointUrl::Https(address) => match address.ip() {
            Some(ip) => return !is_public_address(ip),
            // `https://name:7443/…`, as the parser writes it
            None => address.url().split(['/', ':']).nth(3).unwrap_or_default().to_owned(),
        },
    };
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    // Resolvers may take a number for a name.
    host == "localhost" || host.ends_with(".localhost") || host.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_on_chain_cannot_send_a_worker_into_its_own_network() {
        let pin = "ab".repeat(32);
        for inside in [
            "http://127.0.0.1:8080/any/path",
            "https://10.0.0.7/admin",
            "https://[::1]:9",
            "https://[fd00::1]/",
            "https://169.254.169.254/latest/meta-data",
            "https://localhost:8443/x",
            "https://LOCALHOST./x",
            "https://db.localhost/x",
            "/ip4/127.0.0.1/tcp/6379",
            "/ip4/192.168.1.1/tcp/7000",
            "/ip6/fe80::1/tcp/7000",
            "/dns4/localhost/tcp/6379",
            "/dns/127.0.0.1/tcp/6379",
            &format!("https://10.0.0.7:7443#sha256={pin}"),
        ] {
            assert!(EndpointPolicy::Public.usable(inside).is_empty(), "{inside}");
            assert!(EndpointPolicy::Public.refuses_all(inside), "{inside}");
            assert_eq!(EndpointPolicy::Anywhere.usable(inside).len(), 1, "{inside}");
        }
        for outside in [
            "https://pool.example:7443/",
            "https://localhost.pool.example",
            "https://8.8.8.8:7443",
            "/ip4/8.8.8.8/tcp/7000",
            "/dns4/pool.example/tcp/7000",
        ] {
            assert_eq!(EndpointPolicy::Public.usable(outside).len(), 1, "{outside}");
        }
        let mixed = "/ip4/127.0.0.1/tcp/7000, https://pool.example";
        assert_eq!(EndpointPolicy::Public.usable(mixed).len(), 1);
        assert!(!EndpointPolicy::Public.refuses_all(mixed));
    }

    #[test]
    fn endpoints_that_cannot_be_read_are_left_out_and_the_others_stay() {
        let urls = EndpointPolicy::Anywhere.usable("/ip4/127.0.0.1/tcp/7000 nonsense, https://pool.example");
        assert_eq!(urls.len(), 2);
        assert!(!EndpointPolicy::Public.refuses_all("nonsense"), "there is nothing to allow");
    }
}
