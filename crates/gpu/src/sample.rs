//! How the GPUs of a host are at one moment. Plain data; [`crate::NvmlHandle::sample`] fills it.

use lode_protocol::ids::GpuUuid;

use crate::inventory::{FieldProblem, NvLinks, PcieLink, UnreadableGpu};

/// One round over all GPUs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HealthSample {
    pub readings: Vec<GpuReading>,
    pub unreadable: Vec<UnreadableGpu>,
}

/// One GPU's counters and gauges. Unknown fields are not supported or stand in `problems`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GpuReading {
    pub uuid: GpuUuid,
    pub index: u32,
    pub temperature_c: Option<u32>,
    pub memory_temperature_c: Option<u32>,
    pub slowdown_temperature_c: Option<u32>,
    pub power_mw: Option<u32>,
    pub power_limit_mw: Option<u32>,
    /// Since the driver was loaded.
    pub energy_mj: Option<u64>,
    pub utilization_percent: Option<u32>,
    pub memory_utilization_percent: Option<u32>,
    pub memory_total_bytes: Option<u64>,
    pub memory_used_bytes: Option<u64>,
    pub sm_clock_mhz: Option<u32>,
    pub memory_clock_mhz: Option<u32>,
    pub throttle: Option<ThrottleReasons>,
    /// Since the driver was loaded.
    pub ecc_corrected: Option<u64>,
    /// Since the driver was loaded.
    pub ecc_uncorrected: Option<u64>,
    pub ecc_uncorrected_lifetime: Option<u64>,
    pub remapped_rows: Option<RemappedRows>,
    pub pcie: Option<PcieLink>,
    pub pcie_replays: Option<u32>,
    pub nvlinks: Option<NvLinks>,
    pub recovery_action: Option<RecoveryAction>,
    pub processes: Option<Vec<GpuProcess>>,
    pub problems: Vec<FieldProblem>,
}

/// A process with a compute context; the id is the host's, whatever container it runs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GpuProcess {
    pub pid: u32,
    pub memory_bytes: Option<u64>,
}

/// Memory rows that were replaced by spare ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RemappedRows {
    pub corrected: u32,
    pub uncorrected: u32,
    /// A replacement waits for the next reset.
    pub pending: bool,
    /// No spare row was left: the GPU must be replaced.
    pub failed: bool,
}

/// What the driver wants done to a GPU (NVML field 230).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecoveryAction {
    None,
    Reset,
    Reboot,
    DrainPeers,
    DrainAndReset,
    /// A number that this version does not know.
    Unknown(u64),
}

impl From<u64> for RecoveryAction {
    fn from(value: u64) -> Self {
        match value {
            0 => Self::None,
            1 => Self::Reset,
            2 => Self::Reboot,
            3 => Self::DrainPeers,
            4 => Self::DrainAndReset,
            unknown => Self::Unknown(unknown),
        }
    }
}

/// NVML's bits of what holds the clocks down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ThrottleReasons(pub u64);

impl ThrottleReasons {
    const HARDWARE_SLOWDOWN: u64 = 0x08;
    const SOFTWARE_POWER_CAP: u64 = 0x04;
    const SOFTWARE_THERMAL: u64 = 0x20;
    const HARDWARE_THERMAL: u64 = 0x40;
    const HARDWARE_POWER_BRAKE: u64 = 0x80;

    /// The hardware itself brakes, for heat or for the power supply: something is wrong with the host.
    #[must_use]
    pub fn is_hardware_protection(self) -> bool {
        self.0 & (Self::HARDWARE_THERMAL | Self::HARDWARE_POWER_BRAKE) != 0
    }

    /// Names of the reasons that cost performance; idleness and chosen clocks are none.
    #[must_use]
    pub fn names(self) -> Vec<&'static str> {
        [
            (Self::HARDWARE_SLOWDOWN, "hardware-slowdown"),
            (Self::SOFTWARE_POWER_CAP, "power-cap"),
            (Self::SOFTWARE_THERMAL, "software-thermal"),
            (Self::HARDWARE_THERMAL, "hardware-thermal"),
            (Self::HARDWARE_POWER_BRAKE, "power-brake"),
        ]
        .into_iter()
        .filter(|(bit, _)| self.0 & bit != 0)
        .map(|(_, name)| name)
        .collect()
    }
}
