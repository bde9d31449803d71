//! Blocks and positions in the chain.

use lode_protocol::hash::Digest;
use lode_protocol::units::Timestamp;
use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

/// A block, as far as anybody here cares.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, Serialize, Deserialize)]
pub struct BlockRef {
    /// Its number.
    #[n(0)]
    pub number: u64,
    /// Its hash: two blocks of one number differ by it.
    #[n(1)]
    pub hash: Digest,
    /// Its time: whole seconds by the block producer's clock.
    #[n(2)]
    pub timestamp: Timestamp,
}

impl BlockRef {
    /// The position after this block.
    pub fn cursor(&self) -> ChainCursor {
        ChainCursor { number: self.number, hash: self.hash }
    }
}

/// The last block whose events a follower has taken in. The hash names the history that it belongs to: a cursor of
/// another history leads to a resync, never to events of a wrong place.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Encode, Decode, Serialize, Deserialize)]
pub struct ChainCursor {
    /// Number of the block.
    #[n(0)]
    pub number: u64,
    /// Its hash.
    #[n(1)]
    pub hash: Digest,
}

/// Seconds of the chain as the house's time.
pub fn timestamp_of_seconds(seconds: u64) -> Timestamp {
    Timestamp(seconds.saturating_mul(1000))
}

/// The house's time as seconds of the chain, rounded down.
pub fn seconds_of_timestamp(timestamp: Timestamp) -> u64 {
    timestamp.0 / 1000
}
