//! Whom the operator trusts, and how far.
//!
//! Every URL is judged by its own host, also what a host redirects to and where it wants a token to be had: trust in one
//! host is lent to no other, or a registry on loopback would lead its reader to everything beside it.

use std::collections::BTreeSet;

use reqwest::Url;

use super::judge::Reach;

/// Stands for every port of a host.
const ANY_PORT: &str = "*";

/// How far requests to each host may go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trust {
    /// Of hosts that are not listed.
    others: Reach,
    private: BTreeSet<String>,
    insecure: BTreeSet<String>,
}

impl Trust {
    /// Every host may be reached so far: where nobody but the operator names hosts.
    #[must_use]
    pub const fn everybody(reach: Reach) -> Self {
        Self { others: reach, private: BTreeSet::new(), insecure: BTreeSet::new() }
    }

    /// Only these hosts are reached off the internet: `host` (at its scheme's own port), `host:port`, or `host:*`.
    #[must_use]
    pub fn hosts(private: &[String], insecure: &[String]) -> Self {
        let set = |hosts: &[String]| hosts.iter().map(|host| host.trim().to_ascii_lowercase()).collect();
        Self { others: Reach::Public, private: set(private), insecure: set(insecure) }
    }

    /// Whether the operator lists exactly this `host` or `host:port`.
    #[must_use]
    pub fn names(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        self.private.contains(&host) || self.insecure.contains(&host)
    }

    /// How far requests to a `host` or `host:port` may go.
    #[must_use]
    pub fn reach(&self, host: &str) -> Reach {
        // What is no host is asked nothing.
        format!("https://{host}/").parse::<Url>().map_or(Reach::Public, |url| self.reach_of(&url))
    }

    pub(super) fn reach_of(&self, url: &Url) -> Reach {
        let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
            return self.others;
        };
        let host = host.to_ascii_lowercase();
        let named = [format!("{host}:{port}"), format!("{host}:{ANY_PORT}")];
        let bare = url.port().is_none().then_some(host);
        let is_in = |list: &BTreeSet<String>| named.iter().chain(&bare).any(|name| list.contains(name));
        if is_in(&self.insecure) {
            Reach::Insecure
        } else if is_in(&self.private) {
            Reach::Private
        } else {
            self.others
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hosts_that_the_operator_lists_are_reached_off_the_internet_each_by_its_port() {
        let private = ["registry.lan".to_owned(), "other.lan:5000".to_owned()];
        let insecure = ["OLD.lan:5000".to_owned(), "127.0.0.1:*".to_owned(), "[::1]:5000".to_owned()];
        let trust = Trust::hosts(&private, &insecure);
        let cases = [
            ("docker.io", Reach::Public),
            ("localhost:5000", Reach::Public),
            ("10.0.0.1:5000", Reach::Public),
            ("127.0.0.2:5000", Reach::Public),
            ("registry.lan", Reach::Private),
            ("registry.lan:443", Reach::Private),
            ("registry.lan:5000", Reach::Public),
            ("other.lan", Reach::Public),
            ("other.lan:5000", Reach::Private),
            ("old.LAN:5000", Reach::Insecure),
            ("old.lan", Reach::Public),
            ("127.0.0.1:5000", Reach::Insecure),
            ("127.0.0.1", Reach::Insecure),
            ("[::1]:5000", Reach::Insecure),
            ("[::1]:5001", Reach::Public),
            ("not a host", Reach::Public),
        ];
        for (host, expected) in cases {
            assert_eq!(trust.reach(host), expected, "{host}");
            assert_eq!(Trust::everybody(Reach::Public).reach(host), Reach::Public, "nobody is trusted");
        }
        for (host, expected) in [("old.LAN:5000", true), ("registry.lan", true), ("127.0.0.1:5000", false)] {
            assert_eq!(trust.names(host), expected, "{host}");
        }
    }
}
