//! Failures as evidence: what makes two of them the same, on which nodes a task has failed, and what speaks against a node.
//!
//! Whether a node still gets work:
//!
//! | trust | until | then |
//! |---|---|---|
//! | `Given` | several tasks have failed in one way, and nothing explains that but the node | `Withheld` |
//! | `Withheld` | a while has passed | `OnTrial` |
//! | `OnTrial` | the one assignment that it gets runs | `Given` |
//! | | that fails by the node's fault | `Withheld`, for longer |
//! | `Withheld`, `OnTrial` | it turns out that the tasks were to blame | `Given` |
//!
//! None of this is durable: after a restart every node has another chance.

use std::collections::BTreeSet;

use lode_protocol::assignment::{EndPhase, Reason};
use lode_protocol::hash::Digest;
use lode_protocol::ids::{AssignmentId, NodeId, TaskId};
use lode_protocol::units::Millis;

/// Most failures that are remembered of a node, and nodes of a task.
const MOST: usize = 16;
/// So many tasks that failed in one way, with nothing to explain it but the node, speak against it.
const TOO_MANY: usize = 2;

/// What makes two failures the same, whatever an engine's words are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct FailureKey {
    pub(crate) reason: Reason,
    pub(crate) phase: Option<EndPhase>,
    /// Whether GPUs were to be passed through.
    pub(crate) with_gpus: bool,
}

impl FailureKey {
    /// Whether it came before the task itself ran.
    pub(crate) fn came_before_it_ran(&self) -> bool {
        match self.phase {
            Some(EndPhase::Preparing | EndPhase::Creating | EndPhase::Starting) => true,
            Some(EndPhase::Running) | None => false,
        }
    }
}

/// What of a task is evidence.
#[derive(Clone, Debug, Default)]
pub(crate) struct Evidence {
    failed_on: Vec<(NodeId, FailureKey)>,
    /// Whether it has run anywhere.
    pub(crate) has_run: bool,
}

impl Evidence {
    /// It failed there in this way.
    pub(crate) fn note(&mut self, node: NodeId, key: FailureKey) {
        if self.failed_on.contains(&(node, key)) {
            return;
        }
        if self.failed_on.len() >= MOST {
            self.failed_on.remove(0);
        }
        self.failed_on.push((node, key));
    }

    /// Other nodes where it failed in this way.
    pub(crate) fn elsewhere(&self, node: NodeId, key: FailureKey) -> impl Iterator<Item = NodeId> {
        let same = move |(other, known): &&(NodeId, FailureKey)| *other != node && *known == key;
        self.failed_on.iter().filter(same).map(|(other, _)| *other)
    }

    /// It has run for long, or to its end: what failed before says nothing any more.
    pub(crate) fn forgive(&mut self) {
        self.failed_on.clear();
    }

    /// Nodes where it failed.
    pub(crate) fn nodes(&self) -> BTreeSet<NodeId> {
        self.failed_on.iter().map(|(node, _)| *node).collect()
    }
}

/// One failure on a node, by the node's fault as it seemed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Fault {
    pub(crate) task: TaskId,
    /// Of the task's image: tasks of one image may fail for one reason.
    pub(crate) image: Digest,
    pub(crate) key: FailureKey,
    /// Whether it has turned out that the node was not to blame.
    pub(crate) is_explained: bool,
}

/// Whether a node gets work.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Trust {
    #[default]
    Given,
    Withheld {
        until: Millis,
        /// Trials that it has failed.
        trials: u32,
    },
    OnTrial {
        /// The assignment that tries it.
        by: Option<AssignmentId>,
        trials: u32,
    },
}

/// What speaks against a node.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults {
    seen: Vec<Fault>,
    pub(crate) trust: Trust,
}

impl Faults {
    pub(crate) fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }

    /// Whether nothing is to be placed there now.
    pub(crate) fn keep_work_away(&self) -> bool {
        match self.trust {
            Trust::Given | Trust::OnTrial { by: None, .. } => false,
            Trust::Withheld { .. } | Trust::OnTrial { by: Some(_), .. } => true,
        }
    }

    pub(crate) fn note(&mut self, fault: Fault) {
        self.seen.retain(|known| (known.task, known.key) != (fault.task, fault.key));
        if self.seen.len() >= MOST {
            self.seen.remove(0);
        }
        self.seen.push(fault);
    }

    /// Whatever failed of this task was the task's fault.
    pub(crate) fn explain(&mut self, task: &TaskId) {
        for fault in self.seen.iter_mut().filter(|fault| fault.task == *task) {
            fault.is_explained = true;
        }
    }

    /// Something has run: what failed before it could run is over, of its sort; with `lasted`, everything of its sort is.
    pub(crate) fn disprove(&mut self, with_gpus: bool, lasted: bool) {
        self.seen.retain(|fault| {
            let of_its_sort = with_gpus || !fault.key.with_gpus;
            !(of_its_sort && (lasted || fault.key.came_before_it_ran()))
        });
    }

    /// Tasks whose failure nothing explains but the node.
    pub(crate) fn unexplained(&self) -> usize {
        let open = self.seen.iter().filter(|fault| !fault.is_explained);
        open.map(|fault| fault.task).collect::<BTreeSet<_>>().len()
    }

    /// Images of other tasks that failed there in this way, explained or not.
    pub(crate) fn other_images(&self, task: &TaskId, image: &Digest, key: FailureKey) -> usize {
        let others =
            self.seen.iter().filter(|fault| fault.key == key && fault.task != *task && fault.image != *image);
        others.map(|fault| fault.image).collect::<BTreeSet<_>>().len()
    }

    /// In which way too many tasks have failed, and how many.
    pub(crate) fn against(&self) -> Option<(FailureKey, usize)> {
        let count = |key: FailureKey| {
            let same = self.seen.iter().filter(|fault| fault.key == key && !fault.is_explained);
            same.map(|fault| fault.task).collect::<BTreeSet<_>>().len()
        };
        self.seen
            .iter()
            .rev()
            .map(|fault| (fault.key, count(fault.key)))
            .find(|(_, tasks)| *tasks >= TOO_MANY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(phase: EndPhase, with_gpus: bool) -> FailureKey {
        FailureKey { reason: Reason::EngineError, phase: Some(phase), with_gpus }
    }

    fn fault(task: u128, key: FailureKey) -> Fault {
        let task = TaskId(uuid::Uuid::from_u128(task));
        Fault { task, image: Digest([1; 32]), key, is_explained: false }
    }

    #[test]
    fn one_task_that_fails_again_and_again_is_one_and_two_are_too_many() {
        let mut faults = Faults::default();
        for _ in 0..5 {
            faults.note(fault(1, key(EndPhase::Starting, false)));
        }
        assert_eq!((faults.unexplained(), faults.against()), (1, None));
        faults.note(fault(2, key(EndPhase::Creating, false)));
        assert_eq!(faults.against(), None, "another way to fail");
        faults.note(fault(3, key(EndPhase::Starting, false)));
        assert_eq!(faults.against(), Some((key(EndPhase::Starting, false), 2)));
        faults.explain(&fault(3, key(EndPhase::Starting, false)).task);
        assert_eq!((faults.unexplained(), faults.against()), (2, None));
    }

    #[test]
    fn what_runs_disproves_what_it_could_have_failed_at_and_no_more() {
        let mut faults = Faults::default();
        let all = [
            key(EndPhase::Starting, false),
            key(EndPhase::Starting, true),
            key(EndPhase::Running, false),
            key(EndPhase::Running, true),
        ];
        for (task, key) in (1..).zip(all) {
            faults.note(fault(task, key));
        }
        let left = |faults: &Faults| faults.seen.iter().map(|fault| fault.key).collect::<Vec<_>>();
        faults.disprove(false, false);
        assert_eq!(left(&faults), [all[1], all[2], all[3]]);
        faults.disprove(true, false);
        assert_eq!(left(&faults), [all[2], all[3]]);
        faults.disprove(false, true);
        assert_eq!(left(&faults), [all[3]]);
        faults.disprove(true, true);
        assert!(faults.is_empty());
    }
}
