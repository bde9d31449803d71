//! What the engine cannot remove: containers and networks of assignments that are over, and containers that no record knows.
//! It is tried again with every list; meanwhile they take room, and people hear of it.

use lode_protocol::finding::Finding;

use super::Assignments;
use crate::event::{ContainerId, EngineFailure, Observed};

impl Assignments {
    /// A container that no record knows could not be removed. An engine that does not answer says nothing of it.
    pub(crate) fn on_stray_left(&mut self, container: ContainerId, failure: &EngineFailure) {
        match failure {
            EngineFailure::Unavailable(_) => {}
            other => {
                self.strays.insert(container, other.detail().to_owned());
            }
        }
    }

    /// What is not listed any more is gone.
    pub(super) fn note_strays_gone(&mut self, listed: &[Observed]) {
        self.strays.retain(|stray, _| listed.iter().any(|seen| seen.container == *stray));
    }

    /// What the host's owner should know.
    pub(crate) fn leftovers(&self) -> Option<Finding> {
        let ended = self.items.values().filter_map(|item| {
            let why = item.unremoved.clone()?;
            Some((format!("what is left of {}", item.id()), why))
        });
        let strays = self.strays.iter().map(|(stray, why)| (format!("container {}", stray.0), why.clone()));
        let mut all = ended.chain(strays);
        let (what, why) = all.next()?;
        let others = all.count();
        let more = if others > 0 { format!(" ({others} more)") } else { String::new() };
        Some(
            Finding::warning("docker/cannot-remove", format!("{what} cannot be removed{more}: {why}"))
                .remedy("look at the engine's log, and whether something still uses it; it is tried again"),
        )
    }
}
