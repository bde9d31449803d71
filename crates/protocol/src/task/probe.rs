//! How a service is asked whether it is ready, and whether it is alive.

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::units::Millis;

/// How a container is asked.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum ProbeAction {
    /// HTTP GET that must answer 200–399.
    #[n(0)]
    Http {
        /// Name of a declared port.
        #[n(0)]
        port: String,
        /// Absolute path. Default `/`.
        #[n(1)]
        #[serde(default = "default_path")]
        path: String,
    },
    /// A TCP connection that must open.
    #[n(1)]
    Tcp {
        /// Name of a declared port.
        #[n(0)]
        port: String,
    },
    /// A command inside the container that must exit with 0. One that takes too long is killed.
    #[n(2)]
    Exec {
        /// Program and arguments.
        #[n(0)]
        command: Vec<String>,
    },
}

fn default_path() -> String {
    "/".to_owned()
}

/// A service counts as running while this succeeds: from its first success until it fails three times in a row.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReadinessProbe {
    /// What is done.
    #[n(0)]
    pub check: ProbeAction,
    /// Time between two tries; at least 1 s for a command. Default 2 s.
    #[n(1)]
    #[serde(default = "default_interval")]
    pub interval: Millis,
    /// Time one try may take. Default 2 s.
    #[n(2)]
    #[serde(default = "default_timeout")]
    pub timeout: Millis,
    /// Time within which it must succeed, from the start and from when it no longer did; then the assignment fails.
    /// Default 5 min.
    #[n(3)]
    #[serde(default = "default_deadline")]
    pub deadline: Millis,
}

impl ReadinessProbe {
    /// Failed tries in a row after which what was ready no longer is.
    pub const FAILURES: u32 = 3;
}

/// A service in which this fails is stopped, and started again as its restart policy says. It is asked from when the
/// service is ready for the first time.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LivenessProbe {
    /// What is done.
    #[n(0)]
    pub check: ProbeAction,
    /// Time between two tries; at least 1 s for a command. Default 10 s.
    #[n(1)]
    #[serde(default = "default_liveness_interval")]
    pub interval: Millis,
    /// Time one try may take. Default 2 s.
    #[n(2)]
    #[serde(default = "default_timeout")]
    pub timeout: Millis,
    /// Failed tries in a row after which the container is stopped. Default 3.
    #[n(3)]
    #[serde(default = "default_failures")]
    #[schema(minimum = 1, maximum = 100)]
    pub failures: u32,
}

fn default_interval() -> Millis {
    Millis::seconds(2)
}

fn default_liveness_interval() -> Millis {
    Millis::seconds(10)
}

fn default_timeout() -> Millis {
    Millis::seconds(2)
}

fn default_deadline() -> Millis {
    Millis::seconds(300)
}

fn default_failures() -> u32 {
    3
}
