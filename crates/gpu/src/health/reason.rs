//! Why a GPU is not healthy.

use std::fmt;

use crate::NvmlError;
use crate::sample::RecoveryAction;

/// Why a GPU is not healthy. The text is for operators, the code for programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HealthReason {
    /// Off the bus, or no longer counted by the driver.
    Lost,
    /// The driver asks for a reset.
    ResetRequired,
    /// NVML gives no or only partial answers.
    Unreadable(NvmlError),
    /// The driver wants something done (NVML field 230).
    RecoveryAction(RecoveryAction),
    /// A faulty memory row is replaced at the next reset.
    RemapPending,
    /// A faulty memory row could not be replaced.
    RemapFailed,
    /// New memory errors that ECC could not correct.
    UncorrectedEcc {
        new: u64,
    },
    /// Close to its slowdown temperature for too long.
    Hot {
        celsius: u32,
    },
    /// The hardware brakes itself for heat or power in too many samples.
    HardwareProtection,
    Xid(u32),
    /// Programs of different workloads failed on it.
    ManyApplicationFaults,
    ProofFailed,
}

impl HealthReason {
    /// Stable name.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Lost => "gpu/lost",
            Self::ResetRequired => "gpu/reset-required",
            Self::Unreadable(error) => error.code(),
            Self::RecoveryAction(_) => "gpu/recovery-action",
            Self::RemapPending => "gpu/remap-pending",
            Self::RemapFailed => "gpu/remap-failed",
            Self::UncorrectedEcc { .. } => "gpu/ecc-uncorrected",
            Self::Hot { .. } => "gpu/hot",
            Self::HardwareProtection => "gpu/hardware-protection",
            Self::Xid(_) => "gpu/xid",
            Self::ManyApplicationFaults => "gpu/application-faults",
            Self::ProofFailed => "gpu/proof-failed",
        }
    }

    /// Whether what runs on the GPU is over because of it: the hardware or its driver says that results cannot be
    /// trusted. That NVML does not show or read a GPU is no such evidence: programs have survived it, and one whose GPU
    /// is truly gone ends by itself or by an XID.
    #[must_use]
    pub fn ends_tasks(&self) -> bool {
        match self {
            Self::Xid(_)
            | Self::ResetRequired
            | Self::RecoveryAction(_)
            | Self::RemapFailed
            | Self::ProofFailed => true,
            Self::Lost
            | Self::Unreadable(_)
            | Self::RemapPending
            | Self::UncorrectedEcc { .. }
            | Self::Hot { .. }
            | Self::HardwareProtection
            | Self::ManyApplicationFaults => false,
        }
    }

    /// Evidence of broken hardware, which time alone does not mend.
    pub(super) fn is_hardware(&self) -> bool {
        match self {
            Self::RemapFailed | Self::Xid(_) | Self::ProofFailed | Self::UncorrectedEcc { .. } => true,
            Self::Lost
            | Self::ResetRequired
            | Self::Unreadable(_)
            | Self::RecoveryAction(_)
            | Self::RemapPending
            | Self::Hot { .. }
            | Self::HardwareProtection
            | Self::ManyApplicationFaults => false,
        }
    }
}

impl fmt::Display for HealthReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost => write!(f, "the GPU is lost")?,
            Self::ResetRequired => write!(f, "the GPU must be reset")?,
            Self::Unreadable(error) => write!(f, "{error}")?,
            Self::RecoveryAction(action) => write!(f, "the driver asks for {action:?}")?,
            Self::RemapPending => write!(f, "a memory row is replaced at the next reset")?,
            Self::RemapFailed => write!(f, "a faulty memory row could not be replaced")?,
            Self::UncorrectedEcc { new } => write!(f, "{new} new uncorrected memory errors")?,
            Self::Hot { celsius } => write!(f, "{celsius} °C for too long")?,
            Self::HardwareProtection => write!(f, "the hardware brakes for heat or power")?,
            Self::Xid(xid) => write!(f, "XID {xid}")?,
            Self::ManyApplicationFaults => write!(f, "programs of several workloads failed on it")?,
            Self::ProofFailed => write!(f, "it failed a proof")?,
        }
        write!(f, " ({})", self.code())
    }
}
