//! Between the transport and the core: opens what workers send, seals what they are told.
//!
//! Verified before the core sees it: size, version, purpose, time, recipient, pool, signature. Over libp2p the signer
//! must be the peer of the connection; over HTTPS only the envelope says who speaks. What fails is refused with a signed
//! `Refusal` and never reaches the core.
//!
//! Both sides work in the task of the stream or request: messages are verified in parallel where their bytes arrive
//! ([`Inbound`]), and answers are sealed when they are written ([`Answers`]). Messages of one connection keep their order.
//! Answers without news to workers that take them so are tagged with a key of the session; everything else is signed
//! (`docs/adr/0016`).

mod answers;
mod gate;
mod inbound;
mod skew;

use lode_protocol::units::Millis;

pub use answers::Answers;
pub use gate::Gate;
pub use inbound::Inbound;
pub use skew::Skews;

/// How long an answer counts: a worker that has not got it by then asks again.
const ANSWER_LIFETIME: Millis = Millis::seconds(60);
