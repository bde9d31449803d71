//! The store's tables of the core's, and whom their rows concern.

use lode_protocol::ids::{Address, NodeId};
use lode_store::Table;

use crate::core::effect;

/// The store's table of a core's table.
pub(crate) fn store_table(table: effect::Table) -> Table {
    const META: Table = Table::new(effect::Table::Meta.name());
    const NODES: Table = Table::new(effect::Table::Nodes.name());
    const PROGRESS: Table = Table::new(effect::Table::Progress.name());
    const TASKS: Table = Table::new(effect::Table::Tasks.name());
    const REPLICAS: Table = Table::new(effect::Table::Replicas.name());
    const ASSIGNMENTS: Table = Table::new(effect::Table::Assignments.name());
    const SETTLEMENT: Table = Table::new(effect::Table::Settlement.name());
    const METERS: Table = Table::new(effect::Table::Meters.name());
    const SPENT: Table = Table::new(effect::Table::Spent.name());
    const ORDERS: Table = Table::new(effect::Table::Orders.name());
    const PAYEES: Table = Table::new(effect::Table::Payees.name());
    const OFFERS: Table = Table::new(effect::Table::Offers.name());
    const EPOCHS: Table = Table::new(effect::Table::Epochs.name());
    const RECEIPTS: Table = Table::new(effect::Table::Receipts.name());
    const ROOTS: Table = Table::new(effect::Table::Roots.name());
    match table {
        effect::Table::Meta => META,
        effect::Table::Nodes => NODES,
        effect::Table::Progress => PROGRESS,
        effect::Table::Tasks => TASKS,
        effect::Table::Replicas => REPLICAS,
        effect::Table::Assignments => ASSIGNMENTS,
        effect::Table::Settlement => SETTLEMENT,
        effect::Table::Meters => METERS,
        effect::Table::Spent => SPENT,
        effect::Table::Orders => ORDERS,
        effect::Table::Payees => PAYEES,
        effect::Table::Offers => OFFERS,
        effect::Table::Epochs => EPOCHS,
        effect::Table::Receipts => RECEIPTS,
        effect::Table::Roots => ROOTS,
    }
}

/// Whose answers a row stands in, besides those that carry news.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Concern {
    Everybody,
    Node(NodeId),
    Nobody,
}

/// Whom a row concerns. A key that is none of a node's concerns everybody: then more waits than must.
pub(crate) fn concern(table: effect::Table, key: &[u8]) -> Concern {
    match table {
        effect::Table::Nodes | effect::Table::Progress | effect::Table::Meters | effect::Table::Offers => {
            key.try_into().map_or(Concern::Everybody, |address| Concern::Node(NodeId(Address(address))))
        }
        // The term, and the epoch that meters count into.
        effect::Table::Meta
        | effect::Table::Settlement
        | effect::Table::Epochs
        | effect::Table::Payees
        | effect::Table::Receipts
        | effect::Table::Roots => Concern::Everybody,
        // They reach a node through its set, whose generation is in its progress.
        effect::Table::Tasks
        | effect::Table::Replicas
        | effect::Table::Assignments
        | effect::Table::Spent
        | effect::Table::Orders => Concern::Nobody,
    }
}
