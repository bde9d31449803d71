use lode_protocol::hardware::GpuState;
use lode_protocol::ids::GpuUuid;
use lode_protocol::units::{Millis, Timestamp};
use proptest::prelude::*;

use super::*;
use crate::NvmlError;
use crate::inventory::{NvLinks, UnreadableGpu};
use crate::sample::{GpuReading, HealthSample, RecoveryAction, RemappedRows, ThrottleReasons};

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;

fn uuid(index: u32) -> GpuUuid {
    format!("GPU-{index:08}-0000-0000-0000-000000000000").parse().unwrap()
}

fn reading(index: u32) -> GpuReading {
    GpuReading { index, ..reading_of(uuid(index)) }
}

/// A reading of a GPU that is well.
pub(crate) fn reading_of(uuid: GpuUuid) -> GpuReading {
    GpuReading {
        uuid,
        index: 0,
        temperature_c: Some(40),
        memory_temperature_c: None,
        slowdown_temperature_c: Some(87),
        power_mw: None,
        power_limit_mw: None,
        energy_mj: None,
        utilization_percent: None,
        memory_utilization_percent: None,
        memory_total_bytes: None,
        memory_used_bytes: None,
        sm_clock_mhz: None,
        memory_clock_mhz: None,
        throttle: Some(ThrottleReasons(0)),
        ecc_corrected: Some(0),
        ecc_uncorrected: Some(0),
        ecc_uncorrected_lifetime: None,
        remapped_rows: Some(RemappedRows::default()),
        pcie: None,
        pcie_replays: None,
        nvlinks: None,
        recovery_action: Some(RecoveryAction::None),
        processes: None,
        problems: Vec::new(),
    }
}

fn sampled(readings: Vec<GpuReading>) -> HealthEvent {
    HealthEvent::Sampled(HealthSample { readings, unreadable: Vec::new() })
}

fn lost(index: u32, error: NvmlError) -> UnreadableGpu {
    UnreadableGpu { index, last_known_uuid: Some(uuid(index)), error }
}

/// One GPU that was healthy at time zero.
struct Bench {
    core: GpuHealthCore,
    now: u64,
}

impl Bench {
    fn new(policy: HealthPolicy) -> Self {
        let mut bench = Self { core: GpuHealthCore::new(policy), now: 0 };
        bench.read(reading(0));
        assert_eq!(bench.state(), GpuState::Healthy);
        bench
    }

    fn step(&mut self, event: HealthEvent) -> Vec<HealthEffect> {
        self.core.step(Timestamp(self.now), event)
    }

    fn read(&mut self, reading: GpuReading) -> Vec<HealthEffect> {
        self.step(sampled(vec![reading]))
    }

    fn clean(&mut self, times: u32) {
        for _ in 0..times {
            self.read(reading(0));
        }
    }

    fn xid(&mut self, xid: u32) -> Vec<HealthEffect> {
        self.step(HealthEvent::Xid { uuid: uuid(0), xid, workload: None })
    }

    fn health(&self) -> GpuHealth {
        self.core.get(&uuid(0)).unwrap()
    }

    fn state(&self) -> GpuState {
        self.health().state
    }

    fn code(&self) -> &'static str {
        self.health().reason.map_or("", |reason| reason.code())
    }
}

fn stops_tasks(effects: &[HealthEffect]) -> bool {
    effects.iter().any(|effect| matches!(effect, HealthEffect::StopTasks { .. }))
}

#[test]
fn a_lost_gpu_is_quarantined_at_once_and_its_tasks_are_stopped() {
    let mut bench = Bench::new(HealthPolicy::default());
    let error = NvmlError::GpuLost { operation: "nvmlDeviceGetUUID" };
    let sample = HealthSample { readings: vec![], unreadable: vec![lost(0, error)] };
    assert!(stops_tasks(&bench.step(HealthEvent::Sampled(sample))));
    assert_eq!((bench.state(), bench.code()), (GpuState::Quarantined, "gpu/lost"));
}

#[test]
fn a_gpu_that_is_no_longer_counted_is_lost() {
    let mut bench = Bench::new(HealthPolicy::default());
    assert!(stops_tasks(&bench.step(sampled(vec![reading(1)]))));
    assert_eq!(bench.code(), "gpu/lost");
    assert!(bench.core.accepts_work(&uuid(1)));
}

#[test]
fn a_lost_gpu_recovers_over_clean_samples_and_not_at_the_first() {
    let mut bench = Bench::new(HealthPolicy::default());
    bench.step(sampled(vec![]));
    bench.clean(1);
    assert_eq!(bench.state(), GpuState::Recovering);
    bench.clean(1);
    assert_eq!(bench.state(), GpuState::Recovering);
    bench.clean(1);
    assert_eq!(bench.state(), GpuState::Healthy);
    assert_eq!(bench.health().reason, None);
}

#[test]
fn a_gpu_that_is_lost_again_while_it_recovers_starts_over() {
    let mut bench = Bench::new(HealthPolicy::default());
    bench.step(sampled(vec![]));
    bench.clean(2);
    bench.step(sampled(vec![]));
    assert_eq!(bench.state(), GpuState::Quarantined);
    bench.clean(2);
    assert_eq!(bench.state(), GpuState::Recovering);
}

#[test]
fn one_unreadable_round_makes_every_gpu_suspect_and_several_quarantine_it() {
    let mut bench = Bench::new(HealthPolicy::default());
    let failed = || HealthEvent::SampleFailed(NvmlError::Busy { operation: "nvmlDeviceGetCount_v2" });
    assert!(!stops_tasks(&bench.step(failed())));
    assert_eq!((bench.state(), bench.code()), (GpuState::Suspect, "gpu/busy"));
    bench.step(failed());
    assert_eq!(bench.state(), GpuState::Suspect);
    bench.step(failed());
    assert_eq!(bench.state(), GpuState::Quarantined);
}

#[test]
fn a_short_hang_is_forgotten_after_clean_samples() {
    let mut bench = Bench::new(HealthPolicy::default());
    bench.step(HealthEvent::SampleFailed(NvmlError::NotReached));
    bench.clean(2);
    assert_eq!(bench.state(), GpuState::Suspect);
    bench.clean(1);
    assert_eq!(bench.state(), GpuState::Healthy);
}

fn without(operation: &'static str) -> GpuReading {
    let error = NvmlError::Other { operation, detail: "unknown".to_owned() };
    GpuReading { problems: vec![crate::FieldProblem { operation, error }], ..reading(0) }
}

#[test]
fn a_gpu_whose_memory_or_error_counters_cannot_be_read_stays_suspect_for_as_long_as_it_is_so() {
    for vital in ["nvmlDeviceGetMemoryInfo_v2", "nvmlDeviceGetTotalEccErrors", "nvmlDeviceGetRemappedRows"] {
        let mut bench = Bench::new(HealthPolicy::default());
        for _ in 0..20 {
            bench.read(without(vital));
            assert_eq!(bench.state(), GpuState::Suspect, "{vital}");
        }
        bench.clean(3);
        assert_eq!(bench.state(), GpuState::Healthy);
    }
}

#[test]
fn a_sensor_that_only_informs_is_not_held_against_the_gpu_and_not_against_its_recovery() {
    for sensor in [
        "nvmlDeviceGetPowerUsage",
        "nvmlDeviceGetTemperature",
        "nvmlDeviceGetUtilizationRates",
        "nvmlDeviceGetClockInfo",
        "nvmlDeviceGetFieldValues",
        "nvmlDeviceGetNvLinkState",
        "nvmlDeviceGetComputeRunningProcesses_v3",
    ] {
        let mut bench = Bench::new(HealthPolicy::default());
        for _ in 0..20 {
            bench.read(without(sensor));
            assert_eq!(bench.state(), GpuState::Healthy, "{sensor}");
        }
        bench.step(sampled(vec![]));
        for _ in 0..3 {
            bench.read(without(sensor));
        }
        assert_eq!(bench.state(), GpuState::Healthy, "{sensor}");
    }
}

#[test]
fn a_sensor_that_asks_for_a_reset_is_believed() {
    let mut bench = Bench::new(HealthPolicy::default());
    let operation = "nvmlDeviceGetPowerUsage";
    let problem = crate::FieldProblem { operation, error: NvmlError::ResetRequired { operation } };
    bench.read(GpuReading { problems: vec![problem], ..reading(0) });
    assert_eq!((bench.state(), bench.code()), (GpuState::Quarantined, "gpu/reset-required"));
}

#[test]
fn a_proof_that_is_passed_ends_a_quarantine_before_its_hold_and_clean_samples_must_follow() {
    let mut bench = Bench::new(HealthPolicy::default());
    bench.xid(79);
    bench.now = MINUTE;
    bench.clean(10);
    assert_eq!(bench.state(), GpuState::Quarantined);
    bench.step(HealthEvent::Proof { uuid: uuid(0), passed: true });
    assert_eq!(bench.state(), GpuState::Recovering);
    bench.clean(2);
    assert_eq!(bench.state(), GpuState::Recovering);
    bench.clean(1);
    assert_eq!(bench.state(), GpuState::Healthy);
}

#[test]
fn an_operator_ends_a_quarantine_and_a_fault_that_goes_on_begins_it_anew() {
    let mut bench = Bench::new(HealthPolicy::default());
    bench.xid(79);
    bench.step(HealthEvent::OperatorCleared { uuid: uuid(0) });
    assert_eq!(bench.state(), GpuState::Recovering);
    bench.read(GpuReading { recovery_action: Some(RecoveryAction::Reset), ..reading(0) });
    assert_eq!(bench.state(), GpuState::Quarantined);
    bench.step(HealthEvent::OperatorCleared { uuid: uuid(0) });
    bench.clean(3);
    assert_eq!(bench.state(), GpuState::Healthy);
}

#[test]
fn a_gpu_that_was_forgotten_is_known_no_more() {
    let mut bench = Bench::new(HealthPolicy::default());
    bench.core.forget(&uuid(0));
    assert_eq!(bench.core.get(&uuid(0)), None);
}

#[test]
fn a_missing_permission_is_not_held_against_the_gpu() {
    let mut bench = Bench::new(HealthPolicy::default());
    let operation = "nvmlDeviceGetComputeRunningProcesses_v3";
    let problem = crate::FieldProblem { operation, error: NvmlError::NoPermission { operation } };
    bench.read(GpuReading { problems: vec![problem], ..reading(0) });
    assert_eq!(bench.state(), GpuState::Healthy);
}

#[test]
fn the_drivers_wish_for_a_reset_overrides_everything() {
    let mut bench = Bench::new(HealthPolicy::default());
    bench.read(GpuReading { recovery_action: Some(RecoveryAction::Reset), ..reading(0) });
    assert_eq!((bench.state(), bench.code()), (GpuState::Quarantined, "gpu/recovery-action"));
}

#[test]
fn memory_that_wears_out_is_seen() {
    let pending = RemappedRows { pending: true, ..RemappedRows::default() };
    let failed = RemappedRows { failed: true, ..RemappedRows::default() };
    for (sick, state, code) in [
        (GpuReading { remapped_rows: Some(pending), ..reading(0) }, GpuState::Suspect, "gpu/remap-pending"),
        (GpuReading { remapped_rows: Some(failed), ..reading(0) }, GpuState::Quarantined, "gpu/remap-failed"),
        (GpuReading { ecc_uncorrected: Some(4), ..reading(0) }, GpuState::Suspect, "gpu/ecc-uncorrected"),
    ] {
        let mut bench = Bench::new(HealthPolicy::default());
        bench.read(sick);
        assert_eq!((bench.state(), bench.code()), (state, code));
    }
}

#[test]
fn memory_errors_from_before_the_first_reading_are_not_held_against_a_gpu() {
    let mut core = GpuHealthCore::new(HealthPolicy::default());
    core.step(Timestamp(0), sampled(vec![GpuReading { ecc_uncorrected: Some(7), ..reading(0) }]));
    assert!(core.accepts_work(&uuid(0)));
}

#[test]
fn heat_is_a_doubt_only_when_it_lasts() {
    let mut bench = Bench::new(HealthPolicy::default());
    let hot = || GpuReading { temperature_c: Some(85), ..reading(0) };
    bench.read(hot());
    assert_eq!(bench.state(), GpuState::Healthy);
    bench.now = 4 * MINUTE;
    bench.read(reading(0));
    bench.read(hot());
    bench.now = 8 * MINUTE;
    bench.read(hot());
    assert_eq!(bench.state(), GpuState::Healthy);
    bench.now = 9 * MINUTE;
    bench.read(hot());
    assert_eq!(bench.code(), "gpu/hot");
}

#[test]
fn hardware_protection_counts_by_its_share() {
    let mut bench = Bench::new(HealthPolicy::default());
    for round in 0..300 {
        let bits = if round % 20 == 0 { 0x40 } else { 0 };
        bench.read(GpuReading { throttle: Some(ThrottleReasons(bits)), ..reading(0) });
        assert_eq!(bench.state(), GpuState::Healthy, "round {round}");
    }
    for _ in 0..6 {
        bench.read(GpuReading { throttle: Some(ThrottleReasons(0x80)), ..reading(0) });
    }
    assert_eq!(bench.code(), "gpu/hardware-protection");
}

#[test]
fn a_program_fault_fails_the_task_and_leaves_the_gpu() {
    let mut bench = Bench::new(HealthPolicy::default());
    let effects = bench.xid(31);
    assert_eq!(effects, [HealthEffect::FailTask { uuid: uuid(0), xid: 31 }]);
    assert_eq!(bench.state(), GpuState::Healthy);
}

#[test]
fn program_faults_of_different_workloads_cast_doubt_and_of_one_do_not() {
    let fault =
        |workload: &str| HealthEvent::Xid { uuid: uuid(0), xid: 13, workload: Some(workload.to_owned()) };
    let mut bench = Bench::new(HealthPolicy::default());
    for _ in 0..10 {
        bench.step(fault("a"));
    }
    assert_eq!(bench.state(), GpuState::Healthy);
    bench.step(fault("b"));
    assert_eq!(bench.state(), GpuState::Healthy);
    bench.step(fault("c"));
    assert_eq!(bench.code(), "gpu/application-faults");
}

#[test]
fn a_fatal_xid_quarantines_for_the_hold_and_then_needs_quiet_and_clean_samples() {
    let mut bench = Bench::new(HealthPolicy::default());
    assert!(stops_tasks(&bench.xid(95)));
    bench.now = 29 * MINUTE;
    bench.clean(10);
    assert_eq!(bench.state(), GpuState::Quarantined);
    bench.now = 30 * MINUTE;
    bench.clean(1);
    assert_eq!(bench.state(), GpuState::Recovering);
    bench.clean(2);
    assert_eq!(bench.state(), GpuState::Healthy);
}

#[test]
fn a_hold_doubles_and_the_third_in_a_week_needs_an_operator() {
    let mut bench = Bench::new(HealthPolicy::default());
    bench.xid(48);
    bench.now = HOUR;
    bench.clean(4);
    assert_eq!(bench.state(), GpuState::Healthy);
    bench.xid(48);
    bench.now = HOUR + 59 * MINUTE;
    bench.clean(4);
    assert_eq!(bench.state(), GpuState::Quarantined, "the second hold is twice as long");
    bench.now = 2 * HOUR;
    bench.clean(4);
    assert_eq!(bench.state(), GpuState::Healthy);
    bench.xid(48);
    bench.now = 300 * HOUR;
    bench.clean(100);
    assert!(bench.health().needs_operator);
    assert_eq!(bench.state(), GpuState::Quarantined);
    bench.step(HealthEvent::OperatorCleared { uuid: uuid(0) });
    bench.clean(3);
    assert_eq!(bench.state(), GpuState::Healthy);
}

#[test]
fn a_contained_memory_error_fails_the_task_and_is_forgiven_after_quiet() {
    let mut bench = Bench::new(HealthPolicy::default());
    let effects = bench.xid(94);
    assert!(effects.contains(&HealthEffect::FailTask { uuid: uuid(0), xid: 94 }));
    assert!(!stops_tasks(&effects));
    bench.clean(10);
    assert_eq!(bench.state(), GpuState::Suspect);
    bench.now = 31 * MINUTE;
    bench.clean(1);
    assert_eq!(bench.state(), GpuState::Healthy);
}

#[test]
fn a_link_error_counts_for_more_when_the_links_are_down() {
    let mut bench = Bench::new(HealthPolicy::default());
    bench.xid(74);
    assert_eq!(bench.state(), GpuState::Suspect);
    let mut bench = Bench::new(HealthPolicy::default());
    bench.read(GpuReading { nvlinks: Some(NvLinks { up: 17, total: 18 }), ..reading(0) });
    bench.xid(74);
    assert_eq!(bench.state(), GpuState::Quarantined);
}

#[test]
fn a_recurring_xid_is_a_doubt_once_and_a_fault_twice() {
    let mut bench = Bench::new(HealthPolicy::default());
    bench.xid(137);
    assert_eq!(bench.state(), GpuState::Suspect);
    bench.xid(137);
    assert_eq!(bench.state(), GpuState::Quarantined);
}

#[test]
fn where_proofs_are_required_clean_samples_alone_do_not_bring_a_gpu_back() {
    let mut bench = Bench::new(HealthPolicy { proof_required: true, ..HealthPolicy::default() });
    bench.step(sampled(vec![]));
    let effects = bench.read(reading(0));
    assert!(effects.contains(&HealthEffect::Prove { uuid: uuid(0), depth: ProofDepth::Full }));
    bench.clean(50);
    assert_eq!(bench.state(), GpuState::Recovering);
    bench.step(HealthEvent::Proof { uuid: uuid(0), passed: true });
    assert_eq!(bench.state(), GpuState::Healthy);
    bench.step(HealthEvent::Proof { uuid: uuid(0), passed: false });
    assert_eq!((bench.state(), bench.code()), (GpuState::Quarantined, "gpu/proof-failed"));
}

#[derive(Clone, Debug)]
enum Move {
    Wait(u64),
    Sample([u8; 3]),
    Fail,
    Xid(u32, u32),
    Proof(u32, bool),
    Clear(u32),
}

fn a_move() -> impl Strategy<Value = Move> {
    let xids = prop::sample::select(vec![8, 13, 31, 48, 62, 63, 64, 74, 79, 92, 94, 95, 119, 137, 154, 777]);
    prop_oneof![
        3 => (0..40 * MINUTE).prop_map(Move::Wait),
        8 => prop::array::uniform3(0u8..6).prop_map(Move::Sample),
        1 => Just(Move::Fail),
        3 => (0u32..3, xids).prop_map(|(gpu, xid)| Move::Xid(gpu, xid)),
        1 => (0u32..3, any::<bool>()).prop_map(|(gpu, passed)| Move::Proof(gpu, passed)),
        1 => (0u32..3).prop_map(Move::Clear),
    ]
}

/// A sample in which each GPU is as its number says; above 3 it is well.
fn sample_of(kinds: [u8; 3]) -> HealthSample {
    let mut sample = HealthSample::default();
    for (index, kind) in (0u32..).zip(kinds) {
        match kind {
            0 => {}
            1 => sample.unreadable.push(lost(index, NvmlError::GpuLost { operation: "x" })),
            2 => sample.unreadable.push(lost(index, NvmlError::TimedOut { operation: "x", after_ms: 1 })),
            3 => {
                let rows = RemappedRows { pending: true, ..RemappedRows::default() };
                sample.readings.push(GpuReading { remapped_rows: Some(rows), ..reading(index) });
            }
            _ => sample.readings.push(reading(index)),
        }
    }
    sample
}

proptest! {
    #[test]
    fn whatever_happens_the_invariants_hold(
        moves in prop::collection::vec(a_move(), 1..120),
        proof_required in any::<bool>(),
    ) {
        let policy = HealthPolicy { proof_required, hardware_hold: Millis(MINUTE * 30), ..HealthPolicy::default() };
        let mut core = GpuHealthCore::new(policy);
        let mut now = 0;
        for step in moves {
            let before: Vec<GpuHealth> = core.all().collect();
            let (event, only) = match &step {
                Move::Wait(millis) => { now += millis; continue }
                Move::Sample(kinds) => (HealthEvent::Sampled(sample_of(*kinds)), None),
                Move::Fail => (HealthEvent::SampleFailed(NvmlError::DriverNotLoaded), None),
                Move::Xid(gpu, xid) => {
                    (HealthEvent::Xid { uuid: uuid(*gpu), xid: *xid, workload: Some(xid.to_string()) }, Some(*gpu))
                }
                Move::Proof(gpu, passed) => (HealthEvent::Proof { uuid: uuid(*gpu), passed: *passed }, Some(*gpu)),
                Move::Clear(gpu) => (HealthEvent::OperatorCleared { uuid: uuid(*gpu) }, Some(*gpu)),
            };
            let effects = core.step(Timestamp(now), event);
            for old in &before {
                let new = core.get(&old.uuid).unwrap();
                // What one GPU does changes no other GPU.
                if only.is_some_and(|gpu| uuid(gpu) != old.uuid) {
                    prop_assert_eq!(&new, old);
                }
                // Nothing leads from quarantine back to work but recovery.
                if old.state == GpuState::Quarantined {
                    prop_assert!(matches!(new.state, GpuState::Quarantined | GpuState::Recovering));
                }
                // Only an operator lifts what needs one.
                if old.needs_operator && !matches!(step, Move::Clear(_)) {
                    prop_assert!(new.needs_operator);
                }
                // Every change is told, and only changes are.
                let told = effects.iter().any(|effect| matches!(
                    effect, HealthEffect::StateChanged { uuid, from: Some(from), .. }
                        if *uuid == old.uuid && *from == old.state
                ));
                prop_assert!(told || new.state == old.state);
                // What loses its GPU is stopped.
                if matches!(old.state, GpuState::Healthy | GpuState::Suspect) && new.state == GpuState::Quarantined {
                    let stopped = |effect: &HealthEffect| {
                        matches!(effect, HealthEffect::StopTasks { uuid, .. } if *uuid == old.uuid)
                    };
                    prop_assert!(effects.iter().any(stopped));
                }
                prop_assert_eq!(new.reason.is_none(), new.state == GpuState::Healthy);
            }
            if let Move::Sample(kinds) = step {
                for (index, kind) in (0u32..).zip(kinds) {
                    let health = core.get(&uuid(index));
                    // A GPU that cannot be read, or is not well, gets no work.
                    if kind < 4 {
                        prop_assert!(health.is_none_or(|gpu| gpu.state != GpuState::Healthy));
                    }
                }
            }
        }
    }
}
