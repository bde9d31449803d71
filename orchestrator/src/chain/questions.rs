//! Keys that the core asks about: whoever asked first is answered first.
//!
//! A key costs its sender nothing, so that the room is bounded, and nobody comes earlier by the key that he chose. What
//! has no room is forgotten: its worker says hello again, and the core asks again after a minute. Of what the chain's own
//! events name there is less, since it costs stake, and it has some places of its own.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use lode_protocol::ids::NodeId;

use super::{BATCH, ChainWatch};
use crate::core::event::Event;

/// Keys that wait for the chain's answer: about a megabyte, and eighty reads.
pub(super) const MOST_ASKED: usize = 16_384;
/// Of these, the places that only events of the chain fill.
pub(super) const FOR_EVENTS: usize = 512;
/// What one batch of answers about strangers may take: the pool's own facts wait that long at most.
const LOOK_UP: Duration = Duration::from_secs(5);

/// Keys that wait for the chain's answer. The view is no less fresh for them.
#[derive(Debug, Default)]
pub(super) struct Questions {
    /// The same keys as in `order`.
    waiting: BTreeSet<NodeId>,
    order: VecDeque<NodeId>,
    refused: u64,
}

impl Questions {
    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// A stranger said hello.
    pub(super) fn of_stranger(&mut self, node: NodeId) {
        self.put(node, MOST_ASKED - FOR_EVENTS);
    }

    /// The chain itself named the key.
    pub(super) fn of_event(&mut self, node: NodeId) {
        self.put(node, MOST_ASKED);
    }

    fn put(&mut self, node: NodeId, most: usize) {
        if self.waiting.contains(&node) {
            return;
        }
        if self.order.len() >= most {
            self.refused = self.refused.saturating_add(1);
            return;
        }
        self.waiting.insert(node);
        self.order.push_back(node);
    }

    /// Those that have waited longest, at most so many.
    pub(super) fn longest(&self, most: usize) -> Vec<NodeId> {
        self.order.iter().copied().take(most).collect()
    }

    /// So many of those that have waited longest were answered.
    pub(super) fn answered(&mut self, count: usize) {
        let count = count.min(self.order.len());
        for node in self.order.drain(..count) {
            self.waiting.remove(&node);
        }
    }

    /// Keys that had no room since this was asked last.
    pub(super) fn take_refused(&mut self) -> u64 {
        std::mem::take(&mut self.refused)
    }
}

impl ChainWatch {
    /// Answers about those strangers that have waited longest, one batch. Tells whether the chain has answered; an error
    /// says nothing about anybody, and leaves the pool's view as fresh as it is.
    pub(super) async fn look_up(&self, asked: &mut Questions) -> bool {
        let refused = asked.take_refused();
        if refused > 0 {
            tracing::debug!(refused, "more strangers than can be asked about; they say hello again");
        }
        let nodes = asked.longest(BATCH);
        let registrations = match tokio::time::timeout(LOOK_UP, self.reader.nodes(&nodes)).await {
            Ok(Ok(registrations)) => registrations,
            Ok(Err(error)) => {
                tracing::debug!(code = %error.code(), %error, "strangers could not be looked up; trying again");
                return false;
            }
            Err(_) => {
                tracing::debug!(after = ?LOOK_UP, "strangers could not be looked up in time; trying again");
                return false;
            }
        };
        asked.answered(nodes.len());
        for (node, registration) in nodes.into_iter().zip(registrations) {
            let registered = registration.is_some();
            self.driver.fact(Event::NodeLookedUp { node, registered }).await;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use lode_protocol::ids::Address;

    use super::*;

    /// The later the number, the lower the key.
    fn low(number: u32) -> NodeId {
        let mut address = [0; 20];
        address[..4].copy_from_slice(&(1_000_000 - number).to_be_bytes());
        NodeId(Address(address))
    }

    #[test]
    fn an_honest_key_is_looked_up_in_its_turn_however_many_lower_ones_come_before_and_after_it() {
        let honest = NodeId(Address([0xff; 20]));
        let mut questions = Questions::default();
        for number in 0..10_000 {
            questions.of_stranger(low(number));
        }
        questions.of_stranger(honest);
        let mut more = 10_000;
        let mut reads = 0;
        loop {
            reads += 1;
            let batch = questions.longest(BATCH);
            questions.answered(batch.len());
            if batch.contains(&honest) {
                break;
            }
            for _ in 0..BATCH {
                questions.of_stranger(low(more));
                more += 1;
            }
        }
        assert_eq!(reads, 10_001_usize.div_ceil(BATCH));
    }

    #[test]
    fn a_key_waits_once_and_those_of_events_have_places_of_their_own() {
        let mut questions = Questions::default();
        for number in 0..100_000 {
            questions.of_stranger(low(number));
        }
        assert_eq!(questions.order.len(), MOST_ASKED - FOR_EVENTS);
        questions.of_stranger(low(0));
        assert_eq!(
            questions.take_refused(),
            100_000 - (MOST_ASKED - FOR_EVENTS) as u64,
            "twice is no refusal"
        );
        for number in 100_000..200_000 {
            questions.of_event(low(number));
        }
        assert_eq!(questions.order.len(), MOST_ASKED);
        assert_eq!(questions.waiting.len(), MOST_ASKED);
        questions.answered(MOST_ASKED);
        assert!(questions.is_empty() && questions.waiting.is_empty());
    }
}
