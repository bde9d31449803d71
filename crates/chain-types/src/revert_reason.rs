//! Errors of the contracts that somebody decides by. All others are only told to people.

use crate::refusal::Revert;

/// What a refusal means to whoever asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RevertReason {
    /// The accuser, or somebody else, has an accusation open for this already.
    AlreadyAccused,
    /// More than the contract can take.
    AmountTooLarge,
    /// The token's owner has allowed less.
    InsufficientAllowance,
    /// There is no commitment to reveal.
    NotCommitted,
    /// Something that nobody decides by.
    Other,
}

impl RevertReason {
    /// Each reason that is decided by, with the name of its error.
    pub const NAMES: [(Self, &'static str); 4] = [
        (Self::AlreadyAccused, "AlreadyAccused"),
        (Self::AmountTooLarge, "AmountTooLarge"),
        (Self::InsufficientAllowance, "InsufficientAllowance"),
        (Self::NotCommitted, "NotCommitted"),
    ];
}

impl Revert {
    /// What it means.
    pub fn reason(&self) -> RevertReason {
        let named = RevertReason::NAMES.iter().find(|(_, name)| *name == self.name);
        named.map_or(RevertReason::Other, |(reason, _)| *reason)
    }
}
