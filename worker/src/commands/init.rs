//! `lode-worker init`: the node's key, and what the provider needs to authorise it.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use lode_contracts::ChainReader;
use lode_network::peer_id_text;
use lode_program::{Clock, Exit, ExitError, files};
use lode_protocol::ids::{NodeId, ProviderId};
use lode_protocol::join::NodeConsent;
use lode_protocol::keys::SigningKey;
use lode_protocol::units::{Millis, Timestamp};
use rand::RngCore as _;
use zeroize::Zeroizing;

use crate::commands::Arguments;
use crate::config::Config;
use crate::identity;

/// How long the chain may take to tell the nonce.
const PATIENCE: Duration = Duration::from_secs(10);

/// Flags of `init`.
#[derive(Debug, clap::Args)]
pub struct InitArguments {
    /// The provider that shall own this node: writes the node's signed consent for it.
    #[arg(long, value_name = "ADDRESS")]
    pub provider: Option<ProviderId>,
    /// How long the consent counts.
    #[arg(long, default_value = "7days", value_name = "DURATION")]
    pub valid_for: Millis,
    /// Where to write the consent. Default: `consent.json` in the data directory.
    #[arg(long, value_name = "FILE")]
    pub consent_file: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// Creates the key if there is none (an existing one is kept), and says what comes next.
pub async fn init(arguments: &Arguments, flags: &InitArguments) -> anyhow::Result<()> {
    let config = arguments.load_config()?;
    files::create_private_dir(&config.data_dir)?;
    let (key, created) = key(&config)?;
    let node = NodeId(key.address());
    let peer_id = peer_id_text(&key.public())?;
    let consent = match flags.provider {
        Some(provider) => Some(write_consent(&config, flags, &key, provider).await?),
        None => None,
    };
    if flags.json {
        let json = serde_json::json!({
            "node": node,
            "peer_id": peer_id,
            "key_file": config.key_path(),
            "created": created,
            "consent_file": consent,
        });
        println!("{}", serde_json::to_string_pretty(&json)?);
        return Ok(());
    }
    println!("node      {node}");
    println!("peer id   {peer_id}");
    println!(
        "key file  {}{}",
        config.key_path().display(),
        if created { "  (new; keep a backup)" } else { "" }
    );
    match consent {
        Some(path) => {
            println!("\nGive {} to the provider, who runs where the provider's key is:\n", path.display());
            println!(
                "  lode provider authorize --consent {} --units GPUS --key-file PROVIDER.key --deployment {}",
                path.display(),
                config.chain.deployment.display()
            );
            println!("\n(GPUS: how many this node lends, at least 1; the stake must cover them.)");
            println!("\nThen start the worker here:\n\n  lode-worker run");
        }
        None => {
            println!("\nNext, with the address of the provider that owns this machine:\n");
            println!("  lode-worker init --provider ADDRESS");
        }
    }
    Ok(())
}

fn key(config: &Config) -> anyhow::Result<(SigningKey, bool)> {
    let path = config.key_path();
    if path.exists() {
        return Ok((identity::load_key(config)?, false));
    }
    let mut entropy = Zeroizing::new([0u8; 32]);
    let key = loop {
        rand::rng().fill_bytes(entropy.as_mut_slice());
        // All but about one in 2^128 draws are keys.
        if let Ok(key) = SigningKey::from_bytes(&entropy) {
            break key;
        }
    };
    if let Some(parent) = path.parent() {
        files::create_private_dir(parent)?;
    }
    files::create_secret(&path, format!("{}\n", key.to_hex().as_str()).as_bytes())?;
    Ok((key, true))
}

async fn write_consent(
    config: &Config,
    flags: &InitArguments,
    key: &SigningKey,
    provider: ProviderId,
) -> anyhow::Result<PathBuf> {
    let node = NodeId(key.address());
    let reader = config.chain.connect()?;
    let deployment = reader.deployment();
    let nonce = match tokio::time::timeout(PATIENCE, reader.consent_nonce(node)).await {
        Ok(Ok(nonce)) => nonce,
        Ok(Err(error)) => {
            return Err(ExitError::new(Exit::Unavailable, unknown_nonce(&error.to_string())).into());
        }
        Err(_) => return Err(ExitError::new(Exit::Unavailable, unknown_nonce("no answer")).into()),
    };
    let now = Timestamp(Clock::system().wall_millis());
    let consent = NodeConsent { node, provider, nonce, deadline: now.plus(flags.valid_for).0 / 1_000 };
    let signature = key.sign_recoverable(&consent.digest(&deployment.registry_domain()));
    let json = serde_json::json!({
        "node": consent.node,
        "provider": consent.provider,
        "nonce": consent.nonce,
        "deadline": consent.deadline,
        "signature": signature,
        "chain_id": deployment.chain_id,
        "registry": deployment.registry,
    });
    let path = flags.consent_file.clone().unwrap_or_else(|| config.data_dir.join("consent.json"));
    let text = serde_json::to_string_pretty(&json)? + "\n";
    files::write_atomic(&path, text.as_bytes(), 0o644)
        .with_context(|| format!("writing {}", path.display()))?;
    Ok(path)
}

fn unknown_nonce(error: &str) -> String {
    format!(
        "the chain must say how often this key was registered before the consent can be signed ({error}); check chain.rpc_url and try again"
    )
}
