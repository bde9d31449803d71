//! Votes of validators against roots and redemptions.

use lode_contracts::{Amount, Revert, timestamp_of_seconds};
use lode_protocol::ids::ValidatorId;

use super::budget::BallotId;
use crate::chain::ledger::{Ledger, refuse};

impl Ledger {
    /// Counts a vote, by the weights of the epoch in which the window began.
    pub(super) fn cast(
        &mut self,
        ballot: BallotId,
        window_end: u64,
        validator: ValidatorId,
    ) -> Result<(Amount, Amount, bool), Revert> {
        let began = window_end - self.parameters.settlement.veto_seconds;
        let epoch = self.timing().epoch_at(timestamp_of_seconds(began));
        let (weight, total_weight) = (self.weight(validator, epoch), self.total_weight(epoch));
        if weight == Amount::ZERO {
            return refuse("NoVotingWeight");
        }
        let ballot = self.ballots.entry(ballot).or_default();
        if !ballot.voted.insert(validator) {
            return refuse("AlreadyVoted");
        }
        ballot.votes = ballot.votes.saturating_add(weight);
        ballot.passed = ballot.votes.saturating_mul(3) > total_weight.saturating_mul(2);
        Ok((ballot.votes, total_weight, ballot.passed))
    }
}
