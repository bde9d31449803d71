//! What a reader accepts: how large a frame may be, how slow, and from whom.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Side;
use super::unfinished::{Share, Unfinished};
use crate::endpoint::{ConnectionState, FramePace};
use crate::protocol::Protocol;

/// Memory reserved on the word of a header alone.
const FIRST_RESERVE: usize = 16 << 10;
/// The same on a stranger's word.
const FIRST_RESERVE_OF_STRANGERS: usize = 4 << 10;

/// What an endpoint demands of all its streams.
#[derive(Clone, Debug)]
pub(crate) struct FrameTerms {
    pub(crate) pace: FramePace,
    pub(crate) first_frame: Duration,
    pub(crate) unfinished: Arc<Unfinished>,
}

/// What is accepted on one stream.
#[derive(Debug)]
pub(crate) struct Intake {
    limit: usize,
    pace: FramePace,
    /// When the first frame must have begun.
    first_by: Option<Instant>,
    guard: Option<Guard>,
}

/// What holds for as long as the connection has no standing.
#[derive(Debug)]
struct Guard {
    limit: usize,
    state: Arc<ConnectionState>,
    unfinished: Arc<Unfinished>,
}

impl Intake {
    pub(super) fn of(
        protocol: Protocol,
        side: Side,
        state: &Arc<ConnectionState>,
        terms: &FrameTerms,
    ) -> Self {
        let (limit, of_strangers, speaks_first) = match side {
            // We asked for it, so that it may be as large as an answer.
            Side::Opener => (protocol.accepter_limit(), protocol.accepter_limit(), false),
            Side::Accepter => {
                (protocol.opener_limit(), protocol.stranger_limit(), protocol.opener_speaks_first())
            }
        };
        let must_speak = speaks_first && !state.has_standing();
        Self {
            limit,
            pace: terms.pace,
            first_by: must_speak.then(|| Instant::now() + terms.first_frame),
            guard: Some(Guard {
                limit: of_strangers,
                state: Arc::clone(state),
                unfinished: Arc::clone(&terms.unfinished),
            }),
        }
    }

    /// Of a peer with standing.
    #[cfg(any(test, fuzzing))]
    pub(super) fn trusting(limit: usize, pace: FramePace) -> Self {
        Self { limit, pace, first_by: None, guard: None }
    }

    fn stranger(&self) -> Option<&Guard> {
        self.guard.as_ref().filter(|guard| !guard.state.has_standing())
    }

    /// When the first frame must have begun, if anybody waits for it.
    pub(super) fn first_by(&self) -> Option<Instant> {
        self.first_by
    }

    /// When a frame that has begun now must be whole, apart from the time that its size takes.
    pub(super) fn due(&self) -> Instant {
        Instant::now() + self.pace.grace.to_duration()
    }

    /// Time that so many bytes may take.
    pub(super) fn time_for(&self, bytes: usize) -> Duration {
        self.pace.time_for(bytes).to_duration()
    }

    /// Largest frame that is accepted now.
    pub(super) fn limit(&self) -> usize {
        self.stranger().map_or(self.limit, |guard| guard.limit)
    }

    /// Memory for the first bytes of a frame.
    pub(super) fn first_reserve(&self) -> usize {
        if self.stranger().is_some() { FIRST_RESERVE_OF_STRANGERS } else { FIRST_RESERVE }
    }

    /// Takes room for so many bytes of the present frame in all. False: its connection has given way to others.
    pub(super) fn make_room(&self, share: &mut Option<Share>, bytes: usize) -> bool {
        match self.stranger() {
            Some(guard) => share.get_or_insert_with(|| guard.unfinished.begin(&guard.state)).grow(bytes),
            None => {
                *share = None;
                true
            }
        }
    }
}
