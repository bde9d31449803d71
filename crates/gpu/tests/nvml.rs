//! The failure matrix of NVML, through the real bindings against the simulated library.

use std::future::Future;
use std::time::{Duration, Instant};

use lode_gpu::{
    FabricState, GpuHealthCore, GpuUuid, HealthEvent, HealthPolicy, Inventory, NvmlConfig, NvmlError,
    NvmlHandle, RecoveryAction, WatchStatus, XidClass, gpu_specs, gpu_statuses,
};
use lode_protocol::hardware::GpuState;
use lode_protocol::units::{Bytes, Timestamp};
use lode_testkit::nvml::{
    MockGpus, MockNvml, config::MockMig, config::MockMigInstance, config::MockProcess, profiles,
};

/// Longer than anything here takes, even on a busy machine; reached only by a failing test.
const DEADLINE: Duration = Duration::from_secs(30);

const LOST: u32 = 15;
const RESET_REQUIRED: u32 = 16;
const UNKNOWN: u32 = 999;

fn config(mock: &MockNvml) -> NvmlConfig {
    NvmlConfig {
        library: Some(mock.library()),
        first_retry: Duration::ZERO,
        longest_retry: Duration::ZERO,
        ..NvmlConfig::default()
    }
}

fn handle(mock: &MockNvml) -> NvmlHandle {
    NvmlHandle::start(config(mock)).expect("a thread")
}

/// Patience that a hang test does not have to wait for.
fn impatient(mock: &MockNvml) -> NvmlHandle {
    NvmlHandle::start(NvmlConfig { call_timeout: Duration::from_millis(1_500), ..config(mock) })
        .expect("a thread")
}

fn uuid(mock: &MockNvml, index: usize) -> GpuUuid {
    mock.machine().gpus.get(index).expect("a GPU").uuid.parse().expect("a UUID")
}

fn indices(inventory: &Inventory) -> Vec<u32> {
    inventory.gpus.iter().map(|gpu| gpu.index).collect()
}

/// Asks until the answer is `Some`, or fails at the deadline.
async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let started = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(started.elapsed() < DEADLINE, "not within {DEADLINE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_healthy_machine_is_read_completely() {
    let mock = MockGpus::new().h200(8).start().unwrap();
    let inventory = handle(&mock).inventory().await.unwrap();
    assert_eq!(inventory.driver_version.as_deref(), Some("580.95.05"));
    assert_eq!(inventory.cuda_version, Some(13_000));
    assert_eq!(indices(&inventory), (0..8).collect::<Vec<_>>());
    assert!(inventory.unreadable.is_empty() && inventory.findings().is_empty());
    let gpu = &inventory.gpus[3];
    assert_eq!(gpu.uuid, uuid(&mock, 3));
    assert_eq!(gpu.name.as_deref(), Some("NVIDIA H200"));
    assert_eq!(gpu.architecture.as_deref(), Some("Hopper"));
    assert_eq!(gpu.brand.as_deref(), Some("Nvidia"));
    assert_eq!(gpu.compute_capability, Some((9, 0)));
    assert_eq!(gpu.minor, Some(3));
    assert_eq!(gpu.memory_total_bytes, Some(143_771 << 20));
    assert_eq!(gpu.pci_bus_id.as_deref(), Some("00000000:3F:00.0"));
    assert_eq!(gpu.power_limit_mw, Some(700_000));
    assert_eq!(gpu.nvlinks.map(|links| (links.up, links.total)), Some((18, 18)));
    assert_eq!(gpu.fabric, Some(FabricState::Completed));
    assert_eq!(gpu.ecc.map(|ecc| ecc.enabled), Some(true));
    assert_eq!(gpu.slowdown_temperature_c, Some(87));
    assert_eq!(gpu.shutdown_temperature_c, Some(92));
    assert!(gpu.mig.as_ref().is_some_and(|mig| !mig.enabled));
    let specs = gpu_specs(&inventory);
    assert_eq!(specs.len(), 8);
    assert_eq!(specs[0].memory, Some(Bytes(143_771 << 20)));
}

#[tokio::test]
async fn what_a_gpu_does_not_have_is_unknown_and_no_problem() {
    let mock = MockGpus::new().l4(2).start().unwrap();
    let inventory = handle(&mock).inventory().await.unwrap();
    for gpu in &inventory.gpus {
        assert_eq!((gpu.nvlinks, gpu.fabric, &gpu.mig), (None, None, &None));
        assert!(gpu.problems.is_empty(), "{:?}", gpu.problems);
    }
}

#[tokio::test]
async fn a_missing_library_is_named() {
    let nowhere =
        NvmlConfig { library: Some("/nonexistent/libnvidia-ml.so.1".into()), ..NvmlConfig::default() };
    let error = NvmlHandle::start(nowhere).unwrap().inventory().await.unwrap_err();
    assert_eq!(error.code(), "gpu/library-missing");
    assert!(error.to_string().contains("/nonexistent/libnvidia-ml.so.1"), "{error}");
}

#[tokio::test]
async fn a_file_that_is_no_library_is_told_apart_from_a_missing_one() {
    let directory = tempfile::tempdir().unwrap();
    let library = directory.path().join("libnvidia-ml.so.1");
    std::fs::write(&library, "not an ELF file").unwrap();
    let config = NvmlConfig { library: Some(library), ..NvmlConfig::default() };
    let error = NvmlHandle::start(config).unwrap().inventory().await.unwrap_err();
    assert_eq!(error.code(), "gpu/library-unusable");
}

#[tokio::test]
async fn failures_of_initialisation_are_told_apart() {
    for (code, expected) in [
        (9, "gpu/driver-not-loaded"),
        (18, "gpu/driver-library-mismatch"),
        (4, "gpu/no-permission"),
        (UNKNOWN, "gpu/nvml-error"),
    ] {
        let mock = MockGpus::new().h200(1).change(|machine| machine.init_error = Some(code)).start().unwrap();
        let handle = handle(&mock);
        assert_eq!(handle.inventory().await.unwrap_err().code(), expected);
        assert_eq!(handle.sample().await.unwrap_err().code(), expected);
    }
}

#[tokio::test]
async fn a_driver_that_is_loaded_later_is_found_without_a_restart() {
    let mut mock = MockGpus::new().h200(2).change(|machine| machine.init_error = Some(9)).start().unwrap();
    let handle = handle(&mock);
    assert_eq!(handle.inventory().await, Err(NvmlError::DriverNotLoaded));
    mock.change(|machine| machine.init_error = None).unwrap();
    let inventory = eventually("the driver is found", async || handle.inventory().await.ok()).await;
    assert_eq!(indices(&inventory), [0, 1]);
}

#[tokio::test]
async fn a_failed_initialisation_is_answered_from_memory_until_its_time_has_come() {
    let mut mock = MockGpus::new().h200(1).change(|machine| machine.init_error = Some(9)).start().unwrap();
    let hour = Duration::from_secs(3_600);
    let handle =
        NvmlHandle::start(NvmlConfig { first_retry: hour, longest_retry: hour, ..config(&mock) }).unwrap();
    assert_eq!(handle.inventory().await, Err(NvmlError::DriverNotLoaded));
    mock.change(|machine| machine.init_error = None).unwrap();
    assert_eq!(handle.inventory().await, Err(NvmlError::DriverNotLoaded));
}

#[tokio::test]
async fn a_driver_without_gpus_is_an_error_and_no_empty_inventory() {
    let mock = MockGpus::new().start().unwrap();
    assert_eq!(handle(&mock).inventory().await, Err(NvmlError::NoGpus));
}

#[tokio::test]
async fn one_lost_gpu_does_not_hide_the_others() {
    let mock = MockGpus::new().h200(4).change(|machine| machine.gpus[1].lost = true).start().unwrap();
    let inventory = handle(&mock).inventory().await.unwrap();
    assert_eq!(indices(&inventory), [0, 2, 3]);
    assert_eq!(inventory.unreadable.len(), 1);
    assert_eq!(inventory.unreadable[0].index, 1);
    assert_eq!(inventory.unreadable[0].error.code(), "gpu/lost");
    assert_eq!(inventory.findings()[0].code.as_str(), "gpu/lost");
}

#[tokio::test]
async fn a_gpu_lost_while_running_is_named_and_comes_back_when_it_is_readable() {
    let mut mock = MockGpus::new().h200(3).start().unwrap();
    let handle = handle(&mock);
    handle.inventory().await.unwrap();
    mock.change_gpu(2, |gpu| gpu.lost = true).unwrap();
    let sample = handle.sample().await.unwrap();
    assert_eq!(sample.readings.len(), 2);
    assert_eq!(sample.unreadable[0].last_known_uuid, Some(uuid(&mock, 2)));
    assert_eq!(sample.unreadable[0].error.code(), "gpu/lost");
    // As on real hardware, this process sees it again only after NVML was initialised anew.
    mock.change_gpu(2, |gpu| gpu.lost = false).unwrap();
    let sample = eventually("the GPU is read again", async || {
        handle.sample().await.ok().filter(|sample| sample.unreadable.is_empty())
    })
    .await;
    assert_eq!(sample.readings.len(), 3);
}

#[tokio::test]
async fn a_gpu_is_lost_between_two_fields_and_is_not_half_reported() {
    let mock = MockGpus::new()
        .h200(2)
        .change(|machine| {
            machine.gpus[0].errors.insert("nvmlDeviceGetSerial".to_owned(), LOST);
        })
        .start()
        .unwrap();
    let inventory = handle(&mock).inventory().await.unwrap();
    assert_eq!(indices(&inventory), [1]);
    assert_eq!(inventory.unreadable[0].last_known_uuid, Some(uuid(&mock, 0)));
}

#[tokio::test]
async fn one_failing_call_leaves_a_partial_gpu_with_its_problem_named() {
    for (code, expected) in [(RESET_REQUIRED, "gpu/reset-required"), (UNKNOWN, "gpu/nvml-error")] {
        let mock = MockGpus::new()
            .h200(2)
            .change(|machine| {
                machine.gpus[0].errors.insert("nvmlDeviceGetEnforcedPowerLimit".to_owned(), code);
            })
            .start()
            .unwrap();
        let inventory = handle(&mock).inventory().await.unwrap();
        let [sick, well] = inventory.gpus.as_slice() else { panic!("two GPUs") };
        assert_eq!(sick.power_limit_mw, None);
        assert_eq!(sick.name.as_deref(), Some("NVIDIA H200"));
        assert_eq!(sick.problems.len(), 1);
        assert_eq!(sick.problems[0].operation, "nvmlDeviceGetEnforcedPowerLimit");
        assert_eq!(sick.problems[0].error.code(), expected);
        assert!(well.problems.is_empty());
        assert_eq!(inventory.findings().len(), 1);
    }
}

#[tokio::test]
async fn a_gpu_that_needs_a_reset_for_everything_is_unreadable_alone() {
    let mock = MockGpus::new()
        .h200(2)
        .change(|machine| {
            machine.gpus[0].errors.insert("*".to_owned(), RESET_REQUIRED);
        })
        .start()
        .unwrap();
    let inventory = handle(&mock).inventory().await.unwrap();
    assert_eq!(indices(&inventory), [1]);
    assert_eq!(inventory.unreadable[0].error.code(), "gpu/reset-required");
}

#[tokio::test]
async fn a_mig_gpu_offers_its_instances_and_never_itself() {
    let instance = |digit: u32| MockMigInstance {
        uuid: format!("MIG-{digit}2222222-2222-2222-2222-222222222222"),
        name: "NVIDIA H200 MIG 1g.18gb".to_owned(),
        gpu_instance_id: 7 + digit,
        compute_instance_id: 0,
        memory: Some(lode_testkit::nvml::MockMemory { total: 18 << 30, used: 0, reserved: 0 }),
    };
    let mut mock = MockGpus::new()
        .h200(2)
        .change(|machine| {
            machine.gpus[0].mig =
                Some(MockMig { enabled: true, pending: true, instances: vec![instance(1), instance(2)] });
        })
        .start()
        .unwrap();
    let handle = handle(&mock);
    let inventory = handle.inventory().await.unwrap();
    let mig = inventory.gpus[0].mig.as_ref().unwrap();
    assert_eq!(mig.instances.len(), 2);
    assert_eq!(mig.instances[1].gpu_instance_id, Some(9));
    let specs = gpu_specs(&inventory);
    let names: Vec<_> = specs.iter().map(|spec| spec.uuid.to_string()).collect();
    assert_eq!(names, [uuid(&mock, 1).to_string(), instance(1).uuid, instance(2).uuid]);
    assert_eq!(specs[1].parent, Some(uuid(&mock, 0)));
    assert_eq!(specs[1].memory, Some(Bytes(18 << 30)));
    assert_eq!(inventory.physical(&specs[1].uuid).unwrap().uuid, uuid(&mock, 0));
    let mut core = GpuHealthCore::new(HealthPolicy::default());
    let unread = gpu_statuses(&gpu_specs(&inventory), &core, None);
    assert!(unread.iter().all(|status| status.state == GpuState::Suspect), "unknown is not healthy");
    let sample = handle.sample().await.unwrap();
    core.step(Timestamp(0), HealthEvent::Sampled(sample.clone()));
    core.step(Timestamp(0), HealthEvent::Xid { uuid: uuid(&mock, 0), xid: 95, workload: None });
    let statuses = gpu_statuses(&gpu_specs(&inventory), &core, Some(&sample));
    let states: Vec<_> = statuses.iter().map(|status| status.state).collect();
    assert_eq!(states, [GpuState::Healthy, GpuState::Quarantined, GpuState::Quarantined]);
    assert_eq!(statuses[1].reason.as_deref(), Some("XID 95 (gpu/xid)"));
    assert_eq!(statuses[1].temperature, Some(31));
    // MIG on, but nothing carved out yet: there is nothing to offer.
    mock.change_gpu(0, |gpu| {
        gpu.mig = Some(MockMig { enabled: true, ..MockMig::default() });
    })
    .unwrap();
    assert_eq!(gpu_specs(&handle.inventory().await.unwrap()).len(), 1);
}

#[tokio::test]
async fn two_devices_with_one_uuid_are_reported_and_neither_is_offered() {
    let mock = MockGpus::new()
        .h200(3)
        .change(|machine| machine.gpus[2].uuid = machine.gpus[0].uuid.clone())
        .start()
        .unwrap();
    let inventory = handle(&mock).inventory().await.unwrap();
    assert_eq!(inventory.duplicate_uuids().into_iter().collect::<Vec<_>>(), [uuid(&mock, 0)]);
    assert!(inventory.findings().iter().any(|finding| finding.code.as_str() == "gpu/duplicate-uuid"));
    let offered = gpu_specs(&inventory);
    assert_eq!(offered.iter().map(|spec| spec.uuid.clone()).collect::<Vec<_>>(), [uuid(&mock, 1)]);
}

#[tokio::test]
async fn a_uuid_that_is_none_costs_only_its_gpu() {
    let mock =
        MockGpus::new().h200(2).change(|machine| machine.gpus[0].uuid = "all".to_owned()).start().unwrap();
    let inventory = handle(&mock).inventory().await.unwrap();
    assert_eq!(indices(&inventory), [1]);
    assert_eq!(inventory.unreadable[0].error.code(), "gpu/nvml-error");
}

#[tokio::test]
async fn nvlinks_that_are_down_and_a_fabric_that_is_not_ready_are_found() {
    let mock = MockGpus::new()
        .h200(1)
        .change(|machine| {
            machine.gpus[0].nvlinks[5] = false;
            machine.gpus[0].fabric.as_mut().unwrap().state = 2;
        })
        .start()
        .unwrap();
    let inventory = handle(&mock).inventory().await.unwrap();
    assert_eq!(inventory.gpus[0].nvlinks.map(|links| (links.up, links.total)), Some((17, 18)));
    assert_eq!(inventory.gpus[0].fabric, Some(FabricState::InProgress));
    let codes: Vec<_> = inventory.findings().iter().map(|finding| finding.code.to_string()).collect();
    assert_eq!(codes, ["gpu/fabric-not-ready", "gpu/nvlink-down"]);
}

#[tokio::test]
async fn a_sample_shows_what_changes_while_programs_run() {
    let mut mock = MockGpus::new().h200(1).start().unwrap();
    let handle = handle(&mock);
    let idle = handle.sample().await.unwrap().readings.remove(0);
    assert_eq!(idle.temperature_c, Some(31));
    assert_eq!(idle.memory_temperature_c, Some(38));
    assert_eq!(idle.recovery_action, Some(RecoveryAction::None));
    assert_eq!(idle.processes.as_deref(), Some([].as_slice()));
    assert_eq!(idle.sm_clock_mhz, Some(345));
    mock.change_gpu(0, |gpu| {
        gpu.temperature_c = Some(86);
        gpu.power_limit_mw = Some(300_000);
        gpu.throttle_reasons = Some(0x44);
        gpu.ecc.as_mut().unwrap().uncorrected_volatile = 2;
        gpu.remapped_rows.as_mut().unwrap().pending = true;
        gpu.recovery_action = Some(1);
        gpu.processes = (0..9).map(|pid| MockProcess { pid: 4_000 + pid, memory_bytes: 1 << 30 }).collect();
    })
    .unwrap();
    let busy = handle.sample().await.unwrap().readings.remove(0);
    assert_eq!(busy.temperature_c, Some(86));
    assert_eq!(busy.power_limit_mw, Some(300_000));
    let throttle = busy.throttle.unwrap();
    assert!(throttle.is_hardware_protection());
    assert_eq!(throttle.names(), ["power-cap", "hardware-thermal"]);
    assert_eq!(busy.ecc_uncorrected, Some(2));
    assert!(busy.remapped_rows.unwrap().pending);
    assert_eq!(busy.recovery_action, Some(RecoveryAction::Reset));
    let processes = busy.processes.unwrap();
    assert_eq!(processes.len(), 9);
    assert_eq!((processes[8].pid, processes[8].memory_bytes), (4_008, Some(1 << 30)));
}

#[tokio::test]
async fn a_gpu_that_hangs_costs_only_itself_and_comes_back() {
    let mut mock = MockGpus::new().h200(3).start().unwrap();
    let handle = impatient(&mock);
    handle.inventory().await.unwrap();
    let hang = |gpu: &mut lode_testkit::nvml::MockGpu| {
        gpu.delay_ms.insert("nvmlDeviceGetPowerUsage".to_owned(), 3_600_000);
    };
    mock.change_gpu(1, hang).unwrap();
    let sample = handle.sample().await.unwrap();
    assert_eq!(sample.readings.iter().map(|reading| reading.index).collect::<Vec<_>>(), [0]);
    let by_index: Vec<_> = sample
        .unreadable
        .iter()
        .map(|gpu| (gpu.index, gpu.error.code(), gpu.last_known_uuid.clone()))
        .collect();
    assert_eq!(
        by_index,
        [(1, "gpu/timed-out", Some(uuid(&mock, 1))), (2, "gpu/not-reached", Some(uuid(&mock, 2)))]
    );
    // From now on the others are read without waiting for it.
    assert!(!handle.is_hung());
    let sample = handle.sample().await.unwrap();
    assert_eq!(sample.readings.iter().map(|reading| reading.index).collect::<Vec<_>>(), [0, 2]);
    assert_eq!(sample.unreadable[0].error.code(), "gpu/timed-out");
    assert_eq!(indices(&handle.inventory().await.unwrap()), [0, 2]);
    mock.change_gpu(1, |gpu| gpu.delay_ms.clear()).unwrap();
    let sample = eventually("the GPU answers again", async || {
        handle.sample().await.ok().filter(|sample| sample.unreadable.is_empty())
    })
    .await;
    assert_eq!(sample.readings.len(), 3);
}

#[tokio::test]
async fn a_driver_that_hangs_times_out_once_and_is_busy_until_it_answers() {
    let mut mock = MockGpus::new().h200(1).start().unwrap();
    let handle = impatient(&mock);
    handle.inventory().await.unwrap();
    mock.change(|machine| {
        machine.delay_ms.insert("nvmlDeviceGetCount_v2".to_owned(), 3_600_000);
    })
    .unwrap();
    let error = handle.sample().await.unwrap_err();
    assert!(matches!(error, NvmlError::TimedOut { operation: "nvmlDeviceGetCount_v2", .. }), "{error}");
    assert!(handle.is_hung());
    // Nobody waits for the deadline again, however many ask.
    let started = Instant::now();
    for _ in 0..100 {
        assert_eq!(handle.sample().await.unwrap_err().code(), "gpu/busy");
    }
    assert!(started.elapsed() < Duration::from_millis(1_500), "{:?}", started.elapsed());
    mock.change(|machine| machine.delay_ms.clear()).unwrap();
    eventually("NVML answers again", async || handle.sample().await.ok()).await;
    assert!(!handle.is_hung());
}

#[tokio::test]
async fn more_hanging_gpus_than_are_stepped_around_end_in_busy_and_not_in_more_threads() {
    let mut mock = MockGpus::new().h200(6).start().unwrap();
    let handle =
        NvmlHandle::start(NvmlConfig { call_timeout: Duration::from_millis(200), ..config(&mock) }).unwrap();
    eventually("the GPUs are known", async || {
        handle.inventory().await.ok().filter(|inventory| inventory.unreadable.is_empty())
    })
    .await;
    mock.change(|machine| {
        machine.delay_ms.insert("nvmlDeviceGetPowerUsage".to_owned(), 3_600_000);
    })
    .unwrap();
    let busy = eventually("busy", async || handle.sample().await.err()).await;
    assert_eq!(busy.code(), "gpu/busy");
    mock.change(|machine| machine.delay_ms.clear()).unwrap();
    let sample = eventually("all GPUs answer again", async || {
        handle.sample().await.ok().filter(|sample| sample.unreadable.is_empty())
    })
    .await;
    assert_eq!(sample.readings.len(), 6);
}

#[tokio::test]
async fn a_reloaded_driver_is_initialised_again() {
    let mut mock = MockGpus::new().h200(2).start().unwrap();
    let handle = handle(&mock);
    handle.inventory().await.unwrap();
    mock.change(|machine| {
        machine.errors.insert("nvmlDeviceGetCount_v2".to_owned(), 1);
    })
    .unwrap();
    assert_eq!(handle.inventory().await.unwrap_err().code(), "gpu/uninitialized");
    mock.change(|machine| machine.errors.clear()).unwrap();
    assert_eq!(indices(&handle.inventory().await.unwrap()), [0, 1]);
}

async fn watching(status: &mut tokio::sync::watch::Receiver<WatchStatus>, gpus: usize) {
    let reached = status.wait_for(|status| *status == WatchStatus::Watching { gpus });
    tokio::time::timeout(DEADLINE, reached).await.expect("in time").expect("the thread lives");
}

#[tokio::test]
async fn an_xid_reaches_whoever_watches_with_the_right_gpu() {
    let mut mock = MockGpus::new().h200(3).start().unwrap();
    let handle = handle(&mock);
    let mut xids = handle.watch_xids().unwrap();
    assert_eq!(*xids.status().borrow(), WatchStatus::Waiting);
    handle.inventory().await.unwrap();
    watching(&mut xids.status(), 3).await;
    mock.raise_xid(2, 94).unwrap();
    mock.raise_xid(0, 31).unwrap();
    let first = tokio::time::timeout(DEADLINE, xids.next()).await.unwrap().unwrap();
    let second = tokio::time::timeout(DEADLINE, xids.next()).await.unwrap().unwrap();
    assert_eq!(
        (first.uuid.clone(), first.xid, first.class()),
        (uuid(&mock, 2), 94, XidClass::ContainedMemory)
    );
    assert_eq!(
        (second.uuid.clone(), second.xid, second.class()),
        (uuid(&mock, 0), 31, XidClass::Application)
    );
}

#[tokio::test]
async fn xids_arrive_again_after_a_gpu_was_lost_and_nvml_was_initialised_anew() {
    let mut mock = MockGpus::new().h200(2).start().unwrap();
    let handle = handle(&mock);
    let mut xids = handle.watch_xids().unwrap();
    handle.inventory().await.unwrap();
    watching(&mut xids.status(), 2).await;
    mock.raise_xid(1, 79).unwrap();
    assert_eq!(tokio::time::timeout(DEADLINE, xids.next()).await.unwrap().unwrap().xid, 79);
    mock.change_gpu(1, |gpu| gpu.lost = true).unwrap();
    handle.sample().await.unwrap();
    mock.change_gpu(1, |gpu| gpu.lost = false).unwrap();
    eventually("both GPUs are read again", async || {
        handle.sample().await.ok().filter(|sample| sample.unreadable.is_empty())
    })
    .await;
    // Between two sessions XIDs are missed, and nobody outside sees when the next one listens.
    let started = Instant::now();
    let event = loop {
        mock.raise_xid(1, 48).unwrap();
        if let Ok(Some(event)) = tokio::time::timeout(Duration::from_millis(100), xids.next()).await {
            break event;
        }
        assert!(started.elapsed() < DEADLINE, "no XID arrives again");
    };
    assert_eq!((event.uuid, event.xid), (uuid(&mock, 1), 48));
}

#[tokio::test]
async fn a_gpu_that_refuses_to_be_watched_does_not_silence_the_others() {
    let mut mock = MockGpus::new()
        .h200(2)
        .change(|machine| {
            machine.gpus[0].errors.insert("nvmlDeviceRegisterEvents".to_owned(), UNKNOWN);
        })
        .start()
        .unwrap();
    let handle = handle(&mock);
    let mut xids = handle.watch_xids().unwrap();
    handle.inventory().await.unwrap();
    watching(&mut xids.status(), 1).await;
    mock.raise_xid(1, 48).unwrap();
    assert_eq!(tokio::time::timeout(DEADLINE, xids.next()).await.unwrap().unwrap().uuid, uuid(&mock, 1));
}

#[tokio::test]
async fn the_event_thread_ends_with_the_last_handle() {
    let mock = MockGpus::new().h200(1).start().unwrap();
    let handle = handle(&mock);
    let mut xids = handle.watch_xids().unwrap();
    handle.inventory().await.unwrap();
    watching(&mut xids.status(), 1).await;
    drop(handle);
    assert_eq!(tokio::time::timeout(DEADLINE, xids.next()).await.unwrap(), None);
}

#[tokio::test]
async fn a_lost_gpu_is_quarantined_alone_and_healthy_again_after_clean_samples() {
    let mut mock = MockGpus::new().h200(3).start().unwrap();
    let handle = handle(&mock);
    let mut core = GpuHealthCore::new(HealthPolicy::default());
    let states = |core: &GpuHealthCore| core.all().map(|gpu| gpu.state).collect::<Vec<_>>();
    core.step(Timestamp(0), HealthEvent::Sampled(handle.sample().await.unwrap()));
    assert_eq!(states(&core), [GpuState::Healthy; 3]);
    mock.change_gpu(1, |gpu| gpu.lost = true).unwrap();
    core.step(Timestamp(1), HealthEvent::Sampled(handle.sample().await.unwrap()));
    assert_eq!(states(&core), [GpuState::Healthy, GpuState::Quarantined, GpuState::Healthy]);
    let remaining = handle.inventory().await.unwrap();
    let told = gpu_statuses(&gpu_specs(&remaining), &core, None);
    assert_eq!(told.len(), 3, "a GPU that is gone is still told about");
    assert_eq!(told[1].state, GpuState::Quarantined);
    mock.change_gpu(1, |gpu| gpu.lost = false).unwrap();
    let mut now = 2;
    let started = Instant::now();
    while core.get(&uuid(&mock, 1)).unwrap().state != GpuState::Healthy {
        assert!(started.elapsed() < DEADLINE, "the GPU stays {:?}", core.get(&uuid(&mock, 1)));
        core.step(Timestamp(now), HealthEvent::Sampled(handle.sample().await.unwrap()));
        now += 1;
    }
    assert_eq!(states(&core), [GpuState::Healthy; 3]);
}

#[tokio::test]
async fn two_machines_in_one_process_do_not_disturb_each_other() {
    let left = MockGpus::new().h200(1).start().unwrap();
    let right = MockGpus::new().l4(2).start().unwrap();
    let (left_handle, right_handle) = (handle(&left), handle(&right));
    let (left_seen, right_seen) = tokio::join!(left_handle.inventory(), right_handle.inventory());
    assert_eq!(left_seen.unwrap().gpus[0].name.as_deref(), Some("NVIDIA H200"));
    assert_eq!(right_seen.unwrap().gpus[1].name.as_deref(), Some("NVIDIA L4"));
    assert_eq!(profiles::h200_machine(1), *left.machine());
}
