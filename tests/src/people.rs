//! People beside the pool: somebody with a key file, coins and tokens.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use lode_contracts::{Amount, Intent, TokenCall};
use lode_protocol::ids::Address;
use lode_protocol::keys::SigningKey;
use serde_json::{Value, json};

use crate::pool::Pool;

/// Coins of a person, for gas.
const COINS: Amount = Amount::tokens(100);

/// Somebody who is no part of the pool.
#[derive(Debug)]
pub struct Person {
    /// The key.
    pub key: SigningKey,
    /// Where the key lies.
    pub file: PathBuf,
}

impl Person {
    /// Somebody new with coins and so many tokens.
    ///
    /// # Errors
    /// When the chain does not give them.
    pub async fn new(pool: &Pool, name: &str, tokens: u64) -> anyhow::Result<Self> {
        let key = SigningKey::from_bytes(&rand::random())?;
        let file = pool.folder().join(format!("{name}.key"));
        let mut created = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file)?;
        writeln!(created, "{}", key.to_hex().as_str())?;
        pool.give_coins(key.address()).await?;
        if tokens > 0 {
            let mint = Intent::Token(TokenCall::Mint { to: key.address(), amount: Amount::tokens(tokens) });
            pool.operator("owner")?.execute(mint).await?;
        }
        Ok(Person { key, file })
    }

    /// Its account.
    pub fn address(&self) -> Address {
        self.key.address()
    }

    /// `lode …` with this person's key, without questions.
    ///
    /// # Errors
    /// When it fails.
    pub async fn lode(&self, pool: &Pool, arguments: &[&str]) -> anyhow::Result<String> {
        let file = self.file.to_str().context("the path is not text")?;
        pool.lode_text(&[arguments, &["--key-file", file, "--yes"]].concat()).await
    }

    /// What `lode …` says when it refuses, with this person's key.
    ///
    /// # Errors
    /// When it does not refuse.
    pub async fn refused(&self, pool: &Pool, arguments: &[&str]) -> anyhow::Result<String> {
        let file = self.file.to_str().context("the path is not text")?;
        let output = pool.lode(&[arguments, &["--key-file", file, "--yes"]].concat()).await?;
        ensure!(!output.status.success(), "lode {} was not refused", arguments.join(" "));
        Ok(String::from_utf8(output.stderr)?)
    }
}

impl Pool {
    /// Gives an account coins, by the development chain's own say.
    ///
    /// # Errors
    /// When the chain does not.
    pub async fn give_coins(&self, account: Address) -> anyhow::Result<()> {
        let params = json!([account.to_string(), format!("{:#x}", COINS.0)]);
        self.chain_does("anvil_setBalance", &params).await
    }

    /// Mines so many empty blocks.
    ///
    /// # Errors
    /// When the chain does not.
    pub async fn mine(&self, blocks: u64) -> anyhow::Result<()> {
        self.chain_does("anvil_mine", &json!([format!("{blocks:#x}")])).await
    }

    /// Replaces the latest blocks by as many empty ones.
    ///
    /// # Errors
    /// When the chain does not.
    pub async fn replace_blocks(&self, depth: u64) -> anyhow::Result<()> {
        self.chain_does("anvil_reorg", &json!([depth, []])).await
    }

    /// What only a development chain does.
    async fn chain_does(&self, method: &str, params: &Value) -> anyhow::Result<()> {
        let url = self.deployment()?.rpc_url.context("the deployment names no RPC")?;
        let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let client = reqwest::Client::builder().timeout(Duration::from_secs(5)).no_proxy().build()?;
        let answer: Value = client.post(url).json(&request).send().await?.json().await?;
        ensure!(answer["error"].is_null(), "{answer}");
        Ok(())
    }

    /// What the orchestrator tells anybody, without a token.
    ///
    /// # Errors
    /// When it refuses.
    pub async fn public_json(&self, path: &str) -> anyhow::Result<Value> {
        let listen = self.config("orchestrator")?["api"]["listen"].as_str().map(str::to_owned);
        let listen = listen.context("the orchestrator listens nowhere")?;
        let client = reqwest::Client::builder().timeout(Duration::from_secs(5)).no_proxy().build()?;
        let answer = client.get(format!("http://{listen}{path}")).send().await?;
        let (status, text) = (answer.status(), answer.text().await?);
        ensure!(status.is_success(), "{path}: {status}: {text}");
        Ok(serde_json::from_str(&text)?)
    }

    /// What the pool pays.
    ///
    /// # Errors
    /// When it pays nothing.
    pub fn price_per_gpu_hour(&self) -> anyhow::Result<Amount> {
        let config = self.config("orchestrator")?;
        let price = config.get("settlement").and_then(|section| section.get("price_per_gpu_hour"));
        let price = price.and_then(toml::Value::as_str).context("the pool pays nothing")?;
        Ok(price.parse()?)
    }
}
