//! What the core is told: requirements, limits, and the parts of the configuration that are the core's own types.

use lode_program::{Exit, ExitError};
use lode_protocol::hash::Digest;
use lode_protocol::units::Bytes;
use serde::Deserialize;

use super::Config;
use crate::core::config as core_config;

/// `[requirements]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RequirementsConfig {
    /// Whether a node with GPUs must have a proof that counts now.
    pub require_proof: bool,
    /// Least class that must be proven.
    pub class: u32,
    /// Whether nodes without GPUs may join.
    pub allow_cpu_only: bool,
    /// Oldest container engine, like `20.10`.
    pub engine: Option<String>,
    /// Fewest GPUs of a node that has any.
    pub gpus: u32,
    /// Least memory of each GPU.
    #[serde(with = "lode_protocol::units::size_text")]
    pub gpu_memory: Bytes,
}

impl Default for RequirementsConfig {
    fn default() -> Self {
        RequirementsConfig {
            require_proof: true,
            class: 0,
            allow_cpu_only: false,
            engine: None,
            gpus: 0,
            gpu_memory: Bytes(0),
        }
    }
}

impl RequirementsConfig {
    /// As the core wants them.
    ///
    /// # Errors
    /// When the engine's version is not one.
    pub fn for_core(&self) -> Result<core_config::Requirements, ExitError> {
        Ok(core_config::Requirements {
            proof: self.require_proof.then_some(self.class),
            allow_cpu_only: self.allow_cpu_only,
            engine: self.engine()?,
            gpus: self.gpus,
            gpu_memory: self.gpu_memory,
        })
    }

    fn engine(&self) -> Result<Option<(u32, u32)>, ExitError> {
        let Some(text) = &self.engine else { return Ok(None) };
        let mut parts = text.split('.');
        let version = parts.next().and_then(|part| part.parse().ok()).zip(match parts.next() {
            None => Some(0),
            Some(part) => part.parse().ok(),
        });
        version.map(Some).ok_or_else(|| {
            ExitError::new(
                Exit::BadConfig,
                format!("requirements.engine = {text:?} is not a version; write like \"20.10\""),
            )
        })
    }
}

impl Config {
    /// What the core must know. `terms` is the hash of the pool's requirements on chain.
    ///
    /// # Errors
    /// What [`Config::validate`] says.
    pub fn for_core(
        &self,
        deployment: &lode_contracts::Deployment,
        requirements_hash: Digest,
    ) -> Result<core_config::Config, ExitError> {
        Ok(core_config::Config {
            chain: deployment.chain_id,
            pools_contract: deployment.pools,
            pool: self.pool(),
            requirements_hash,
            terms: self.terms,
            requirements: self.requirements.for_core()?,
            declared: self.declared.clone(),
            settlement: self
                .settlement
                .as_ref()
                .map(|settlement| settlement.for_core(deployment.rewards))
                .transpose()?,
            limits: self.limits.for_core(),
        })
    }
}
