//! The time that an event happens at, by both clocks. Cores never read a clock: time comes with each event.

use crate::units::{Millis, Timestamp};

/// Both clocks at the time of an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Now {
    /// Wall clock: for records, histories and deadlines that others must agree on. May jump.
    pub wall: Timestamp,
    /// Monotonic clock since an arbitrary start: for leases, back-offs and everything that is waited for. Never goes
    /// backwards, and means nothing to anybody else.
    pub monotonic: Millis,
}
