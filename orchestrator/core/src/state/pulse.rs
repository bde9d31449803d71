//! The part of a node that moves with every beat.

use lode_protocol::finding::Finding;
use lode_protocol::session::{LeaseTiming, Usage};
use lode_protocol::units::{Millis, Timestamp};

use super::pace::{Pace, Refusals};
use super::session::Talk;
use super::words::NodeState;

/// What moves with every beat. No row, no index and no state follows from it.
#[derive(Clone, Debug)]
pub(crate) struct Pulse {
    /// When it was last heard, on the monotonic clock.
    pub(crate) heard: Millis,
    pub(crate) heard_at: Option<Timestamp>,
    /// What the node was last told; its lease is measured by it.
    pub(crate) terms: LeaseTiming,
    pub(crate) talk: Talk,
    pub(crate) usage: Option<Usage>,
    pub(crate) findings: Box<[Finding]>,
    /// Due time of the one lease timer that counts.
    pub(crate) lease_due: Option<Millis>,
    /// Due time of the one admission timer that counts.
    pub(crate) admission_due: Option<Millis>,
    /// Due time of the one timer for orphans that counts.
    pub(crate) orphans_due: Option<Millis>,
    /// It said that it holds as much as it can: until then others come first.
    pub(crate) full_until: Option<Timestamp>,
    /// State that was last told to the event log.
    pub(crate) last_published: Option<NodeState>,
    /// What it has said lately.
    pub(crate) pace: Pace,
    /// Its reports that were refused.
    pub(crate) refusals: Refusals,
}

impl Pulse {
    /// Of a node that was never heard, and was told these times.
    pub(crate) fn new(terms: LeaseTiming) -> Self {
        Pulse {
            heard: Millis(0),
            heard_at: None,
            terms,
            talk: Talk::default(),
            usage: None,
            findings: Box::default(),
            lease_due: None,
            admission_due: None,
            orphans_due: None,
            full_until: None,
            last_published: None,
            pace: Pace::default(),
            refusals: Refusals::default(),
        }
    }
}
