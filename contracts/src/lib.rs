//! The client of Lode's contracts: reading, following, writing.
//!
//! * [`ChainReader`] reads state; an error means "unknown" and never "no".
//! * [`Follower`] delivers events from a cursor, notices reorganisations and resets of the chain, and says how fresh
//!   its view is.
//! * [`Outbox`] sends [`Intent`]s: persisted before they are sent, one nonce owner per key, never dropped.
//! * [`Operator`] and [`deploy`] are for people at a command line.
//!
//! No type of the Ethereum library leaves this crate.

mod abi;
mod artifact;
mod code;
mod convert;
mod decode;
mod deploy;
mod deployment;
mod describe;
mod encode;
mod error;
mod follower;
mod offline;
mod operator;
mod outbox;
mod permit;
mod port;
mod reader;
mod revert;
mod rpc;

#[cfg(fuzzing)]
pub use decode::fuzz::chain_logs as fuzz_chain_logs;

pub use code::CodeReport;
pub use deploy::{DeployError, DeployParameters, Deployed, deploy, deploy_to, deployed_parameters};
pub use deployment::{Deployment, DeploymentError};
pub use describe::{
    Argument, ArgumentValue, CallDescription, EventDescription, describe_call, describe_intent,
};
pub use error::{ChainError, ErrorClass};
pub use follower::{ChainView, Follower, FollowerConfig, FollowerEvent, ResyncReason, ViewFailure};
pub use lode_chain_types::*;
pub use offline::{RawTransaction, UnsignedTransaction};
pub use operator::{Chain, Operator};
pub use outbox::{
    Blocked, FileOutboxStore, MemoryOutboxStore, Outbox, OutboxConfig, OutboxError, OutboxEvent,
    OutboxRunner, OutboxStatus, OutboxStore, StoreFailure,
};
pub use permit::{permit_digest, sign_permit};
pub use port::{Fees, Quote, SendError, SignedTransaction, TransactionPort};
pub use reader::ChainReader;
pub use revert::{decode_revert, refusal_of_name, refusal_of_selector};
pub use rpc::{RpcChain, RpcConfig, Simulated, TokenInfo, chain_id};
