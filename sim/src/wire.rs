//! What travels. Signatures and envelopes are the shells' business; what they vouch for is taken as given here: a
//! message's sender, its digest, and for whom it is.

use lode_orchestrator_core::effect::Answer;
use lode_orchestrator_core::error::Rejected;
use lode_orchestrator_core::event::ConnectionId;
use lode_protocol::descriptor::NodeDescriptor;
use lode_protocol::hash::Digest;
use lode_protocol::ids::NodeId;
use lode_protocol::join::SignedInvite;
use lode_protocol::keys::{PublicKey, SigningKey};
use lode_protocol::session::{Heartbeat, Hello, Leave, Refusal};
use lode_protocol::usage::OfferedReceipt;
use lode_worker_core::event::Heard;

use crate::world::World;

/// A message to the orchestrator.
#[derive(Clone, Debug)]
pub struct Up {
    /// Verified sender.
    pub from: NodeId,
    /// Its key.
    pub public_key: PublicKey,
    /// Over which connection.
    pub connection: ConnectionId,
    /// Digest of what was signed.
    pub digest: Digest,
    /// What it says of itself, where the message carries that.
    pub descriptor: Option<NodeDescriptor>,
    /// The body.
    pub body: Body,
}

/// Bodies.
#[derive(Clone, Debug)]
pub enum Body {
    /// A greeting.
    Hello(Hello),
    /// A beat.
    Heartbeat(Box<Heartbeat>),
    /// A leave.
    Leave(Leave),
}

impl Body {
    /// For people.
    pub fn brief(&self) -> String {
        match self {
            Body::Hello(hello) => format!("hello, boot {}", hello.boot.0),
            Body::Heartbeat(beat) => format!(
                "beat {} of boot {}{}, works towards {:?}, tells of {}",
                beat.sequence.0,
                beat.boot.0,
                if beat.complete { ", complete" } else { "" },
                beat.observed.map(|generation| generation.0),
                beat.assignments.len(),
            ),
            Body::Leave(_) => "that it leaves".to_owned(),
        }
    }
}

/// An answer as its node hears it, with the pool's signatures in it.
pub fn heard(key: &SigningKey, request: Digest, answer: Answer) -> Heard {
    match answer {
        Answer::Granted(granted) => Heard::Granted(granted),
        Answer::Instruction { mut instruction, invite, receipts } => {
            instruction.invite = invite.map(|invite| SignedInvite {
                invite,
                signature: key.sign_recoverable(&invite.invite_digest(&World::pools_domain())),
            });
            let offered = receipts.into_iter().map(|(receipt, usage)| OfferedReceipt {
                signature: key.sign_recoverable(&receipt.digest(&World::rewards_domain())),
                receipt,
                usage,
            });
            let offered: Vec<_> = offered.collect();
            instruction.receipts = (!offered.is_empty()).then_some(offered);
            Heard::Instruction(instruction)
        }
        Answer::Refused(rejected) => Heard::Refused(refusal(request, rejected)),
    }
}

/// A refusal as it travels.
pub fn refusal(request: Digest, rejected: Rejected) -> Refusal {
    Refusal {
        code: rejected.code,
        message: rejected.message,
        remedy: rejected.remedy,
        reopen: rejected.reopen,
        retry_after: rejected.retry_after,
        request,
    }
}
