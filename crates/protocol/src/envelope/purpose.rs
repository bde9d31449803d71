//! What messages are for, and for how long each sort may count.

use minicbor::{Decode, Encode};

use crate::descriptor::MAX_DESCRIPTOR_LIFETIME;
use crate::units::Millis;

/// Longest time that a message of a conversation may count: several times what honest programs sign, and short enough
/// that a copy of it is soon of no use to anybody.
pub const MAX_MESSAGE_LIFETIME: Millis = Millis::seconds(300);

/// What a message is for. A signature for one purpose is void for every other. Numbers are never reused.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Encode, Decode)]
#[cbor(index_only)]
pub enum Purpose {
    /// A node's public description of itself ([`crate::descriptor::NodeDescriptor`]).
    #[n(1)]
    Descriptor,
    /// A worker asks for a session ([`crate::session::Hello`]).
    #[n(2)]
    Hello,
    /// The session it was given ([`crate::session::Granted`]).
    #[n(3)]
    Granted,
    /// A sign of life ([`crate::session::Heartbeat`]).
    #[n(4)]
    Heartbeat,
    /// Answer to a beat, push or resync ([`crate::session::Instruction`]).
    #[n(5)]
    Instruction,
    /// Why a message was not accepted ([`crate::session::Refusal`]).
    #[n(6)]
    Refusal,
    /// The orchestrator asks for a task's output ([`crate::logs::LogRequest`]).
    #[n(7)]
    LogRequest,
    /// A piece of a task's output ([`crate::logs::LogBatch`]). 8 was one whose statement was hashed by Keccak.
    #[n(13)]
    LogBatch,
    /// A validator speaks to a node ([`crate::proof::Challenge`]).
    #[n(9)]
    Challenge,
    /// A node answers a validator ([`crate::proof::Answer`]).
    #[n(10)]
    Answer,
    /// A node leaves its pool ([`crate::session::Leave`]).
    #[n(11)]
    Leave,
    /// Answer to a beat that brings no news ([`crate::acknowledgement::Acknowledgement`]): tagged, not signed.
    #[n(12)]
    Acknowledgement,
}

impl Purpose {
    /// Its number on the wire.
    pub(super) const fn number(self) -> u8 {
        match self {
            Purpose::Descriptor => 1,
            Purpose::Hello => 2,
            Purpose::Granted => 3,
            Purpose::Heartbeat => 4,
            Purpose::Instruction => 5,
            Purpose::Refusal => 6,
            Purpose::LogRequest => 7,
            Purpose::LogBatch => 13,
            Purpose::Challenge => 9,
            Purpose::Answer => 10,
            Purpose::Leave => 11,
            Purpose::Acknowledgement => 12,
        }
    }

    /// The longest time from issue to expiry that is accepted.
    pub const fn longest_validity(self) -> Millis {
        match self {
            Purpose::Descriptor => MAX_DESCRIPTOR_LIFETIME,
            Purpose::Hello
            | Purpose::Granted
            | Purpose::Heartbeat
            | Purpose::Instruction
            | Purpose::Refusal
            | Purpose::LogRequest
            | Purpose::LogBatch
            | Purpose::Challenge
            | Purpose::Answer
            | Purpose::Leave
            | Purpose::Acknowledgement => MAX_MESSAGE_LIFETIME,
        }
    }
}
