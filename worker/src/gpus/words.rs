//! What a host's owner is told of the GPUs, and what to do next.

use lode_gpu::{ForeignUse, GpuHealth, GpuName, NvmlError};
use lode_program::finding::{Finding, Severity};
use lode_protocol::hardware::GpuState;
use lode_protocol::ids::{AssignmentId, GpuUuid};

/// NVML as a whole does not answer; `expected`: the owner said that there may be no GPU.
pub(super) fn of_failure(error: &NvmlError, expected: bool) -> Finding {
    let severity = if expected { Severity::Info } else { Severity::Error };
    Finding::new(severity, error.code(), error.to_string()).remedy(error.remedy())
}

/// A name in `[gpu] exclude` that is no GPU's: what was meant may be lent.
pub(crate) fn unused_exclusion(name: &GpuName) -> Finding {
    Finding::warning("gpu/exclude-unknown", "gpu.exclude names a GPU that this host does not have")
        .about(name.to_string())
        .remedy("compare with `nvidia-smi -L` and `lspci`; what is not excluded is lent to tasks")
}

/// A GPU that is not healthy. `counted`: the driver still shows it, readable or not.
pub(super) fn of_health(gpu: &GpuHealth, counted: bool) -> Option<Finding> {
    let reason = gpu.reason.as_ref().filter(|_| gpu.state != GpuState::Healthy)?;
    let severity = if gpu.state == GpuState::Quarantined { Severity::Error } else { Severity::Warning };
    let clear = format!("`lode-worker gpu clear {}`", gpu.uuid);
    let remedy = match (gpu.needs_operator, gpu.state, reason.ends_tasks()) {
        _ if !counted => format!(
            "it is not offered any more, and is again by itself should the driver show it; where it was taken out for good, {clear} ends this finding"
        ),
        (true, _, _) => format!(
            "the GPU has failed again and again and nothing is put on it: look at it, then run {clear}; no restart is needed"
        ),
        (false, GpuState::Quarantined | GpuState::Recovering, true) => format!(
            "tasks on it were ended as failed by this node, and nothing new is put on it; look at `dmesg`. It is used again once it passes a validator's proof, or by itself after a while of clean readings; {clear} does not wait for either"
        ),
        (false, GpuState::Quarantined | GpuState::Recovering, false) => format!(
            "tasks on it go on for as long as they can, nothing new is put on it; it is used again by itself once it reads well; {clear} does not wait; look at `dmesg`"
        ),
        (false, GpuState::Suspect | GpuState::Healthy, _) => {
            "tasks on it go on, nothing new is put on it; the doubt ends by itself if nothing more happens; look at `dmesg`"
                .to_owned()
        }
    };
    let message = format!("GPU is {:?}: {reason}", gpu.state);
    Some(Finding::new(severity, reason.code(), message).about(gpu.uuid.as_str()).remedy(remedy))
}

/// Somebody else uses a GPU. Beside a task it is an alarm: the task was promised all of it.
pub(super) fn of_foreign_use(gpu: &GpuUuid, found: &ForeignUse, holder: Option<AssignmentId>) -> Finding {
    let finding = match holder {
        Some(holder) => {
            Finding::error(ForeignUse::CODE, format!("GPU is {found}, beside assignment {holder}"))
        }
        None => Finding::warning(ForeignUse::CODE, format!("GPU is {found}")),
    };
    finding.about(gpu.as_str()).remedy(
        "end the process (`ps -fp PID`), or keep the GPU for yourself with gpu.exclude; until then no task is put on it, and it earns nothing",
    )
}

#[cfg(test)]
mod tests {
    use lode_gpu::HealthReason;

    use super::*;

    fn health(state: GpuState, reason: HealthReason, needs_operator: bool) -> GpuHealth {
        GpuHealth { uuid: "GPU-1".parse().unwrap(), state, reason: Some(reason), needs_operator }
    }

    #[test]
    fn what_to_do_about_a_gpu_is_what_is_true_of_it() {
        let said = |gpu: &GpuHealth, counted| of_health(gpu, counted).unwrap().remedy;
        let dead = health(GpuState::Quarantined, HealthReason::Xid(79), false);
        let text = said(&dead, true);
        assert!(text.contains("were ended") && !text.contains("go on"), "{text}");
        assert!(text.contains("proof") && text.contains("lode-worker gpu clear GPU-1"), "{text}");
        let text = said(&health(GpuState::Quarantined, HealthReason::Xid(79), true), true);
        assert!(text.contains("gpu clear GPU-1") && !text.contains("restart the worker"), "{text}");
        let text = said(&health(GpuState::Quarantined, HealthReason::Lost, false), true);
        assert!(text.contains("go on"), "{text}");
        let text = said(&health(GpuState::Quarantined, HealthReason::Lost, false), false);
        assert!(text.contains("not offered any more"), "{text}");
        let healthy = GpuHealth { reason: None, ..health(GpuState::Healthy, HealthReason::Lost, false) };
        assert_eq!(of_health(&healthy, true), None);
    }
}
