//! Slashing.

use lode_contracts::{
    AccusationPhase, Amount, ChainEvent, Epoch, Intent, Offence, Revert, SlashingCall, SlashingEvent,
};
use lode_protocol::hash::Digest;
use lode_protocol::ids::{AccusationId, Address, NodeId, ProviderId, ValidatorId};

use super::{Ledger, refuse};

const MAX_URI_BYTES: usize = 512;
const BASIS: u128 = 10_000;

#[derive(Clone, Debug)]
pub(in crate::chain) struct Accusation {
    pub(in crate::chain) accuser: Address,
    pub(in crate::chain) provider: ProviderId,
    pub(in crate::chain) node: NodeId,
    pub(in crate::chain) offence: Offence,
    pub(in crate::chain) verdict: Option<AccusationPhase>,
    pub(in crate::chain) amount: Amount,
    pub(in crate::chain) bond: Amount,
    pub(in crate::chain) opened_at: u64,
    pub(in crate::chain) epoch: Epoch,
    pub(in crate::chain) guilty_weight: Amount,
    pub(in crate::chain) innocent_weight: Amount,
    pub(in crate::chain) evidence: Digest,
    pub(in crate::chain) answer: Option<Digest>,
}

impl Ledger {
    pub(in crate::chain) fn phase(&self, accusation: &Accusation) -> AccusationPhase {
        if let Some(verdict) = accusation.verdict {
            return verdict;
        }
        let terms = &self.parameters.slashing;
        let elapsed = self.now - accusation.opened_at;
        let answering = terms.evidence_seconds + terms.answer_seconds;
        if elapsed < terms.evidence_seconds {
            AccusationPhase::Evidence
        } else if elapsed < answering {
            AccusationPhase::Answer
        } else if elapsed < answering + terms.vote_seconds {
            AccusationPhase::Vote
        } else {
            AccusationPhase::Decided
        }
    }

    pub(in crate::chain) fn bond_for(&self, amount: Amount) -> Amount {
        let terms = &self.parameters.slashing;
        part(amount, terms.bond_basis_points).max(terms.min_bond)
    }

    pub(in crate::chain) fn max_slash(&self, provider: ProviderId) -> Amount {
        let Some(record) = self.providers.get(&provider) else { return Amount::ZERO };
        let all = record.stake.saturating_add(record.unbonding);
        let rest = all.checked_sub(record.locked).unwrap_or_default();
        part(all, self.parameters.slashing.max_slash_basis_points).min(rest)
    }

    fn opened(&mut self, id: AccusationId) -> Result<&mut Accusation, Revert> {
        match self.accusations.get_mut(&id) {
            Some(record) => Ok(record),
            None => refuse("AccusationNotFound"),
        }
    }

    pub(super) fn slashing_call(
        &mut self,
        sender: Address,
        intent: &Intent,
    ) -> Result<Vec<ChainEvent>, Revert> {
        match intent {
            Intent::Slashing(SlashingCall::Accuse { provider, node, offence, amount, evidence, uri }) => {
                self.accuse(sender, *provider, *node, *offence, *amount, *evidence, uri)
            }
            Intent::Slashing(SlashingCall::AnswerAccusation { id, answer, uri }) => {
                if self.opened(*id)?.provider.0 != sender {
                    return refuse("NotAccused");
                }
                self.answer(*id, *answer, uri)
            }
            Intent::Slashing(SlashingCall::AnswerAccusationBySignature { statement, signature }) => {
                let provider = self.opened(statement.accusation)?.provider;
                if self.now > statement.deadline {
                    return refuse("SignatureExpired");
                }
                let digest = statement.digest(&self.deployment.slashing_domain());
                if signature.recover(&digest) != Ok(provider.0) {
                    return refuse("InvalidAnswerSignature");
                }
                self.answer(statement.accusation, statement.answer, &statement.uri)
            }
            Intent::Slashing(SlashingCall::VoteAccusation { id, guilty }) => {
                self.vote(ValidatorId(sender), *id, *guilty)
            }
            Intent::Slashing(SlashingCall::ResolveAccusation { id }) => self.resolve(*id),
            // The token of this chain refuses nobody: nothing is ever owed.
            Intent::Slashing(SlashingCall::CollectOwed { .. }) => refuse("NothingOwed"),
            other => unreachable!("{} is no call of the slasher", other.name()),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the call's own parameters")]
    fn accuse(
        &mut self,
        accuser: Address,
        provider: ProviderId,
        node: NodeId,
        offence: Offence,
        amount: Amount,
        evidence: Digest,
        uri: &str,
    ) -> Result<Vec<ChainEvent>, Revert> {
        if amount == Amount::ZERO {
            return refuse("ZeroAmount");
        }
        if evidence == Digest::default() {
            return refuse("ZeroDigest");
        }
        if uri.len() > MAX_URI_BYTES {
            return refuse("TextTooLong");
        }
        if accuser == provider.0 {
            return refuse("SelfAccusation");
        }
        if accuser == self.treasury() {
            return refuse("TreasuryCannotAccuse");
        }
        let other = self.open_accusations.get(&(provider, node)).and_then(|id| self.accusations.get(id));
        if other.is_some_and(|other| amount <= other.amount) {
            return refuse("AlreadyAccused");
        }
        if amount > self.max_slash(provider) {
            return refuse("AmountTooLarge");
        }
        let (bond, epoch) = (self.bond_for(amount), self.epoch());
        let id = AccusationId(self.accusations.len() as u64 + 1);
        self.open_accusations.insert((provider, node), id);
        let record = Accusation {
            accuser,
            provider,
            node,
            offence,
            verdict: None,
            amount,
            bond,
            opened_at: self.now,
            epoch,
            guilty_weight: Amount::ZERO,
            innocent_weight: Amount::ZERO,
            evidence,
            answer: None,
        };
        self.accusations.insert(id, record);
        let uri = uri.to_owned();
        let accused = ChainEvent::Slashing(SlashingEvent::Accused {
            id,
            provider,
            node,
            accuser,
            offence,
            amount,
            bond,
            epoch,
            evidence,
            uri,
        });
        let locked = self.lock_stake(provider, amount)?;
        self.pull(accuser, self.deployment.slashing, bond)?;
        Ok(vec![accused, locked])
    }

    fn answer(&mut self, id: AccusationId, answer: Digest, uri: &str) -> Result<Vec<ChainEvent>, Revert> {
        let record = self.opened(id)?.clone();
        if !matches!(self.phase(&record), AccusationPhase::Evidence | AccusationPhase::Answer) {
            return refuse("WrongPhase");
        }
        if answer == Digest::default() {
            return refuse("ZeroDigest");
        }
        if uri.len() > MAX_URI_BYTES {
            return refuse("TextTooLong");
        }
        if record.answer.is_some() {
            return refuse("AlreadyAnswered");
        }
        self.opened(id)?.answer = Some(answer);
        Ok(vec![ChainEvent::Slashing(SlashingEvent::Answered {
            id,
            provider: record.provider,
            answer,
            uri: uri.to_owned(),
        })])
    }

    fn vote(
        &mut self,
        validator: ValidatorId,
        id: AccusationId,
        guilty: bool,
    ) -> Result<Vec<ChainEvent>, Revert> {
        let record = self.opened(id)?.clone();
        if self.phase(&record) != AccusationPhase::Vote {
            return refuse("WrongPhase");
        }
        let weight = self.weight(validator, record.epoch);
        if weight == Amount::ZERO || validator.0 == record.accuser {
            return refuse("NoVote");
        }
        if !self.accusation_votes.insert((id, validator)) {
            return refuse("AlreadyVoted");
        }
        let record = self.opened(id)?;
        let sum = if guilty { &mut record.guilty_weight } else { &mut record.innocent_weight };
        *sum = sum.saturating_add(weight);
        Ok(vec![ChainEvent::Slashing(SlashingEvent::Voted { id, validator, guilty, weight })])
    }

    fn resolve(&mut self, id: AccusationId) -> Result<Vec<ChainEvent>, Revert> {
        let record = self.opened(id)?.clone();
        if self.phase(&record) != AccusationPhase::Decided {
            return refuse("WrongPhase");
        }
        let (provider, slashing) = (record.provider, self.deployment.slashing);
        if self.open_accusations.get(&(provider, record.node)) == Some(&id) {
            self.open_accusations.remove(&(provider, record.node));
        }
        // The accuser is no juror, so that its weight does not count against its own accusation.
        let accuser = self.weight(ValidatorId(record.accuser), record.epoch);
        let total = self.total_weight(record.epoch).checked_sub(accuser).unwrap_or_default();
        if record.guilty_weight.saturating_mul(3) > total.saturating_mul(2) {
            self.opened(id)?.verdict = Some(AccusationPhase::Guilty);
            let terms = &self.parameters.slashing;
            let fee = part(record.amount, terms.fee_basis_points).min(terms.max_fee);
            let to_treasury = record.amount.checked_sub(fee).unwrap_or_default();
            let found = ChainEvent::Slashing(SlashingEvent::FoundGuilty {
                id,
                provider,
                slashed: record.amount,
                fee,
                to_treasury,
            });
            let [unlocked, slashed] = self.slash(provider, record.amount, slashing)?;
            self.move_tokens(slashing, record.accuser, record.bond.saturating_add(fee))?;
            self.move_tokens(slashing, self.treasury(), to_treasury)?;
            return Ok(vec![found, unlocked, slashed]);
        }
        self.opened(id)?.verdict = Some(AccusationPhase::Acquitted);
        let acquitted = ChainEvent::Slashing(SlashingEvent::Acquitted { id, provider, bond: record.bond });
        let unlocked = self.unlock_stake(provider, record.amount)?;
        self.move_tokens(slashing, provider.0, record.bond)?;
        Ok(vec![acquitted, unlocked])
    }
}

fn part(amount: Amount, basis_points: u16) -> Amount {
    Amount(amount.0 * u128::from(basis_points) / BASIS)
}
