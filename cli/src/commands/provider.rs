//! `lode provider …`: the stake of a machine's owner, and the nodes it covers. The key never lies on a GPU host.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context as _;
use lode_contracts::{ChainEvent, ChainReader as _, Deployment, Intent};
use lode_protocol::ids::{Address, ChainId, NodeId, ProviderId};
use lode_protocol::join::NodeConsent;
use lode_protocol::keys::EthereumSignature;
use lode_protocol::units::Timestamp;
use serde::Deserialize;
use serde_json::json;

use super::signer::{Signer, chain};
use crate::arguments::{ChainFlags, Global, ProviderCommand};
use crate::failure::{Failure, Kind};
use crate::output::{self, Format, Sheet};

/// Blocks asked for at once.
const BLOCKS: u64 = 2_000;

pub(super) async fn run(global: &Global, command: ProviderCommand) -> anyhow::Result<()> {
    match command {
        ProviderCommand::Register { signer, stake } => {
            let signer = Signer::new(global, &signer).await?;
            signer.ask(&format!("stake {stake} LODE as a provider"))?;
            let receipt = signer.operator.register_provider(stake).await?;
            let done = format!("{} is a provider with {stake} LODE", signer.operator.address());
            signer.report(&done, &receipt, json!({}))
        }
        ProviderCommand::Stake { signer, amount } => {
            let signer = Signer::new(global, &signer).await?;
            signer.ask(&format!("stake {amount} LODE more"))?;
            let spender = signer.chain.deployment().registry;
            signer.operator.execute(Intent::Approve { spender, amount }).await?;
            let receipt = signer.operator.execute(Intent::Stake { amount }).await?;
            signer.report(&format!("staked {amount} LODE more"), &receipt, json!({}))
        }
        ProviderCommand::Unstake { signer, amount } => {
            let signer = Signer::new(global, &signer).await?;
            let what = format!("take {amount} LODE out of the stake after the unbonding time");
            let done = format!("{amount} LODE unbond; collect them with `lode provider withdraw`");
            signer.execute(&what, &done, Intent::RequestUnstake { amount }).await.map(drop)
        }
        ProviderCommand::Withdraw { signer } => {
            let signer = Signer::new(global, &signer).await?;
            signer
                .execute("collect unbonded stake", "the stake is paid out", Intent::Withdraw)
                .await
                .map(drop)
        }
        ProviderCommand::Authorize { signer, consent, units } => {
            let signer = Signer::new(global, &signer).await?;
            let consent = checked_consent(&signer, &consent).await?;
            let node = consent.statement.node;
            let what = format!("take node {node} on with {units} units of compute");
            let done = format!("node {node} is authorized with {units} units");
            let intent = Intent::AddNode { consent: consent.statement, units, signature: consent.signature };
            signer.execute(&what, &done, intent).await.map(drop)
        }
        ProviderCommand::Replace { signer, old, consent } => {
            let signer = Signer::new(global, &signer).await?;
            let consent = checked_consent(&signer, &consent).await?;
            let new = consent.statement.node;
            let what =
                format!("put node {new} in the place of {old}; memberships and proofs of {old} are void");
            let done = format!("node {new} is in the place of {old}");
            let intent =
                Intent::ReplaceNode { old, consent: consent.statement, signature: consent.signature };
            signer.execute(&what, &done, intent).await.map(drop)
        }
        ProviderCommand::Remove { signer, node } => {
            let signer = Signer::new(global, &signer).await?;
            let what = format!("release node {node}; its memberships and proofs are void");
            signer
                .execute(&what, &format!("node {node} is released"), Intent::RemoveNode(node))
                .await
                .map(drop)
        }
        ProviderCommand::Status { chain, provider } => status(global, &chain, ProviderId(provider)).await,
    }
}

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

struct Consent {
    statement: NodeConsent,
    signature: EthereumSignature,
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
        let refuse = |code: &str, message: String| Failure {
            kind: Kind::Denied,
            code: Some(code.to_owned()),
            message,
            remedy: again.clone(),
        };
        if (self.chain_id, self.registry) != (deployment.chain_id, deployment.registry) {
            let message = format!(
                "the consent is for registry {} on chain {}, the deployment file says {} on chain {}",
                self.registry, self.chain_id, deployment.registry, deployment.chain_id
            );
            return Err(refuse("consent/wrong-registry", message));
        }
        if self.provider != ProviderId(provider) {
            let message =
                format!("the node consented to provider {}, the key is {provider}'s", self.provider);
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

async fn checked_consent(signer: &Signer, path: &Path) -> anyhow::Result<Consent> {
    let now = signer.chain.head().await?.timestamp;
    let file = ConsentFile::load(path)?;
    let consent = file.check(signer.chain.deployment(), signer.operator.address(), now)?;
    let expected = signer.chain.consent_nonce(file.node).await?;
    if expected != file.nonce {
        let message = format!(
            "the consent was used, or is for another registration: its nonce is {}, the chain wants {expected}",
            file.nonce
        );
        return Err(Failure {
            kind: Kind::Conflict,
            code: Some("consent/wrong-nonce".to_owned()),
            message,
            remedy: "on the node, run `lode-worker init` again".to_owned(),
        }
        .into());
    }
    Ok(consent)
}

async fn status(global: &Global, flags: &ChainFlags, provider: ProviderId) -> anyhow::Result<()> {
    let chain = chain(global, flags).await?;
    let Some(record) = chain.provider(provider).await? else {
        let remedy = "run `lode provider register --stake AMOUNT`";
        return Err(Kind::NotFound.with_remedy(format!("{provider} is not a provider on this chain"), remedy));
    };
    let head = chain.head().await?.number;
    let mut nodes: BTreeMap<NodeId, ()> = BTreeMap::new();
    let mut from = chain.deployment().block;
    while from <= head {
        let to = head.min(from.saturating_add(BLOCKS - 1));
        for logged in chain.events(from, to).await? {
            match logged.event {
                ChainEvent::NodeAdded { provider: owner, node, .. } if owner == provider => {
                    nodes.insert(node, ());
                }
                ChainEvent::NodeRemoved { provider: owner, node, .. } if owner == provider => {
                    nodes.remove(&node);
                }
                _ => {}
            }
        }
        from = to.saturating_add(1);
    }
    let ids: Vec<NodeId> = nodes.into_keys().collect();
    let records = chain.nodes(&ids).await?;
    let proofs = chain.proven(&ids).await?;
    let rows: Vec<_> = ids
        .iter()
        .zip(records)
        .zip(proofs)
        .filter_map(|((node, record), proof)| record.map(|record| (*node, record, proof)))
        .collect();
    match global.output {
        Format::Json => {
            let nodes: Vec<_> = rows
                .iter()
                .map(|(node, record, proof)| {
                    json!({
                        "node": node.to_string(),
                        "units": record.units,
                        "eligible": record.eligible,
                        "proven": proof.as_ref().is_some_and(|proof| proof.current),
                    })
                })
                .collect();
            output::json(&json!({
                "provider": provider.to_string(),
                "stake": record.stake,
                "units": record.units,
                "unbonding": record.unbonding,
                "release_at": record.release_at,
                "nodes": nodes,
            }))
        }
        Format::Table | Format::Wide => {
            output::line(&format!(
                "stake {} LODE for {} units, unbonding {} LODE",
                record.stake, record.units, record.unbonding
            ))?;
            let mut sheet = Sheet::new(["node", "units", "eligible", "proven"]).or_else("no nodes");
            for (node, record, proof) in rows {
                let proven = match proof {
                    Some(proof) if proof.current => {
                        format!("{} GPUs until epoch {}", proof.gpu_count, proof.expiry_epoch.0)
                    }
                    Some(_) => "expired".to_owned(),
                    None => "never".to_owned(),
                };
                let eligible = if record.eligible { "yes" } else { "no: the stake is too small" };
                sheet.row([node.to_string(), record.units.to_string(), eligible.to_owned(), proven]);
            }
            output::sheet(&sheet)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lode_protocol::keys::SigningKey;

    fn deployment() -> Deployment {
        Deployment {
            chain_id: ChainId(31337),
            block: 1,
            rpc_url: None,
            token: Address([1; 20]),
            registry: Address([2; 20]),
            pools: Address([3; 20]),
            validators: Address([4; 20]),
            commit: None,
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
