//! The worker's side of the conversation with its orchestrator.
//!
//! | state | what is awaited | leaves by |
//! |---|---|---|
//! | `Offline` | a transport | connected |
//! | `Greeting` | `Granted` | granted, refused (tried again), disconnected |
//! | `Open` | the next beat's time, or the answer to the beat that is out | refused with reopen, silence, disconnected |
//!
//! News is told at once while there is little of it, and else together, a few beats a second: what an orchestrator takes
//! of one node is bounded (`docs/protocol.md`).
//!
//! One beat is out at a time. An unanswered beat is sent again byte for byte, so that a lost answer costs nothing; after
//! [`MAX_RESENDS`] the transport is renewed. Instructions of another session, an older term, a push that was seen or an
//! answer to another beat change nothing.

use lode_protocol::hash::{Digest, keccak256_of};
use lode_protocol::ids::{AssignmentId, BootCounter, Nonce, Sequence, SessionId, Term};
use lode_protocol::session::{Channel, Granted, Instruction, LeaseTiming, Refusal};
use lode_protocol::time::Now;
use lode_protocol::units::Millis;

use crate::event::{Sent, SentMessage};
use crate::time::after;
use crate::view::SessionState;

/// How long an answer may take before the question is repeated.
pub const ANSWER_TIMEOUT: Millis = Millis::seconds(5);
/// Repetitions before the transport is renewed.
pub const MAX_RESENDS: u32 = 2;
/// Between two beats that carry news, in the long run: an orchestrator takes four a second.
const NEWS_INTERVAL: Millis = Millis(300);
/// Beats with news that may follow each other at once: an orchestrator takes twenty, and a start of the worker may come
/// in between.
const NEWS_AT_ONCE: u64 = 8;
/// The refusal of more than one node may say.
const TOO_FAST: &str = "session/too-fast";
/// Wait after a refusal that names no time.
const RETRY_AFTER_REFUSAL: Millis = Millis::seconds(5);

/// What is to be said now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Say {
    Hello(Nonce),
    /// `complete`: the first of its session, with everything there is.
    Beat {
        session: SessionId,
        term: Term,
        sequence: Sequence,
        complete: bool,
    },
    /// The last beat again, byte for byte.
    Resend,
    Reconnect,
}

/// A beat that was answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Answered {
    pub(crate) sequence: Sequence,
    /// Reports that the orchestrator has stored, with their numbers.
    pub(crate) reports: Vec<(AssignmentId, u64)>,
}

/// What a refusal was about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum RefusalOf {
    Conversation,
    Leave,
    /// Something that was not said lately: an old one must not disturb a new session.
    Nothing,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Outstanding {
    sequence: Sequence,
    /// Digest as signed, and of the bytes.
    sent: Option<(Digest, Digest)>,
    reports: Vec<(AssignmentId, u64)>,
    since: Millis,
    resends: u32,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Open {
    session: SessionId,
    term: Term,
    timing: LeaseTiming,
    last_sequence: Sequence,
    /// Digest of the last beat's bytes.
    last_beat: Option<Digest>,
    outstanding: Option<Outstanding>,
    next_beat: Millis,
    news: bool,
    highest_push: Sequence,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum State {
    Offline,
    Greeting { nonce: Nonce, asked: Option<Digest>, until: Millis, due: bool, refused: bool },
    Open(Box<Open>),
}

/// The conversation.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    boot: BootCounter,
    seed: [u8; 32],
    greetings: u64,
    highest_term: Term,
    last_leave: Option<Digest>,
    /// Until when what was said is paid for, at one beat for each [`NEWS_INTERVAL`].
    paced_until: Millis,
    state: State,
}

impl Session {
    pub(crate) fn new(boot: BootCounter, seed: [u8; 32], highest_term: Term) -> Self {
        Self {
            boot,
            seed,
            greetings: 0,
            highest_term,
            last_leave: None,
            paced_until: Millis(0),
            state: State::Offline,
        }
    }

    pub(crate) fn state(&self) -> SessionState {
        match &self.state {
            State::Offline => SessionState::Offline,
            State::Greeting { .. } => SessionState::Greeting,
            State::Open(_) => SessionState::Open,
        }
    }

    pub(crate) fn next_deadline(&self) -> Option<Millis> {
        match &self.state {
            State::Offline => None,
            State::Greeting { until, due, .. } => Some(if *due { Millis(0) } else { *until }),
            State::Open(open) => match &open.outstanding {
                Some(outstanding) => Some(after(outstanding.since, ANSWER_TIMEOUT)),
                None if open.news => Some(self.news_from().min(open.next_beat)),
                None => Some(open.next_beat),
            },
        }
    }

    pub(crate) fn connected(&mut self, now: Now) {
        self.greetings += 1;
        let digest =
            keccak256_of([&self.seed[..], &self.boot.0.to_be_bytes(), &self.greetings.to_be_bytes()]);
        let mut nonce = Nonce::default();
        nonce.0.copy_from_slice(digest.0.first_chunk::<16>().expect("a digest has 32 bytes"));
        let until = after(now.monotonic, ANSWER_TIMEOUT);
        self.state = State::Greeting { nonce, asked: None, until, due: true, refused: false };
    }

    pub(crate) fn disconnected(&mut self) {
        self.state = State::Offline;
    }

    /// There is something to report at once.
    pub(crate) fn news(&mut self) {
        if let State::Open(open) = &mut self.state {
            open.news = true;
        }
    }

    /// The answer to a greeting: `None` if it is not ours, else whether its term is a new one, to be durable before
    /// anything is said in it.
    pub(crate) fn granted(&mut self, now: Now, granted: &Granted) -> Option<bool> {
        let State::Greeting { nonce, .. } = &self.state else { return None };
        if granted.nonce != *nonce || granted.epoch < self.highest_term {
            return None;
        }
        let new_term = granted.epoch > self.highest_term;
        self.highest_term = granted.epoch;
        self.state = State::Open(Box::new(Open {
            session: granted.session,
            term: granted.epoch,
            timing: granted.terms,
            last_sequence: Sequence(0),
            last_beat: None,
            outstanding: None,
            next_beat: now.monotonic,
            news: false,
            highest_push: Sequence(0),
        }));
        Some(new_term)
    }

    /// Something went out.
    pub(crate) fn sent(&mut self, sent: Sent) {
        match (sent.what, &mut self.state) {
            (SentMessage::Leave, _) => self.last_leave = Some(sent.bytes),
            (SentMessage::Hello, State::Greeting { asked, .. }) => *asked = Some(sent.bytes),
            (SentMessage::Heartbeat(sequence), State::Open(open)) => {
                open.last_beat = Some(sent.bytes);
                if let Some(beat) = open.outstanding.as_mut().filter(|beat| beat.sequence == sequence) {
                    beat.sent = Some((sent.digest, sent.bytes));
                }
            }
            (SentMessage::Hello | SentMessage::Heartbeat(_), _) => {}
        }
    }

    /// The beat that is out carries these reports.
    pub(crate) fn carries(&mut self, carried: Vec<(AssignmentId, u64)>) {
        if let State::Open(open) = &mut self.state
            && let Some(outstanding) = &mut open.outstanding
        {
            outstanding.reports = carried;
        }
    }

    /// Whether an instruction counts, and the beat that it answers if it answers one.
    pub(crate) fn instructed(&mut self, now: Now, instruction: &Instruction) -> Option<Option<Answered>> {
        let State::Open(open) = &mut self.state else { return None };
        if instruction.session != open.session || instruction.epoch != open.term {
            return None;
        }
        let answered = match instruction.channel {
            Channel::Push { sequence } if sequence > open.highest_push => {
                open.highest_push = sequence;
                None
            }
            Channel::Push { .. } => return None,
            Channel::Reply { sequence, request } => {
                let answers = |beat: &mut Outstanding| {
                    beat.sequence == sequence && beat.sent.is_some_and(|(digest, _)| digest == request)
                };
                let beat = open.outstanding.take_if(answers)?;
                open.next_beat = after(now.monotonic, instruction.terms.interval);
                Some(Answered { sequence: beat.sequence, reports: beat.reports })
            }
        };
        open.timing = instruction.terms;
        Some(answered)
    }

    /// Something was not accepted: what.
    pub(crate) fn refused(&mut self, now: Now, refusal: &Refusal) -> RefusalOf {
        let request = Some(refusal.request);
        if request == self.last_leave {
            return RefusalOf::Leave;
        }
        let wait = refusal.retry_after.unwrap_or(RETRY_AFTER_REFUSAL);
        match &mut self.state {
            State::Greeting { asked, until, refused, .. } if *asked == request => {
                *until = after(now.monotonic, wait);
                *refused = true;
            }
            State::Open(open) if open.last_beat == request => {
                if refusal.reopen {
                    self.connected(now);
                    if let (Some(wait), State::Greeting { until, due, refused, .. }) =
                        (refusal.retry_after, &mut self.state)
                    {
                        *until = after(now.monotonic, wait);
                        *due = false;
                        *refused = true;
                    }
                } else {
                    // The beat was heard and not accepted: the next one carries what it carried.
                    open.outstanding = None;
                    open.next_beat = after(now.monotonic, wait.min(open.timing.interval));
                    if refusal.code == TOO_FAST {
                        // News would be refused as well: nothing is left of what may be said at once.
                        let paid = after(now.monotonic, wait);
                        let paid = Millis(paid.0.saturating_add(NEWS_AT_ONCE * NEWS_INTERVAL.0));
                        self.paced_until = self.paced_until.max(paid);
                    }
                }
            }
            State::Offline | State::Greeting { .. } | State::Open(_) => return RefusalOf::Nothing,
        }
        RefusalOf::Conversation
    }

    /// What is to be said by now, if anything.
    pub(crate) fn due(&mut self, now: Now) -> Option<Say> {
        let (at, news_from) = (now.monotonic, self.news_from());
        match &mut self.state {
            State::Offline => None,
            State::Greeting { nonce, until, due, .. } if *due => {
                *due = false;
                *until = after(at, ANSWER_TIMEOUT);
                Some(Say::Hello(*nonce))
            }
            State::Greeting { until, .. } if *until > at => None,
            // A refused greeting is repeated on the same transport; an unanswered one on a new one.
            State::Greeting { refused: true, .. } => {
                self.connected(now);
                self.due(now)
            }
            State::Greeting { until, .. } => {
                *until = after(at, ANSWER_TIMEOUT);
                Some(Say::Reconnect)
            }
            State::Open(open) => {
                let say = open.due(at, news_from);
                if let Some(Say::Beat { .. }) = say {
                    self.paced_until = after(self.paced_until.max(at), NEWS_INTERVAL);
                }
                say
            }
        }
    }

    /// When news may be told before the next beat's time.
    fn news_from(&self) -> Millis {
        Millis(self.paced_until.0.saturating_sub(NEWS_AT_ONCE * NEWS_INTERVAL.0))
    }
}

impl Open {
    fn due(&mut self, at: Millis, news_from: Millis) -> Option<Say> {
        match &mut self.outstanding {
            Some(beat) if after(beat.since, ANSWER_TIMEOUT) > at => None,
            Some(beat) if beat.resends < MAX_RESENDS => {
                beat.resends += 1;
                beat.since = at;
                Some(Say::Resend)
            }
            Some(beat) => {
                beat.since = at;
                Some(Say::Reconnect)
            }
            None if (self.news && news_from <= at) || self.next_beat <= at => {
                self.news = false;
                let sequence = self.last_sequence.next();
                self.last_sequence = sequence;
                self.outstanding =
                    Some(Outstanding { sequence, sent: None, reports: Vec::new(), since: at, resends: 0 });
                let complete = sequence == Sequence(1);
                Some(Say::Beat { session: self.session, term: self.term, sequence, complete })
            }
            None => None,
        }
    }
}
