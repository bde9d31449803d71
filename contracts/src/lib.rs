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
mod block;
mod code;
mod convert;
mod deploy;
mod deployment;
mod describe;
pub mod earnings_tree;
mod epoch;
mod epoch_tree;
mod error;
mod event;
mod follower;
mod intent;
mod leaf;
mod offline;
mod operator;
mod outbox;
mod permit;
mod port;
mod reader;
mod record;
mod revert;
mod rpc;

pub use block::{BlockRef, ChainCursor, seconds_of_timestamp, timestamp_of_seconds};
pub use code::CodeReport;
pub use deploy::{DeployError, DeployParameters, Deployed, deploy, deploy_to, deployed_parameters};
pub use deployment::{Deployment, DeploymentError};
pub use describe::{Argument, ArgumentValue, CallDescription, EventDescription, describe_call};
pub use earnings_tree::{
    EarningsLeaf, EarningsSibling, EarningsTree, EarningsTreeError, verify_earnings_path,
};
pub use epoch::{Epoch, EpochPhase, EpochTiming};
pub use epoch_tree::{EpochTree, EpochTreeError, verify_path};
pub use error::{ChainError, ErrorClass};
pub use event::{ChainEvent, LoggedEvent};
pub use follower::{ChainView, Follower, FollowerConfig, FollowerEvent, ResyncReason, ViewFailure};
pub use intent::{AuthorizedNode, ClaimItem, Intent, Permit, PoolParameters, ProofItem, ProvenEarnings};
pub use leaf::{Leaf, commitment};
pub use lode_protocol::amount::{Amount, ParseAmountError};
pub use offline::{RawTransaction, UnsignedTransaction};
pub use operator::{Chain, Operator};
pub use outbox::{
    Blocked, FileOutboxStore, IntentId, MemoryOutboxStore, Outbox, OutboxConfig, OutboxError, OutboxEvent,
    OutboxRunner, OutboxStatus, OutboxStore, Outcome, StoreFailure,
};
pub use permit::{permit_digest, sign_permit};
pub use port::{Fees, Quote, Receipt, SendError, SignedTransaction, TransactionPort};
pub use reader::ChainReader;
pub use record::{
    AccusationPhase, AccusationRecord, BudgetRecord, EarningsRecord, MembershipRecord, MembershipState,
    NodeRecord, Offence, PoolRecord, PoolState, ProvenRecord, ProviderRecord, RedemptionRecord, RootRecord,
    RootState, SettlementTerms, SlashingTerms, StakingTerms, ValidatorRecord,
};
pub use revert::{Refusal, Revert};
pub use rpc::{RpcChain, RpcConfig, Simulated, TokenInfo, chain_id};
