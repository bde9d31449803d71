//! States and counts in the words that people see.

use serde::{Deserialize, Serialize};

/// Where a node stands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeState {
    /// Not a member yet.
    Joining,
    /// A member whose lease runs.
    Alive,
    /// A member that has been silent for a while; nothing new is placed.
    Suspect,
    /// A member that has been silent for a lease; its work was placed elsewhere.
    Lost,
    /// A member that is being emptied or leaves.
    Draining,
    /// Removed, or gone.
    Ejected,
    /// Two processes use its key; nothing is placed.
    Conflicted,
}

/// Where a task stands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TaskState {
    /// Some replica is not running yet.
    Pending,
    /// Every replica runs, or has ended well.
    Running,
    /// Was asked to stop; something still runs.
    Stopping,
    /// Was asked to stop and has.
    Stopped,
    /// Every replica ended with success.
    Succeeded,
    /// Every replica ended, at least one of them for good and not well.
    Failed,
    /// Is being deleted; something still runs.
    Deleting,
}

/// How many replicas are where.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct ReplicaCounts {
    /// Wanted in all.
    pub total: u32,
    /// Wait for a node or a back-off.
    pub pending: u32,
    /// Have an assignment that does not run yet.
    pub starting: u32,
    /// Run and are ready.
    pub running: u32,
    /// Ended well.
    pub succeeded: u32,
    /// Ended for good, not well.
    pub failed: u32,
}
