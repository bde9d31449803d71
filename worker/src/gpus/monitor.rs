//! Reads NVML at an interval, and tells what follows from it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lode_gpu::{
    ForeignWatch, GpuHealthCore, HealthEffect, HealthEvent, HealthPolicy, HealthSample, NvmlConfig,
    NvmlError, NvmlHandle, OwnUse, XidEvent, gpu_statuses, owner_of,
};
use lode_program::Clock;
use lode_program::finding::{Finding, FindingSet};
use lode_protocol::hardware::{GpuState, GpuStatus};
use lode_protocol::ids::{AssignmentId, GpuUuid};
use lode_protocol::units::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::fault::fault;
use super::listing::Listing;
use super::{ClearAnswer, ClearRequest, GpuView, ProofEnded, words};
use crate::config::GpuConfig;
use crate::core::event::GpuFault;
use crate::core::view::Containers;

/// Inventories are read anew after so many samples, and whenever a GPU's state changed.
const SAMPLES_PER_INVENTORY: u32 = 12;
/// Faults on their way to the driver; it takes them at once.
const MOST_FAULTS: usize = 64;
/// Operators that wait for an answer.
const MOST_CLEARS: usize = 8;

/// What tasks use of the GPUs, as the driver knows it from its start on.
#[derive(Clone, Debug)]
pub struct InUse {
    /// GPUs held by assignments.
    pub holders: watch::Receiver<BTreeMap<GpuUuid, AssignmentId>>,
    /// Their containers.
    pub containers: watch::Receiver<Containers>,
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
    /// To be told that an operator has looked after a GPU.
    pub clears: mpsc::Sender<ClearRequest>,
}

/// Reads NVML at an interval.
#[derive(Debug)]
pub struct GpuMonitor {
    nvml: Option<NvmlHandle>,
    interval: Duration,
    allow_none: bool,
    health: GpuHealthCore,
    foreign: ForeignWatch,
    listing: Listing,
    /// Why nothing is listed.
    unlisted: Option<NvmlError>,
    /// The last round of health, if it was one.
    sample: Option<HealthSample>,
    raised: Vec<Finding>,
    findings: FindingSet,
    clock: Clock,
    in_use: InUse,
    view: watch::Sender<Arc<GpuView>>,
    faults: mpsc::Sender<GpuFault>,
    proofs: mpsc::Receiver<ProofEnded>,
    clears: mpsc::Receiver<ClearRequest>,
}

impl GpuMonitor {
    /// Starts NVML's thread, if GPUs are lent at all.
    pub fn start(
        config: &GpuConfig,
        in_use: InUse,
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
        let (clears, cleared) = mpsc::channel(MOST_CLEARS);
        let monitor = Self {
            nvml,
            interval: config.sample_interval,
            allow_none: config.allow_none,
            health: GpuHealthCore::new(HealthPolicy::default()),
            foreign: ForeignWatch::default(),
            listing: Listing::new(config.exclude.clone()),
            unlisted: None,
            sample: None,
            raised: Vec::new(),
            findings,
            clock,
            in_use,
            view,
            faults,
            proofs: proven,
            clears: cleared,
        };
        Ok((monitor, GpuPorts { view: receiver, faults: told, proofs, clears }))
    }

    /// Until shutdown.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let Some(nvml) = self.nvml.clone() else { return self.run_without(shutdown).await };
        let mut xids =
            nvml.watch_xids().inspect_err(|error| tracing::warn!(%error, "XIDs are not watched")).ok();
        let mut rounds_left = 0;
        loop {
            if rounds_left == 0 || self.listing.inventory().is_none() {
                self.read_inventory(&nvml).await;
                rounds_left = SAMPLES_PER_INVENTORY;
            }
            rounds_left -= 1;
            let mut wait = self.interval;
            match self.sample(&nvml).await {
                Due::AtOnce => (rounds_left, wait) = (0, Duration::ZERO),
                // Not at once: a driver whose two answers differ for long must not be asked without a pause.
                Due::Next => rounds_left = 0,
                Due::Later => {}
            }
            let next = tokio::time::Instant::now() + wait;
            loop {
                tokio::select! {
                    () = shutdown.cancelled() => return,
                    () = tokio::time::sleep_until(next) => break,
                    Some(xid) = next_xid(&mut xids) => self.on_xid(xid).await,
                    Some(ended) = self.proofs.recv() => self.on_proof(ended).await,
                    Some(request) = self.clears.recv() => self.on_clear(request).await,
                }
            }
        }
    }

    /// A host that lends no GPUs still answers.
    async fn run_without(mut self, shutdown: CancellationToken) {
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                Some(request) = self.clears.recv() => self.on_clear(request).await,
            }
        }
    }

    async fn read_inventory(&mut self, nvml: &NvmlHandle) {
        match nvml.inventory().await {
            Ok(inventory) => {
                self.listing.take(inventory, &self.in_use.holders.borrow());
                self.unlisted = None;
                // What is kept from tasks may have been seen before it was known to be.
                let known: Vec<GpuUuid> = self.health.all().map(|gpu| gpu.uuid).collect();
                for uuid in known.iter().filter(|uuid| self.listing.excluded().keeps(uuid)) {
                    self.health.forget(uuid);
                }
            }
            // The sample that follows fails in the same way, or this is said in its place.
            Err(error) => {
                tracing::debug!(%error, "no inventory");
                self.unlisted = Some(error);
            }
        }
    }

    /// One round of health; tells when an inventory is due because something changed.
    async fn sample(&mut self, nvml: &NvmlHandle) -> Due {
        let (event, failure) = match nvml.sample().await {
            // Which GPUs are kept from tasks is not known yet.
            Ok(_) if self.listing.inventory().is_none() => {
                let unlisted = self.unlisted.clone();
                self.publish(unlisted.as_ref());
                return Due::Later;
            }
            Ok(mut sample) => {
                self.listing.excluded().apply_to_sample(&mut sample);
                self.foreign.sampled(&sample, &self.own_use(), owner_of);
                self.sample = Some(sample.clone());
                (HealthEvent::Sampled(sample), None)
            }
            Err(error) => {
                self.sample = None;
                (HealthEvent::SampleFailed(error.clone()), Some(error))
            }
        };
        let effects = self.health.step(self.now(), event);
        self.publish(failure.as_ref());
        self.tell_faults(&effects).await;
        let came_back = effects.iter().any(|effect| {
            matches!(effect, HealthEffect::StateChanged { from: Some(_), to, .. } if *to != GpuState::Quarantined)
        });
        if came_back {
            // It may differ from what was listed.
            Due::AtOnce
        } else if self.sample.as_ref().is_some_and(|sample| self.listing.differs_from(sample)) {
            Due::Next
        } else {
            Due::Later
        }
    }

    /// What is ours on the GPUs now.
    fn own_use(&self) -> OwnUse {
        let holders = self.in_use.holders.borrow();
        let held = holders.keys().map(|uuid| self.listing.physical(uuid).clone());
        let containers = self.in_use.containers.borrow();
        let known = containers.values().filter_map(|place| place.container.as_ref());
        OwnUse { held: held.collect(), containers: known.map(|container| container.0.clone()).collect() }
    }

    async fn on_xid(&mut self, event: XidEvent) {
        if self.listing.excluded().keeps(&event.uuid) {
            return;
        }
        tracing::warn!(gpu = %event.uuid, xid = event.xid, class = ?event.class(), "XID");
        let event = HealthEvent::Xid {
            workload: self.holder_of(&event.uuid).map(|holder| holder.to_string()),
            uuid: event.uuid,
            xid: event.xid,
        };
        let effects = self.health.step(self.now(), event);
        self.publish(None);
        self.tell_faults(&effects).await;
    }

    fn holder_of(&self, gpu: &GpuUuid) -> Option<AssignmentId> {
        let holders = self.in_use.holders.borrow();
        self.listing.parts(gpu).find_map(|uuid| holders.get(uuid).copied())
    }

    async fn on_proof(&mut self, ended: ProofEnded) {
        let uuid = self.listing.physical(&ended.gpu).clone();
        let effects = self.health.step(self.now(), HealthEvent::Proof { uuid, passed: ended.passed });
        self.publish(None);
        self.tell_faults(&effects).await;
    }

    async fn on_clear(&mut self, request: ClearRequest) {
        let uuid = self.listing.physical(&request.gpu).clone();
        let answer = match self.health.get(&uuid) {
            None => ClearAnswer::Unknown { gpus: self.health.all().map(|gpu| gpu.uuid).collect() },
            Some(_) if !self.listing.is_counted(&uuid) => {
                self.health.forget(&uuid);
                ClearAnswer::Forgotten
            }
            Some(health) => match health.reason {
                Some(reason) => ClearAnswer::Cleared { reason: reason.to_string() },
                None => ClearAnswer::NotNeeded { state: health.state },
            },
        };
        tracing::info!(gpu = %uuid, ?answer, "an operator cleared a GPU");
        let effects = self.health.step(self.now(), HealthEvent::OperatorCleared { uuid });
        self.publish(None);
        self.tell_faults(&effects).await;
        // Whoever asked may have gone.
        let _ = request.reply.send(answer);
    }

    /// Says what concerns the work on the GPUs. After their health was published: nothing new comes onto a GPU whose work
    /// is being ended.
    async fn tell_faults(&self, effects: &[HealthEffect]) {
        for effect in effects {
            let parts = |gpu: &GpuUuid| self.listing.parts(gpu).cloned().collect();
            let Some(fault) = fault(effect, parts) else { continue };
            tracing::warn!(gpus = ?fault.gpus, kind = ?fault.kind, detail = fault.detail, "a GPU fault");
            // The driver lives as long as this; at its end nobody needs to know.
            let _ = self.faults.send(fault).await;
        }
    }

    fn publish(&mut self, failure: Option<&NvmlError>) {
        let offered = self.listing.offered();
        let mut statuses = gpu_statuses(&offered.gpus, &self.health, self.sample.as_ref());
        // Those that are not offered are told of by a finding.
        statuses.retain(|status| self.listing.get(&status.uuid).is_some());
        for status in &mut statuses {
            self.note_foreign_use(status);
        }
        self.say(failure);
        let absent = self.listing.absent(self.sample.as_ref());
        self.view.send_replace(Arc::new(GpuView { offered, statuses, absent, looked: true }));
    }

    /// A GPU that somebody else uses keeps its task, if it has one, and gets nothing new.
    fn note_foreign_use(&self, status: &mut GpuStatus) {
        let gpu = self.listing.physical(&status.uuid);
        if let (Some(found), GpuState::Healthy) = (self.foreign.of(gpu), status.state) {
            status.state = GpuState::Suspect;
            status.reason = Some(found.to_string());
        }
    }

    /// Raises what holds now and clears what held before.
    fn say(&mut self, failure: Option<&NvmlError>) {
        let mut now: Vec<Finding> = Vec::new();
        now.extend(failure.map(|error| words::of_failure(error, self.allow_none && self.listing.is_empty())));
        if let Some(inventory) = self.listing.inventory() {
            now.extend(inventory.findings_with(self.sample.as_ref()));
            now.extend(self.listing.excluded().unused().map(words::unused_exclusion));
        }
        let counted = |uuid: &GpuUuid| self.listing.is_counted(uuid);
        now.extend(self.health.all().filter_map(|gpu| words::of_health(&gpu, counted(&gpu.uuid))));
        for (gpu, found) in self.foreign.all() {
            now.push(words::of_foreign_use(gpu, found, self.holder_of(gpu)));
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

/// When the inventory is to be read anew.
enum Due {
    AtOnce,
    Next,
    Later,
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
