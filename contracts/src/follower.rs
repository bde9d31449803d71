//! Follows the contracts' events from a cursor, in order, each once.
//!
//! The chain may reorganise, and a development chain may be restarted from an older state. Both show as remembered blocks
//! that are not in the chain any more: the follower says [`FollowerEvent::Rollback`] and goes on after the common
//! ancestor. Where it remembers none, it says [`FollowerEvent::Resync`] and begins again at the deployment's block. The same
//! where an RPC gives events of a block late: young blocks are read twice. What it cannot know it says too: [`ChainView`]
//! tells how old the view is.
//!
//! This file is the shell; `core` decides.

mod core;

use std::sync::Arc;
use std::time::Duration;

use lode_protocol::backoff::{Backoff, BackoffPolicy};
use lode_protocol::error_code::ErrorCode;
use lode_protocol::units::Millis;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use self::core::{Core, Next, Verdict};
use crate::LoggedEvent;
use crate::error::ChainError;
use crate::reader::ChainReader;
use crate::{BlockRef, ChainCursor};

pub use self::core::ResyncReason;

/// A follower whose looks fail looks again after so long at the latest, or after its usual interval if that is longer.
const LONGEST_WAIT: Millis = Millis::seconds(30);

/// How to follow.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FollowerConfig {
    /// Milliseconds between two looks at the chain.
    pub poll_interval_ms: u64,
    /// How many blocks must stand on a block before its events are delivered. 0 on development chains.
    pub confirmations: u64,
    /// Most blocks read at once.
    pub max_range: u64,
    /// Spreads the waits after failures: whoever follows the same chain should have another one.
    pub seed: u64,
}

impl Default for FollowerConfig {
    fn default() -> Self {
        FollowerConfig { poll_interval_ms: 2_000, confirmations: 0, max_range: 2_000, seed: 0 }
    }
}

/// What a follower says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FollowerEvent {
    /// Blocks above `to` were replaced, or the RPC had not given all of their events: undo what their events taught; they
    /// come again. Perhaps none of them was delivered yet; whoever reads the state at the head reads it again all the same.
    Rollback {
        /// The latest block that is known to be in the old and the new history, with all its events.
        to: ChainCursor,
        /// What was seen.
        reason: ResyncReason,
    },
    /// More of history has changed than is remembered: forget what events taught. Everything is delivered again, from the deployment's block.
    Resync {
        /// What was seen.
        reason: ResyncReason,
    },
    /// Events up to a block; none when only the head moved. Apply them and keep the cursor in one commit.
    Events {
        /// In the chain's order.
        events: Vec<LoggedEvent>,
        /// Where to go on after a restart.
        cursor: ChainCursor,
        /// The latest block.
        head: BlockRef,
        /// Whether all confirmed events are delivered now.
        caught_up: bool,
    },
}

/// How well the follower knows the chain.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ChainView {
    /// The latest block seen.
    pub head: Option<BlockRef>,
    /// When the chain last gave a consistent answer.
    pub last_answer: Option<Instant>,
    /// Whether all confirmed events were delivered by then.
    pub caught_up: bool,
    /// What goes wrong, while something does.
    pub failure: Option<ViewFailure>,
}

/// Why a view does not get newer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ViewFailure {
    /// Stable code.
    pub code: ErrorCode,
    /// In words.
    pub message: String,
}

impl ChainView {
    /// Time since the last answer; `None` while there was none.
    pub fn age(&self, now: Instant) -> Option<Duration> {
        self.last_answer.map(|answered| now.saturating_duration_since(answered))
    }

    /// Whether the view may be acted on. A view that is not fresh is *unknown*: no new joins, placements, secrets or
    /// roots by it; what runs keeps running.
    pub fn is_fresh(&self, now: Instant, limit: Duration) -> bool {
        self.caught_up && self.age(now).is_some_and(|age| age <= limit)
    }
}

/// Reads the chain and delivers what it finds.
#[derive(Debug)]
pub struct Follower {
    reader: Arc<dyn ChainReader>,
    core: Core,
    backoff: Backoff,
    poll_interval: Duration,
    began: Instant,
    verified: bool,
    view: watch::Sender<ChainView>,
}

impl Follower {
    /// A follower that goes on after `from`, or begins at the deployment's block.
    pub fn new(
        reader: Arc<dyn ChainReader>,
        config: FollowerConfig,
        from: Option<ChainCursor>,
    ) -> (Self, watch::Receiver<ChainView>) {
        let core = Core::new(reader.deployment().block, config.confirmations, config.max_range, from);
        let (view, receiver) = watch::channel(ChainView::default());
        let first = Millis(config.poll_interval_ms.max(1));
        let backoff = Backoff::new(BackoffPolicy::new(first, first.max(LONGEST_WAIT)), config.seed);
        let (poll_interval, began) = (first.to_duration(), Instant::now());
        (Follower { reader, core, backoff, poll_interval, began, verified: false, view }, receiver)
    }

    /// Follows until the receiver is dropped. A receiver that is slow holds the follower back, and the view ages.
    pub async fn run(mut self, sender: mpsc::Sender<FollowerEvent>) {
        loop {
            let wait = match self.turn().await {
                Ok(Turn::Deliver(event)) => {
                    self.backoff.reset();
                    let more = !matches!(event, FollowerEvent::Events { caught_up: true, .. });
                    if sender.send(event).await.is_err() {
                        return;
                    }
                    if more {
                        continue;
                    }
                    self.poll_interval
                }
                Ok(Turn::Nothing) => {
                    self.backoff.reset();
                    self.poll_interval
                }
                Err(error) => {
                    self.failed(&error);
                    self.backoff.next_wait()
                }
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = sender.closed() => return,
            }
        }
    }

    /// One look at the chain.
    async fn turn(&mut self) -> Result<Turn, ChainError> {
        if !self.verified {
            self.reader.verify().await?;
            self.verified = true;
        }
        let head = self.reader.head().await?;
        let now = Millis::from_duration(self.began.elapsed());
        let mut next = self.core.begin(now, head, self.reader.blocks_at_once());
        loop {
            next = match next {
                Next::Look(number) => self.core.looked(head, self.reader.block(number).await?),
                Next::Again { from, to } => {
                    let events = self.reader.events_again(from, to).await?;
                    self.core.looked_again(head, (from, to), &events)
                }
                Next::Read { .. } | Next::Rollback { .. } | Next::Resync(_) | Next::Wait => break,
            };
        }
        match next {
            Next::Read { from, to } => self.read(head, from, to).await,
            Next::Rollback { to, reason } => {
                tracing::warn!(%reason, to = to.number, "what was delivered does not stand: going back");
                Ok(self.doubted(FollowerEvent::Rollback { to, reason }))
            }
            Next::Resync(reason) => {
                tracing::warn!(%reason, "the chain's history has changed: reading all events again");
                Ok(self.doubted(FollowerEvent::Resync { reason }))
            }
            Next::Wait | Next::Look(_) | Next::Again { .. } => {
                self.answered(head, self.core.cursor().is_some());
                Ok(Turn::Nothing)
            }
        }
    }

    async fn read(&mut self, head: BlockRef, from: u64, to: u64) -> Result<Turn, ChainError> {
        let Some(end) = self.reader.block(to).await? else { return Ok(Turn::Nothing) };
        let events = self.reader.events(from, to).await?;
        // The history is checked after the events were read: a reorganisation in between must not go unnoticed.
        let end_after = self.reader.block(to).await?;
        let cursor_after = match self.core.cursor() {
            Some(cursor) => self.reader.block(cursor.number).await?,
            None => None,
        };
        match self.core.accept(head, end, &events, end_after, cursor_after) {
            Verdict::ReadAgain => Ok(Turn::Nothing),
            Verdict::Accepted { cursor, caught_up } => {
                self.answered(head, caught_up);
                Ok(Turn::Deliver(FollowerEvent::Events { events, cursor, head, caught_up }))
            }
        }
    }

    /// What was delivered does not stand: until the new history is read, the view is not to be acted on.
    fn doubted(&mut self, event: FollowerEvent) -> Turn {
        self.verified = false;
        self.view.send_modify(|view| view.caught_up = false);
        Turn::Deliver(event)
    }

    fn answered(&self, head: BlockRef, caught_up: bool) {
        self.view.send_modify(|view| {
            if view.failure.take().is_some() {
                tracing::info!("the chain answers again");
            }
            view.head = Some(head);
            view.last_answer = Some(Instant::now());
            view.caught_up = caught_up;
        });
    }

    fn failed(&self, error: &ChainError) {
        self.view.send_modify(|view| {
            let code = error.code();
            if view.failure.as_ref().is_none_or(|failure| failure.code != code) {
                tracing::warn!(%code, %error, "the chain cannot be followed; trying again");
            }
            view.failure = Some(ViewFailure { code, message: error.to_string() });
        });
    }
}

enum Turn {
    Nothing,
    Deliver(FollowerEvent),
}
