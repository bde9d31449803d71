//! HTTP listeners with their TLS: the operator's certificate, or a self-signed one that is kept in the data directory so
//! that its fingerprint stays. Plain HTTP on loopback only.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use lode_network::ServerIdentity;
use lode_program::files::{self, DataDir};
use lode_program::listen::{Bound, bind};

use crate::config::Config;

/// The HTTPS fallback for workers.
#[derive(Debug)]
pub(super) struct WireListener {
    pub(super) bound: Bound,
    pub(super) tls: Option<Arc<rustls::ServerConfig>>,
    url: String,
}

/// Everything that is bound.
#[derive(Debug)]
pub(super) struct Listeners {
    pub(super) api: Bound,
    pub(super) api_tls: Option<Arc<rustls::ServerConfig>>,
    pub(super) wire: Option<WireListener>,
}

impl Listeners {
    /// Binds the API and, if it is wanted, the fallback.
    pub(super) async fn bind(config: &Config, data_dir: &DataDir) -> anyhow::Result<Self> {
        let given = |cert: &Option<std::path::PathBuf>, key: &Option<std::path::PathBuf>| {
            cert.clone().zip(key.clone())
        };
        let api_files = given(&config.api.tls_cert, &config.api.tls_key);
        let api_identity = match (&api_files, config.api.listen.ip().is_loopback()) {
            (None, true) => None,
            _ => Some(identity(api_files.as_ref(), data_dir, "api", config.api.listen)?),
        };
        let api = bind("api", config.api.listen).await?;
        let wire = match config.wire.https {
            None => None,
            Some(address) => {
                let bound = bind("wire https", address).await?;
                let files = given(&config.wire.tls_cert, &config.wire.tls_key);
                Some(if config.wire.https_plain {
                    WireListener { url: format!("http://{}", bound.address), tls: None, bound }
                } else {
                    let own = files.is_none();
                    let identity = identity(files.as_ref(), data_dir, "wire", address)?;
                    let pin = if own { format!("#sha256={}", identity.fingerprint()) } else { String::new() };
                    let url = format!("https://{}{pin}", bound.address);
                    WireListener { url, tls: Some(identity.server_config()), bound }
                })
            }
        };
        Ok(Listeners { api, api_tls: api_identity.map(|identity| identity.server_config()), wire })
    }

    /// Where the fallback is reached, with the pin of its own certificate.
    pub(super) fn wire_url(&self) -> Option<String> {
        self.wire.as_ref().map(|wire| wire.url.clone())
    }
}

fn identity(
    given: Option<&(std::path::PathBuf, std::path::PathBuf)>,
    data_dir: &DataDir,
    name: &str,
    address: SocketAddr,
) -> anyhow::Result<ServerIdentity> {
    if let Some((cert, key)) = given {
        let chain = std::fs::read(cert).with_context(|| format!("cannot read {}", cert.display()))?;
        return Ok(ServerIdentity::from_pem(&chain, &files::read_secret(key)?)?);
    }
    let (cert, key) = (data_dir.join(&format!("{name}-cert.pem")), data_dir.join(&format!("{name}-key.pem")));
    if is_there(&cert) && is_there(&key) {
        let chain = std::fs::read(&cert).with_context(|| format!("cannot read {}", cert.display()))?;
        return Ok(ServerIdentity::from_pem(&chain, &files::read_secret(&key)?)?);
    }
    let names = ["localhost".to_owned(), address.ip().to_string()];
    let (identity, pem) = ServerIdentity::self_signed(&names)?;
    files::replace_secret(&key, pem.private_key.as_bytes())?;
    files::write_atomic(&cert, pem.certificate.as_bytes(), 0o644)?;
    tracing::info!(certificate = %cert.display(), fingerprint = %identity.fingerprint(), "made a self-signed certificate");
    Ok(identity)
}

fn is_there(path: &Path) -> bool {
    path.exists()
}
