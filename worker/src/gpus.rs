//! The host's GPUs as they are now: what is on offer, its health, its faults. NVML trouble is a finding, never a crash, and
//! stops no task; broken hardware ends what runs on it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lode_gpu::{
    GpuHealthCore, HealthEffect, HealthEvent, HealthPolicy, HealthSample, Inventory, NvmlConfig, NvmlError,
    NvmlHandle, XidClass, XidEvent, gpu_specs, gpu_statuses,
};
use lode_program::Clock;
use lode_program::finding::{Finding, FindingSet, Severity};
use lode_protocol::hardware::{GpuSpec, GpuState, GpuStatus};
use lode_protocol::ids::{AssignmentId, GpuUuid};
use lode_protocol::units::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::config::GpuConfig;
use crate::core::event::{GpuFault, GpuFaultKind};

/// Inventories are read anew after so many samples, and whenever a GPU's state changed.
const SAMPLES_PER_INVENTORY: u32 = 12;
/// Faults on their way to the driver; it takes them at once.
const MOST_FAULTS: usize = 64;

/// What this host has to offer.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Offered {
    /// GPUs and instances of them, by UUID.
    pub gpus: Vec<GpuSpec>,
    /// Version of the driver.
    pub driver_version: Option<String>,
    /// Highest CUDA version of the driver, `major * 1000 + minor * 10`.
    pub cuda_version: Option<u32>,
}

impl Offered {
    /// What NVML lists.
    pub fn of(inventory: &Inventory) -> Self {
        Self {
            gpus: gpu_specs(inventory),
            driver_version: inventory.driver_version.clone(),
            cuda_version: inventory.cuda_version,
        }
    }
}

/// The GPUs as they are now.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct GpuView {
    /// What this host has offered since it started: a GPU that fell off the bus stays in the description, as
    /// quarantined.
    pub offered: Offered,
    /// Health of each.
    pub statuses: Vec<GpuStatus>,
    /// Whether the first look is over: GPUs found, or known that there is none to be had now.
    pub looked: bool,
}

/// A proof on a GPU ended, by what this worker knows itself: a validator's word alone condemns no GPU.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProofEnded {
    /// The GPU, or an instance of one.
    pub gpu: GpuUuid,
    /// False: its own results, checked here, are wrong.
    pub passed: bool,
}

/// What others have of the monitor.
#[derive(Debug)]
pub struct GpuPorts {
    /// The GPUs as they are now.
    pub view: watch::Receiver<Arc<GpuView>>,
    /// Their faults, as far as they concern what runs on them.
    pub faults: mpsc::Receiver<GpuFault>,
    /// To be told how proofs ended.
    pub proofs: mpsc::Sender<ProofEnded>,
}

/// Reads NVML at an interval.
#[derive(Debug)]
pub struct GpuMonitor {
    nvml: Option<NvmlHandle>,
    interval: Duration,
    allow_none: bool,
    health: GpuHealthCore,
    /// What NVML lists, and what of it is on offer now.
    inventory: Option<Inventory>,
    listed: Offered,
    /// Everything that was on offer since the start.
    offered: BTreeMap<GpuUuid, GpuSpec>,
    raised: Vec<Finding>,
    findings: FindingSet,
    clock: Clock,
    holders: watch::Receiver<BTreeMap<GpuUuid, AssignmentId>>,
    view: watch::Sender<Arc<GpuView>>,
    faults: mpsc::Sender<GpuFault>,
    proofs: mpsc::Receiver<ProofEnded>,
}

impl GpuMonitor {
    /// Starts NVML's thread, if GPUs are lent at all.
    pub fn start(
        config: &GpuConfig,
        holders: watch::Receiver<BTreeMap<GpuUuid, AssignmentId>>,
        findings: FindingSet,
        clock: Clock,
    ) -> std::io::Result<(Self, GpuPorts)> {
        let nvml = match config.enabled {
            true => Some(NvmlHandle::start(NvmlConfig {
                library: config.nvml_library.clone(),
                ..Default::default()
            })?),
            false => None,
        };
        let first = GpuView { looked: nvml.is_none(), ..GpuView::default() };
        let (view, receiver) = watch::channel(Arc::new(first));
        let (faults, told) = mpsc::channel(MOST_FAULTS);
        let (proofs, proven) = mpsc::channel(MOST_FAULTS);
        let monitor = Self {
            nvml,
            interval: config.sample_interval,
            allow_none: config.allow_none,
            health: GpuHealthCore::new(HealthPolicy::default()),
            inventory: None,
            listed: Offered::default(),
            offered: BTreeMap::new(),
            raised: Vec::new(),
            findings,
            clock,
            holders,
            view,
            faults,
            proofs: proven,
        };
        Ok((monitor, GpuPorts { view: receiver, faults: told, proofs }))
    }

    /// Until shutdown.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let Some(nvml) = self.nvml.clone() else { return shutdown.cancelled().await };
        let mut xids =
            nvml.watch_xids().inspect_err(|error| tracing::warn!(%error, "XIDs are not watched")).ok();
        let mut rounds_left = 0;
        loop {
            if rounds_left == 0 || self.inventory.is_none() {
                self.read_inventory(&nvml).await;
                rounds_left = SAMPLES_PER_INVENTORY;
            }
            rounds_left -= 1;
            if self.sample(&nvml).await {
                rounds_left = 0;
            }
            let wait = if rounds_left == 0 { Duration::ZERO } else { self.interval };
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
                Some(xid) = next_xid(&mut xids) => self.on_xid(xid).await,
                Some(ended) = self.proofs.recv() => self.on_proof(ended).await,
            }
        }
    }

    async fn read_inventory(&mut self, nvml: &NvmlHandle) {
        match nvml.inventory().await {
            Ok(inventory) => {
                self.listed = Offered::of(&inventory);
                for spec in &self.listed.gpus {
                    self.offered.insert(spec.uuid.clone(), spec.clone());
                }
                self.inventory = Some(inventory);
            }
            // The sample that follows fails in the same way and says so.
            Err(error) => tracing::debug!(%error, "no inventory"),
        }
    }

    /// One round of health; true if an inventory is due because something changed.
    async fn sample(&mut self, nvml: &NvmlHandle) -> bool {
        let (event, failure, sample) = match nvml.sample().await {
            Ok(sample) => (HealthEvent::Sampled(sample.clone()), None, Some(sample)),
            Err(error) => (HealthEvent::SampleFailed(error.clone()), Some(error), None),
        };
        let effects = self.health.step(self.now(), event);
        let changed = effects.iter().any(|effect| {
            // A GPU that was not there before, or came back, may differ from what was listed.
            matches!(effect, HealthEffect::StateChanged { uuid, from, .. }
                if from.is_some() || !self.offered.contains_key(uuid))
        });
        self.publish(sample.as_ref(), failure.as_ref());
        self.tell_faults(&effects).await;
        changed && self.inventory.is_some() && effects.iter().any(is_recovery_or_new)
    }

    async fn on_xid(&mut self, event: XidEvent) {
        let workload = self.holders.borrow().get(&event.uuid).map(ToString::to_string);
        tracing::warn!(gpu = %event.uuid, xid = event.xid, class = ?event.class(), "XID");
        let event = HealthEvent::Xid { uuid: event.uuid, xid: event.xid, workload };
        let effects = self.health.step(self.now(), event);
        self.publish(None, None);
        self.tell_faults(&effects).await;
    }

    async fn on_proof(&mut self, ended: ProofEnded) {
        let instance = self.listed.gpus.iter().find(|spec| spec.uuid == ended.gpu);
        let uuid = instance.and_then(|spec| spec.parent.clone()).unwrap_or(ended.gpu);
        let effects = self.health.step(self.now(), HealthEvent::Proof { uuid, passed: ended.passed });
        self.publish(None, None);
        self.tell_faults(&effects).await;
    }

    /// Says what concerns the work on the GPUs. After their health was published: nothing new comes onto a GPU whose work
    /// is being ended.
    async fn tell_faults(&self, effects: &[HealthEffect]) {
        for effect in effects {
            let Some(fault) = fault(effect, &self.listed.gpus) else { continue };
            tracing::warn!(gpus = ?fault.gpus, kind = ?fault.kind, detail = fault.detail, "a GPU fault");
            // The driver lives as long as this; at its end nobody needs to know.
            let _ = self.faults.send(fault).await;
        }
    }

    fn publish(&mut self, sample: Option<&HealthSample>, failure: Option<&NvmlError>) {
        let statuses = gpu_statuses(&self.listed.gpus, &self.health, sample);
        self.say(failure);
        let offered = Offered { gpus: self.offered.values().cloned().collect(), ..self.listed.clone() };
        self.view.send_replace(Arc::new(GpuView { offered, statuses, looked: true }));
    }

    /// Raises what holds now and clears what held before.
    fn say(&mut self, failure: Option<&NvmlError>) {
        let mut now: Vec<Finding> = Vec::new();
        if let Some(error) = failure {
            let severity =
                if self.allow_none && self.offered.is_empty() { Severity::Info } else { Severity::Error };
            now.push(Finding::new(severity, error.code(), error.to_string()).remedy(error.remedy()));
        }
        now.extend(self.inventory.iter().flat_map(Inventory::findings));
        for gpu in self.health.all() {
            let Some(reason) = gpu.reason.filter(|_| gpu.state != GpuState::Healthy) else { continue };
            let severity =
                if gpu.state == GpuState::Quarantined { Severity::Error } else { Severity::Warning };
            let remedy = match (gpu.needs_operator, gpu.state, reason.ends_tasks()) {
                (true, _, _) => "the GPU has failed again and again: look at it, then restart the worker",
                (false, GpuState::Quarantined | GpuState::Recovering, true) => {
                    "tasks on it were ended as failed by this node; it is used again by itself once it is healthy; look at `dmesg`"
                }
                (false, GpuState::Quarantined | GpuState::Recovering, false) => {
                    "tasks on it go on for as long as they can, nothing new is put on it; it is used again by itself once it is healthy; look at `dmesg`"
                }
                (false, GpuState::Suspect | GpuState::Healthy, _) => {
                    "tasks on it go on; the doubt ends by itself if nothing more happens; look at `dmesg`"
                }
            };
            now.push(
                Finding::new(severity, reason.code(), format!("GPU is {:?}: {reason}", gpu.state))
                    .about(gpu.uuid.as_str())
                    .remedy(remedy),
            );
        }
        for gone in &self.raised {
            if !now.iter().any(|finding| finding.code == gone.code && finding.subject == gone.subject) {
                self.findings.clear(gone.code.clone(), &gone.subject);
            }
        }
        for finding in &now {
            self.findings.raise(finding.clone());
        }
        self.raised = now;
    }

    fn now(&self) -> Timestamp {
        Timestamp(self.clock.wall_millis())
    }
}

/// What a GPU's trouble means for the work on it, if anything.
fn fault(effect: &HealthEffect, listed: &[GpuSpec]) -> Option<GpuFault> {
    let (uuid, detail, kind) = match effect {
        HealthEffect::StopTasks { uuid, reason } if reason.ends_tasks() => {
            (uuid, format!("GPU {uuid} failed: {reason}"), GpuFaultKind::Broken)
        }
        HealthEffect::FailTask { uuid, xid } => {
            let kind = match XidClass::of(*xid) {
                XidClass::Application => GpuFaultKind::ProgramError,
                XidClass::ContainedMemory
                | XidClass::Link
                | XidClass::Recurring
                | XidClass::NeedsReset
                | XidClass::Fatal
                | XidClass::RecoveryAction
                | XidClass::Unknown => GpuFaultKind::LostProgram,
            };
            (uuid, format!("GPU {uuid} reported XID {xid}"), kind)
        }
        // Validators decide when a GPU is proven; `proof_required` is off, so nothing waits for it.
        HealthEffect::StopTasks { .. } | HealthEffect::StateChanged { .. } | HealthEffect::Prove { .. } => {
            return None;
        }
    };
    let instances = listed.iter().filter(|spec| spec.parent.as_ref() == Some(uuid));
    let gpus = std::iter::once(uuid.clone()).chain(instances.map(|spec| spec.uuid.clone())).collect();
    Some(GpuFault { gpus, detail, kind })
}

fn is_recovery_or_new(effect: &HealthEffect) -> bool {
    match effect {
        HealthEffect::StateChanged { from, to, .. } => from.is_none() || *to != GpuState::Quarantined,
        HealthEffect::StopTasks { .. } | HealthEffect::FailTask { .. } | HealthEffect::Prove { .. } => false,
    }
}

async fn next_xid(xids: &mut Option<lode_gpu::XidWatch>) -> Option<XidEvent> {
    let event = match xids {
        Some(watch) => watch.next().await,
        None => std::future::pending().await,
    };
    if event.is_none() {
        // The thread has ended: never ask it again.
        *xids = None;
    }
    event
}

#[cfg(test)]
mod tests {
    use super::*;
    use lode_gpu::HealthReason;

    fn uuid(number: u8) -> GpuUuid {
        format!("GPU-{number}{number}").parse().unwrap()
    }

    fn instance(number: u8, parent: u8) -> GpuSpec {
        GpuSpec {
            uuid: uuid(number),
            model: None,
            memory: None,
            compute_capability: None,
            pci_bus_id: None,
            parent: Some(uuid(parent)),
        }
    }

    #[test]
    fn a_fatal_xid_ends_what_runs_on_the_gpu_and_on_every_instance_of_it() {
        let effect = HealthEffect::StopTasks { uuid: uuid(1), reason: HealthReason::Xid(79) };
        let fault = fault(&effect, &[instance(2, 1), instance(3, 4)]).unwrap();
        assert_eq!((fault.kind, fault.gpus), (GpuFaultKind::Broken, vec![uuid(1), uuid(2)]));
        assert!(fault.detail.contains("79"), "{}", fault.detail);
    }

    #[test]
    fn a_gpu_that_nvml_does_not_show_ends_nothing() {
        let effect = HealthEffect::StopTasks { uuid: uuid(1), reason: HealthReason::Lost };
        assert_eq!(fault(&effect, &[]), None);
    }

    #[test]
    fn whose_fault_an_error_of_a_program_is_depends_on_the_xid() {
        let kind = |xid| fault(&HealthEffect::FailTask { uuid: uuid(1), xid }, &[]).map(|fault| fault.kind);
        assert_eq!(kind(31), Some(GpuFaultKind::ProgramError));
        assert_eq!(kind(94), Some(GpuFaultKind::LostProgram));
    }
}
