//! What pools promise: roots of earnings in their veto window, and receipts that are redeemed.
//!
//! A root is rebuilt from what the pool's orchestrator publishes. What does not add up is vetoed, with a note that says
//! why; so is a root that nobody can rebuild when three quarters of its window are over: money must not be locked by
//! what nobody can check. A root that takes something away from a payee is refuted, which needs no quorum. Of a
//! redemption the contract has checked the signatures; it is vetoed if it pays for work of a node that was never proven,
//! or what a root pays already. An orchestrator that is silent is no reason there: redemptions are made for that.

use std::collections::BTreeMap;

use lode_contracts::{Amount, ChainEvent, Epoch, Intent, Outcome, ProvenEarnings, SettlementTerms};
use lode_protocol::error_code::ErrorCode;
use lode_protocol::hash::Digest;
use lode_protocol::ids::{Address, NodeId, PoolId, ValidatorId};
use lode_protocol::units::{Millis, Timestamp};
use serde::Serialize;

use super::archive::Archive;
use super::effect::Effect;
use super::settings::Moment;

/// Roots and redemptions that are looked at in one window; more are left to others.
const MOST: usize = 10_000;

/// A root in its veto window.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct PostedRoot {
    /// The pool.
    pub pool: PoolId,
    /// The epoch.
    pub epoch: Epoch,
    /// Hash of the tree's top.
    pub root: Digest,
    /// Sum of all leaves.
    pub total: Amount,
    /// Height of the tree.
    pub depth: u8,
    /// When the window closes.
    pub final_at: Timestamp,
}

/// A receipt that is to be paid.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct RequestedRedemption {
    /// The pool.
    pub pool: PoolId,
    /// Who is to be paid.
    pub payee: Address,
    /// Whose work it was.
    pub node: NodeId,
    /// When it was done.
    pub epoch: Epoch,
    /// Everything that the payee has earned by the receipt's word.
    pub cumulative: Amount,
    /// When the window closes.
    pub payable_at: Timestamp,
}

/// What is looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Matter {
    /// A root.
    Root(PostedRoot),
    /// A redemption.
    Redemption(RequestedRedemption),
}

impl Matter {
    fn key(&self) -> Key {
        match self {
            Matter::Root(posted) => Key::Root(posted.pool),
            Matter::Redemption(request) => Key::Redemption(request.pool, request.payee),
        }
    }

    fn closes_at(&self) -> Timestamp {
        match self {
            Matter::Root(posted) => posted.final_at,
            Matter::Redemption(request) => request.payable_at,
        }
    }

    fn veto(&self, evidence: Digest) -> Intent {
        match self {
            Matter::Root(PostedRoot { pool, epoch, .. }) => {
                Intent::VetoRoot { pool: *pool, epoch: *epoch, evidence }
            }
            Matter::Redemption(RequestedRedemption { pool, payee, .. }) => {
                Intent::VetoRedemption { pool: *pool, payee: *payee, evidence }
            }
        }
    }
}

/// There is one pending root per pool, and one pending redemption per pool and payee.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Key {
    Root(PoolId),
    Redemption(PoolId, Address),
}

/// What came of a look.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Audit {
    /// It adds up.
    Right,
    /// It does not.
    Wrong {
        /// Stable code.
        code: ErrorCode,
        /// In words.
        message: String,
    },
    /// It takes something away from the payee at a place.
    Regress(Box<Regress>),
    /// What is needed to see is not there.
    Unavailable {
        /// In words.
        message: String,
    },
}

/// Two paths that refute a root.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Regress {
    /// The place.
    pub index: u64,
    /// What the final root gives.
    pub proven: ProvenEarnings,
    /// What the pending root gives.
    pub other: ProvenEarnings,
}

/// Why something was vetoed, as it is shown to whoever asks.
#[derive(Debug, Serialize)]
struct Note<'a> {
    form: &'static str,
    matter: &'a Matter,
    code: &'a str,
    message: &'a str,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// To be looked at, not before this moment.
    Waiting(Moment),
    Looking,
    /// Nothing more to do.
    Done,
}

#[derive(Debug)]
struct Entry {
    matter: Matter,
    state: State,
    /// Why it could not be seen when it was last looked at.
    unavailable: Option<String>,
}

/// What is in its veto window now.
#[derive(Debug)]
pub(super) struct Auditor {
    own: ValidatorId,
    retry: Millis,
    terms: Option<SettlementTerms>,
    entries: BTreeMap<Key, Entry>,
}

impl Auditor {
    pub(super) fn new(own: ValidatorId, retry: Millis) -> Self {
        Self { own, retry, terms: None, entries: BTreeMap::new() }
    }

    pub(super) fn set_terms(&mut self, terms: SettlementTerms) {
        self.terms = Some(terms);
    }

    /// The chain's history has changed: everything is told again.
    pub(super) fn forget(&mut self) {
        self.entries.clear();
    }

    /// Something happened on chain.
    pub(super) fn on_event(&mut self, event: &ChainEvent) {
        match event {
            ChainEvent::RootPosted { pool, epoch, root, total, depth, final_at, .. } => {
                let (pool, epoch, root, total) = (*pool, *epoch, *root, *total);
                let posted = PostedRoot { pool, epoch, root, total, depth: *depth, final_at: *final_at };
                self.watch(Matter::Root(posted));
            }
            ChainEvent::RootVetoed { pool, .. } | ChainEvent::RootRefuted { pool, .. } => {
                self.entries.remove(&Key::Root(*pool));
            }
            ChainEvent::VetoCast { pool, validator, .. } if *validator == self.own => {
                self.done(Key::Root(*pool));
            }
            ChainEvent::RedemptionRequested { pool, payee, node, epoch, cumulative, payable_at, .. } => {
                self.watch(Matter::Redemption(RequestedRedemption {
                    pool: *pool,
                    payee: *payee,
                    node: *node,
                    epoch: *epoch,
                    cumulative: *cumulative,
                    payable_at: *payable_at,
                }));
            }
            ChainEvent::RedemptionVetoed { pool, payee, .. } | ChainEvent::Redeemed { pool, payee, .. } => {
                self.entries.remove(&Key::Redemption(*pool, *payee));
            }
            ChainEvent::RedemptionVetoCast { pool, payee, validator, .. } if *validator == self.own => {
                self.done(Key::Redemption(*pool, *payee));
            }
            _ => {}
        }
    }

    fn watch(&mut self, matter: Matter) {
        if self.entries.len() < MOST {
            let state = State::Waiting(Moment::default());
            self.entries.insert(matter.key(), Entry { matter, state, unavailable: None });
        }
    }

    fn done(&mut self, key: Key) {
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.state = State::Done;
        }
    }

    /// Does what is due.
    pub(super) fn advance(
        &mut self,
        now: Moment,
        head: Timestamp,
        archive: &mut Archive,
        needed: &[Digest],
        effects: &mut Vec<Effect>,
    ) {
        let Some(terms) = self.terms else { return };
        self.entries.retain(|_, entry| head < entry.matter.closes_at());
        let patience = Millis::seconds(terms.veto_seconds / 4);
        for entry in self.entries.values_mut() {
            let late = head.plus(patience) >= entry.matter.closes_at();
            match (entry.state, &entry.matter, &entry.unavailable) {
                (State::Waiting(_), Matter::Root(_), Some(message)) if late => {
                    let code = ErrorCode::new("settlement/unavailable");
                    let message = message.clone();
                    veto(entry, &code, &message, archive, needed, effects);
                }
                (State::Waiting(from), ..) if from <= now => {
                    entry.state = State::Looking;
                    effects.push(Effect::Audit(entry.matter));
                }
                (State::Waiting(_) | State::Looking | State::Done, ..) => {}
            }
        }
    }

    /// Something was looked at.
    pub(super) fn on_audited(
        &mut self,
        now: Moment,
        matter: &Matter,
        audit: Audit,
        (archive, needed): (&mut Archive, &[Digest]),
        effects: &mut Vec<Effect>,
    ) {
        // Several looks fit into the window, however short it is.
        let most = self.terms.map_or(self.retry, |terms| Millis(terms.veto_seconds.saturating_mul(125)));
        let retry = self.retry.min(most);
        let Some(entry) = self.entries.get_mut(&matter.key()).filter(|entry| entry.matter == *matter) else {
            return;
        };
        if entry.state != State::Looking {
            return;
        }
        match audit {
            Audit::Right => {
                tracing::info!(?matter, "a promise of a pool adds up");
                entry.state = State::Done;
            }
            Audit::Wrong { code, message } => veto(entry, &code, &message, archive, needed, effects),
            Audit::Regress(regress) => {
                let Matter::Root(PostedRoot { pool, epoch, .. }) = entry.matter else { return };
                tracing::warn!(%pool, %epoch, index = regress.index, "a root takes earnings away; refuting it");
                entry.state = State::Done;
                let Regress { index, proven, other } = *regress;
                effects.push(Effect::Submit(Intent::RefuteRoot { pool, index, proven, other }));
            }
            Audit::Unavailable { message } => {
                tracing::info!(?matter, message, "a promise of a pool cannot be checked yet");
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
        let (Intent::RefuteRoot { pool, .. }, Outcome::Reverted { error, .. }) = (intent, outcome) else {
            return;
        };
        let Some(entry) = self.entries.get_mut(&Key::Root(*pool)) else { return };
        let message = format!("it takes earnings away; the refutation was refused with {}", error.name);
        veto(entry, &ErrorCode::new("settlement/regress"), &message, archive, needed, effects);
    }

    /// An intent could not be kept: everything is looked at again.
    pub(super) fn on_not_submitted(&mut self, now: Moment) {
        for entry in self.entries.values_mut() {
            entry.state = State::Waiting(now.plus(self.retry));
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
    tracing::warn!(matter = ?entry.matter, %code, message, "a promise of a pool is vetoed");
    let note = Note { form: "lode-veto-1", matter: &entry.matter, code: code.as_str(), message };
    // Plain data has a JSON form.
    let bytes = serde_json::to_vec(&note).unwrap_or_else(|_| message.as_bytes().to_vec());
    let evidence = archive.keep(bytes, needed, effects);
    entry.state = State::Done;
    effects.push(Effect::Submit(entry.matter.veto(evidence)));
}
