//! What the public directory says over HTTP. JSON, because people and tools of all kinds read it; the signed bytes are
//! inside, so that nobody has to believe the directory.

use serde::{Deserialize, Serialize};

use crate::cursor::Cursor;
use crate::ids::{BootCounter, NodeId, PoolId, ProviderId};
use crate::units::{Bytes, Timestamp};

/// Most entries on one page.
pub const MAX_PAGE: usize = 1_000;

/// One node in the directory. Everything but `descriptor` is a convenience: verify the descriptor before acting on it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DirectoryEntry {
    /// The node.
    pub node: NodeId,
    /// Its provider, by the chain.
    pub provider: ProviderId,
    /// Pool that the descriptor is meant for; 0 is any.
    pub pool: PoolId,
    /// Models of its GPUs, as claimed.
    pub gpu_models: Vec<String>,
    /// Number of its GPUs, as claimed.
    pub gpus: u32,
    /// Memory of its smallest GPU, as claimed.
    pub gpu_memory: Bytes,
    /// Boot of the descriptor.
    pub boot: BootCounter,
    /// Sequence of the descriptor within its boot.
    pub sequence: u64,
    /// When the descriptor stops counting.
    pub expires_at: Timestamp,
    /// The sealed descriptor, in hexadecimal.
    #[serde(with = "hex_bytes")]
    pub descriptor: Vec<u8>,
}

/// A page of the directory, in the order of node ids.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DirectoryPage {
    /// Nodes that match.
    pub nodes: Vec<DirectoryEntry>,
    /// Ask with `after` = this for the next page; absent on the last one.
    pub next: Option<NodeId>,
    /// Changes after this cursor are not on the page.
    pub cursor: Cursor,
}

/// What happened to a node.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "kebab-case")]
pub enum DirectoryChange {
    /// It is there, or is described anew.
    Updated {
        /// As it is now.
        entry: Box<DirectoryEntry>,
    },
    /// It is no longer listed. Means nothing but that: a directory can omit.
    Removed {
        /// Which.
        node: NodeId,
        /// `expired` or `deregistered`.
        reason: String,
    },
}

/// Changes after a cursor.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ChangesPage {
    /// Oldest first.
    pub changes: Vec<DirectoryChange>,
    /// Ask on with this one.
    pub cursor: Cursor,
    /// The cursor that was given is unknown or too old: read the whole directory, then go on from `cursor`.
    pub resync: bool,
}

mod hex_bytes {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        hex::decode(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}
