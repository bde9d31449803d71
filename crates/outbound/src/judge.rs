//! Whether a URL may be asked, as far as that can be told before its name is resolved.

use std::net::IpAddr;

use reqwest::Url;

use super::error::OutboundError;
use super::trust::Trust;
use lode_address::{Fingerprint, PIN_PREFIX, literal_ip};

/// Longest URL, in bytes.
const LONGEST_URL: usize = 4_096;

/// How far a request may go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reach {
    /// Public addresses over HTTPS.
    Public,
    /// Any address, over HTTPS: the operator trusts the host. Plain HTTP to this machine, if that is asked first.
    Private,
    /// Any address, also over plain HTTP: the operator trusts the host and the network to it.
    Insecure,
}

/// A URL that may be asked.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) url: Url,
    /// The one certificate that is accepted.
    pub(super) pin: Option<Fingerprint>,
    /// How far its own host is trusted.
    pub(super) reach: Reach,
}

impl Target {
    /// A URL that somebody named. `#sha256=…` pins its certificate.
    pub(super) fn named(
        text: &str,
        trust: &Trust,
        allowed: fn(IpAddr) -> bool,
    ) -> Result<Self, OutboundError> {
        let mut url = parse(text)?;
        let reach = trust.reach_of(&url);
        let bad = |reason: &str| bad(text, reason);
        let pin = match url.fragment().and_then(|fragment| fragment.strip_prefix(PIN_PREFIX)) {
            Some(digits) => Some(
                digits
                    .parse::<Fingerprint>()
                    .map_err(|_| bad("the fingerprint must have 64 hexadecimal digits"))?,
            ),
            None => None,
        };
        url.set_fragment(None);
        let to_this_machine = literal_ip(&url).is_some_and(|ip| ip.is_loopback());
        match (url.scheme(), reach, pin) {
            ("http", _, Some(_)) => return Err(bad("plain HTTP has no certificate to pin")),
            ("http", Reach::Private, None) if to_this_machine => {}
            (_, Reach::Public | Reach::Private | Reach::Insecure, _) => check_scheme(text, &url, reach)?,
        }
        check_address(&url, reach, allowed)?;
        Ok(Self { url, pin, reach })
    }

    /// Where a redirect leads. Its host is judged by itself, not by who sent us there; it cannot say how it is to be
    /// trusted.
    pub(super) fn redirected(
        &self,
        target: &str,
        trust: &Trust,
        allowed: fn(IpAddr) -> bool,
    ) -> Result<Self, OutboundError> {
        self.judge_redirect(target, trust, allowed).map_err(|error| match error {
            // Whoever reads the error need not see where an operator's own registry sends its readers, nor with which key.
            OutboundError::BadUrl { reason, .. } => {
                OutboundError::BadUrl { url: format!("what {} redirects to", self.host()), reason }
            }
            other => other,
        })
    }

    fn judge_redirect(
        &self,
        target: &str,
        trust: &Trust,
        allowed: fn(IpAddr) -> bool,
    ) -> Result<Self, OutboundError> {
        let joined = self.url.join(target).map_err(|_| bad(target, "it is no URL"))?;
        let mut url = parse(joined.as_str())?;
        url.set_fragment(None);
        let reach = trust.reach_of(&url);
        check_scheme(target, &url, reach)?;
        check_address(&url, reach, allowed)?;
        let pin = self.pin.filter(|_| self.is_same_host(&url));
        Ok(Self { url, pin, reach })
    }

    /// Whether what is meant for this one may be told to `other` as well.
    pub(super) fn is_same_host(&self, other: &Url) -> bool {
        other.scheme() == self.url.scheme()
            && other.host() == self.url.host()
            && other.port_or_known_default() == self.url.port_or_known_default()
    }

    pub(super) fn host(&self) -> String {
        self.url.host_str().unwrap_or_default().to_owned()
    }
}

fn bad(text: &str, reason: &str) -> OutboundError {
    // Text of a stranger never fills our logs.
    OutboundError::BadUrl { url: text.chars().take(200).collect(), reason: reason.to_owned() }
}

fn parse(text: &str) -> Result<Url, OutboundError> {
    if text.len() > LONGEST_URL {
        return Err(bad(text, "it is too long"));
    }
    let url: Url = text.trim().parse().map_err(|_| bad(text, "it is no URL"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(bad(text, "it carries a user name or password"));
    }
    match url.host_str() {
        Some(_) => Ok(url),
        None => Err(bad(text, "it names no host")),
    }
}

fn check_scheme(text: &str, url: &Url, reach: Reach) -> Result<(), OutboundError> {
    match (url.scheme(), reach) {
        ("https", _) | ("http", Reach::Insecure) => Ok(()),
        ("http", Reach::Public | Reach::Private) => Err(bad(text, "plain HTTP is not allowed for this host")),
        _ => Err(bad(text, "it is neither https nor http")),
    }
}

/// A literal address is never resolved: the resolver does not see it.
fn check_address(url: &Url, reach: Reach, allowed: fn(IpAddr) -> bool) -> Result<(), OutboundError> {
    match (reach, literal_ip(url)) {
        (Reach::Public, Some(ip)) if !allowed(ip) => {
            Err(OutboundError::NotPublic { host: url.host_str().unwrap_or_default().to_owned() })
        }
        (Reach::Public | Reach::Private | Reach::Insecure, _) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::address::is_public;
    use super::*;

    fn named(url: &str, reach: Reach) -> Result<Target, OutboundError> {
        Target::named(url, &Trust::everybody(reach), is_public)
    }

    fn refused(url: &str, reach: Reach) -> String {
        named(url, reach).unwrap_err().code().to_string()
    }

    #[test]
    fn a_url_is_judged_before_anything_is_sent() {
        assert!(named("https://registry.example/v2/", Reach::Public).is_ok());
        assert!(named("http://10.0.0.1:5000/v2/", Reach::Insecure).is_ok());
        assert!(named("https://10.0.0.1/v2/", Reach::Private).is_ok());
        assert!(named("http://127.0.0.1:1/x", Reach::Private).is_ok());
        assert_eq!(refused("http://registry.example/", Reach::Public), "fetch/bad-url");
        assert_eq!(refused("http://10.0.0.1/", Reach::Private), "fetch/bad-url");
        assert_eq!(refused("file:///etc/passwd", Reach::Insecure), "fetch/bad-url");
        assert_eq!(refused("ftp://registry.example/", Reach::Insecure), "fetch/bad-url");
        assert_eq!(refused("https://user:secret@registry.example/", Reach::Public), "fetch/bad-url");
        assert_eq!(refused(&format!("https://a/{}", "x".repeat(5_000)), Reach::Public), "fetch/bad-url");
        // Other spellings of 127.0.0.1.
        for host in ["127.0.0.1", "[::1]", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]", "[64:ff9b::7f00:1]"]
        {
            assert_eq!(refused(&format!("https://{host}/"), Reach::Public), "fetch/not-public", "{host}");
        }
    }

    #[test]
    fn a_pin_is_read_and_not_sent() {
        let pin = "ab".repeat(32);
        let target = named(&format!("https://pool.example/x#sha256={pin}"), Reach::Public).unwrap();
        assert_eq!(target.pin.unwrap().to_string(), pin);
        assert_eq!(target.url.as_str(), "https://pool.example/x");
        assert_eq!(refused("https://pool.example/#sha256=12", Reach::Public), "fetch/bad-url");
        assert_eq!(refused(&format!("http://127.0.0.1/#sha256={pin}"), Reach::Private), "fetch/bad-url");
    }

    #[test]
    fn a_redirect_gains_nothing() {
        let pin = "ab".repeat(32);
        let first = named(&format!("https://pool.example/x#sha256={pin}"), Reach::Public).unwrap();
        let nobody = Trust::everybody(Reach::Public);
        let to = |target: &str| first.redirected(target, &nobody, is_public);
        assert_eq!(to("https://127.0.0.1/").unwrap_err().code(), "fetch/not-public");
        assert_eq!(to("http://other.example/").unwrap_err().code(), "fetch/bad-url");
        assert_eq!(to("/y").unwrap().pin, first.pin);
        assert_eq!(to(&format!("https://other.example/#sha256={pin}")).unwrap().pin, None);
        assert_eq!(to("https://pool.example:444/").unwrap().pin, None, "another port is another server");
        let trusted = named("https://10.0.0.1/", Reach::Private).unwrap();
        let down = trusted.redirected("http://127.0.0.1/", &Trust::everybody(Reach::Private), is_public);
        assert_eq!(
            down.unwrap_err().code(),
            "fetch/bad-url",
            "only who asks names this machine in the clear"
        );
    }

    #[test]
    fn trust_in_one_host_is_lent_to_no_other() {
        let trust = Trust::hosts(&[], &["127.0.0.1:5000".to_owned()]);
        let registry = Target::named("http://127.0.0.1:5000/v2/", &trust, is_public).unwrap();
        assert_eq!(registry.reach, Reach::Insecure);
        let to = |target: &str| registry.redirected(target, &trust, is_public).map(|target| target.reach);
        assert_eq!(to("/elsewhere"), Ok(Reach::Insecure));
        assert_eq!(to("https://cdn.example/blob"), Ok(Reach::Public));
        for inside in ["https://127.0.0.1:5001/", "https://10.0.0.1/", "https://169.254.169.254/latest/"] {
            assert_eq!(to(inside).unwrap_err().code(), "fetch/not-public", "{inside}");
        }
        let plain = to("http://10.0.0.1/admin?key=secret").unwrap_err();
        assert_eq!(plain.code(), "fetch/bad-url");
        assert!(!plain.to_string().contains("secret"), "{plain}");
    }
}
