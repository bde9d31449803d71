//! The present time, for words like "5 minutes ago". Nothing is decided by it.

use std::time::{SystemTime, UNIX_EPOCH};

use lode_protocol::units::{Millis, Timestamp};

/// Now; 1970 on a machine whose clock stands before that.
pub(crate) fn now() -> Timestamp {
    Timestamp(Millis::from_duration(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()).0)
}
