//! What pools promise: roots of earnings in their veto window, and receipts that are redeemed.
//!
//! A root is rebuilt from what the pool's orchestrator publishes. What does not add up is vetoed, with a note that says
//! why; so is a root that nobody can rebuild when three quarters of its window are over: money must not be locked by
//! what nobody can check. A root that was not looked at to the end when its window is about to close counts as one that
//! nobody can rebuild: no verdict is not a verdict, or whoever keeps auditors busy could promise anything. A root that
//! takes something away from a payee is refuted, which needs no quorum. Of a redemption the contract has checked the
//! signatures; it is vetoed if it pays for work of a node that was never proven, or what a root pays already. An
//! orchestrator that is silent is no reason there: redemptions are made for that.
//!
//! Who is looked at when: [`super::docket`].

use lode_chain_types::{ChainEvent, Intent, Outcome, RewardsCall, RewardsEvent, SettlementParameters};
use lode_protocol::error_code::ErrorCode;
use lode_protocol::finding::Finding;
use lode_protocol::hash::Digest;
use lode_protocol::ids::ValidatorId;
use lode_protocol::units::{Millis, Timestamp};
use serde::Serialize;

use super::archive::Archive;
use super::docket::{Docket, Entry, Key, MOST, State};
use super::effect::Effect;
use super::matter::{Audit, Matter, PostedRoot, Regress, RequestedRedemption};
use super::report::Report;

/// Roots that are vetoed unseen at one block: each is a file and an intent that have to be stored.
const MOST_VETOES: usize = 256;

/// Why something was vetoed, as it is shown to whoever asks.
#[derive(Debug, Serialize)]
struct Note<'a> {
    form: &'static str,
    matter: &'a Matter,
    code: &'a str,
    message: &'a str,
}

/// What is in its veto window now.
#[derive(Debug)]
pub(super) struct Auditor {
    own: ValidatorId,
    retry: Millis,
    terms: Option<SettlementParameters>,
    roots: Docket,
    redemptions: Docket,
}

impl Auditor {
    /// `at_once`: looks at roots, and as many at redemptions.
    pub(super) fn new(own: ValidatorId, retry: Millis, at_once: usize) -> Self {
        let (roots, redemptions) = (Docket::new(at_once), Docket::new(at_once));
        Self { own, retry, terms: None, roots, redemptions }
    }

    pub(super) fn set_terms(&mut self, terms: SettlementParameters) {
        self.terms = Some(terms);
    }

    /// The chain's history has changed: everything is told again. Looks that go on keep their turns.
    pub(super) fn forget(&mut self) {
        self.roots.entries.clear();
        self.redemptions.entries.clear();
    }

    fn docket(&mut self, key: &Key) -> &mut Docket {
        match key {
            Key::Root(_) => &mut self.roots,
            Key::Redemption(..) => &mut self.redemptions,
        }
    }

    /// Something happened on chain.
    pub(super) fn on_event(&mut self, event: &ChainEvent, effects: &mut Vec<Effect>) {
        match event {
            ChainEvent::Rewards(RewardsEvent::RootPosted {
                pool,
                epoch,
                root,
                total,
                depth,
                final_at,
                ..
            }) => {
                let (pool, epoch, root, total) = (*pool, *epoch, *root, *total);
                let posted = PostedRoot { pool, epoch, root, total, depth: *depth, final_at: *final_at };
                self.watch(Matter::Root(posted), effects);
            }
            ChainEvent::Rewards(RewardsEvent::RootVetoed { pool, .. })
            | ChainEvent::Rewards(RewardsEvent::RootRefuted { pool, .. }) => {
                self.roots.entries.remove(&Key::Root(*pool));
            }
            ChainEvent::Rewards(RewardsEvent::VetoCast { pool, validator, .. }) if *validator == self.own => {
                self.done(Key::Root(*pool));
            }
            ChainEvent::Rewards(RewardsEvent::RedemptionRequested {
                pool,
                payee,
                node,
                epoch,
                cumulative,
                payable_at,
                ..
            }) => {
                let request = RequestedRedemption {
                    pool: *pool,
                    payee: *payee,
                    node: *node,
                    epoch: *epoch,
                    cumulative: *cumulative,
                    payable_at: *payable_at,
                };
                self.watch(Matter::Redemption(request), effects);
            }
            ChainEvent::Rewards(RewardsEvent::RedemptionVetoed { pool, payee, .. })
            | ChainEvent::Rewards(RewardsEvent::Redeemed { pool, payee, .. }) => {
                self.redemptions.entries.remove(&Key::Redemption(*pool, *payee));
            }
            ChainEvent::Rewards(RewardsEvent::RedemptionVetoCast { pool, payee, validator, .. })
                if *validator == self.own =>
            {
                self.done(Key::Redemption(*pool, *payee));
            }
            _ => {}
        }
    }

    fn watch(&mut self, matter: Matter, effects: &mut Vec<Effect>) {
        if !self.docket(&Key::of(&matter)).watch(matter) {
            let text =
                format!("more than {MOST} roots or redemptions can be vetoed now: not all are looked at");
            let remedy =
                "somebody floods the chain; look at what comes by hand, and tell the other validators";
            effects.push(Effect::Raise(Finding::error("validator/too-many-promises", text).remedy(remedy)));
        }
    }

    fn done(&mut self, key: Key) {
        if let Some(entry) = self.docket(&key).entries.get_mut(&key) {
            entry.state = State::Answered;
        }
    }

    /// Does what is due.
    pub(super) fn advance(
        &mut self,
        now: Millis,
        head: Timestamp,
        archive: &mut Archive,
        needed: &[Digest],
        effects: &mut Vec<Effect>,
    ) {
        let Some(terms) = self.terms else { return };
        self.roots.close(head);
        self.redemptions.close(head);
        let window = Millis::seconds(terms.veto_seconds);
        let patience = Millis(window.0 / 4);
        let mut due = Vec::new();
        for (key, entry) in &mut self.roots.entries {
            let late = head.plus(patience) >= entry.matter.closes_at();
            let missed = entry.is_missed(head, window);
            let why = match (entry.state, &entry.unavailable) {
                (State::Waiting(_), Some(message)) if late => Some(message.clone()),
                (_, Some(message)) if missed => Some(message.clone()),
                (State::Looking, None) if missed => {
                    Some("the look at its books was not over when the window was about to close".to_owned())
                }
                (_, None) if missed => {
                    Some("its books could not be looked at before the window was about to close".to_owned())
                }
                (State::Waiting(_) | State::Looking | State::Holds | State::Answered, _) => None,
            };
            if let Some(message) = why {
                due.push((entry.matter.closes_at(), *key, message));
            }
        }
        // Whose window closes first goes first; the others have their turn at the next block.
        due.sort_unstable();
        let code = ErrorCode::new("settlement/unavailable");
        for (_, key, message) in due.into_iter().take(MOST_VETOES) {
            if let Some(entry) = self.roots.entries.get_mut(&key) {
                veto(entry, &code, &message, archive, needed, effects);
            }
        }
        self.begin(now, effects);
    }

    /// Looks at whose turn it is.
    fn begin(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        let roots = self.roots.next(now).into_iter();
        let looks = roots.chain(self.redemptions.next(now));
        effects.extend(looks.map(|(matter, look)| Effect::Audit(matter, look)));
    }

    /// Something was looked at; the next one has its turn.
    pub(super) fn on_audited(
        &mut self,
        now: Millis,
        matter: &Matter,
        audit: Audit,
        files: (&mut Archive, &[Digest]),
        effects: &mut Vec<Effect>,
    ) {
        self.docket(&Key::of(matter)).looked(matter);
        self.judge(now, matter, audit, files, effects);
        self.begin(now, effects);
    }

    fn judge(
        &mut self,
        now: Millis,
        matter: &Matter,
        audit: Audit,
        (archive, needed): (&mut Archive, &[Digest]),
        effects: &mut Vec<Effect>,
    ) {
        // Several looks fit into the window, however short it is.
        let most = self.terms.map_or(self.retry, |terms| Millis(terms.veto_seconds.saturating_mul(125)));
        let retry = self.retry.min(most);
        let key = Key::of(matter);
        let entry = self.docket(&key).entries.get_mut(&key).filter(|entry| entry.matter == *matter);
        let Some(entry) = entry else { return };
        if entry.state != State::Looking {
            return;
        }
        match audit {
            Audit::Right => {
                effects.push(Effect::Report(Report::PromiseHolds { matter: entry.matter }));
                entry.state = State::Holds;
            }
            Audit::Wrong { code, message } => veto(entry, &code, &message, archive, needed, effects),
            Audit::Regress(regress) => {
                let Matter::Root(PostedRoot { pool, epoch, .. }) = entry.matter else { return };
                entry.state = State::Answered;
                let Regress { index, proven, other } = *regress;
                effects.push(Effect::Report(Report::RootRefuted { pool, epoch, index }));
                effects.push(Effect::Submit(Intent::Rewards(RewardsCall::RefuteRoot {
                    pool,
                    index,
                    proven,
                    other,
                })));
            }
            Audit::Unavailable { message } => {
                let report = Report::PromiseUnavailable { matter: entry.matter, message: message.clone() };
                effects.push(Effect::Report(report));
                entry.unavailable = Some(message);
                entry.state = State::Waiting(now.plus(retry));
            }
        }
    }

    /// A refutation that the contract does not follow becomes a veto: the root was seen to take something away.
    pub(super) fn on_outcome(
        &mut self,
        intent: &Intent,
        outcome: &Outcome,
        (archive, needed): (&mut Archive, &[Digest]),
        effects: &mut Vec<Effect>,
    ) {
        let (Intent::Rewards(RewardsCall::RefuteRoot { pool, .. }), Outcome::Reverted { error, .. }) =
            (intent, outcome)
        else {
            return;
        };
        let Some(entry) = self.roots.entries.get_mut(&Key::Root(*pool)) else { return };
        let message = format!("it takes earnings away; the refutation was refused with {}", error.name);
        veto(entry, &ErrorCode::new("settlement/regress"), &message, archive, needed, effects);
    }

    /// An intent could not be kept: what may have led to it is looked at again.
    pub(super) fn on_not_submitted(&mut self, now: Millis) {
        let both = self.roots.entries.values_mut().chain(self.redemptions.entries.values_mut());
        for entry in both.filter(|entry| entry.state == State::Answered) {
            entry.state = State::Waiting(now.plus(self.retry));
            entry.deadline = None;
        }
    }
}

fn veto(
    entry: &mut Entry,
    code: &ErrorCode,
    message: &str,
    archive: &mut Archive,
    needed: &[Digest],
    effects: &mut Vec<Effect>,
) {
    effects.push(Effect::Report(Report::Vetoed {
        matter: entry.matter,
        code: code.clone(),
        message: message.to_owned(),
    }));
    let note = Note { form: "lode-veto-1", matter: &entry.matter, code: code.as_str(), message };
    // Plain data has a JSON form.
    let bytes = serde_json::to_vec(&note).unwrap_or_else(|_| message.as_bytes().to_vec());
    let evidence = archive.keep(bytes, needed, effects);
    entry.state = State::Answered;
    effects.push(Effect::Submit(entry.matter.veto(evidence)));
}
