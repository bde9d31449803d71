//! A node's consent to serve a provider, as `lode-worker init` writes it.

use std::path::Path;

use anyhow::Context as _;
use lode_contracts::{ChainReader as _, Deployment};
use lode_protocol::ids::{Address, ChainId, NodeId, ProviderId};
use lode_protocol::join::NodeConsent;
use lode_protocol::keys::EthereumSignature;
use lode_protocol::units::Timestamp;
use serde::Deserialize;

use crate::failure::{Failure, Kind};
use crate::wallet::Wallet;

/// What `lode-worker init` writes. Further fields of later versions are no error: the signature says what counts.
#[derive(Clone, Debug, Deserialize)]
struct ConsentFile {
    node: NodeId,
    provider: ProviderId,
    nonce: u64,
    deadline: u64,
    signature: EthereumSignature,
    chain_id: ChainId,
    registry: Address,
}

/// A consent that its node signed.
pub(super) struct Consent {
    pub(super) statement: NodeConsent,
    pub(super) signature: EthereumSignature,
}

impl ConsentFile {
    fn load(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            let remedy = "run `lode-worker init --provider ADDRESS` on the node and copy the file it writes";
            Kind::NotFound.with_remedy(format!("cannot read the consent {}: {error}", path.display()), remedy)
        })?;
        serde_json::from_str(&text).with_context(|| format!("{} is not a node's consent", path.display()))
    }

    /// Everything that can be seen without asking the chain.
    fn check(&self, deployment: &Deployment, provider: Address, now: Timestamp) -> Result<Consent, Failure> {
        let again = format!(
            "on the node, run `lode-worker init --provider {provider}` again, with the same deployment file"
        );
        let refuse = |code: &str, message: String| Failure::coded(Kind::Denied, code, message, again.clone());
        if (self.chain_id, self.registry) != (deployment.chain_id, deployment.registry) {
            let message = format!(
                "the consent is for registry {} on chain {}, the deployment file says {} on chain {}",
                self.registry, self.chain_id, deployment.registry, deployment.chain_id
            );
            return Err(refuse("consent/wrong-registry", message));
        }
        if self.provider != ProviderId(provider) {
            let message =
                format!("the node consented to provider {}, this is about {provider}", self.provider);
            return Err(refuse("consent/wrong-provider", message));
        }
        if self.deadline.saturating_mul(1_000) <= now.0 {
            let expired = Timestamp(self.deadline.saturating_mul(1_000));
            return Err(refuse("consent/expired", format!("the consent expired at {expired}")));
        }
        let statement = NodeConsent {
            node: self.node,
            provider: self.provider,
            nonce: self.nonce,
            deadline: self.deadline,
        };
        match self.signature.recover(&statement.digest(&deployment.registry_domain())) {
            Ok(signer) if signer == self.node.0 => Ok(Consent { statement, signature: self.signature }),
            _ => Err(refuse(
                "consent/bad-signature",
                format!("the consent is not signed by node {}", self.node),
            )),
        }
    }
}

/// Reads a consent to serve `provider`, and asks the chain whether it still counts.
pub(super) async fn checked(wallet: &Wallet, path: &Path, provider: Address) -> anyhow::Result<Consent> {
    let file = ConsentFile::load(path)?;
    let consent = file.check(wallet.deployment(), provider, wallet.now)?;
    let expected = wallet.chain.consent_nonce(file.node).await?;
    if expected != file.nonce {
        let message = format!(
            "the consent was used, or is for another registration: its nonce is {}, the chain wants {expected}",
            file.nonce
        );
        let remedy = "on the node, run `lode-worker init` again";
        return Err(Failure::coded(Kind::Conflict, "consent/wrong-nonce", message, remedy).into());
    }
    Ok(consent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lode_protocol::keys::SigningKey;
    use serde_json::json;

    fn deployment() -> Deployment {
        Deployment {
            chain_id: ChainId(31337),
            block: 1,
            rpc_url: None,
            token: Address([1; 20]),
            registry: Address([2; 20]),
            pools: Address([3; 20]),
            validators: Address([4; 20]),
            slashing: Address([5; 20]),
            rewards: Address([6; 20]),
            commit: None,
            code_hashes: Default::default(),
        }
    }

    fn consent(provider: Address) -> ConsentFile {
        let key = SigningKey::from_bytes(&[7; 32]).unwrap();
        let statement = NodeConsent {
            node: NodeId(key.address()),
            provider: ProviderId(provider),
            nonce: 0,
            deadline: 1_000,
        };
        let signature = key.sign_recoverable(&statement.digest(&deployment().registry_domain()));
        let text = json!({
            "node": statement.node, "provider": statement.provider, "nonce": 0, "deadline": 1_000,
            "signature": signature, "chain_id": 31337, "registry": deployment().registry, "note": "from a later version",
        });
        serde_json::from_value(text).unwrap()
    }

    #[test]
    fn a_consent_counts_for_its_provider_registry_and_time_only() {
        let provider = Address([9; 20]);
        let now = Timestamp(999_000);
        assert!(consent(provider).check(&deployment(), provider, now).is_ok());
        let code = |file: ConsentFile, provider, now| {
            file.check(&deployment(), provider, now).err().and_then(|f| f.code)
        };
        let good = consent(provider);
        assert_eq!(code(good.clone(), Address([8; 20]), now).as_deref(), Some("consent/wrong-provider"));
        assert_eq!(code(good.clone(), provider, Timestamp(1_000_000)).as_deref(), Some("consent/expired"));
        let elsewhere = ConsentFile { chain_id: ChainId(1), ..good.clone() };
        assert_eq!(code(elsewhere, provider, now).as_deref(), Some("consent/wrong-registry"));
        let forged = ConsentFile { nonce: 5, ..good };
        assert_eq!(code(forged, provider, now).as_deref(), Some("consent/bad-signature"));
    }
}
