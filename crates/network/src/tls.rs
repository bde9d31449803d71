//! Certificates of the HTTPS fallback: the operator's own, or a self-signed one that clients pin by its fingerprint.
//!
//! A pinned client checks the SHA-256 of the certificate and that the server holds its key; names and dates do not
//! matter, since the fingerprint comes from the pool itself and is renewed there.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, ServerConfig, SignatureScheme};
use sha2::{Digest as _, Sha256};

use crate::error::NetworkError;

/// SHA-256 of a certificate in DER form; as text 64 hexadecimal digits (colons, as openssl prints, are read too).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    fn of(certificate: &CertificateDer<'_>) -> Self {
        Self(Sha256::digest(certificate.as_ref()).into())
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Fingerprint {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let digits: String = text.trim().chars().filter(|c| *c != ':').take(65).collect();
        let mut bytes = [0; 32];
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| NetworkError::BadCertificate {
            reason: "a fingerprint has 64 hexadecimal digits".to_owned(),
        })?;
        Ok(Self(bytes))
    }
}

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
        let fingerprint = Fingerprint::of(first);
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

/// The HTTP client panics when no provider is the process's default. Every main installs one; tools and tests that
/// forgot get the same one here.
pub(crate) fn ensure_provider() {
    if CryptoProvider::get_default().is_none() {
        // Fails only when somebody else was faster, which is as good.
        let _ = ring::default_provider().install_default();
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// A TLS client that accepts one certificate and no other.
pub(crate) fn pinned_client_config(pin: Fingerprint) -> Result<ClientConfig, NetworkError> {
    let provider = provider();
    let verifier = PinnedCertificate { pin, provider: provider.clone() };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| NetworkError::BadCertificate { reason: error.to_string() })?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(config)
}

#[derive(Debug)]
struct PinnedCertificate {
    pin: Fingerprint,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for PinnedCertificate {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if Fingerprint::of(end_entity) == self.pin {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(rustls::Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Whether a failure was the pinned verifier's refusal.
pub(crate) fn is_pin_mismatch(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(rustls::Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure)) =
            error.downcast_ref::<rustls::Error>()
        {
            return true;
        }
        // The source of an I/O error that wraps another error is that error's source, not the error itself.
        next = match error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        };
    }
    false
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
