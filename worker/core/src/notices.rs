//! The conditions that the core has raised: each is said when it begins, changes or ends, not with every event.

use std::collections::BTreeMap;

use lode_protocol::finding::Finding;

use crate::effect::Action;
use crate::event::{ContainerId, EngineFailure};

/// By code. A condition of the core concerns the whole node: there is one of each.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notices {
    raised: BTreeMap<String, Finding>,
    said: Vec<Action>,
}

impl Notices {
    pub(crate) fn raise(&mut self, finding: Finding) {
        let code = finding.code.as_str().to_owned();
        if self.raised.get(&code) != Some(&finding) {
            self.raised.insert(code, finding.clone());
            self.said.push(Action::Raise(finding));
        }
    }

    pub(crate) fn clear(&mut self, code: &'static str) {
        if self.raised.remove(code).is_some() {
            self.said.push(Action::Clear(code.into()));
        }
    }

    /// A condition that holds or does not.
    pub(crate) fn hold(&mut self, code: &'static str, finding: Option<Finding>) {
        match finding {
            Some(finding) => self.raise(finding),
            None => self.clear(code),
        }
    }

    /// What a creation says of the room on this host; most failures say nothing.
    pub(crate) fn room(&mut self, created: &Result<ContainerId, EngineFailure>) {
        match created {
            Ok(_) => self.clear("docker/no-room"),
            Err(EngineFailure::NoRoom(why)) => self.raise(
                Finding::warning("docker/no-room", format!("this host cannot hold one more task: {why}"))
                    .remedy(
                        "let tasks end, remove networks that nobody uses, or name more in docker.subnets",
                    ),
            ),
            Err(_) => {}
        }
    }

    /// What is to be told since the last call.
    pub(crate) fn take(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.said)
    }
}
