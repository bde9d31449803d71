//! Every row as it would be written now. A step writes what it has marked; whoever compares this with the store sees
//! whether it marked everything that it changed.

use std::collections::BTreeMap;

use lode_protocol::envelope::encode;
use lode_protocol::ids::{ReplicaId, Term};

use super::Core;
use super::effect::Table;
use super::record;
use super::task::Replica;

impl Core {
    /// What the store holds once all changes so far are durable, of the tables in [`Table::EXACT`]. Costs time in
    /// proportion to all that the core knows: for tests and simulations.
    pub fn rows(&self) -> BTreeMap<(Table, Vec<u8>), Vec<u8>> {
        let mut rows = BTreeMap::new();
        if self.epoch != Term(0) {
            let meta = record::Meta { epoch: self.epoch };
            rows.insert((Table::Meta, record::META_KEY.to_vec()), encode(&meta));
            let requirements = encode(&self.config.requirements_hash);
            rows.insert((Table::Meta, record::REQUIREMENTS_KEY.to_vec()), requirements);
        }
        for (id, node) in self.nodes.iter().filter(|(_, node)| node.is_durable()) {
            rows.insert((Table::Nodes, record::node_key(id)), encode(&*node.row));
            rows.insert((Table::Progress, record::node_key(id)), encode(&*node.progress));
        }
        for (id, task) in &self.tasks {
            rows.insert((Table::Tasks, record::task_key(id)), encode(&**task));
            // A replica that is as a new one has no row.
            for (replica, row) in (0u32..).zip(&task.replicas).filter(|(_, row)| **row != Replica::new()) {
                let key = record::replica_key(&ReplicaId { task: *id, replica });
                rows.insert((Table::Replicas, key), encode(row));
            }
        }
        for (id, row) in &self.assignments {
            rows.insert((Table::Assignments, record::assignment_key(id)), encode(row));
        }
        rows.extend(self.ledger_rows());
        rows
    }
}
