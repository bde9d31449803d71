//! The validators' epochs: when commits and reveals are taken.
//!
//! epoch = block time / epoch length; the first half of an epoch takes commits, the second half reveals.

pub use lode_protocol::ids::Epoch;
use lode_protocol::units::Timestamp;
use serde::{Deserialize, Serialize};

use crate::block::{seconds_of_timestamp, timestamp_of_seconds};

/// What an epoch takes now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EpochPhase {
    /// Commitments.
    Commit,
    /// Reveals.
    Reveal,
}

/// The validator contract's times, fixed at its deployment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct EpochTiming {
    /// Length of an epoch in seconds: even, at least 2.
    pub epoch_seconds: u64,
    /// How many epochs beyond its own a leaf may be valid.
    pub max_validity_epochs: u64,
}

impl EpochTiming {
    /// The epoch that runs at a block time.
    pub fn epoch_at(&self, time: Timestamp) -> Epoch {
        Epoch(seconds_of_timestamp(time) / self.epoch_seconds.max(1))
    }

    /// What the running epoch takes at a block time.
    pub fn phase_at(&self, time: Timestamp) -> EpochPhase {
        let into = seconds_of_timestamp(time) % self.epoch_seconds.max(1);
        if into < self.epoch_seconds / 2 { EpochPhase::Commit } else { EpochPhase::Reveal }
    }

    /// First second of an epoch.
    pub fn starts(&self, epoch: Epoch) -> Timestamp {
        timestamp_of_seconds(epoch.0.saturating_mul(self.epoch_seconds))
    }

    /// First second that takes reveals, and none of commits.
    pub fn reveal_from(&self, epoch: Epoch) -> Timestamp {
        timestamp_of_seconds(
            epoch.0.saturating_mul(self.epoch_seconds).saturating_add(self.epoch_seconds / 2),
        )
    }

    /// First second after an epoch.
    pub fn ends(&self, epoch: Epoch) -> Timestamp {
        self.starts(epoch.plus(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_takes_commits_first_and_reveals_then() {
        let timing = EpochTiming { epoch_seconds: 60, max_validity_epochs: 3 };
        let epoch = timing.epoch_at(timestamp_of_seconds(125));
        assert_eq!(epoch, Epoch(2));
        assert_eq!(timing.starts(epoch), timestamp_of_seconds(120));
        assert_eq!(timing.reveal_from(epoch), timestamp_of_seconds(150));
        assert_eq!(timing.ends(epoch), timestamp_of_seconds(180));
        assert_eq!(timing.phase_at(timestamp_of_seconds(149)), EpochPhase::Commit);
        assert_eq!(timing.phase_at(timestamp_of_seconds(150)), EpochPhase::Reveal);
    }
}
