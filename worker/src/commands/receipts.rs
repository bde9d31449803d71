//! `lode-worker receipts`.

use std::sync::Arc;

use lode_program::files::DataDir;
use lode_program::{Exit, ExitError};
use lode_store::{RedbOptions, RedbStore, Store};

use crate::commands::Arguments;
use crate::config::{Config, STORE_NAME};
use crate::core::receipts::KeptReceipt;
use crate::journal;
use crate::local::client::{self, LocalError};

/// Prints the receipts that both sides signed, oldest first, as JSON: with one of them a provider has a payment made that
/// the pool's roots leave out. The running worker is asked; without one, its store is read.
pub async fn receipts(arguments: &Arguments) -> anyhow::Result<()> {
    let config = arguments.load_config()?;
    let kept = match client::receipts(&config.socket_path()).await {
        Ok(kept) => kept,
        Err(LocalError::NotRunning { .. }) => stored(&config).await?,
        Err(error) => return Err(error.into()),
    };
    println!("{}", serde_json::to_string_pretty(&kept)?);
    Ok(())
}

async fn stored(config: &Config) -> anyhow::Result<Vec<KeptReceipt>> {
    if !config.data_dir.join(STORE_NAME).exists() {
        let text = format!("there is no worker's store in {}", config.data_dir.display());
        return Err(ExitError::new(Exit::Unavailable, text).into());
    }
    // Nobody else may hold the directory meanwhile.
    let data = DataDir::open(&config.data_dir)?;
    let path = data.join(STORE_NAME);
    let memory = tokio::task::spawn_blocking(move || {
        let store: Arc<dyn Store> = Arc::new(RedbStore::open(&path, RedbOptions::default())?);
        journal::load(store.as_ref())
    })
    .await??;
    Ok(memory.receipts)
}
