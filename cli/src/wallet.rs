//! How a person's word reaches the chain: by a key file here, or by a wallet elsewhere that is given JSON to sign.
//!
//! * [`Wallet`] carries a [`Plan`] out: simulates it, shows what would be sent, asks, sends, waits, reports. Or it only
//!   simulates, or only writes what is to be signed elsewhere.
//! * [`Statement`] is what a key signs and anybody may submit: EIP-712 typed data out, a signature in.
//! * [`TypedData`] hashes from the JSON alone, apart from the code that makes statements: a check of one by the other.

mod account;
mod allowance;
mod pasted;
mod plan;
mod preview;
mod raw;
mod rehearsal;
mod send;
mod statement;
mod typed_data;
mod unsigned;

pub(crate) use account::{Wallet, chain, context, pool_meant, unchecked_chain};
pub(crate) use allowance::Payment;
pub(crate) use pasted::{Instead, Said, check, hex_or_file};
pub(crate) use plan::Plan;
pub(crate) use raw::send_signed;
pub(crate) use statement::{PermitStatement, Statement, TYPES};
pub(crate) use typed_data::TypedData;
