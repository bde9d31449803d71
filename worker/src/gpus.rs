//! The host's GPUs as they are now: inventory, health, what may be used. NVML trouble is a finding, never a crash, and
//! stops no task.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lode_gpu::{
    GpuHealthCore, HealthEffect, HealthEvent, HealthPolicy, HealthSample, Inventory, NvmlConfig, NvmlError,
    NvmlHandle, XidEvent, gpu_specs, gpu_statuses,
};
use lode_program::Clock;
use lode_program::finding::{Finding, FindingSet, Severity};
use lode_protocol::hardware::{GpuSpec, GpuState, GpuStatus};
use lode_protocol::ids::{AssignmentId, GpuUuid};
use lode_protocol::units::Timestamp;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::config::GpuConfig;

/// Inventories are read anew after so many samples, and whenever a GPU's state changed.
const SAMPLES_PER_INVENTORY: u32 = 12;

/// The GPUs as they are now.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct GpuView {
    /// What NVML lists; `None` until it has answered once.
    pub inventory: Option<Inventory>,
    /// GPUs that this host has offered since it started: a GPU that fell off the bus stays in the description, as
    /// quarantined.
    pub specs: Vec<GpuSpec>,
    /// Health of each.
    pub statuses: Vec<GpuStatus>,
    /// GPUs on which work may run.
    pub usable: Vec<GpuUuid>,
    /// Whether the first look is over: GPUs found, or known that there is none to be had now.
    pub looked: bool,
}

/// Reads NVML at an interval.
#[derive(Debug)]
pub struct GpuMonitor {
    nvml: Option<NvmlHandle>,
    interval: Duration,
    allow_none: bool,
    health: GpuHealthCore,
    offered: BTreeMap<GpuUuid, GpuSpec>,
    inventory: Option<Inventory>,
    raised: Vec<Finding>,
    findings: FindingSet,
    clock: Clock,
    holders: watch::Receiver<BTreeMap<GpuUuid, AssignmentId>>,
    view: watch::Sender<Arc<GpuView>>,
}

impl GpuMonitor {
    /// Starts NVML's thread, if GPUs are lent at all.
    pub fn start(
        config: &GpuConfig,
        holders: watch::Receiver<BTreeMap<GpuUuid, AssignmentId>>,
        findings: FindingSet,
        clock: Clock,
    ) -> std::io::Result<(Self, watch::Receiver<Arc<GpuView>>)> {
        let nvml = match config.enabled {
            true => Some(NvmlHandle::start(NvmlConfig {
                library: config.nvml_library.clone(),
                ..Default::default()
            })?),
            false => None,
        };
        let first = GpuView { looked: nvml.is_none(), ..GpuView::default() };
        let (view, receiver) = watch::channel(Arc::new(first));
        let monitor = Self {
            nvml,
            interval: config.sample_interval,
            allow_none: config.allow_none,
            health: GpuHealthCore::new(HealthPolicy::default()),
            offered: BTreeMap::new(),
            inventory: None,
            raised: Vec::new(),
            findings,
            clock,
            holders,
            view,
        };
        Ok((monitor, receiver))
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
                Some(xid) = next_xid(&mut xids) => self.on_xid(xid),
            }
        }
    }

    async fn read_inventory(&mut self, nvml: &NvmlHandle) {
        match nvml.inventory().await {
            Ok(inventory) => {
                for spec in gpu_specs(&inventory) {
                    self.offered.insert(spec.uuid.clone(), spec);
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
        changed && self.inventory.is_some() && effects.iter().any(is_recovery_or_new)
    }

    fn on_xid(&mut self, event: XidEvent) {
        let workload = self.holders.borrow().get(&event.uuid).map(ToString::to_string);
        tracing::warn!(gpu = %event.uuid, xid = event.xid, class = ?event.class(), "XID");
        let event = HealthEvent::Xid { uuid: event.uuid, xid: event.xid, workload };
        self.health.step(self.now(), event);
        self.publish(None, None);
    }

    fn publish(&mut self, sample: Option<&HealthSample>, failure: Option<&NvmlError>) {
        let empty = Inventory::default();
        let inventory = self.inventory.as_ref().unwrap_or(&empty);
        let statuses = gpu_statuses(inventory, &self.health, sample);
        let may_run = |status: &&GpuStatus| matches!(status.state, GpuState::Healthy | GpuState::Suspect);
        let usable = statuses.iter().filter(may_run).map(|status| status.uuid.clone()).collect();
        self.say(failure);
        let view = GpuView {
            inventory: self.inventory.clone(),
            specs: self.offered.values().cloned().collect(),
            statuses,
            usable,
            looked: true,
        };
        self.view.send_replace(Arc::new(view));
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
            let remedy = match gpu.needs_operator {
                true => "the GPU has failed again and again: look at it, then restart the worker",
                false => "tasks on it go on; it is used again by itself once it is healthy; look at `dmesg`",
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
