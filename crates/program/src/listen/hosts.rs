//! Under which names a listener answers: DNS rebinding makes a browser send a page's own name to an address of ours.
//!
//! An IP address and `localhost` are always fine, since a page cannot have them as its name and be another's; so is, over
//! TLS, the name that the handshake asked for, since a browser has compared it with the certificate. Everything else is
//! what the operator wrote down. A request that names no host, two, or two different ones, is refused as well: what we
//! judge must be what anything before or behind us sees.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use axum::http::{Request, StatusCode, header};

use crate::problem::Problem;

const CODE: &str = "api/host-refused";

/// The names of one listener.
#[derive(Debug, Clone)]
pub struct Hosts {
    names: Arc<[String]>,
    setting: &'static str,
}

impl Hosts {
    /// These, besides IP addresses and `localhost`. `setting` is where an operator adds one, as in `api.hosts`.
    pub fn new(names: impl IntoIterator<Item = String>, setting: &'static str) -> Self {
        Self { names: names.into_iter().collect(), setting }
    }

    /// Whether the request is for us. `asked_by_tls` is the name that the TLS handshake asked for.
    ///
    /// # Errors
    /// It is not; what to answer.
    pub fn judge<B>(&self, request: &Request<B>, asked_by_tls: Option<&str>) -> Result<(), Problem> {
        let mut given = request.headers().get_all(header::HOST).iter();
        let (Some(host), None) = (given.next(), given.next()) else {
            return Err(self.refusal(StatusCode::BAD_REQUEST, "The request has no Host header, or several."));
        };
        let Some(host) = host.to_str().ok().filter(|host| host_name(host).is_some()) else {
            return Err(self.refusal(StatusCode::BAD_REQUEST, "The Host header is no host and port."));
        };
        if request.uri().authority().is_some_and(|target| !target.as_str().eq_ignore_ascii_case(host)) {
            let detail = "The request's target names another host than its Host header.";
            return Err(self.refusal(StatusCode::BAD_REQUEST, detail));
        }
        let known = host_name(host).is_some_and(|name| {
            is_address(name)
                || name.eq_ignore_ascii_case("localhost")
                || asked_by_tls.is_some_and(|asked| asked.eq_ignore_ascii_case(without_final_dot(name)))
                || self.names.iter().any(|known| known.eq_ignore_ascii_case(name))
        });
        if known {
            return Ok(());
        }
        Err(self.refusal(StatusCode::FORBIDDEN, "The Host header names none of this server's names."))
    }

    fn refusal(&self, status: StatusCode, detail: &str) -> Problem {
        Problem::new(status, CODE, "Unknown host name").detail(detail).remedy(format!(
            "Use an IP address or localhost, or have the operator add the name to {}.",
            self.setting
        ))
    }
}

/// The name in `name`, `name:port`, `[v6]` or `[v6]:port`; brackets stay, so that they are never mistaken for a name.
fn host_name(host: &str) -> Option<&str> {
    let end = if host.starts_with('[') { host.find(']')? + 1 } else { host.find(':').unwrap_or(host.len()) };
    let (name, port) = host.split_at_checked(end)?;
    let is_port = port.strip_prefix(':').is_some_and(|port| port.bytes().all(|b| b.is_ascii_digit()));
    let is_name = !name.is_empty() && !name.contains(['@', '/', '\\', ' ', '\t', ',']);
    (is_name && (port.is_empty() || is_port)).then_some(name)
}

/// A name may end with the dot of the root, which TLS leaves out of what it asks for (RFC 6066, section 3).
fn without_final_dot(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

fn is_address(name: &str) -> bool {
    let inner = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    match inner {
        Some(inner) => inner.parse::<Ipv6Addr>().is_ok(),
        None => name.parse::<Ipv4Addr>().is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(target: &str, hosts: &[&str], asked_by_tls: Option<&str>) -> Result<(), u16> {
        let mut request = Request::builder().uri(target);
        for host in hosts {
            request = request.header(header::HOST, *host);
        }
        let request = request.body(()).expect("a request");
        let known = Hosts::new(["pool.example".to_owned()], "api.hosts");
        known.judge(&request, asked_by_tls).map_err(|problem| {
            assert_eq!(problem.code.to_string(), CODE);
            assert!(problem.remedy.contains("api.hosts"), "{}", problem.remedy);
            problem.status
        })
    }

    #[test]
    fn addresses_localhost_and_configured_names_are_ours_with_and_without_a_port() {
        for host in [
            "127.0.0.1",
            "192.0.2.1:9090",
            "[::1]",
            "[2001:db8::1]:7070",
            "localhost",
            "LOCALHOST:1",
            "pool.example",
            "Pool.Example:443",
        ] {
            assert_eq!(judged("/", &[host], None), Ok(()), "{host}");
        }
    }

    #[test]
    fn a_name_that_was_bound_to_our_address_by_somebody_else_is_refused() {
        for host in
            ["evil.example", "evil.example:7070", "127.0.0.1.evil.example", "pool.example.evil", "2130706433"]
        {
            assert_eq!(judged("/v1/status", &[host], None), Err(403), "{host}");
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for host in
            ["", ":80", "user@pool.example", "[::1", "[::1]x", "localhost:x", "::1", "a b", "localhost,evil"]
        {
            assert!(judged("/", &[host], None).is_err(), "{host}");
        }
        assert_eq!(judged("/", &[], None), Err(400));
    }

    #[test]
    fn a_second_host_or_a_target_of_another_host_is_refused() {
        assert_eq!(judged("/", &["localhost", "localhost"], None), Err(400));
        assert_eq!(judged("/", &["localhost", "evil.example"], None), Err(400));
        assert_eq!(judged("http://evil.example/", &["localhost"], None), Err(400));
        assert_eq!(judged("http://localhost:1/", &["localhost"], None), Err(400));
        assert_eq!(judged("http://LOCALHOST:1/", &["localhost:1"], None), Ok(()));
    }

    #[test]
    fn over_tls_the_name_that_the_certificate_was_asked_for_is_ours_and_no_other() {
        assert_eq!(judged("/", &["wire.example:7443"], Some("wire.example")), Ok(()));
        assert_eq!(judged("/", &["wire.example."], Some("wire.example")), Ok(()), "the root's dot");
        assert_eq!(judged("/", &["wire.example.:7443"], Some("wire.example")), Ok(()));
        assert_eq!(judged("/", &["wire.example.."], Some("wire.example")), Err(403));
        assert_eq!(judged("/", &["evil.example"], Some("wire.example")), Err(403));
    }
}
