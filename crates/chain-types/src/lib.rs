//! What the contracts mean, as plain types: records, events, intents, trees, epochs.
//!
//! Nothing here knows how a contract is asked or how its bytes look, so that whoever decides by them (the cores, the
//! simulation) links no Ethereum library. `lode-contracts` reads and writes them.

#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))] // pure: see clippy.toml
#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr, clippy::dbg_macro))] // nor does it print

mod block;
pub mod earnings_tree;
mod epoch;
mod epoch_tree;
mod event;
mod intent;
mod leaf;
mod outcome;
mod record;
mod refusal;
mod revert_reason;

pub use block::{BlockRef, ChainCursor, seconds_of_timestamp, timestamp_of_seconds};
pub use earnings_tree::{
    EarningsLeaf, EarningsSibling, EarningsTree, EarningsTreeError, verify_earnings_path,
};
pub use epoch::{Epoch, EpochPhase, EpochTiming};
pub use epoch_tree::{EpochTree, EpochTreeError, verify_path};
pub use event::{
    ChainEvent, LoggedEvent, PoolsEvent, RegistryEvent, RewardsEvent, SlashingEvent, ValidatorsEvent,
};
pub use intent::{
    AuthorizedNode, ClaimItem, Intent, Permit, PoolParameters, PoolsCall, ProofItem, ProvenEarnings,
    RegistryCall, RewardsCall, SlashingCall, TokenCall, ValidatorsCall,
};
pub use leaf::{Leaf, commitment};
pub use lode_protocol::amount::{Amount, ParseAmountError};
pub use outcome::{IntentId, Outcome, Receipt};
pub use record::{
    AccusationPhase, AccusationRecord, BudgetRecord, EarningsRecord, MembershipRecord, MembershipState,
    NodeRecord, Offence, PoolRecord, PoolState, ProvenRecord, ProviderRecord, RedemptionRecord, RootRecord,
    RootState, SettlementParameters, SlashingParameters, StakingParameters, ValidatorRecord,
};
pub use refusal::{Refusal, Revert};
pub use revert_reason::RevertReason;
