//! Reads events from RPCs as they are: they answer for so many blocks at once and no more, each with a limit and words of
//! its own, and some speak of a block before they have indexed what was logged in it.

mod refusal;
mod span;
mod whole;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use alloy::rpc::types::{Filter, Log};

pub(super) use self::refusal::{Strain, strain_of_answer, strain_of_status};
use self::span::Span;
use self::whole::Doubts;
use super::RpcChain;
use crate::LoggedEvent;
use crate::error::ChainError;

/// So many blocks at the chain's end are young.
const YOUNG: u64 = 16;
/// Questions after which a reader that can keep a part of the answer should do so.
const QUESTIONS_AT_ONCE: u64 = 8;

/// What was learned of the RPC while events were read.
#[derive(Debug)]
pub(super) struct LogHabits {
    span: Mutex<Span>,
    /// Number of the latest block that the RPC spoke of.
    newest: AtomicU64,
    /// Blocks' blooms were seen without events that are in the block.
    blooms_lie: AtomicBool,
    doubts: Mutex<Doubts>,
}

impl LogHabits {
    pub(super) fn new(most: u64) -> Self {
        Self {
            span: Mutex::new(Span::new(most)),
            newest: AtomicU64::new(0),
            blooms_lie: AtomicBool::new(false),
            doubts: Mutex::default(),
        }
    }

    /// The latest block, as the RPC says. It may be lower than before.
    pub(super) fn head_is(&self, number: u64) {
        self.newest.store(number, Ordering::Relaxed);
    }

    /// How many blocks to ask for when a part of the answer can be kept.
    pub(super) fn blocks_at_once(&self) -> u64 {
        self.span().width().saturating_mul(QUESTIONS_AT_ONCE)
    }

    /// The first block that may not be indexed yet, where `to` is there.
    fn first_young(&self, to: u64) -> u64 {
        self.newest.load(Ordering::Relaxed).max(to).saturating_sub(YOUNG - 1)
    }

    fn span(&self) -> MutexGuard<'_, Span> {
        self.span.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn doubts(&self) -> MutexGuard<'_, Doubts> {
        self.doubts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RpcChain {
    /// Events in `from..=to` that a filter lets through, in the chain's order: all of them, as far as that can be known.
    pub(super) async fn logged(
        &self,
        filter: &Filter,
        from: u64,
        to: u64,
    ) -> Result<Vec<LoggedEvent>, ChainError> {
        let mut logs = self.pieces(filter, from, to).await?;
        self.complete(filter, from.max(self.logs.first_young(to)), to, &mut logs).await?;
        self.decoded(logs)
    }

    /// The same, as the RPC gives them.
    pub(super) async fn given(
        &self,
        filter: &Filter,
        from: u64,
        to: u64,
    ) -> Result<Vec<LoggedEvent>, ChainError> {
        let logs = self.pieces(filter, from, to).await?;
        self.decoded(logs)
    }

    fn decoded(&self, mut logs: Vec<Log>) -> Result<Vec<LoggedEvent>, ChainError> {
        logs.sort_by_key(|log| (log.block_number, log.log_index));
        let mut events = Vec::with_capacity(logs.len());
        for log in &logs {
            events.extend(crate::decode::decode(&self.deployment, log)?);
        }
        Ok(events)
    }

    /// Logs, fetched in pieces that the RPC answers.
    async fn pieces(&self, filter: &Filter, from: u64, to: u64) -> Result<Vec<Log>, ChainError> {
        let mut logs = Vec::new();
        let mut next = Some(from);
        // Asked for by themselves: an RPC that is behind may have nothing to say of a whole question that ends there.
        let young = self.logs.first_young(to);
        while let Some(start) = next.filter(|start| *start <= to) {
            let last = if start < young { to.min(young - 1) } else { to };
            let (end, found) = self.piece(filter, start, last).await?;
            logs.extend(found);
            next = end.checked_add(1);
        }
        Ok(logs)
    }

    /// Logs from `start` on, as many blocks as the RPC answers for; and which of them is the last.
    async fn piece(&self, filter: &Filter, start: u64, to: u64) -> Result<(u64, Vec<Log>), ChainError> {
        let transport = self.verified().await?;
        loop {
            let width = self.logs.span().width();
            let end = to.min(start.saturating_add(width - 1));
            let asked = end - start + 1;
            let error = match transport.logs(filter.clone().from_block(start).to_block(end)).await {
                Ok(found) if asked > 1 && is_perhaps_cut(found.len()) => {
                    self.logs.span().refused(asked);
                    continue;
                }
                Ok(mut found) => {
                    self.logs.span().answered(asked);
                    found
                        .retain(|log| log.block_number.is_some_and(|number| (start..=end).contains(&number)));
                    return Ok((end, found));
                }
                Err(error) => error,
            };
            match error.strain {
                Some(Strain::TooWide) if asked > 1 => {
                    self.logs.span().refused(asked);
                    tracing::debug!(asked, error = %error.error, "the RPC answers for fewer blocks at once");
                }
                Some(Strain::TooWide) => return Err(ChainError::LogLimit { message: error.said }),
                // Not at once again: whoever waits long for a no should not wait twice in one question.
                Some(Strain::Overburdened) => {
                    self.logs.span().refused(asked);
                    return Err(error.error);
                }
                None => return Err(error.error),
            }
        }
    }
}

/// Some RPCs cut an answer at a limit and do not say so. Their limits are thousands.
fn is_perhaps_cut(count: usize) -> bool {
    count > 0 && count.is_multiple_of(1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_of_a_round_number_of_events_is_not_taken_for_all_of_them() {
        for (count, cut) in
            [(0, false), (1, false), (999, false), (1_000, true), (1_001, false), (10_000, true)]
        {
            assert_eq!(is_perhaps_cut(count), cut, "{count}");
        }
    }
}
