//! Accusations: look at the evidence, vote once, have the verdict carried out.
//!
//! | what is known | what is done |
//! |---|---|
//! | an accusation was opened | its evidence is fetched and judged, again and again until it is there |
//! | the vote begins, the evidence was judged | vote as it shows |
//! | a quarter of the vote is over, there is still no evidence | vote innocent: what cannot be looked at proves nothing |
//! | the vote is over | have it carried out, if nobody else does |
//!
//! One deed is punished once: of several accusations of one deed the largest counts, and none that comes after a
//! verdict. The accuser has no vote; it looks at its own evidence as others do, and so notices when nobody can. What is
//! on chain is read again after a restart; only judgements are kept, since evidence may be gone by then.

use std::collections::BTreeMap;

use lode_chain_types::{
    AccusationRecord, Amount, ChainEvent, Intent, SlashingCall, SlashingEvent, SlashingParameters,
};
use lode_protocol::finding::Finding;
use lode_protocol::hash::Digest;
use lode_protocol::ids::{AccusationId, ValidatorId};
use lode_protocol::units::{Millis, Timestamp};

use super::effect::{Change, Effect};
use super::opinion::{Charge, Examination, Judgement, Opinion, Schedule, is_same};
use super::report::Report;

/// Accusations that are followed at one time. Each costs a bond; beyond this number this validator has no opinion, and
/// silence acquits.
const MOST: usize = 1_000;

/// One accusation.
#[derive(Debug)]
struct Case {
    charge: Charge,
    amount: Amount,
    /// Whether this validator is the accuser.
    own: bool,
    /// Whether `charge.opened_at` is known.
    dated: bool,
    judgement: Option<Judgement>,
    /// The latest reason why there is none.
    unavailable: Option<String>,
    examining: bool,
    not_before: Millis,
    voting: bool,
    voted: bool,
    resolving: bool,
}

/// All accusations that are under way.
#[derive(Debug)]
pub(super) struct Juror {
    own: ValidatorId,
    retry: Millis,
    terms: Option<SlashingParameters>,
    cases: BTreeMap<AccusationId, Case>,
    opinions: BTreeMap<AccusationId, Opinion>,
    /// Deeds that were punished, and in which accusation.
    punished: BTreeMap<Digest, AccusationId>,
}

impl Juror {
    pub(super) fn load(
        own: ValidatorId,
        retry: Millis,
        opinions: Vec<Opinion>,
        punished: Vec<(Digest, AccusationId)>,
    ) -> Self {
        let opinions = opinions.into_iter().map(|opinion| (opinion.accusation, opinion)).collect();
        Self {
            own,
            retry,
            terms: None,
            cases: BTreeMap::new(),
            opinions,
            punished: punished.into_iter().collect(),
        }
    }

    pub(super) fn set_terms(&mut self, terms: SlashingParameters) {
        self.terms = Some(terms);
    }

    pub(super) fn open(&self) -> usize {
        self.cases.len()
    }

    /// The chain's history has changed: accusations are told again.
    pub(super) fn forget(&mut self) {
        self.cases.clear();
    }

    /// Something happened on chain.
    pub(super) fn on_event(&mut self, event: &ChainEvent, effects: &mut Vec<Effect>) {
        match event {
            ChainEvent::Slashing(SlashingEvent::Accused { id, .. })
                if self.cases.len() < MOST && !self.cases.contains_key(id) =>
            {
                self.opened(*id, event, effects);
            }
            ChainEvent::Slashing(SlashingEvent::Answered { id, answer, uri, .. })
                if self.cases.contains_key(id) =>
            {
                effects.push(Effect::ShowAnswer { id: *id, answer: *answer, uri: uri.clone() });
            }
            ChainEvent::Slashing(SlashingEvent::Voted { id, validator, .. }) if *validator == self.own => {
                if let Some(case) = self.cases.get_mut(id) {
                    case.voted = true;
                }
            }
            ChainEvent::Slashing(SlashingEvent::FoundGuilty { id, slashed, .. }) => {
                let (accusation, slashed) = (*id, *slashed);
                effects.push(Effect::Report(Report::FoundGuilty { accusation, slashed }));
                self.closed(*id, true, effects);
            }
            ChainEvent::Slashing(SlashingEvent::Acquitted { id, .. }) => {
                effects.push(Effect::Report(Report::Acquitted { accusation: *id }));
                self.closed(*id, false, effects);
            }
            _ => {}
        }
    }

    fn opened(&mut self, id: AccusationId, event: &ChainEvent, effects: &mut Vec<Effect>) {
        let ChainEvent::Slashing(SlashingEvent::Accused {
            provider,
            node,
            accuser,
            offence,
            amount,
            evidence,
            uri,
            ..
        }) = event
        else {
            return;
        };
        effects.push(Effect::Report(Report::AccusationOpened {
            accusation: id,
            provider: *provider,
            node: *node,
            accuser: *accuser,
            offence: *offence,
        }));
        let kept = self.opinions.get(&id).filter(|opinion| opinion.evidence == *evidence);
        let charge = Charge {
            id,
            provider: *provider,
            node: *node,
            accuser: *accuser,
            offence: *offence,
            evidence: *evidence,
            uri: uri.clone(),
            opened_at: Timestamp::default(),
            detection: Millis::default(),
        };
        let case = Case {
            charge,
            amount: *amount,
            own: *accuser == self.own.0,
            dated: false,
            judgement: kept.map(|opinion| opinion.judgement.clone()),
            unavailable: None,
            examining: false,
            not_before: Millis::default(),
            voting: false,
            voted: false,
            resolving: false,
        };
        self.cases.insert(id, case);
        effects.push(Effect::ReadAccusation(id));
    }

    fn closed(&mut self, id: AccusationId, guilty: bool, effects: &mut Vec<Effect>) {
        if let Some(case) = self.cases.remove(&id)
            && let Some(Judgement::Guilty { deed, .. }) = case.judgement
            && guilty
        {
            effects.push(Effect::Save(Change::PutPunished(deed, id)));
            self.punished.insert(deed, id);
        }
        self.drop_opinion(id, effects);
        effects.push(Effect::Clear("accusation/no-evidence", id.to_string()));
        effects.push(Effect::Clear("accusation/answered", id.to_string()));
    }

    fn drop_opinion(&mut self, id: AccusationId, effects: &mut Vec<Effect>) {
        if self.opinions.remove(&id).is_some() {
            effects.push(Effect::Save(Change::DeleteOpinion(id)));
        }
    }

    /// The chain was asked about an accusation.
    pub(super) fn on_record(
        &mut self,
        id: AccusationId,
        record: Option<&AccusationRecord>,
        effects: &mut Vec<Effect>,
    ) {
        // An RPC that is behind the one that told of it knows nothing of it yet: it is asked again.
        let (Some(case), Some(record)) = (self.cases.get_mut(&id), record) else { return };
        if is_same(record, case.charge.evidence, case.charge.node) && !record.phase.is_over() {
            case.charge.opened_at = record.opened_at;
            case.dated = true;
        } else {
            self.cases.remove(&id);
            self.drop_opinion(id, effects);
        }
    }

    /// The evidence was looked at, or could not be.
    pub(super) fn on_examined(
        &mut self,
        now: Millis,
        id: AccusationId,
        examination: Examination,
        effects: &mut Vec<Effect>,
    ) {
        let Some(case) = self.cases.get_mut(&id) else { return };
        case.examining = false;
        match examination {
            Examination::Seen(judgement) => {
                let report = Report::EvidenceShows { accusation: id, judgement: judgement.clone() };
                effects.push(Effect::Report(report));
                let opinion =
                    Opinion { accusation: id, evidence: case.charge.evidence, judgement: judgement.clone() };
                case.judgement = Some(judgement);
                effects.push(Effect::Save(Change::PutOpinion(opinion.clone())));
                self.opinions.insert(id, opinion);
                effects.push(Effect::Clear("accusation/no-evidence", id.to_string()));
            }
            Examination::Unavailable { code, message } => {
                case.unavailable = Some(format!("{code}: {message}"));
                // Several tries fit before the vote, however short the phases are.
                let most =
                    self.terms.map_or(self.retry, |terms| Millis(terms.evidence_seconds.saturating_mul(250)));
                case.not_before = now.plus(self.retry.min(most));
                let text = format!("the evidence of accusation {id} cannot be looked at: {message}");
                let remedy = "it is tried again until the vote; without evidence the vote is innocent";
                effects.push(Effect::Raise(
                    Finding::warning("accusation/no-evidence", text).about(id.to_string()).remedy(remedy),
                ));
                effects.push(Effect::Report(Report::EvidenceUnavailable { accusation: id, code, message }));
            }
        }
    }

    /// Does what is due.
    pub(super) fn advance(&mut self, now: Millis, head: Timestamp, effects: &mut Vec<Effect>) {
        let Some(terms) = self.terms else { return };
        let ids: Vec<AccusationId> = self.cases.keys().copied().collect();
        for id in ids {
            self.advance_one(id, &terms, now, head, effects);
        }
    }

    fn advance_one(
        &mut self,
        id: AccusationId,
        terms: &SlashingParameters,
        now: Millis,
        head: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        let Some(case) = self.cases.get(&id) else { return };
        if !case.dated {
            effects.push(Effect::ReadAccusation(id));
            return;
        }
        let schedule = Schedule::of(terms, case.charge.opened_at);
        let verdict = self.verdict(id, case, &schedule, head);
        let Some(case) = self.cases.get_mut(&id) else { return };
        if head >= schedule.vote_until {
            if !case.resolving {
                case.resolving = true;
                effects.push(Effect::Submit(Intent::Slashing(SlashingCall::ResolveAccusation { id })));
            }
            if head >= schedule.executed_by.plus(Millis::seconds(terms.execution_seconds)) {
                self.cases.remove(&id);
            }
            return;
        }
        if case.judgement.is_none() && !case.examining && case.not_before <= now {
            case.examining = true;
            let detection = Millis::seconds(terms.detection_seconds);
            effects.push(Effect::Examine(Box::new(Charge { detection, ..case.charge.clone() })));
        }
        if let Some((guilty, why)) = verdict
            && !case.own
            && !case.voted
            && !case.voting
        {
            case.voting = true;
            effects.push(Effect::Report(Report::Voting { accusation: id, guilty, why }));
            effects.push(Effect::Submit(Intent::Slashing(SlashingCall::VoteAccusation { id, guilty })));
        }
    }

    /// How to vote now, and why; `None` while it is too early.
    fn verdict(
        &self,
        id: AccusationId,
        case: &Case,
        schedule: &Schedule,
        head: Timestamp,
    ) -> Option<(bool, String)> {
        if head < schedule.vote_from || head >= schedule.vote_until {
            return None;
        }
        match &case.judgement {
            Some(Judgement::Guilty { deed, what }) => {
                Some(match self.judged_elsewhere(id, case.amount, *deed) {
                    Some(other) => (false, format!("this deed is judged in accusation {other}")),
                    None => (true, what.clone()),
                })
            }
            Some(Judgement::Innocent { code, why }) => Some((false, format!("{code}: {why}"))),
            None if head >= schedule.vote_latest => {
                let reason = case.unavailable.as_deref().unwrap_or("it was never looked at");
                Some((false, format!("there is no evidence: {reason}")))
            }
            None => None,
        }
    }

    /// Another accusation in which the same deed is, or was, punished.
    fn judged_elsewhere(&self, id: AccusationId, amount: Amount, deed: Digest) -> Option<AccusationId> {
        if let Some(before) = self.punished.get(&deed).filter(|before| **before != id) {
            return Some(*before);
        }
        let counts_more = |other: AccusationId, case: &Case| {
            let same = matches!(&case.judgement, Some(Judgement::Guilty { deed: of, .. }) if *of == deed);
            same && other != id && (case.amount > amount || (case.amount == amount && other < id))
        };
        self.cases.iter().find(|(other, case)| counts_more(**other, case)).map(|(other, _)| *other)
    }

    /// An intent could not be kept: it is submitted again.
    pub(super) fn on_not_submitted(&mut self) {
        for case in self.cases.values_mut() {
            case.voting = false;
            case.resolving = false;
        }
    }

    /// A vote reached its end. Refused votes are not repeated: the accuser and strangers have none.
    pub(super) fn on_outcome(&mut self, intent: &Intent) {
        if let Intent::Slashing(SlashingCall::VoteAccusation { id, .. }) = intent
            && let Some(case) = self.cases.get_mut(id)
        {
            case.voted = true;
        }
    }
}
