//! Which chain is meant, who signs, and what came of a transaction.

use std::sync::Arc;

use lode_contracts::{ChainReader as _, Deployment, Intent, Operator, Receipt, RpcChain, RpcConfig};
use serde_json::json;

use super::confirm::confirm;
use crate::arguments::{ChainFlags, Global, SignerFlags};
use crate::context::{Contexts, PoolContext};
use crate::failure::Kind;
use crate::keys;
use crate::output::{self, Format};

/// The context that the flags mean, if there is one. Its absence is no error: flags may say everything.
pub(crate) fn context(global: &Global) -> anyhow::Result<Option<PoolContext>> {
    let contexts = Contexts::load(&Contexts::path()?)?;
    if global.context.is_none() && contexts.current.is_none() {
        return Ok(None);
    }
    Ok(Some(contexts.choose(global.context.as_deref())?.1.clone()))
}

/// The chain with the contracts, checked.
pub(crate) async fn chain(global: &Global, flags: &ChainFlags) -> anyhow::Result<Arc<RpcChain>> {
    let context = context(global)?.unwrap_or_default();
    let Some(path) = flags.deployment.clone().or(context.deployment) else {
        let remedy = "give --deployment FILE (the pool's owner has it, `lode chain deploy` writes it)";
        return Err(Kind::Usage.with_remedy("it is not said which contracts are meant", remedy));
    };
    let deployment = Deployment::load(&path)?;
    let Some(url) = flags.rpc_url.clone().or(context.rpc_url).or_else(|| deployment.rpc_url.clone()) else {
        return Err(Kind::Usage.with_remedy("it is not said how to reach the chain", "give --rpc-url URL"));
    };
    let chain = Arc::new(RpcChain::new(RpcConfig::new(url), deployment)?);
    chain.verify().await?;
    Ok(chain)
}

/// A key at work on a chain, after asking.
#[derive(Debug)]
pub(crate) struct Signer {
    pub(crate) chain: Arc<RpcChain>,
    pub(crate) operator: Operator,
    format: Format,
    yes: bool,
}

impl Signer {
    /// Reads the key and checks the chain; sends nothing.
    pub(crate) async fn new(global: &Global, flags: &SignerFlags) -> anyhow::Result<Self> {
        let key = keys::load(&flags.key_file)?;
        let chain = chain(global, &flags.chain).await?;
        let operator = Operator::new(chain.clone(), key);
        Ok(Signer { chain, operator, format: global.output, yes: flags.yes })
    }

    /// Asks before `what` is done in this key's name.
    pub(crate) fn ask(&self, what: &str) -> anyhow::Result<()> {
        confirm(&format!("{what}, signed and paid by {}", self.operator.address()), self.yes)
    }

    /// Asks, sends, waits, reports.
    pub(crate) async fn execute(&self, what: &str, done: &str, intent: Intent) -> anyhow::Result<Receipt> {
        self.ask(what)?;
        let receipt = self.operator.execute(intent).await?;
        self.report(done, &receipt, json!({}))?;
        Ok(receipt)
    }

    /// Says what was done.
    pub(crate) fn report(
        &self,
        done: &str,
        receipt: &Receipt,
        more: serde_json::Value,
    ) -> anyhow::Result<()> {
        match self.format {
            Format::Json => {
                let mut body = json!({
                    "done": done,
                    "transaction": receipt.transaction.to_string(),
                    "block": receipt.block,
                    "gas_used": receipt.gas_used,
                });
                if let (Some(body), Some(more)) = (body.as_object_mut(), more.as_object()) {
                    body.extend(more.clone());
                }
                output::json(&body)
            }
            Format::Table | Format::Wide => output::line(&format!(
                "{done} (block {}, {} gas, transaction {})",
                receipt.block, receipt.gas_used, receipt.transaction
            )),
        }
    }
}
