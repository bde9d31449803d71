//! The proxy that an operator names for the way out.
//!
//! It resolves names in our stead, so that where a name leads is judged by it and no more by us: it must not reach what
//! strangers may not. Only an operator names one; what the system's environment says is not asked.

use std::fmt;
use std::str::FromStr;

use reqwest::Url;

/// An HTTP proxy. May carry a password: not part of its text or debug form.
#[derive(Clone, PartialEq, Eq)]
pub struct ProxyUrl(Url);

impl ProxyUrl {
    pub(crate) fn url(&self) -> Url {
        self.0.clone()
    }
}

impl FromStr for ProxyUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let url: Url = text.trim().parse().map_err(|_| {
            "the proxy is no URL; write http://HOST:PORT, or http://USER:PASSWORD@HOST:PORT".to_owned()
        })?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(format!(
                "the proxy's URL begins with {}:; only http and https proxies are spoken to",
                url.scheme()
            ));
        }
        if url.host_str().is_none_or(str::is_empty)
            || url.query().is_some()
            || !matches!(url.path(), "" | "/")
        {
            return Err("the proxy's URL is more than a host and a port; write http://HOST:PORT".to_owned());
        }
        Ok(Self(url))
    }
}

impl fmt::Display for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.0.host_str().unwrap_or_default();
        match self.0.port_or_known_default() {
            Some(port) => write!(f, "{}://{host}:{port}", self.0.scheme()),
            None => write!(f, "{}://{host}", self.0.scheme()),
        }
    }
}

impl fmt::Debug for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProxyUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_a_host_and_a_port_and_its_password_is_not_shown() {
        let proxy: ProxyUrl = "http://user:secret@proxy.corp:3128".parse().unwrap();
        assert_eq!(proxy.to_string(), "http://proxy.corp:3128");
        assert!(!format!("{proxy:?}").contains("secret"));
        assert_eq!("https://[fd00::1]".parse::<ProxyUrl>().unwrap().to_string(), "https://[fd00::1]:443");
        for (text, word) in [
            ("proxy.corp:3128", "only http"),
            ("socks5://proxy.corp:1080", "only http"),
            ("http://proxy.corp/pac", "host and a port"),
            ("", "no URL"),
        ] {
            assert!(text.parse::<ProxyUrl>().unwrap_err().contains(word), "{text}");
        }
    }
}
