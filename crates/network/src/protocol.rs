//! The stream protocols, their names on the wire and how large their frames may be in each direction.
//!
//! Names and their meaning are never reused; a change that old peers would misread gets a new number.

use lode_protocol::envelope::Signable;
use lode_protocol::logs::{LogBatch, LogRequest};
use lode_protocol::proof::{Answer, Challenge};
use lode_protocol::session::{Granted, Heartbeat, Hello, Instruction, Leave, Refusal};

/// What an envelope adds to its body, with room to spare; the exact check is the envelope's own.
const ENVELOPE_ALLOWANCE: usize = 1024;

/// Largest frame from a node at a validator that knows nothing of it. Such a node has nothing to say: it waits to be
/// challenged, and only who is known is challenged.
const UNCHALLENGED: usize = 4 << 10;

/// What a stream is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Protocol {
    /// A worker's conversation with its orchestrator; opened by the worker, one per connection, held for ever.
    Session,
    /// A task's output; opened by the orchestrator over the worker's connection, one per request.
    Logs,
    /// A node's conversation with a validator; opened by the worker, one per connection, held for ever.
    Proof,
}

impl Protocol {
    /// All of them.
    pub const ALL: [Protocol; 3] = [Protocol::Session, Protocol::Logs, Protocol::Proof];

    /// The name negotiated on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Protocol::Session => "/lode/session/1",
            Protocol::Logs => "/lode/logs/1",
            Protocol::Proof => "/lode/proof/1",
        }
    }

    /// Largest frame, in bytes, that whoever opened the stream may send.
    pub const fn opener_limit(self) -> usize {
        let body = match self {
            Protocol::Session => largest(&[Hello::MAX_BYTES, Heartbeat::MAX_BYTES, Leave::MAX_BYTES]),
            Protocol::Logs => LogRequest::MAX_BYTES,
            Protocol::Proof => Answer::MAX_BYTES,
        };
        body + ENVELOPE_ALLOWANCE
    }

    /// Largest frame, in bytes, that whoever opened the stream may send before the program has vouched for it.
    pub const fn stranger_limit(self) -> usize {
        match self {
            Protocol::Session => largest(&[Hello::MAX_BYTES, Leave::MAX_BYTES]) + ENVELOPE_ALLOWANCE,
            Protocol::Logs => self.opener_limit(),
            Protocol::Proof => UNCHALLENGED,
        }
    }

    /// Whether whoever opens the stream has to speak first. Who does not waits to be spoken to, for as long as it takes.
    pub const fn opener_speaks_first(self) -> bool {
        match self {
            Protocol::Session | Protocol::Logs => true,
            Protocol::Proof => false,
        }
    }

    /// Largest frame, in bytes, that whoever accepted the stream may send.
    pub const fn accepter_limit(self) -> usize {
        let body = match self {
            Protocol::Session => largest(&[Granted::MAX_BYTES, Instruction::MAX_BYTES, Refusal::MAX_BYTES]),
            Protocol::Logs => LogBatch::MAX_BYTES,
            Protocol::Proof => Challenge::MAX_BYTES,
        };
        body + ENVELOPE_ALLOWANCE
    }
}

const fn largest(sizes: &[usize]) -> usize {
    let mut largest = 0;
    let mut rest = sizes;
    while let Some((first, others)) = rest.split_first() {
        if *first > largest {
            largest = *first;
        }
        rest = others;
    }
    largest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct_and_carry_their_version() {
        for protocol in Protocol::ALL {
            assert!(protocol.name().starts_with("/lode/") && protocol.name().ends_with("/1"));
            assert_eq!(Protocol::ALL.iter().filter(|other| other.name() == protocol.name()).count(), 1);
        }
    }

    #[test]
    fn the_largest_message_of_each_direction_fits() {
        assert!(Protocol::Session.opener_limit() > Heartbeat::MAX_BYTES + 512);
        assert!(Protocol::Session.accepter_limit() > Instruction::MAX_BYTES + 512);
        assert!(Protocol::Logs.accepter_limit() > LogBatch::MAX_BYTES + 512);
        assert!(Protocol::Proof.opener_limit() > Answer::MAX_BYTES + 512);
        assert!(Protocol::Session.stranger_limit() > Hello::MAX_BYTES + 512);
    }

    #[test]
    fn what_strangers_may_send_is_small() {
        for protocol in Protocol::ALL {
            assert!(protocol.stranger_limit() <= protocol.opener_limit());
            assert!(protocol.stranger_limit() < 80 << 10);
        }
    }
}
