//! The monitor of a host's GPUs on the simulated driver library.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lode_program::{Clock, FindingSet};
use lode_protocol::hardware::{GpuState, GpuStatus};
use lode_protocol::ids::{AssignmentId, GpuUuid, Incarnation, ReplicaId, TaskId};
use lode_testkit::nvml::{MockGpus, MockNvml, MockProcess};
use lode_worker::config::GpuConfig;
use lode_worker::core::event::{GpuFault, GpuFaultKind};
use lode_worker::core::view::Containers;
use lode_worker::gpus::{ClearAnswer, ClearRequest, GpuMonitor, GpuPorts, GpuView, InUse, ProofEnded};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Longer than anything here takes, even on a busy machine; reached only by a failing test.
const DEADLINE: Duration = Duration::from_secs(60);
const UNKNOWN: u32 = 999;

/// A host whose GPUs are looked at all the time.
struct Host {
    mock: MockNvml,
    view: watch::Receiver<Arc<GpuView>>,
    faults: mpsc::Receiver<GpuFault>,
    proofs: mpsc::Sender<ProofEnded>,
    clears: mpsc::Sender<ClearRequest>,
    holders: watch::Sender<BTreeMap<GpuUuid, AssignmentId>>,
    findings: FindingSet,
    _containers: watch::Sender<Containers>,
    _stop: DropGuard,
}

impl Host {
    fn start(machine: MockGpus, exclude: &[&str]) -> Self {
        let mock = machine.start().unwrap();
        let config = GpuConfig {
            nvml_library: Some(mock.library()),
            sample_interval: Duration::from_millis(100),
            exclude: exclude.iter().map(|name| name.parse().unwrap()).collect(),
            ..GpuConfig::default()
        };
        let (holders, held) = watch::channel(BTreeMap::new());
        let (containers, known) = watch::channel(Containers::new());
        let findings = FindingSet::new(Clock::system());
        let in_use = InUse { holders: held, containers: known };
        let (monitor, GpuPorts { view, faults, proofs, clears }) =
            GpuMonitor::start(&config, in_use, findings.clone(), Clock::system()).unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(monitor.run(stop.clone()));
        Host {
            mock,
            view,
            faults,
            proofs,
            clears,
            holders,
            findings,
            _containers: containers,
            _stop: stop.drop_guard(),
        }
    }

    fn uuid(&self, index: usize) -> GpuUuid {
        self.mock.machine().gpus[index].uuid.parse().unwrap()
    }

    /// The first view that is as it should be.
    async fn until(&mut self, what: &str, holds: impl Fn(&GpuView) -> bool) -> Arc<GpuView> {
        let reached = self.view.wait_for(|view| view.looked && holds(view));
        let view =
            tokio::time::timeout(DEADLINE, reached).await.unwrap_or_else(|_| panic!("not in time: {what}"));
        Arc::clone(&view.unwrap())
    }

    /// What the host's owner is told with this code, as soon as it is.
    async fn told(&mut self, code: &str) -> String {
        let told = async {
            loop {
                let found =
                    self.findings.list().into_iter().find(|found| found.finding.code.as_str() == code);
                if let Some(found) = found {
                    return format!("{} {}", found.finding.subject, found.finding.message);
                }
                self.view.changed().await.unwrap();
            }
        };
        tokio::time::timeout(DEADLINE, told).await.unwrap_or_else(|_| panic!("nobody is told {code}"))
    }

    fn is_told(&self, code: &str) -> bool {
        self.findings.list().iter().any(|found| found.finding.code.as_str() == code)
    }

    fn hold(&self, gpu: &GpuUuid) {
        let task = TaskId(uuid::Uuid::now_v7());
        let id = AssignmentId { replica: ReplicaId { task, replica: 0 }, incarnation: Incarnation(1) };
        self.holders.send_replace(BTreeMap::from([(gpu.clone(), id)]));
    }

    /// Lets an XID happen until it is delivered: nobody outside sees when the driver's events are listened to.
    async fn break_gpu(&mut self, index: usize, xid: u64) -> GpuFault {
        let broken = async {
            loop {
                self.mock.raise_xid(index, xid).unwrap();
                if let Ok(fault) = tokio::time::timeout(Duration::from_secs(2), self.faults.recv()).await {
                    return fault.unwrap();
                }
            }
        };
        tokio::time::timeout(DEADLINE, broken).await.expect("the fault is told")
    }

    async fn clear(&self, gpu: &GpuUuid) -> ClearAnswer {
        let (reply, answer) = oneshot::channel();
        self.clears.send(ClearRequest { gpu: gpu.clone(), reply }).await.unwrap();
        tokio::time::timeout(DEADLINE, answer).await.unwrap().unwrap()
    }
}

fn status<'a>(view: &'a GpuView, gpu: &GpuUuid) -> Option<&'a GpuStatus> {
    view.statuses.iter().find(|status| status.uuid == *gpu)
}

fn is(view: &GpuView, gpu: &GpuUuid, state: GpuState) -> bool {
    status(view, gpu).is_some_and(|status| status.state == state)
}

fn lists(view: &GpuView, gpu: &GpuUuid) -> bool {
    view.offered.gpus.iter().any(|spec| spec.uuid == *gpu)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gpu_whose_power_and_temperature_cannot_be_read_works_on_with_a_finding() {
    let machine = MockGpus::new().l4(2).change(|machine| {
        for call in ["nvmlDeviceGetPowerUsage", "nvmlDeviceGetTemperature"] {
            machine.gpus[0].errors.insert(call.to_owned(), UNKNOWN);
        }
    });
    let mut host = Host::start(machine, &[]);
    let (sick, well) = (host.uuid(0), host.uuid(1));
    let told = host.told("gpu/sensor-unreadable").await;
    assert!(told.contains(sick.as_str()) && told.contains("nvmlDeviceGetPowerUsage"), "{told}");
    let view = host.until("both are healthy", |view| is(view, &sick, GpuState::Healthy)).await;
    assert!(is(&view, &well, GpuState::Healthy));
    assert_eq!(status(&view, &sick).unwrap().power, None);
    host.mock.change_gpu(0, |gpu| gpu.errors.clear()).unwrap();
    host.until("the sensor is back", |view| status(view, &sick).is_some_and(|gpu| gpu.temperature.is_some()))
        .await;
    // What is not so any more is told no more, at the latest with the next inventory.
    let gone = async {
        while host.is_told("gpu/sensor-unreadable") {
            host.view.changed().await.unwrap();
        }
    };
    tokio::time::timeout(DEADLINE, gone).await.expect("the finding is cleared");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gpu_that_a_process_of_the_host_uses_is_not_given_out_and_a_proof_of_ours_is_no_stranger() {
    let mut host = Host::start(MockGpus::new().l4(2), &[]);
    let (mined, proven) = (host.uuid(0), host.uuid(1));
    host.until("both are free", |view| {
        is(view, &mined, GpuState::Healthy) && is(view, &proven, GpuState::Healthy)
    })
    .await;
    let mut prover = std::process::Command::new("sleep").arg("600").spawn().unwrap();
    let process = |pid| MockProcess { pid, memory_bytes: 20_000_000_000 };
    host.mock
        .change(|machine| {
            for (gpu, pid) in machine.gpus.iter_mut().zip([1, prover.id()]) {
                gpu.processes = vec![process(pid)];
                gpu.memory.as_mut().unwrap().used = 20_000_000_000;
            }
        })
        .unwrap();
    let view = host.until("the miner is seen", |view| is(view, &mined, GpuState::Suspect)).await;
    let reason = status(&view, &mined).unwrap().reason.clone().unwrap();
    assert!(reason.contains("pid 1 ") && reason.contains("gpu/foreign-process"), "{reason}");
    assert!(is(&view, &proven, GpuState::Healthy), "a process that we have started");
    let told = host.told("gpu/foreign-process").await;
    assert!(told.contains(mined.as_str()) && told.contains("pid 1 "), "{told}");
    host.mock
        .change_gpu(0, |gpu| {
            gpu.processes.clear();
            gpu.memory.as_mut().unwrap().used = 0;
        })
        .unwrap();
    host.until("the GPU is free again", |view| is(view, &mined, GpuState::Healthy)).await;
    assert!(!host.is_told("gpu/foreign-process"));
    prover.kill().unwrap();
    prover.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_miner_beside_a_task_is_an_alarm_and_ends_nothing() {
    let mut host = Host::start(MockGpus::new().l4(1), &[]);
    let gpu = host.uuid(0);
    host.hold(&gpu);
    host.mock
        .change_gpu(0, |gpu| gpu.processes = vec![MockProcess { pid: 1, memory_bytes: 1 << 30 }])
        .unwrap();
    let told = host.told("gpu/foreign-process").await;
    assert!(told.contains("beside assignment"), "{told}");
    host.until("nothing new is put on it", |view| is(view, &gpu, GpuState::Suspect)).await;
    assert!(host.faults.try_recv().is_err(), "the task goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn excluded_gpus_are_nowhere_and_a_name_of_none_is_told() {
    let machine = MockGpus::new().h200(3);
    let built = machine.clone().build();
    let uuid = built.gpus[0].uuid.clone();
    let address = built.gpus[2].pci_bus_id.clone().unwrap().to_lowercase();
    let mut host = Host::start(machine, &[&uuid, &address, "0000:ff:1f.0"]);
    let (first, kept) = (host.uuid(0), host.uuid(1));
    let view = host.until("one GPU is lent", |view| is(view, &kept, GpuState::Healthy)).await;
    assert_eq!(view.offered.gpus.len(), 1);
    assert_eq!(view.statuses.len(), 1);
    let told = host.told("gpu/exclude-unknown").await;
    assert!(told.contains("0000:ff:1f.0"), "{told}");
    // What happens to it is its owner's.
    host.mock.change_gpu(0, |gpu| gpu.lost = true).unwrap();
    host.mock.change_gpu(1, |gpu| gpu.temperature_c = Some(77)).unwrap();
    let view = host
        .until("the next round", |view| status(view, &kept).is_some_and(|gpu| gpu.temperature == Some(77)))
        .await;
    assert!(!lists(&view, &first) && status(&view, &first).is_none());
    assert!(!host.is_told("gpu/lost"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gpu_that_the_driver_counts_no_more_leaves_the_list_once_no_task_holds_it() {
    let mut host = Host::start(MockGpus::new().l4(3), &[]);
    let (stays, held, free) = (host.uuid(0), host.uuid(1), host.uuid(2));
    host.until("all are there", |view| is(view, &free, GpuState::Healthy)).await;
    host.hold(&held);
    host.mock.change(|machine| machine.gpus.truncate(1)).unwrap();
    let view = host.until("the free one is gone", |view| !lists(view, &free)).await;
    assert!(status(&view, &free).is_none() && lists(&view, &stays));
    assert!(
        lists(&view, &held) && view.absent.contains(&held),
        "its task goes on, and nothing is proven on it"
    );
    assert!(is(&view, &held, GpuState::Quarantined));
    host.holders.send_replace(BTreeMap::new());
    host.until("the other one too", |view| !lists(view, &held)).await;
    assert_eq!(host.clear(&held).await, ClearAnswer::Forgotten);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gpu_that_is_lost_but_counted_stays_listed_and_nothing_is_proven_on_it() {
    let mut host = Host::start(MockGpus::new().l4(2), &[]);
    let lost = host.uuid(1);
    host.until("all are there", |view| is(view, &lost, GpuState::Healthy)).await;
    host.mock.change_gpu(1, |gpu| gpu.lost = true).unwrap();
    let view = host.until("it cannot be read", |view| view.absent.contains(&lost)).await;
    assert!(lists(&view, &lost) && is(&view, &lost, GpuState::Quarantined));
}

#[tokio::test(flavor = "multi_thread")]
async fn xid_79_under_a_task_is_told_at_once_and_an_operator_ends_the_quarantine_without_a_restart() {
    let mut host = Host::start(MockGpus::new().l4(2), &[]);
    let gpu = host.uuid(0);
    host.hold(&gpu);
    host.until("it is healthy", |view| is(view, &gpu, GpuState::Healthy)).await;
    assert_eq!(host.clear(&gpu).await, ClearAnswer::NotNeeded { state: GpuState::Healthy });
    let fault = host.break_gpu(0, 79).await;
    assert_eq!((fault.kind, &fault.gpus), (GpuFaultKind::Broken, &vec![gpu.clone()]));
    let view = host.until("it is quarantined", |view| is(view, &gpu, GpuState::Quarantined)).await;
    assert!(is(&view, &host.uuid(1), GpuState::Healthy), "one sick GPU hides no other");
    // An XID that was raised twice may still be on its way: an operator asks again then.
    let healed = async {
        loop {
            host.clear(&gpu).await;
            let healthy = host.view.wait_for(|view| is(view, &gpu, GpuState::Healthy));
            if tokio::time::timeout(Duration::from_secs(5), healthy).await.is_ok() {
                return;
            }
        }
    };
    tokio::time::timeout(DEADLINE, healed).await.expect("it is used again");
    let nobody: GpuUuid = "GPU-nobody".parse().unwrap();
    assert!(matches!(host.clear(&nobody).await, ClearAnswer::Unknown { gpus } if gpus.contains(&gpu)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proof_that_is_passed_ends_a_quarantine_before_its_hold() {
    let mut host = Host::start(MockGpus::new().l4(1), &[]);
    let gpu = host.uuid(0);
    host.until("it is healthy", |view| is(view, &gpu, GpuState::Healthy)).await;
    host.break_gpu(0, 79).await;
    host.until("it is quarantined", |view| is(view, &gpu, GpuState::Quarantined)).await;
    let healed = async {
        loop {
            host.proofs.send(ProofEnded { gpu: gpu.clone(), passed: true }).await.unwrap();
            let healthy = host.view.wait_for(|view| is(view, &gpu, GpuState::Healthy));
            if tokio::time::timeout(Duration::from_secs(5), healthy).await.is_ok() {
                return;
            }
        }
    };
    tokio::time::timeout(DEADLINE, healed).await.expect("it is used again");
}
