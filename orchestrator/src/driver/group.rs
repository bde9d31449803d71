//! Steps that become one transaction, and what leaves after it.

use std::collections::HashSet;

use lode_program::finding::Finding;
use lode_protocol::error_code::ErrorCode;
use lode_protocol::ids::{Epoch, NodeId};
use lode_store::{Batch, Change};

use super::handle::{Answered, Outgoing, Told};
use super::tables::Concern;
use crate::core::effect::ChainCommand;
use crate::event_log::Unpublished;

/// A group takes no further step that would bring it over so many bytes: a commit of this size takes tens of
/// milliseconds, and a sixteenth of what the store takes at most. A step that is larger has a group of its own.
pub(super) const GROUP_BYTES: usize = 4 << 20;
/// The same for rows.
pub(super) const GROUP_ROWS: usize = 16_384;
/// The same for what waits for the commit.
const GROUP_OUTPUTS: usize = 16_384;
/// What an entry of the event log takes, about.
pub(super) const EVENT_BYTES: usize = 256;

/// Steps that are committed together.
#[derive(Default)]
pub(crate) struct Group {
    pub(super) batch: Batch,
    pub(super) unpublished: Unpublished,
    pub(super) outputs: Vec<Output>,
    concerned: Concerned,
}

/// Who could be told something by this group, or of what it changes.
#[derive(Default)]
struct Concerned {
    everybody: bool,
    nodes: HashSet<NodeId>,
}

/// What happens after the commit.
pub(crate) enum Output {
    Send(Outgoing),
    Chain(ChainCommand),
    Raise(Finding),
    Clear { code: ErrorCode, subject: String },
    Keep(Epoch),
    Answer(Answered),
    Tell(Told),
}

impl Group {
    /// Whether it changes nothing durable.
    pub(super) fn is_quiet(&self) -> bool {
        self.batch.is_empty() && self.unpublished.len() == 0
    }

    fn rows(&self) -> usize {
        self.batch.len().saturating_add(self.unpublished.len())
    }

    fn bytes(&self) -> usize {
        self.batch.bytes().saturating_add(self.unpublished.len().saturating_mul(EVENT_BYTES))
    }

    /// Whether a step of this size still fits.
    pub(super) fn has_room(&self, bytes: usize, rows: usize) -> bool {
        self.is_quiet()
            || (self.bytes().saturating_add(bytes) <= GROUP_BYTES
                && self.rows().saturating_add(rows) <= GROUP_ROWS)
    }

    /// Whether it should go before anything else is stepped.
    pub(super) fn is_full(&self) -> bool {
        self.bytes() >= GROUP_BYTES || self.rows() >= GROUP_ROWS || self.outputs.len() >= GROUP_OUTPUTS
    }

    pub(super) fn change(&mut self, change: Change, concern: Concern) {
        self.batch.push(change);
        match concern {
            Concern::Everybody => self.concerned.everybody = true,
            Concern::Node(node) => self.concern(node),
            Concern::Nobody => {}
        }
    }

    /// Further answers to this node wait for this group.
    pub(super) fn concern(&mut self, node: NodeId) {
        self.concerned.nodes.insert(node);
    }

    pub(super) fn concerns(&self, node: &NodeId) -> bool {
        self.concerned.everybody || self.concerned.nodes.contains(node)
    }
}
