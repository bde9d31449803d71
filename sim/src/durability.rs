//! What the orchestrator's store must hold: all that its core knows, once what is under way is durable; and after a
//! restart all that was promised.

use std::collections::BTreeMap;

use lode_orchestrator_core::effect::Table;
use lode_protocol::ids::{AssignmentId, TaskId};

use crate::world::World;

/// Between two comparisons of the store with the core.
const COMPARES: u64 = 5_000;

impl World {
    /// After a restart everything that was promised is still there.
    pub fn check_recovery(&mut self) {
        let Some(core) = &self.orchestrator.core else { return };
        let lost: Vec<TaskId> = self
            .witness
            .accepted
            .iter()
            .filter(|task| !self.witness.deleted.contains(task) && core.task(task).is_none())
            .copied()
            .collect();
        let unknown: Vec<AssignmentId> = self
            .witness
            .ordered
            .keys()
            .filter(|id| {
                core.task(&id.replica.task).is_none() && !self.witness.deleted.contains(&id.replica.task)
            })
            .copied()
            .collect();
        if !lost.is_empty() {
            self.witness.breaks("nothing acknowledged is lost", format!("tasks {lost:?} are gone"));
        }
        if !unknown.is_empty() {
            let seen = format!("{unknown:?} were ordered and are not known after a restart");
            self.witness.breaks("nothing is sent before it is durable", seen);
        }
        self.compare_store();
    }

    /// From time to time.
    pub fn compare_store_sometimes(&mut self) {
        if self.now >= self.orchestrator.compared + COMPARES {
            self.compare_store();
        }
    }

    /// The store, with all that is under way to it, is what the core knows: a row that was changed and not written would
    /// be as before after the next crash.
    pub fn compare_store(&mut self) {
        self.orchestrator.compared = self.now;
        let Some(core) = &self.orchestrator.core else { return };
        let disk = &self.orchestrator.disk;
        let exact = |table: &Table| Table::EXACT.contains(table);
        let mut stored: BTreeMap<_, &Vec<u8>> = disk
            .rows
            .iter()
            .filter(|((table, _), _)| exact(table))
            .map(|((table, key), value)| ((*table, key), value))
            .collect();
        let under_way = disk.pending.iter().flat_map(|(writes, _)| writes);
        for (table, key, value) in under_way.filter(|(table, _, _)| exact(table)) {
            match value {
                Some(value) => stored.insert((*table, key), value),
                None => stored.remove(&(*table, key)),
            };
        }
        let known = core.rows();
        let differs = known
            .iter()
            .find(|((table, key), value)| stored.get(&(*table, key)) != Some(value))
            .map(|((table, _), _)| *table)
            .or_else(|| {
                let is_forgotten =
                    |(table, key): &(Table, &Vec<u8>)| !known.contains_key(&(*table, (*key).clone()));
                stored.keys().find(|place| is_forgotten(place)).map(|(table, _)| *table)
            });
        if let Some(table) = differs {
            let seen = format!("a row of {} is not as the core has it", table.name());
            self.witness.breaks("the store has what the core knows", seen);
        }
    }
}
