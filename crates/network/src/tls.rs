//! What the HTTPS fallback is served with: the operator's own certificate, or a self-signed one that clients pin by its
//! fingerprint.

use std::fmt;
use std::sync::Arc;

use lode_address::Fingerprint;
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::error::NetworkError;

/// A certificate chain and key to serve with.
#[derive(Clone, Debug)]
pub struct ServerIdentity {
    config: Arc<ServerConfig>,
    fingerprint: Fingerprint,
}

/// A fresh self-signed certificate as text; keep it (the key in a 0600 file), so that the fingerprint stays.
pub struct SelfSignedPem {
    /// The certificate.
    pub certificate: String,
    /// Its private key. Never log this.
    pub private_key: String,
}

impl fmt::Debug for SelfSignedPem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SelfSignedPem").field("private_key", &"redacted").finish_non_exhaustive()
    }
}

impl ServerIdentity {
    /// From PEM text: the chain (own certificate first) and its key.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, NetworkError> {
        let bad = |reason: String| NetworkError::BadCertificate { reason };
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<_, _>>()
            .map_err(|error| bad(format!("the chain is not PEM: {error}")))?;
        let first = chain.first().ok_or_else(|| bad("the chain holds no certificate".to_owned()))?;
        let fingerprint = Fingerprint::of(first.as_ref());
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|error| bad(format!("the key is not PEM: {error}")))?;
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| bad(error.to_string()))?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(|error| bad(error.to_string()))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { config: Arc::new(config), fingerprint })
    }

    /// A new self-signed certificate for these host names and addresses.
    pub fn self_signed(names: &[String]) -> Result<(Self, SelfSignedPem), NetworkError> {
        let made = rcgen::generate_simple_self_signed(names)
            .map_err(|error| NetworkError::BadCertificate { reason: error.to_string() })?;
        let pem =
            SelfSignedPem { certificate: made.cert.pem(), private_key: made.signing_key.serialize_pem() };
        let identity = Self::from_pem(pem.certificate.as_bytes(), pem.private_key.as_bytes())?;
        Ok((identity, pem))
    }

    /// What clients pin.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// For the listener.
    pub fn server_config(&self) -> Arc<ServerConfig> {
        self.config.clone()
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_certificate_keeps_its_fingerprint() {
        let (identity, pem) = ServerIdentity::self_signed(&["127.0.0.1".to_owned()]).unwrap();
        let again = ServerIdentity::from_pem(pem.certificate.as_bytes(), pem.private_key.as_bytes()).unwrap();
        assert_eq!(again.fingerprint(), identity.fingerprint());
        assert_eq!(
            identity.fingerprint().to_string().parse::<Fingerprint>().unwrap(),
            identity.fingerprint()
        );
        assert!(!format!("{pem:?}").contains("PRIVATE"));
    }

    #[test]
    fn a_chain_without_its_key_is_refused() {
        let (_, one) = ServerIdentity::self_signed(&["a".to_owned()]).unwrap();
        let (_, two) = ServerIdentity::self_signed(&["a".to_owned()]).unwrap();
        let error =
            ServerIdentity::from_pem(one.certificate.as_bytes(), two.private_key.as_bytes()).unwrap_err();
        assert_eq!(error.code(), "network/bad-certificate");
        assert!(ServerIdentity::from_pem(b"", one.private_key.as_bytes()).is_err());
    }
}
