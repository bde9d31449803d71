//! Where a follower stands in an ordered log (chain events, discovery changes, task events, store changes).
//!
//! A cursor names the log's *incarnation* and a position in it. A log that started anew has another incarnation: a
//! follower that presents a foreign cursor is told to resync; it is never served from a wrong place.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::ids::ParseIdError;

/// A position after which a follower wants to read on. Opaque to clients.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Cursor {
    /// Which log: changes when the log is rebuilt from nothing.
    pub incarnation: u64,
    /// Number of the last item that the follower has seen; 0 before the first.
    pub position: u64,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{:x}", self.incarnation, self.position)
    }
}

impl FromStr for Cursor {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let read = || {
            let (incarnation, position) = text.split_once('-')?;
            Some(Cursor {
                incarnation: u64::from_str_radix(incarnation, 16).ok()?,
                position: u64::from_str_radix(position, 16).ok()?,
            })
        };
        read().ok_or_else(|| ParseIdError::Form {
            what: "cursor",
            got: text.chars().take(80).collect(),
            reason: "use a cursor exactly as it was given to you, or none to start from the beginning"
                .to_owned(),
        })
    }
}

impl Serialize for Cursor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Cursor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}
