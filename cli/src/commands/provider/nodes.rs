//! Taking nodes on and replacing them.

use std::path::Path;

use lode_contracts::{AuthorizedNode, ChainReader as _, Intent, RegistryCall};
use lode_protocol::ids::{NodeId, ProviderId};
use lode_protocol::join::NodeAuthorization;

use super::consent;
use crate::arguments::{Global, SignerFlags, StatementFlags};
use crate::wallet::{Instead, Plan, Said, Statement, Wallet, check};

pub(super) async fn authorize(
    global: &Global,
    signer: &SignerFlags,
    flags: &StatementFlags,
    file: &Path,
    units: u32,
) -> anyhow::Result<()> {
    let wallet = Wallet::open(global, signer).await?;
    let said = flags.said(&wallet, Instead::Transaction).await?;
    let (provider, deadline) = match &said {
        Said::Directly => (wallet.address()?, 0),
        Said::Asked { signer, deadline } | Said::Signed { signer, deadline, .. } => (*signer, *deadline),
    };
    let consent = consent::checked(&wallet, file, provider).await?;
    let node = consent.statement.node;
    let what = format!("take node {node} on with {units} units of compute, for provider {provider}");
    let done = format!("node {node} is authorized with {units} units");
    if matches!(said, Said::Directly) {
        let intent = Intent::Registry(RegistryCall::AddNode {
            consent: consent.statement,
            units,
            signature: consent.signature,
        });
        return wallet.carry_out(&Plan::new(what, done, intent)).await.map(drop);
    }
    let provider = ProviderId(provider);
    let nonce = wallet.chain.authorization_nonce(provider, node).await?;
    let authorization = NodeAuthorization { provider, node, units, nonce, deadline };
    let statement = Statement::NodeAuthorization(authorization);
    match said {
        Said::Directly => Ok(()), // carried out above
        Said::Asked { signer, .. } => flags.ask(&wallet, signer, &statement),
        Said::Signed { signer, signature, .. } => {
            check(&wallet, &statement, signer, &signature)?;
            let item = AuthorizedNode {
                authorization,
                authorization_signature: signature,
                consent: consent.statement,
                consent_signature: consent.signature,
            };
            wallet
                .carry_out(&Plan::new(what, done, Intent::Registry(RegistryCall::AddNodes(vec![item]))))
                .await
                .map(drop)
        }
    }
}

pub(super) async fn replace(
    global: &Global,
    signer: &SignerFlags,
    old: NodeId,
    file: &Path,
) -> anyhow::Result<()> {
    let wallet = Wallet::open(global, signer).await?;
    let consent = consent::checked(&wallet, file, wallet.address()?).await?;
    let new = consent.statement.node;
    let what = format!("put node {new} in the place of {old}; memberships and proofs of {old} are void");
    let done = format!("node {new} is in the place of {old}");
    let intent = Intent::Registry(RegistryCall::ReplaceNode {
        old,
        consent: consent.statement,
        signature: consent.signature,
    });
    wallet.carry_out(&Plan::new(what, done, intent)).await.map(drop)
}
