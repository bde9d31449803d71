//! The shared language of Lode: identities, units, hardware, tasks, sessions, invites, proofs and the signed
//! envelope that carries them.
//!
//! Pure: no I/O, no clock, no randomness, no async runtime. Whoever needs a time or entropy passes it in.
//! Wire form is CBOR with numbered fields; names and numbers are never reused. JSON and TOML are for people
//! (task specs, API bodies). What the chain must read is EIP-712 (see [`join`] and [`settlement`]) and nothing else is,
//! but for a tenant's order, which wallets sign too.

#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))] // pure: see clippy.toml
#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr, clippy::dbg_macro))] // nor does it print

pub mod acknowledgement;
pub mod amount;
pub mod assignment;
pub mod backoff;
pub mod cursor;
pub mod descriptor;
pub mod directory;
pub mod eip712;
pub mod envelope;
pub mod error_code;
pub mod finding;
pub mod hardware;
pub mod hash;
pub mod ids;
pub mod image;
pub mod join;
pub mod keys;
pub mod logs;
pub mod origin;
pub mod proof;
pub mod published;
pub mod session;
pub mod settlement;
pub mod task;
pub mod text;
pub mod time;
pub mod units;
pub mod usage;

mod fixed_bytes;
mod schema;
