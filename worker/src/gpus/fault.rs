//! What a GPU's trouble means for the work on it.

use lode_gpu::{HealthEffect, XidClass};
use lode_protocol::ids::GpuUuid;

use crate::core::event::{GpuFault, GpuFaultKind};

/// What follows from an effect of a GPU's health, if anything. `parts` names a GPU and the instances of it.
pub(super) fn fault(effect: &HealthEffect, parts: impl FnOnce(&GpuUuid) -> Vec<GpuUuid>) -> Option<GpuFault> {
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
    Some(GpuFault { gpus: parts(uuid), detail, kind })
}

#[cfg(test)]
mod tests {
    use lode_gpu::HealthReason;

    use super::*;

    fn uuid(number: u8) -> GpuUuid {
        format!("GPU-{number}{number}").parse().unwrap()
    }

    fn alone(gpu: &GpuUuid) -> Vec<GpuUuid> {
        vec![gpu.clone()]
    }

    #[test]
    fn a_fatal_xid_ends_what_runs_on_the_gpu_and_on_every_instance_of_it() {
        let effect = HealthEffect::StopTasks { uuid: uuid(1), reason: HealthReason::Xid(79) };
        let fault = fault(&effect, |gpu| vec![gpu.clone(), uuid(2)]).unwrap();
        assert_eq!((fault.kind, fault.gpus), (GpuFaultKind::Broken, vec![uuid(1), uuid(2)]));
        assert!(fault.detail.contains("79"), "{}", fault.detail);
    }

    #[test]
    fn a_gpu_that_nvml_does_not_show_ends_nothing() {
        let effect = HealthEffect::StopTasks { uuid: uuid(1), reason: HealthReason::Lost };
        assert_eq!(fault(&effect, alone), None);
    }

    #[test]
    fn whose_fault_an_error_of_a_program_is_depends_on_the_xid() {
        let kind = |xid| fault(&HealthEffect::FailTask { uuid: uuid(1), xid }, alone).map(|fault| fault.kind);
        assert_eq!(kind(31), Some(GpuFaultKind::ProgramError));
        assert_eq!(kind(94), Some(GpuFaultKind::LostProgram));
    }
}
