//! What users want.

use lode_orchestrator_core::event::{BatchOnDrain, Event, ImageResolution, Unpinned};
use lode_protocol::task::TaskSpec;

use crate::happening::Happening;
use crate::orchestrator::task_id;
use crate::plan::Deed;
use crate::world::World;

impl World {
    /// Somebody with the owner's token wants something.
    pub fn wish(&mut self, wish: &Deed) {
        match *wish {
            Deed::Submit { number, replicas, gpus, service } => {
                let kind = if service { "service" } else { "batch" };
                let text = format!(
                    "name = \"t{number}\"\nkind = \"{kind}\"\nimage = \"i:1\"\nreplicas = {replicas}\n\
                     stop_grace = \"2s\"\n[resources]\ngpus = {gpus}\n"
                );
                let spec = match TaskSpec::from_toml(&text).map(TaskSpec::validate) {
                    Ok(Ok(spec)) => spec,
                    wrong => {
                        return self
                            .witness
                            .breaks("tasks of the simulation are valid", format!("{wrong:?}"));
                    }
                };
                let image = ImageResolution::Unpinned(Unpinned {
                    code: "image/not-resolved".into(),
                    message: "nobody was asked".to_owned(),
                });
                let id = task_id(number);
                let key = Some(format!("t{number}"));
                let submitted = Event::TaskSubmitted { id, spec, order: None, idempotency_key: key, image };
                if !self.ask(submitted) {
                    // A client tries again until it is answered.
                    let deed = self.plan.deeds.iter().position(|(_, deed)| deed == wish);
                    if let Some(deed) = deed {
                        self.after(1_000, Happening::Deed(deed));
                    }
                }
            }
            Deed::Stop(number) => drop(self.ask(Event::TaskStop(task_id(number)))),
            Deed::Start(number) => {
                self.witness.restarted(task_id(number));
                self.ask(Event::TaskStart(task_id(number)));
            }
            Deed::Delete(number) => {
                self.witness.deleted(task_id(number));
                self.ask(Event::TaskDelete(task_id(number)));
            }
            Deed::Drain(node) => {
                let batch = if self.dice.chance(500) { BatchOnDrain::Finish } else { BatchOnDrain::Move };
                self.ask(Event::NodeDrain { node: self.nodes[node].id, batch });
            }
            Deed::Undrain(node) => drop(self.ask(Event::NodeUndrain(self.nodes[node].id))),
            Deed::Eject(node) => {
                let message = "the simulation wants it".to_owned();
                self.ask(Event::NodeEject { node: self.nodes[node].id, message });
            }
            Deed::Readmit(node) => drop(self.ask(Event::NodeReadmit(self.nodes[node].id))),
            Deed::CrashOrchestrator { .. }
            | Deed::CrashWorker { .. }
            | Deed::PowerLoss { .. }
            | Deed::EngineSilent { .. }
            | Deed::Partition { .. }
            | Deed::Weather { .. }
            | Deed::DiskFull { .. }
            | Deed::ClockStep { .. }
            | Deed::Reorganisation { .. }
            | Deed::SilentRpc { .. }
            | Deed::Registered { .. }
            | Deed::CrashDirectory { .. }
            | Deed::CrashValidator { .. }
            | Deed::Misconduct { .. }
            | Deed::ForgedRoot
            | Deed::Stake(_)
            | Deed::Impostor
            | Deed::Stranger
            | Deed::Leave(_) => {}
        }
    }
}
