//! The worker's side of the conversation with its orchestrator.
//!
//! | state | what is awaited | leaves by |
//! |---|---|---|
//! | `Offline` | a transport | transport up |
//! | `Greeting` | `Granted` | granted, refused (tried again), transport down |
//! | `Open` | the next beat's time, or the answer to the beat that is out | refused with reopen, silence, transport down |
//!
//! One beat is out at a time. An unanswered beat is sent again byte for byte, so that a lost answer costs nothing; after
//! [`MAX_RESENDS`] the transport is renewed. Instructions of another session, an older leader epoch, a push that was
//! seen or an answer to another beat change nothing.

use lode_protocol::hash::{Digest, keccak256_of};
use lode_protocol::ids::{AssignmentId, BootCounter, Generation, LeaderEpoch, Nonce, Sequence, SessionId};
use lode_protocol::join::SignedInvite;
use lode_protocol::session::{BeatTerms, Channel, Desired, Granted, Instruction, Membership, Order, Refusal};
use lode_protocol::units::Millis;
use lode_protocol::usage::{MeterReading, OfferedReceipt};

/// How long an answer may take before the question is repeated.
pub const ANSWER_TIMEOUT: Millis = Millis::seconds(5);
/// Repetitions before the transport is renewed.
pub const MAX_RESENDS: u32 = 2;
/// Wait after a refusal that names no time.
const RETRY_AFTER_REFUSAL: Millis = Millis::seconds(5);

/// What can happen to the conversation. Messages have been opened: their signer is the pool's orchestrator.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// There is a way to the orchestrator.
    TransportUp,
    /// It is gone.
    TransportDown,
    /// Answer to a greeting.
    Granted(Granted),
    /// Answer to a beat, or a push.
    Instruction(Instruction),
    /// Something was not accepted.
    Refused(Refusal),
    /// A beat went out: its number, digest, and the reports it carried.
    BeatSent {
        /// Number.
        sequence: Sequence,
        /// Digest as signed.
        digest: Digest,
        /// Reports in it, with their numbers.
        reports: Vec<(AssignmentId, u64)>,
    },
    /// There is something to report at once.
    News,
    /// Time passed.
    Tick,
}

/// What the conversation wants done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Make the highest epoch durable before anything else of this step.
    PersistEpoch(LeaderEpoch),
    /// Send a greeting.
    Hello(Nonce),
    /// Send a beat, then say [`Event::BeatSent`].
    Beat {
        /// Session.
        session: SessionId,
        /// Leader epoch.
        epoch: LeaderEpoch,
        /// Number.
        sequence: Sequence,
        /// First of its session: with everything there is.
        complete: bool,
    },
    /// Send the last beat again, byte for byte.
    Resend,
    /// Tear the transport down and build it anew.
    Reconnect,
    /// The orchestrator has stored these reports.
    Acknowledged(Vec<(AssignmentId, u64)>),
    /// The beat was counted, and so stands the meter; `None`: the pool pays nothing.
    Metered {
        /// Number of the beat.
        sequence: Sequence,
        /// The reading.
        meter: Option<MeterReading>,
        /// How long silence is borne.
        terms: BeatTerms,
    },
    /// Receipts that the orchestrator has no answer to.
    Offered {
        /// The receipts.
        receipts: Vec<OfferedReceipt>,
        /// How long silence is borne.
        terms: BeatTerms,
    },
    /// What is to run.
    Desired {
        /// Leader epoch that said so.
        epoch: LeaderEpoch,
        /// Version of the set.
        generation: Generation,
        /// The set.
        orders: Vec<Order>,
    },
    /// An invite to consider.
    Invited(SignedInvite),
    /// Output that is wanted over HTTPS.
    LogRequests(Vec<Vec<u8>>),
    /// Where the node stands.
    Membership(Membership),
    /// The orchestrator said no.
    Refused(Refusal),
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Outstanding {
    sequence: Sequence,
    sent: Option<(Digest, Vec<(AssignmentId, u64)>)>,
    since: Millis,
    resends: u32,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Open {
    session: SessionId,
    epoch: LeaderEpoch,
    terms: BeatTerms,
    last_sequence: Sequence,
    outstanding: Option<Outstanding>,
    next_beat: Millis,
    news: bool,
    highest_push: Sequence,
    answered: Option<Millis>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum State {
    Offline,
    Greeting { nonce: Nonce, until: Millis, refused: bool },
    Open(Box<Open>),
}

/// The conversation.
#[derive(Clone, Debug)]
pub struct Session {
    boot: BootCounter,
    seed: [u8; 32],
    greetings: u64,
    highest_epoch: LeaderEpoch,
    transport: bool,
    state: State,
}

impl Session {
    /// `seed` is fresh entropy of this boot; `highest_epoch` is what [`Effect::PersistEpoch`] stored last.
    pub fn new(boot: BootCounter, seed: [u8; 32], highest_epoch: LeaderEpoch) -> Self {
        Self { boot, seed, greetings: 0, highest_epoch, transport: false, state: State::Offline }
    }

    /// Whether beats are answered: the monotonic time of the last answer in this session.
    pub fn last_answer(&self) -> Option<Millis> {
        match &self.state {
            State::Open(open) => open.answered,
            State::Offline | State::Greeting { .. } => None,
        }
    }

    /// Name of its state, for people: `offline`, `greeting` or `open`.
    pub fn state_name(&self) -> &'static str {
        match &self.state {
            State::Offline => "offline",
            State::Greeting { .. } => "greeting",
            State::Open(_) => "open",
        }
    }

    /// When [`Event::Tick`] is wanted next.
    pub fn next_deadline(&self) -> Option<Millis> {
        match &self.state {
            State::Offline => None,
            State::Greeting { until, .. } => Some(*until),
            State::Open(open) => match &open.outstanding {
                Some(outstanding) => Some(later(outstanding.since, ANSWER_TIMEOUT)),
                None => Some(open.next_beat),
            },
        }
    }

    /// Takes an event in.
    pub fn step(&mut self, now: Millis, event: Event) -> Vec<Effect> {
        let mut effects = Vec::new();
        match event {
            Event::TransportUp => {
                self.transport = true;
                self.greet(now, &mut effects);
            }
            Event::TransportDown => {
                self.transport = false;
                self.state = State::Offline;
            }
            Event::Granted(granted) => self.on_granted(now, granted, &mut effects),
            Event::Instruction(instruction) => self.on_instruction(now, instruction, &mut effects),
            Event::Refused(refusal) => self.on_refused(now, refusal, &mut effects),
            Event::BeatSent { sequence, digest, reports } => self.on_beat_sent(sequence, digest, reports),
            Event::News => {
                if let State::Open(open) = &mut self.state {
                    open.news = true;
                }
            }
            Event::Tick => {}
        }
        self.on_time(now, &mut effects);
        effects
    }

    fn greet(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        if !self.transport {
            return;
        }
        self.greetings += 1;
        let digest =
            keccak256_of([&self.seed[..], &self.boot.0.to_be_bytes(), &self.greetings.to_be_bytes()]);
        let mut nonce = Nonce::default();
        nonce.0.copy_from_slice(digest.0.first_chunk::<16>().expect("a digest has 32 bytes"));
        self.state = State::Greeting { nonce, until: later(now, ANSWER_TIMEOUT), refused: false };
        effects.push(Effect::Hello(nonce));
    }

    fn on_granted(&mut self, now: Millis, granted: Granted, effects: &mut Vec<Effect>) {
        let State::Greeting { nonce, .. } = &self.state else { return };
        if granted.nonce != *nonce || granted.epoch < self.highest_epoch {
            return;
        }
        if granted.epoch > self.highest_epoch {
            self.highest_epoch = granted.epoch;
            effects.push(Effect::PersistEpoch(granted.epoch));
        }
        effects.push(Effect::Membership(granted.membership));
        self.state = State::Open(Box::new(Open {
            session: granted.session,
            epoch: granted.epoch,
            terms: granted.terms,
            last_sequence: Sequence(0),
            outstanding: None,
            next_beat: now,
            news: false,
            highest_push: Sequence(0),
            answered: None,
        }));
    }

    fn on_beat_sent(&mut self, sequence: Sequence, digest: Digest, reports: Vec<(AssignmentId, u64)>) {
        let State::Open(open) = &mut self.state else { return };
        if let Some(outstanding) = open.outstanding.as_mut().filter(|beat| beat.sequence == sequence) {
            outstanding.sent = Some((digest, reports));
        }
    }

    fn on_instruction(&mut self, now: Millis, instruction: Instruction, effects: &mut Vec<Effect>) {
        let State::Open(open) = &mut self.state else { return };
        if instruction.session != open.session || instruction.epoch != open.epoch {
            return;
        }
        match instruction.channel {
            Channel::Push { sequence } if sequence > open.highest_push => open.highest_push = sequence,
            Channel::Push { .. } => return,
            Channel::Reply { sequence, request } => {
                let answers = |beat: &Outstanding| {
                    beat.sequence == sequence
                        && beat.sent.as_ref().is_some_and(|(digest, _)| *digest == request)
                };
                if !open.outstanding.as_ref().is_some_and(answers) {
                    return;
                }
                if let Some((_, reports)) = open.outstanding.take().and_then(|beat| beat.sent) {
                    effects.push(Effect::Acknowledged(reports));
                }
                let terms = instruction.terms;
                effects.push(Effect::Metered { sequence, meter: instruction.meter, terms });
                let receipts = instruction.receipts.unwrap_or_default();
                effects.push(Effect::Offered { receipts, terms });
                open.answered = Some(now);
                open.next_beat = later(now, instruction.terms.interval);
            }
        }
        open.terms = instruction.terms;
        let epoch = open.epoch;
        effects.push(Effect::Membership(instruction.membership));
        if let Desired::Full { generation, orders } = instruction.desired {
            effects.push(Effect::Desired { epoch, generation, orders });
        }
        effects.extend(instruction.invite.map(Effect::Invited));
        if !instruction.log_requests.is_empty() {
            effects.push(Effect::LogRequests(
                instruction.log_requests.into_iter().map(|sealed| sealed.0).collect(),
            ));
        }
    }

    fn on_refused(&mut self, now: Millis, refusal: Refusal, effects: &mut Vec<Effect>) {
        let wait = refusal.retry_after.unwrap_or(RETRY_AFTER_REFUSAL);
        match &mut self.state {
            State::Offline => {}
            State::Greeting { until, refused, .. } => {
                *until = later(now, wait);
                *refused = true;
            }
            State::Open(_) if refusal.reopen => self.greet(now, effects),
            // The beat was heard and not accepted: the next one carries what it carried.
            State::Open(open) => {
                open.outstanding = None;
                open.next_beat = later(now, wait.min(open.terms.interval));
            }
        }
        effects.push(Effect::Refused(refusal));
    }

    fn on_time(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        match &mut self.state {
            State::Offline => {}
            State::Greeting { until, refused, .. } if *until <= now => {
                // A refused greeting is repeated on the same transport; an unanswered one on a new one.
                if *refused {
                    self.greet(now, effects);
                } else {
                    *until = later(now, ANSWER_TIMEOUT);
                    effects.push(Effect::Reconnect);
                }
            }
            State::Greeting { .. } => {}
            State::Open(open) => match &mut open.outstanding {
                Some(beat) if later(beat.since, ANSWER_TIMEOUT) > now => {}
                Some(beat) if beat.resends < MAX_RESENDS => {
                    beat.resends += 1;
                    beat.since = now;
                    effects.push(Effect::Resend);
                }
                Some(beat) => {
                    beat.since = now;
                    effects.push(Effect::Reconnect);
                }
                None if open.news || open.next_beat <= now => {
                    open.news = false;
                    open.last_sequence = open.last_sequence.next();
                    let sequence = open.last_sequence;
                    open.outstanding = Some(Outstanding { sequence, sent: None, since: now, resends: 0 });
                    effects.push(Effect::Beat {
                        session: open.session,
                        epoch: open.epoch,
                        sequence,
                        complete: sequence == Sequence(1),
                    });
                }
                None => {}
            },
        }
    }
}

fn later(time: Millis, span: Millis) -> Millis {
    Millis(time.0.saturating_add(span.0))
}
