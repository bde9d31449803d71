//! The conditions that the core has raised: each is said when it begins, changes or ends, not with every event.

use std::collections::BTreeMap;

use lode_protocol::finding::Finding;

use crate::effect::Action;

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

    /// What is to be told since the last call.
    pub(crate) fn take(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.said)
    }
}
