//! Plausible machines to start from. All of it is simulated: numbers follow public data sheets, identifiers are
//! made up, and nothing here was read from a device.

use crate::config::{
    MockClocks, MockConfig, MockEcc, MockFabric, MockGpu, MockMemory, MockMig, MockPcie, MockRemappedRows,
};

const MIB: u64 = 1 << 20;

/// A driver with no GPU yet.
#[must_use]
pub fn machine() -> MockConfig {
    MockConfig {
        comment: Some("simulated machine; nothing here was read from a device".to_owned()),
        driver_version: "580.95.05".to_owned(),
        nvml_version: "13.580.95.05".to_owned(),
        cuda_version: 13_000,
        ..MockConfig::default()
    }
}

/// A UUID in NVML's form, unique per `(family, index)`.
#[must_use]
pub fn uuid(family: u32, index: u32) -> String {
    format!("GPU-{family:08x}-5100-4000-8000-{index:012x}")
}

/// The `index`-th NVIDIA H200 SXM of a machine: 141 GB, NVLink, ECC, MIG capable.
#[must_use]
pub fn h200(index: u32) -> MockGpu {
    MockGpu {
        uuid: uuid(0x0200, index),
        name: "NVIDIA H200".to_owned(),
        serial: Some(format!("165{:010}", 4_000_000 + index)),
        board_part_number: Some("900-21010-0040-000".to_owned()),
        pci_bus_id: Some(format!("{:08X}:{:02X}:00.0", index / 8, 0x0f + index % 8 * 0x10)),
        pci_device_id: 0x2335_10de,
        minor: Some(index),
        brand: Some(14),
        architecture: Some(9),
        compute_capability: Some((9, 0)),
        cores: Some(16_896),
        vbios_version: Some("96.00.BC.00.01".to_owned()),
        gsp_firmware_version: Some("580.95.05".to_owned()),
        numa_node: Some(index / 4),
        memory: Some(MockMemory { total: 143_771 * MIB, used: 4 * MIB, reserved: 600 * MIB }),
        memory_bus_width_bits: Some(6_144),
        bar1_total_bytes: Some(262_144 * MIB),
        temperature_c: Some(31 + index % 4),
        memory_temperature_c: Some(38 + index % 4),
        slowdown_temperature_c: Some(87),
        shutdown_temperature_c: Some(92),
        power_mw: Some(76_000 + index * 500),
        power_limit_mw: Some(700_000),
        power_default_limit_mw: Some(700_000),
        power_limit_range_mw: Some((200_000, 700_000)),
        energy_mj: Some(1_000_000_000),
        utilization_percent: Some((0, 0)),
        performance_state: Some(0),
        clocks_mhz: Some(MockClocks { graphics: 345, sm: 345, memory: 3_201, video: 765 }),
        max_clocks_mhz: Some(MockClocks { graphics: 1_980, sm: 1_980, memory: 3_201, video: 1_545 }),
        throttle_reasons: Some(1),
        pcie: Some(MockPcie { generation: 5, width: 16, max_generation: 5, max_width: 16, replays: 0 }),
        ecc: Some(MockEcc { enabled: true, pending: true, ..MockEcc::default() }),
        remapped_rows: Some(MockRemappedRows::default()),
        nvlinks: vec![true; 18],
        fabric: Some(MockFabric { state: 3, status: 0 }),
        persistence_mode: Some(true),
        compute_mode: Some(0),
        recovery_action: Some(0),
        mig: Some(MockMig::default()),
        ..MockGpu::default()
    }
}

/// The `index`-th NVIDIA L4 of a machine: 24 GB, PCIe only, no NVLink, no MIG.
#[must_use]
pub fn l4(index: u32) -> MockGpu {
    MockGpu {
        uuid: uuid(0x0004, index),
        name: "NVIDIA L4".to_owned(),
        serial: Some(format!("132{:010}", 7_000_000 + index)),
        pci_bus_id: Some(format!("00000000:{:02X}:00.0", 0x03 + index)),
        pci_device_id: 0x27b8_10de,
        minor: Some(index),
        brand: Some(14),
        architecture: Some(8),
        compute_capability: Some((8, 9)),
        cores: Some(7_424),
        vbios_version: Some("95.04.29.00.06".to_owned()),
        gsp_firmware_version: Some("580.95.05".to_owned()),
        numa_node: Some(0),
        memory: Some(MockMemory { total: 23_034 * MIB, used: 2 * MIB, reserved: 470 * MIB }),
        memory_bus_width_bits: Some(192),
        bar1_total_bytes: Some(32_768 * MIB),
        temperature_c: Some(40 + index % 4),
        slowdown_temperature_c: Some(96),
        shutdown_temperature_c: Some(99),
        power_mw: Some(12_000),
        power_limit_mw: Some(72_000),
        power_default_limit_mw: Some(72_000),
        power_limit_range_mw: Some((40_000, 72_000)),
        energy_mj: Some(90_000_000),
        utilization_percent: Some((0, 0)),
        performance_state: Some(8),
        clocks_mhz: Some(MockClocks { graphics: 210, sm: 210, memory: 405, video: 795 }),
        max_clocks_mhz: Some(MockClocks { graphics: 2_040, sm: 2_040, memory: 6_251, video: 1_770 }),
        throttle_reasons: Some(1),
        // Idle GPUs drop to generation 1; that is no fault.
        pcie: Some(MockPcie { generation: 1, width: 16, max_generation: 4, max_width: 16, replays: 0 }),
        ecc: Some(MockEcc { enabled: true, pending: true, ..MockEcc::default() }),
        remapped_rows: Some(MockRemappedRows::default()),
        persistence_mode: Some(true),
        compute_mode: Some(0),
        recovery_action: Some(0),
        ..MockGpu::default()
    }
}

/// A machine with `count` H200.
#[must_use]
pub fn h200_machine(count: u32) -> MockConfig {
    MockConfig { gpus: (0..count).map(h200).collect(), ..machine() }
}

/// A machine with `count` L4.
#[must_use]
pub fn l4_machine(count: u32) -> MockConfig {
    MockConfig { gpus: (0..count).map(l4).collect(), ..machine() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// Compares with the checked-in example; `LODE_WRITE_PROFILES=1` writes it anew.
    fn matches_the_checked_in_example(name: &str, machine: &MockConfig) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("profiles").join(name);
        if std::env::var_os("LODE_WRITE_PROFILES").is_some() {
            let mut text = serde_json::to_string_pretty(machine).unwrap();
            text.push('\n');
            std::fs::write(&path, text).unwrap();
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let read: MockConfig = serde_json::from_str(&text).unwrap();
        assert_eq!(&read, machine, "{} is stale: run the test with LODE_WRITE_PROFILES=1", path.display());
    }

    #[test]
    fn the_checked_in_examples_are_what_the_generators_make() {
        matches_the_checked_in_example("h200x8.json", &h200_machine(8));
        matches_the_checked_in_example("l4x2.json", &l4_machine(2));
    }

    #[test]
    fn no_two_gpus_share_an_identity() {
        let machine = MockConfig { gpus: (0..8).map(h200).chain((0..8).map(l4)).collect(), ..machine() };
        let mut uuids: Vec<_> = machine.gpus.iter().map(|gpu| gpu.uuid.clone()).collect();
        uuids.sort();
        uuids.dedup();
        assert_eq!(uuids.len(), 16);
    }
}
