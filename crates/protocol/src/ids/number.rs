//! Numbers that count something: each its own type.

use std::fmt;
use std::str::FromStr;

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use super::{ParseIdError, cut};

macro_rules! number {
    ($(#[$meta:meta])* $name:ident, $inner:ty) => {
        $(#[$meta])*
        #[derive(
            Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, Encode, Decode, Serialize, Deserialize,
        )]
        #[cbor(transparent)]
        #[serde(transparent)]
        pub struct $name(#[n(0)] pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self).map_err(|error: std::num::ParseIntError| ParseIdError::Form {
                    what: stringify!($name),
                    got: cut(text),
                    reason: error.to_string(),
                })
            }
        }
    };
}

number!(
    /// EIP-155 chain id.
    ChainId,
    u64
);
number!(
    /// Number of a pool in its `ComputePools` contract; 0 is no pool.
    PoolId,
    u64
);
number!(
    /// How often an assignment was placed anew. A report of a lower incarnation is refused.
    Incarnation,
    u32
);
number!(
    /// Version of the desired set of one node; grows by one with every change of the set.
    Generation,
    u64
);
number!(
    /// The orchestrator's term of office: grows with every start and every takeover.
    Term,
    u64
);
number!(
    /// How often a worker started with this data directory. Persisted, only grows.
    BootCounter,
    u64
);
number!(
    /// Number of a message within a session and direction, from 1.
    Sequence,
    u64
);

number!(
    /// Number of an epoch of the validators: block time divided by the epoch's length.
    Epoch,
    u64
);
number!(
    /// Number of an accusation in its `Slashing` contract; 0 is none.
    AccusationId,
    u64
);

impl Epoch {
    /// The epoch `count` later.
    pub fn plus(self, count: u64) -> Self {
        Self(self.0.saturating_add(count))
    }
}

impl Incarnation {
    /// The next incarnation.
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl Generation {
    /// The next generation.
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl BootCounter {
    /// The next boot.
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl Sequence {
    /// The next sequence number.
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}
