//! The numbered log of changes that followers read from a cursor.

use std::collections::VecDeque;

use lode_protocol::cursor::Cursor;
use lode_protocol::ids::NodeId;

/// A change, by the node that changed: followers get the node as it is when they ask, so that the log stays small.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Logged {
    /// Number, from 1.
    pub position: u64,
    /// Which node.
    pub node: NodeId,
    /// Why it was removed; `None` if it was updated.
    pub removed: Option<&'static str>,
}

/// The newest changes.
#[derive(Clone, Debug)]
pub struct ChangeLog {
    incarnation: u64,
    position: u64,
    changes: VecDeque<Logged>,
    retention: usize,
}

/// What a follower gets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Since {
    /// These, and the cursor after them.
    Changes(Vec<Logged>, Cursor),
    /// The cursor is of another log, or older than what is kept: read everything.
    Resync,
}

impl ChangeLog {
    /// An empty log. `incarnation` must differ from that of every log before it.
    pub fn new(incarnation: u64, retention: usize) -> Self {
        Self { incarnation, position: 0, changes: VecDeque::new(), retention }
    }

    /// Where the log ends.
    pub fn cursor(&self) -> Cursor {
        Cursor { incarnation: self.incarnation, position: self.position }
    }

    /// Adds a change.
    pub fn push(&mut self, node: NodeId, removed: Option<&'static str>) {
        self.position += 1;
        self.changes.push_back(Logged { position: self.position, node, removed });
        if self.changes.len() > self.retention {
            self.changes.pop_front();
        }
    }

    /// At most `limit` changes after a cursor, in time proportional to their number.
    pub fn since(&self, cursor: Cursor, limit: usize) -> Since {
        let oldest = self.position - self.changes.len() as u64;
        if cursor.incarnation != self.incarnation
            || cursor.position < oldest
            || cursor.position > self.position
        {
            return Since::Resync;
        }
        let skip = usize::try_from(cursor.position - oldest).unwrap_or(usize::MAX);
        let changes: Vec<Logged> = self.changes.iter().skip(skip).take(limit).cloned().collect();
        let position = changes.last().map_or(cursor.position, |change| change.position);
        Since::Changes(changes, Cursor { incarnation: self.incarnation, position })
    }
}
