//! `[images]`: how tags are resolved to content when a task is submitted.

use std::time::Duration;

use lode_network::ProxyUrl;
use lode_program::config::duration;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

/// `[images]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ImagesConfig {
    /// Whether registries are asked at all.
    pub resolve: bool,
    /// How long a submission waits for the registry; then the task goes unpinned.
    #[serde(with = "duration")]
    pub timeout: Duration,
    /// The proxy by which registries are asked that are not listed below; left out: directly. The environment's is not used.
    #[serde(deserialize_with = "proxy")]
    pub proxy: Option<ProxyUrl>,
    /// Registries (`host`, `host:port`, or `host:*` for every port) that may have addresses which are not public.
    pub private_registries: Vec<String>,
    /// Registries that may besides be spoken to over plain HTTP. Nothing is trusted that is not listed, not even loopback:
    /// a tenant's own task may listen there, and its answers say where to ask next.
    pub insecure_registries: Vec<String>,
}

impl Default for ImagesConfig {
    fn default() -> Self {
        ImagesConfig {
            resolve: true,
            timeout: Duration::from_secs(5),
            proxy: None,
            private_registries: Vec::new(),
            insecure_registries: Vec::new(),
        }
    }
}

fn proxy<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ProxyUrl>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| text.parse().map_err(D::Error::custom)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_read_refused_with_a_reason_and_shown_without_its_password() {
        let config: ImagesConfig = toml::from_str("proxy = \"http://user:secret@proxy.corp:3128\"").unwrap();
        assert!(!format!("{config:?}").contains("secret"));
        assert_eq!(config.proxy.unwrap().to_string(), "http://proxy.corp:3128");
        assert!(toml::from_str::<ImagesConfig>("").unwrap().proxy.is_none());
        let error = toml::from_str::<ImagesConfig>("proxy = \"socks5://proxy.corp\"").unwrap_err();
        assert!(error.to_string().contains("only http"), "{error}");
    }
}
