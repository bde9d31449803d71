//! Why a specification cannot be used, and what an operator does about it.

use std::path::{Path, PathBuf};

use lode_protocol::finding::Finding;
use lode_protocol::ids::GpuUuid;

/// Why a specification cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CdiError {
    #[error("the CDI file {path} cannot be read")]
    Unreadable {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{path} is no CDI specification: {detail}")]
    Malformed { path: PathBuf, detail: String },
    #[error("the CDI specification cannot be written: {detail}")]
    Unwritable { detail: String },
    /// The file describes no device of that name.
    #[error("the CDI specification has no device {uuid}; it has {known}")]
    UnknownDevice { uuid: GpuUuid, known: String },
    /// The specification relies on programs that nobody would run.
    #[error(
        "the CDI specification needs hooks ({hooks}), which only a container engine can run; let the engine use \
         CDI itself, or allow to ignore the hooks in the configuration"
    )]
    NeedsHooks { hooks: String },
    /// Two edits contradict each other, or one would leave the container's file system.
    #[error("the CDI specification cannot be applied: {detail}")]
    Unsafe { detail: String },
}

impl CdiError {
    /// Stable name of the failure.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "gpu/cdi-unreadable",
            Self::Malformed { .. } => "gpu/cdi-malformed",
            Self::Unwritable { .. } => "gpu/cdi-unwritable",
            Self::UnknownDevice { .. } => "gpu/cdi-unknown-device",
            Self::NeedsHooks { .. } => "gpu/cdi-needs-hooks",
            Self::Unsafe { .. } => "gpu/cdi-unsafe",
        }
    }

    /// What an operator does next.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "check the path and its permissions",
            Self::Malformed { .. } => "generate the file again (`nvidia-ctk cdi generate`)",
            Self::Unwritable { .. } => "use paths that are text",
            Self::UnknownDevice { .. } => {
                "generate the file again; it goes stale when the driver, the GPUs or MIG instances change"
            }
            Self::NeedsHooks { .. } => "turn CDI on in the engine, or configure the hooks to be ignored",
            Self::Unsafe { .. } => "correct the file",
        }
    }

    /// The same as a finding about the file.
    #[must_use]
    pub fn finding(&self, path: &Path) -> Finding {
        Finding::error(self.code(), self.to_string()).about(path.display().to_string()).remedy(self.remedy())
    }
}
