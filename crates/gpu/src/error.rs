//! Everything that can go wrong between us and NVML, told apart by what an operator has to do about it.

use lode_protocol::finding::Finding;

/// Why NVML, or one GPU through it, did not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NvmlError {
    /// There is no NVML library under the configured name.
    #[error("the NVIDIA management library {library} was not found: {detail}")]
    LibraryMissing { library: String, detail: String },
    /// The file exists but is no usable NVML library.
    #[error("the NVIDIA management library {library} cannot be used: {detail}")]
    LibraryUnusable { library: String, detail: String },
    /// The library is there, the kernel driver is not.
    #[error("the NVIDIA kernel driver is not loaded")]
    DriverNotLoaded,
    /// The library and the loaded kernel driver are of different versions.
    #[error("the NVIDIA library and the loaded kernel driver have different versions")]
    DriverLibraryMismatch,
    /// This user may not talk to the driver or the GPU.
    #[error("no permission for {operation}")]
    NoPermission { operation: &'static str },
    /// The driver works and knows no GPU.
    #[error("the NVIDIA driver knows no GPU")]
    NoGpus,
    /// One call gave no answer in time; it may still be running.
    #[error("{operation} gave no answer for {after_ms} ms")]
    TimedOut { operation: &'static str, after_ms: u64 },
    /// An earlier call still hangs, so this one was not started.
    #[error("NVML is busy: {operation} has not answered yet")]
    Busy { operation: &'static str },
    /// An earlier GPU hung, so this one was not asked in this round.
    #[error("not asked, because a GPU before it did not answer")]
    NotReached,
    /// The GPU fell off the bus.
    #[error("the GPU is lost ({operation})")]
    GpuLost { operation: &'static str },
    /// The GPU answers nothing until it is reset.
    #[error("the GPU must be reset before it can be used ({operation})")]
    ResetRequired { operation: &'static str },
    /// NVML forgot that it was initialised: the driver was reloaded.
    #[error("NVML is not initialised any more ({operation})")]
    Uninitialized { operation: &'static str },
    /// The GPU or the driver does not know this.
    #[error("{operation} is not supported")]
    NotSupported { operation: &'static str },
    /// The thread that talks to NVML has ended.
    #[error("the NVML thread has stopped")]
    Stopped,
    /// Anything else NVML said.
    #[error("{operation} failed: {detail}")]
    Other { operation: &'static str, detail: String },
}

impl NvmlError {
    /// Stable name of the failure.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::LibraryMissing { .. } => "gpu/library-missing",
            Self::LibraryUnusable { .. } => "gpu/library-unusable",
            Self::DriverNotLoaded => "gpu/driver-not-loaded",
            Self::DriverLibraryMismatch => "gpu/driver-library-mismatch",
            Self::NoPermission { .. } => "gpu/no-permission",
            Self::NoGpus => "gpu/none-found",
            Self::TimedOut { .. } => "gpu/timed-out",
            Self::Busy { .. } => "gpu/busy",
            Self::NotReached => "gpu/not-reached",
            Self::GpuLost { .. } => "gpu/lost",
            Self::ResetRequired { .. } => "gpu/reset-required",
            Self::Uninitialized { .. } => "gpu/uninitialized",
            Self::NotSupported { .. } => "gpu/not-supported",
            Self::Stopped => "gpu/stopped",
            Self::Other { .. } => "gpu/nvml-error",
        }
    }

    /// What an operator does next.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::LibraryMissing { .. } => {
                "install the NVIDIA driver, set the library's path in the configuration, or run this host without GPUs"
            }
            Self::LibraryUnusable { .. } => {
                "reinstall the NVIDIA driver; the library's file is damaged or of another architecture"
            }
            Self::DriverNotLoaded => {
                "load the driver (`modprobe nvidia`) and look at `dmesg`; it is tried again by itself"
            }
            Self::DriverLibraryMismatch => {
                "reboot, or unload and load the nvidia modules, so that driver and library match"
            }
            Self::NoPermission { .. } => {
                "give this user access to /dev/nvidia* (group `video`, device cgroup)"
            }
            Self::NoGpus => "look whether `lspci` shows the GPUs, or run this host without GPUs",
            Self::TimedOut { .. } | Self::Busy { .. } => {
                "look at `dmesg` for NVRM messages; a GPU that hangs usually needs a reset or a reboot"
            }
            Self::NotReached => "see the GPU that did not answer",
            Self::GpuLost { .. } => {
                "look at `dmesg` for XID 79, then reboot; check seating, power and heat if it comes back"
            }
            Self::ResetRequired { .. } => {
                "drain the host and reset the GPU (`nvidia-smi --gpu-reset`) or reboot"
            }
            Self::Uninitialized { .. } => "nothing: NVML is initialised again by itself",
            Self::NotSupported { .. } => "nothing: this GPU or driver does not have it",
            Self::Stopped => "restart the program",
            Self::Other { .. } => "look at `dmesg` for NVRM messages and at the driver's version",
        }
    }

    /// Whether the driver or the library as a whole fails, not one call or one GPU.
    #[must_use]
    pub fn is_about_the_driver(&self) -> bool {
        match self {
            Self::LibraryMissing { .. }
            | Self::LibraryUnusable { .. }
            | Self::DriverNotLoaded
            | Self::DriverLibraryMismatch
            | Self::NoGpus
            | Self::Uninitialized { .. }
            | Self::Stopped => true,
            Self::NoPermission { .. }
            | Self::TimedOut { .. }
            | Self::Busy { .. }
            | Self::NotReached
            | Self::GpuLost { .. }
            | Self::ResetRequired { .. }
            | Self::NotSupported { .. }
            | Self::Other { .. } => false,
        }
    }

    /// The same as a finding about `subject`, a GPU's UUID or nothing for the host.
    #[must_use]
    pub fn finding(&self, subject: &str) -> Finding {
        Finding::error(self.code(), self.to_string()).about(subject).remedy(self.remedy())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_says_what_happened_and_what_to_do() {
        let finding = NvmlError::DriverLibraryMismatch.finding("");
        assert_eq!(finding.code.as_str(), "gpu/driver-library-mismatch");
        assert!(finding.message.contains("different versions"));
        assert!(finding.remedy.contains("reboot"));
    }
}
