//! One GPU's state and its transitions. The table stands in the parent module.

use std::collections::{BTreeMap, VecDeque};

use lode_protocol::hardware::GpuState;
use lode_protocol::ids::GpuUuid;
use lode_protocol::units::{Millis, Timestamp};

use super::assess::{Memory, Verdict};
use super::effect::{GpuHealth, HealthEffect, ProofDepth};
use super::policy::HealthPolicy;
use super::reason::HealthReason;
use crate::NvmlError;
use crate::sample::GpuReading;
use crate::xid::XidClass;

/// Doublings of a hold; beyond this the operator's window has closed anyway.
const MOST_DOUBLINGS: usize = 8;

#[derive(Clone, Debug)]
enum State {
    Healthy,
    Suspect {
        reason: HealthReason,
        clean: u32,
        unreadable: u32,
    },
    Quarantined {
        reason: HealthReason,
        until: Timestamp,
    },
    Recovering {
        reason: HealthReason,
        clean: u32,
        proven: bool,
    },
    /// Quarantined until an operator clears it.
    Condemned {
        reason: HealthReason,
    },
}

#[derive(Clone, Debug)]
pub(super) struct Record {
    state: State,
    memory: Memory,
    last_xid: Option<Timestamp>,
    recurring: BTreeMap<u32, Timestamp>,
    application_faults: VecDeque<(Timestamp, String)>,
    hardware_quarantines: VecDeque<Timestamp>,
    links_down: bool,
}

impl Record {
    pub(super) fn new() -> Self {
        Self {
            state: State::Healthy,
            memory: Memory::default(),
            last_xid: None,
            recurring: BTreeMap::new(),
            application_faults: VecDeque::new(),
            hardware_quarantines: VecDeque::new(),
            links_down: false,
        }
    }

    pub(super) fn read(
        &mut self,
        now: Timestamp,
        reading: &GpuReading,
        policy: &HealthPolicy,
        effects: &mut Vec<HealthEffect>,
    ) {
        self.links_down = reading.nvlinks.is_some_and(|links| links.up < links.total);
        match self.memory.judge(now, reading, policy) {
            Verdict::Clean => self.clean(now, &reading.uuid, policy, effects),
            Verdict::Doubt(reason) => self.doubt(now, &reading.uuid, reason, policy, effects),
            Verdict::Fault(reason) => self.fault(now, &reading.uuid, reason, policy, effects),
        }
    }

    fn clean(
        &mut self,
        now: Timestamp,
        uuid: &GpuUuid,
        policy: &HealthPolicy,
        effects: &mut Vec<HealthEffect>,
    ) {
        let quiet = self.last_xid.is_none_or(|last| now.since(last) >= policy.xid_quiet);
        match &mut self.state {
            State::Healthy | State::Condemned { .. } => {}
            State::Suspect { reason, clean, unreadable } => {
                *clean = clean.saturating_add(1);
                *unreadable = 0;
                // An XID is forgiven by time; everything else by being gone.
                let forgiven = quiet || !matches!(reason, HealthReason::Xid(_));
                if *clean >= policy.clean_samples && forgiven {
                    self.change(uuid, State::Healthy, effects);
                }
            }
            State::Quarantined { reason, until } => {
                if now >= *until {
                    let reason = reason.clone();
                    self.change(uuid, State::Recovering { reason, clean: 1, proven: false }, effects);
                    if policy.proof_required {
                        effects.push(HealthEffect::Prove { uuid: uuid.clone(), depth: ProofDepth::Full });
                    } else {
                        self.recovered(uuid, quiet, policy, effects);
                    }
                }
            }
            State::Recovering { clean, .. } => {
                *clean = clean.saturating_add(1);
                self.recovered(uuid, quiet, policy, effects);
            }
        }
    }

    /// Ends a recovery whose conditions are all met.
    fn recovered(
        &mut self,
        uuid: &GpuUuid,
        quiet: bool,
        policy: &HealthPolicy,
        effects: &mut Vec<HealthEffect>,
    ) {
        if let State::Recovering { clean, proven, .. } = &self.state
            && *clean >= policy.clean_samples
            && (*proven || (quiet && !policy.proof_required))
        {
            self.change(uuid, State::Healthy, effects);
        }
    }

    fn doubt(
        &mut self,
        now: Timestamp,
        uuid: &GpuUuid,
        reason: HealthReason,
        policy: &HealthPolicy,
        effects: &mut Vec<HealthEffect>,
    ) {
        match &mut self.state {
            State::Healthy => {
                self.change(uuid, State::Suspect { reason, clean: 0, unreadable: 0 }, effects);
                if policy.proof_required {
                    effects.push(HealthEffect::Prove { uuid: uuid.clone(), depth: ProofDepth::Short });
                }
            }
            // The first reason stands; what matters is that it is not over.
            State::Suspect { clean, .. } => *clean = 0,
            State::Recovering { .. } => self.fault(now, uuid, reason, policy, effects),
            State::Quarantined { .. } | State::Condemned { .. } => {}
        }
    }

    pub(super) fn unreadable(
        &mut self,
        now: Timestamp,
        uuid: &GpuUuid,
        error: NvmlError,
        policy: &HealthPolicy,
        effects: &mut Vec<HealthEffect>,
    ) {
        match error {
            NvmlError::GpuLost { .. } => return self.fault(now, uuid, HealthReason::Lost, policy, effects),
            NvmlError::ResetRequired { .. } => {
                return self.fault(now, uuid, HealthReason::ResetRequired, policy, effects);
            }
            _ => {}
        }
        let reason = HealthReason::Unreadable(error);
        self.doubt(now, uuid, reason.clone(), policy, effects);
        if let State::Suspect { unreadable, .. } = &mut self.state {
            *unreadable = unreadable.saturating_add(1);
            if *unreadable >= policy.unreadable_samples {
                self.fault(now, uuid, reason, policy, effects);
            }
        }
    }

    pub(super) fn fault(
        &mut self,
        now: Timestamp,
        uuid: &GpuUuid,
        reason: HealthReason,
        policy: &HealthPolicy,
        effects: &mut Vec<HealthEffect>,
    ) {
        let hardware = reason.is_hardware();
        let was_in_use = match &mut self.state {
            State::Healthy | State::Suspect { .. } => true,
            State::Recovering { .. } => false,
            // The first reason stands. New evidence of broken hardware still prolongs the hold.
            State::Quarantined { reason: known, until } => {
                // What runs on may have outlived a doubt about what NVML shows; it does not outlive evidence.
                if reason.ends_tasks() && !known.ends_tasks() {
                    effects.push(HealthEffect::StopTasks { uuid: uuid.clone(), reason: reason.clone() });
                }
                if hardware {
                    *until = (*until).max(now.plus(policy.hardware_hold));
                    if !known.is_hardware() {
                        *known = reason;
                    }
                }
                return;
            }
            State::Condemned { .. } => return,
        };
        let next = if hardware {
            self.hardware_quarantines.retain(|at| now.since(*at) < policy.operator_window);
            self.hardware_quarantines.push_back(now);
            let times = self.hardware_quarantines.len();
            if times >= policy.hardware_quarantines as usize {
                State::Condemned { reason: reason.clone() }
            } else {
                let doublings = times.saturating_sub(1).min(MOST_DOUBLINGS);
                let hold = Millis(policy.hardware_hold.0.saturating_mul(1 << doublings));
                State::Quarantined { reason: reason.clone(), until: now.plus(hold) }
            }
        } else {
            State::Quarantined { reason: reason.clone(), until: now }
        };
        self.change(uuid, next, effects);
        if was_in_use {
            effects.push(HealthEffect::StopTasks { uuid: uuid.clone(), reason });
        }
    }

    pub(super) fn xid(
        &mut self,
        now: Timestamp,
        uuid: &GpuUuid,
        xid: u32,
        workload: Option<String>,
        policy: &HealthPolicy,
        effects: &mut Vec<HealthEffect>,
    ) {
        let class = XidClass::of(xid);
        let reason = HealthReason::Xid(xid);
        if class != XidClass::Application {
            self.last_xid = Some(now);
        }
        match class {
            XidClass::Application => {
                effects.push(HealthEffect::FailTask { uuid: uuid.clone(), xid });
                self.application_fault(now, uuid, workload, policy, effects);
            }
            XidClass::ContainedMemory => {
                effects.push(HealthEffect::FailTask { uuid: uuid.clone(), xid });
                self.doubt(now, uuid, reason, policy, effects);
            }
            XidClass::Link if self.links_down => self.fault(now, uuid, reason, policy, effects),
            XidClass::Recurring => {
                let before = self.recurring.insert(xid, now);
                if before.is_some_and(|at| now.since(at) < policy.application_window) {
                    self.fault(now, uuid, reason, policy, effects);
                } else {
                    self.doubt(now, uuid, reason, policy, effects);
                }
            }
            XidClass::NeedsReset | XidClass::Fatal => self.fault(now, uuid, reason, policy, effects),
            XidClass::Link | XidClass::RecoveryAction | XidClass::Unknown => {
                self.doubt(now, uuid, reason, policy, effects);
            }
        }
    }

    fn application_fault(
        &mut self,
        now: Timestamp,
        uuid: &GpuUuid,
        workload: Option<String>,
        policy: &HealthPolicy,
        effects: &mut Vec<HealthEffect>,
    ) {
        // A fault that belongs to no known workload says nothing about different ones.
        let Some(workload) = workload else { return };
        self.application_faults
            .retain(|(at, other)| now.since(*at) < policy.application_window && *other != workload);
        self.application_faults.push_back((now, workload));
        if self.application_faults.len() >= policy.application_faults {
            self.application_faults.clear();
            self.doubt(now, uuid, HealthReason::ManyApplicationFaults, policy, effects);
        }
    }

    pub(super) fn proof(
        &mut self,
        now: Timestamp,
        uuid: &GpuUuid,
        passed: bool,
        policy: &HealthPolicy,
        effects: &mut Vec<HealthEffect>,
    ) {
        if !passed {
            return self.fault(now, uuid, HealthReason::ProofFailed, policy, effects);
        }
        match &mut self.state {
            State::Healthy | State::Condemned { .. } => {}
            // What it was doubted for is some time ago: it computes now.
            State::Suspect { .. } => self.last_xid = None,
            State::Quarantined { reason, .. } => {
                let reason = reason.clone();
                self.change(uuid, State::Recovering { reason, clean: 0, proven: true }, effects);
            }
            State::Recovering { proven, .. } => {
                *proven = true;
                self.recovered(uuid, true, policy, effects);
            }
        }
    }

    pub(super) fn clear(&mut self, uuid: &GpuUuid, policy: &HealthPolicy, effects: &mut Vec<HealthEffect>) {
        let reason = match &self.state {
            State::Healthy | State::Recovering { .. } => return,
            // Clean readings must follow; that much time need not pass.
            State::Suspect { .. } => {
                self.last_xid = None;
                return;
            }
            State::Quarantined { reason, .. } | State::Condemned { reason } => reason.clone(),
        };
        self.hardware_quarantines.clear();
        self.last_xid = None;
        self.change(uuid, State::Recovering { reason, clean: 0, proven: false }, effects);
        if policy.proof_required {
            effects.push(HealthEffect::Prove { uuid: uuid.clone(), depth: ProofDepth::Full });
        }
    }

    fn change(&mut self, uuid: &GpuUuid, next: State, effects: &mut Vec<HealthEffect>) {
        let from = self.wire_state();
        self.state = next;
        effects.push(HealthEffect::StateChanged {
            uuid: uuid.clone(),
            from: Some(from),
            to: self.wire_state(),
            reason: self.health(uuid).reason,
        });
    }

    pub(super) fn wire_state(&self) -> GpuState {
        match self.state {
            State::Healthy => GpuState::Healthy,
            State::Suspect { .. } => GpuState::Suspect,
            State::Quarantined { .. } | State::Condemned { .. } => GpuState::Quarantined,
            State::Recovering { .. } => GpuState::Recovering,
        }
    }

    pub(super) fn health(&self, uuid: &GpuUuid) -> GpuHealth {
        let reason = match &self.state {
            State::Healthy => None,
            State::Suspect { reason, .. }
            | State::Quarantined { reason, .. }
            | State::Recovering { reason, .. }
            | State::Condemned { reason } => Some(reason.clone()),
        };
        let needs_operator = matches!(self.state, State::Condemned { .. });
        GpuHealth { uuid: uuid.clone(), state: self.wire_state(), reason, needs_operator }
    }
}
