//! Where the engine keeps images and containers, as it says itself: hosts with GPUs keep them on a disk of their own.

use std::path::PathBuf;
use std::time::Duration;

use super::call::within;
use super::client::DockerEngine;
use super::failure::{During, classify};
use crate::core::event::EngineFailure;

/// An engine counts its containers for this answer.
const PATIENCE: Duration = Duration::from_secs(20);

impl DockerEngine {
    pub(super) async fn root(&self) -> Result<Option<PathBuf>, EngineFailure> {
        let docker = self.docker().await?;
        let info = within(PATIENCE, docker.info()).await.map_err(|error| classify(&error, During::Other))?;
        Ok(info.docker_root_dir.filter(|root| !root.is_empty()).map(PathBuf::from))
    }
}
