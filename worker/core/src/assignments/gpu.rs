//! What a GPU's fault means for what runs on it. Broken hardware ends it, as the node's fault: whatever it computes from
//! now on cannot be trusted. An error of a program ends nothing (the program's own end does), and explains the end.

use lode_protocol::assignment::Reason;
use lode_protocol::ids::AssignmentId;

use super::Assignments;
use crate::assignment::{Assignment, Stage};
use crate::effect::Command;
use crate::event::{GpuFault, GpuFaultKind};

impl Assignments {
    pub(crate) fn on_gpu_failed(&mut self, fault: &GpuFault, commands: &mut Vec<Command>) {
        let concerned = |item: &&Assignment| {
            item.holds_gpus() && item.entry.order.gpus.iter().any(|gpu| fault.gpus.contains(gpu))
        };
        let ids: Vec<AssignmentId> = self.items.values().filter(concerned).map(Assignment::id).collect();
        for id in ids {
            match fault.kind {
                GpuFaultKind::Broken => self.end_on_broken_gpu(id, &fault.detail, commands),
                GpuFaultKind::LostProgram | GpuFaultKind::ProgramError => {
                    if let Some(item) = self.items.get_mut(&id) {
                        item.gpu_error = Some((fault.kind, fault.detail.clone()));
                    }
                }
            }
        }
    }

    fn end_on_broken_gpu(&mut self, id: AssignmentId, detail: &str, commands: &mut Vec<Command>) {
        let Some(item) = self.items.get_mut(&id) else { return };
        match item.stage {
            Stage::Starting | Stage::Running { .. } => {
                item.entry.stop_detail = Some(detail.to_owned());
                Self::stop(item, Reason::GpuLost, commands);
            }
            // Settled when the engine has listed its containers.
            Stage::Interrupted if item.entry.container.is_some() => {
                item.entry.stop_detail = Some(detail.to_owned());
                item.entry.stopping = item.entry.stopping.or(Some(Reason::GpuLost));
            }
            Stage::Pulling { .. }
            | Stage::Creating { .. }
            | Stage::HeldOff { .. }
            | Stage::BackingOff { .. }
            | Stage::Interrupted => {
                self.fail(id, Reason::GpuLost, detail, commands);
            }
            // How it ended is being found out: this is why, if it failed.
            Stage::Examining => item.gpu_error = Some((GpuFaultKind::Broken, detail.to_owned())),
            // It ends already, or holds nothing.
            Stage::Stopping | Stage::Waiting | Stage::Ended | Stage::Removing | Stage::Removed => {}
        }
    }
}
