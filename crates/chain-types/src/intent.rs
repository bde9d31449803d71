//! Every call of the contracts as a value: typed, persistable, and the same for the outbox and for one-shot calls.
//!
//! The encoding is CBOR with numbered variants: an outbox written by an older version is still read. Numbers are
//! never reused, also not by the calls of another contract: the number alone says whose call it is.

mod meaning;
mod parts;
mod pools;
mod registry;
mod rewards;
mod slashing;
mod token;
mod validators;

use minicbor::decode::Error as DecodeError;
use minicbor::encode::{Error as EncodeError, Write};
use minicbor::{Decode, Decoder, Encode, Encoder};

pub use parts::{AuthorizedNode, ClaimItem, Permit, PoolParameters, ProofItem, ProvenEarnings};
pub use pools::PoolsCall;
pub use registry::RegistryCall;
pub use rewards::RewardsCall;
pub use slashing::SlashingCall;
pub use token::TokenCall;
pub use validators::ValidatorsCall;

/// A call of one of our contracts, or a transfer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Intent {
    /// Of the registry of providers and nodes.
    Registry(RegistryCall),
    /// Of the pools.
    Pools(PoolsCall),
    /// Of the validator set.
    Validators(ValidatorsCall),
    /// Of the court.
    Slashing(SlashingCall),
    /// Of the budgets and earnings.
    Rewards(RewardsCall),
    /// Of a token, or a plain transfer of coins.
    Token(TokenCall),
}

impl<C> Encode<C> for Intent {
    fn encode<W: Write>(
        &self,
        encoder: &mut Encoder<W>,
        context: &mut C,
    ) -> Result<(), EncodeError<W::Error>> {
        match self {
            Intent::Registry(call) => call.encode(encoder, context),
            Intent::Pools(call) => call.encode(encoder, context),
            Intent::Validators(call) => call.encode(encoder, context),
            Intent::Slashing(call) => call.encode(encoder, context),
            Intent::Rewards(call) => call.encode(encoder, context),
            Intent::Token(call) => call.encode(encoder, context),
        }
    }
}

impl<'b, C> Decode<'b, C> for Intent {
    fn decode(decoder: &mut Decoder<'b>, context: &mut C) -> Result<Self, DecodeError> {
        let number = {
            let mut ahead = decoder.probe();
            ahead.array()?;
            ahead.u32()?
        };
        match number {
            0..=8 | 37 => RegistryCall::decode(decoder, context).map(Intent::Registry),
            9..=24 | 38..=39 => PoolsCall::decode(decoder, context).map(Intent::Pools),
            25..=32 | 40..=41 => ValidatorsCall::decode(decoder, context).map(Intent::Validators),
            54..=58 | 60 => SlashingCall::decode(decoder, context).map(Intent::Slashing),
            42..=53 => RewardsCall::decode(decoder, context).map(Intent::Rewards),
            33..=36 | 59 => TokenCall::decode(decoder, context).map(Intent::Token),
            unknown => Err(DecodeError::unknown_variant(i64::from(unknown))),
        }
    }
}
