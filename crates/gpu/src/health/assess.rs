//! What one reading says about a GPU, given what was seen before.

use std::collections::VecDeque;

use lode_protocol::units::Timestamp;

use super::policy::HealthPolicy;
use super::reason::HealthReason;
use crate::NvmlError;
use crate::sample::{GpuReading, RecoveryAction};

/// Calls whose failure says something about the GPU itself: its memory, and the counters of its errors. That it answers at
/// all is judged before, by its handle and its UUID. Everything else is shown to people and decides nothing: consumer cards
/// lose a sensor after months and compute on.
const VITAL: [&str; 3] =
    ["nvmlDeviceGetMemoryInfo_v2", "nvmlDeviceGetTotalEccErrors", "nvmlDeviceGetRemappedRows"];

/// Judgement of one observation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Clean,
    /// No new work.
    Doubt(HealthReason),
    /// No work at all.
    Fault(HealthReason),
}

/// What has to be remembered between readings to judge the next.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory {
    ecc_uncorrected: Option<u64>,
    hot_since: Option<Timestamp>,
    protection: VecDeque<bool>,
}

impl Memory {
    pub(super) fn judge(&mut self, now: Timestamp, reading: &GpuReading, policy: &HealthPolicy) -> Verdict {
        // All are updated, whichever speaks first.
        let errors = self.new_uncorrected_errors(reading);
        let hot = self.hot(now, reading, policy);
        let protected = self.protected(reading, policy);
        let rows = reading.remapped_rows.unwrap_or_default();
        match reading.recovery_action {
            Some(
                action @ (RecoveryAction::Reset | RecoveryAction::Reboot | RecoveryAction::DrainAndReset),
            ) => {
                return Verdict::Fault(HealthReason::RecoveryAction(action));
            }
            Some(action @ (RecoveryAction::DrainPeers | RecoveryAction::Unknown(_))) => {
                return Verdict::Doubt(HealthReason::RecoveryAction(action));
            }
            Some(RecoveryAction::None) | None => {}
        }
        if reading.problems.iter().any(|problem| matches!(problem.error, NvmlError::ResetRequired { .. })) {
            return Verdict::Fault(HealthReason::ResetRequired);
        }
        if rows.failed {
            return Verdict::Fault(HealthReason::RemapFailed);
        }
        if let Some(new) = errors {
            return Verdict::Doubt(HealthReason::UncorrectedEcc { new });
        }
        if rows.pending {
            return Verdict::Doubt(HealthReason::RemapPending);
        }
        // A missing permission is the host's configuration, not the GPU's health.
        let mut problems = reading.problems.iter().filter(|problem| {
            VITAL.contains(&problem.operation) && !matches!(problem.error, NvmlError::NoPermission { .. })
        });
        if let Some(problem) = problems.next() {
            return Verdict::Doubt(HealthReason::Unreadable(problem.error.clone()));
        }
        if let Some(celsius) = hot {
            return Verdict::Doubt(HealthReason::Hot { celsius });
        }
        if protected {
            return Verdict::Doubt(HealthReason::HardwareProtection);
        }
        Verdict::Clean
    }

    /// Errors since the last reading. The counter starts at zero with the driver, so less than before is new too.
    fn new_uncorrected_errors(&mut self, reading: &GpuReading) -> Option<u64> {
        let count = reading.ecc_uncorrected?;
        let before = self.ecc_uncorrected.replace(count)?;
        let new = count.checked_sub(before).unwrap_or(count);
        (new > 0).then_some(new)
    }

    fn hot(&mut self, now: Timestamp, reading: &GpuReading, policy: &HealthPolicy) -> Option<u32> {
        let (celsius, slowdown) = reading.temperature_c.zip(reading.slowdown_temperature_c)?;
        if celsius.saturating_add(policy.hot_margin_c) < slowdown {
            self.hot_since = None;
            return None;
        }
        let since = *self.hot_since.get_or_insert(now);
        (now.since(since) >= policy.hot_patience).then_some(celsius)
    }

    fn protected(&mut self, reading: &GpuReading, policy: &HealthPolicy) -> bool {
        let Some(reasons) = reading.throttle else { return false };
        self.protection.push_back(reasons.is_hardware_protection());
        while self.protection.len() > policy.protection_window {
            self.protection.pop_front();
        }
        let times = self.protection.iter().filter(|protected| **protected).count();
        // A share of too few samples says nothing.
        self.protection.len() * 2 >= policy.protection_window
            && times * 100 > policy.protection_percent * self.protection.len()
    }
}
