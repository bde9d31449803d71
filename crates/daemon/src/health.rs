//! `[health]`: the same names in every program that serves nothing else over HTTP.

use std::net::SocketAddr;

use lode_program::listen::ServeLimits;
use lode_program::{Exit, ExitError};
use serde::Deserialize;

/// `[health]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HealthConfig {
    /// Where health, metrics and what else the program shows are served. Left out: nowhere.
    pub listen: Option<SocketAddr>,
    /// Host names under which they are asked for, besides IP addresses and `localhost`.
    pub hosts: Vec<String>,
    /// Connections, times and bytes.
    pub http: ServeLimits,
}

impl HealthConfig {
    /// Connections that it may take, with the name of the setting.
    pub fn connections(&self) -> (&'static str, usize) {
        let connections = if self.listen.is_some() { self.http.max_connections } else { 0 };
        ("health.http.max_connections", connections)
    }

    /// What no type can say.
    pub fn validate(&self) -> Result<(), ExitError> {
        match self.http.cuts_off() {
            None => Ok(()),
            Some(name) => {
                let text = format!("health.http.{name} is 0: nobody could be answered");
                Err(ExitError::new(Exit::BadConfig, text))
            }
        }
    }
}
