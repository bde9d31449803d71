//! The JSON that drives the mock: what the machine's simulated driver and GPUs answer.
//!
//! Every field has a default. A field that is `null` or absent answers `NVML_ERROR_NOT_SUPPORTED`, as a real
//! GPU without that feature does. Return codes are NVML's own numbers (`nvmlReturn_t`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// An `nvmlReturn_t` that a call is made to answer.
pub type ReturnCode = u32;

/// The whole simulated machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MockConfig {
    /// A remark for whoever reads the file; without effect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// What initialisation answers instead of success: 9 driver not loaded, 18 version mismatch, 4 no permission.
    pub init_error: Option<ReturnCode>,
    pub driver_version: String,
    pub nvml_version: String,
    /// CUDA version of the driver as NVML encodes it: 1000 × major + 10 × minor.
    pub cuda_version: i32,
    /// Answers of every GPU and of the system's calls, by symbol; `*` stands for every symbol.
    pub errors: BTreeMap<String, ReturnCode>,
    /// How long a call hangs before it answers, in milliseconds, by symbol. Removing the entry ends the hang.
    pub delay_ms: BTreeMap<String, u64>,
    /// Events in the order they happen: one that is appended reaches every event set created before.
    pub events: Vec<MockEvent>,
    pub gpus: Vec<MockGpu>,
}

/// One event as `nvmlEventSetWait` delivers it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MockEvent {
    /// Position of the GPU in [`MockConfig::gpus`].
    pub gpu: usize,
    /// `nvmlEventType*` bit; 8 is a critical XID.
    #[serde(default = "critical_xid")]
    pub kind: u64,
    /// The XID for a critical XID event.
    pub data: u64,
}

fn critical_xid() -> u64 {
    u64::from(nvml_wrapper_sys::bindings::nvmlEventTypeXidCriticalError)
}

/// One simulated GPU.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MockGpu {
    pub uuid: String,
    pub name: String,
    pub serial: Option<String>,
    pub board_part_number: Option<String>,
    /// As NVML writes it: `00000000:0F:00.0`.
    pub pci_bus_id: Option<String>,
    /// Device id in the upper, vendor id in the lower 16 bits.
    pub pci_device_id: u32,
    /// The number in `/dev/nvidia<minor>`.
    pub minor: Option<u32>,
    /// `nvmlBrandType_t`.
    pub brand: Option<u32>,
    /// `nvmlDeviceArchitecture_t`: 7 Ampere, 8 Ada, 9 Hopper, 10 Blackwell.
    pub architecture: Option<u32>,
    pub compute_capability: Option<(i32, i32)>,
    pub cores: Option<u32>,
    pub vbios_version: Option<String>,
    pub gsp_firmware_version: Option<String>,
    pub numa_node: Option<u32>,
    pub memory: Option<MockMemory>,
    pub memory_bus_width_bits: Option<u32>,
    pub bar1_total_bytes: Option<u64>,
    pub temperature_c: Option<u32>,
    pub memory_temperature_c: Option<u32>,
    pub slowdown_temperature_c: Option<u32>,
    pub shutdown_temperature_c: Option<u32>,
    pub fan_percent: Option<u32>,
    pub power_mw: Option<u32>,
    pub power_limit_mw: Option<u32>,
    pub power_default_limit_mw: Option<u32>,
    pub power_limit_range_mw: Option<(u32, u32)>,
    pub energy_mj: Option<u64>,
    /// Busy share of the cores and of the memory bus, percent.
    pub utilization_percent: Option<(u32, u32)>,
    /// `nvmlPstates_t`, 0 is the fastest.
    pub performance_state: Option<u32>,
    pub clocks_mhz: Option<MockClocks>,
    pub max_clocks_mhz: Option<MockClocks>,
    /// `nvmlClocksThrottleReason*` bits.
    pub throttle_reasons: Option<u64>,
    pub pcie: Option<MockPcie>,
    pub ecc: Option<MockEcc>,
    pub remapped_rows: Option<MockRemappedRows>,
    pub retired_pages_pending: Option<bool>,
    /// One entry per link: whether it is up. Empty: the GPU has no NVLink.
    pub nvlinks: Vec<bool>,
    pub fabric: Option<MockFabric>,
    pub persistence_mode: Option<bool>,
    /// `nvmlComputeMode_t`.
    pub compute_mode: Option<u32>,
    /// Field 230: 0 none, 1 reset, 2 reboot, 3 drain, 4 drain and reset.
    pub recovery_action: Option<u32>,
    pub mig: Option<MockMig>,
    pub processes: Vec<MockProcess>,
    /// Fallen off the bus. Real GPUs stay lost to a process until it initialises NVML anew, and so do these.
    pub lost: bool,
    /// Answers by symbol, before the machine's own; `*` stands for every symbol.
    pub errors: BTreeMap<String, ReturnCode>,
    /// Hanging calls by symbol, in milliseconds, before the machine's own.
    pub delay_ms: BTreeMap<String, u64>,
}

/// Framebuffer memory in bytes; what is neither used nor reserved is free.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MockMemory {
    pub total: u64,
    #[serde(default)]
    pub used: u64,
    #[serde(default)]
    pub reserved: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MockClocks {
    pub graphics: u32,
    pub sm: u32,
    pub memory: u32,
    pub video: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MockPcie {
    pub generation: u32,
    pub width: u32,
    pub max_generation: u32,
    pub max_width: u32,
    #[serde(default)]
    pub replays: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MockEcc {
    pub enabled: bool,
    /// State after the next reboot.
    pub pending: bool,
    pub corrected_volatile: u64,
    pub uncorrected_volatile: u64,
    pub corrected_aggregate: u64,
    pub uncorrected_aggregate: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MockRemappedRows {
    pub corrected: u32,
    pub uncorrected: u32,
    pub pending: bool,
    pub failed: bool,
}

/// NVSwitch fabric registration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MockFabric {
    /// `nvmlGpuFabricState_t`: 0 not supported, 1 not started, 2 in progress, 3 completed.
    pub state: u8,
    pub status: ReturnCode,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MockMig {
    pub enabled: bool,
    /// State after the next reset.
    pub pending: bool,
    pub instances: Vec<MockMigInstance>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MockMigInstance {
    pub uuid: String,
    pub name: String,
    pub gpu_instance_id: u32,
    pub compute_instance_id: u32,
    pub memory: Option<MockMemory>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MockProcess {
    /// In the host's process namespace.
    pub pid: u32,
    #[serde(default)]
    pub memory_bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_object_is_a_machine_without_gpus() {
        let config: MockConfig = serde_json::from_str("{}").unwrap();
        assert_eq!(config, MockConfig::default());
    }

    #[test]
    fn a_misspelt_field_is_refused_instead_of_ignored() {
        let error =
            serde_json::from_str::<MockConfig>(r#"{"gpus":[{"uuid":"GPU-1","losst":true}]}"#).unwrap_err();
        assert!(error.to_string().contains("losst"), "{error}");
    }

    #[test]
    fn an_event_is_a_critical_xid_unless_it_says_otherwise() {
        let event: MockEvent = serde_json::from_str(r#"{"gpu":0,"data":79}"#).unwrap();
        assert_eq!(event.kind, 8);
    }
}
