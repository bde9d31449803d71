//! What can go wrong with the chain. An error means "unknown"; it never looks like "no".

use std::time::Duration;

use lode_protocol::error_code::ErrorCode;
use lode_protocol::ids::{Address, ChainId};

use crate::Revert;

/// What to do about an error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ErrorClass {
    /// Try again later.
    Transient,
    /// The contracts or the chain said no; another try gives the same answer until something changes.
    Denied,
    /// What was given or answered makes no sense.
    Invalid,
    /// The configuration is wrong; an operator must act.
    Fatal,
}

/// A failed conversation with the chain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// No answer: connection refused, broken, or an HTTP error.
    #[error(
        "{operation}: the chain's RPC does not answer ({detail}); check that it runs and that its URL is right"
    )]
    Unreachable {
        /// What was tried.
        operation: &'static str,
        /// The transport's words.
        detail: String,
    },
    /// No answer in time.
    #[error("{operation}: no answer from the chain's RPC within {after:?}; it is overloaded or unreachable")]
    Timeout {
        /// What was tried.
        operation: &'static str,
        /// How long we waited.
        after: Duration,
    },
    /// The RPC answered with an error that is not about our call.
    #[error("{operation}: the chain's RPC answered with error {rpc_code}: {message}")]
    Rpc {
        /// What was tried.
        operation: &'static str,
        /// JSON-RPC error code.
        rpc_code: i64,
        /// Its message.
        message: String,
    },
    /// Not even the events of one block are given.
    #[error(
        "the chain's RPC does not give the events of a single block ({message}): what you have of it does not cover \
         eth_getLogs; use another RPC"
    )]
    LogLimit {
        /// Its message.
        message: String,
    },
    /// Two answers that do not go together.
    #[error(
        "{operation}: what the chain's RPC says of block {block} does not fit together: its servers are not at the same \
         block, or the block was just replaced; it is asked again, and where that does not help another RPC does"
    )]
    Inconsistent {
        /// What was tried.
        operation: &'static str,
        /// Number of the block.
        block: u64,
    },
    /// The RPC serves another chain.
    #[error(
        "the RPC serves chain {got}, the deployment file says {expected}: one of them is not what you mean"
    )]
    WrongChain {
        /// Chain id of the deployment.
        expected: ChainId,
        /// Chain id of the RPC.
        got: ChainId,
    },
    /// Nothing is deployed where the deployment file says.
    #[error(
        "there is no {contract} contract at {address}: the deployment file is of another chain, or the chain was \
         reset; deploy again or restore the chain's state"
    )]
    NoContract {
        /// Which contract was expected.
        contract: &'static str,
        /// Where.
        address: Address,
    },
    /// Something else is deployed where the deployment file says.
    #[error(
        "what stands at {address} is not the {contract} of this deployment: the file is of another chain, was changed, or \
         the contract was made from other sources; get the file of the pool's contracts from its owner"
    )]
    WrongCode {
        /// Which contract was expected.
        contract: &'static str,
        /// Where.
        address: Address,
    },
    /// A contract refused the call.
    #[error("the contract refused: {0}")]
    Reverted(Revert),
    /// The account cannot pay for gas and value.
    #[error("{account} cannot pay for the transaction: {detail}; fund it")]
    InsufficientFunds {
        /// Who pays.
        account: Address,
        /// The node's words.
        detail: String,
    },
    /// Gas costs more than the operator allows.
    #[error("the network asks for {needed} per unit of gas, the limit is {limit}: wait, or raise max_fee")]
    FeeLimit {
        /// What it costs.
        needed: u64,
        /// What it may cost.
        limit: u64,
    },
    /// An answer that is not of the expected form.
    #[error("{operation}: the answer cannot be read: {detail}")]
    Malformed {
        /// What was tried.
        operation: &'static str,
        /// What is wrong with it.
        detail: String,
    },
    /// What the caller gave makes no sense.
    #[error("{detail}")]
    Invalid {
        /// What is wrong and what to do.
        detail: String,
    },
}

impl ChainError {
    /// What to do about it.
    pub fn class(&self) -> ErrorClass {
        match self {
            ChainError::Unreachable { .. }
            | ChainError::Timeout { .. }
            | ChainError::Rpc { .. }
            | ChainError::LogLimit { .. }
            | ChainError::Inconsistent { .. } => ErrorClass::Transient,
            ChainError::Reverted(_) | ChainError::InsufficientFunds { .. } | ChainError::FeeLimit { .. } => {
                ErrorClass::Denied
            }
            ChainError::Malformed { .. } | ChainError::Invalid { .. } => ErrorClass::Invalid,
            ChainError::WrongChain { .. } | ChainError::NoContract { .. } | ChainError::WrongCode { .. } => {
                ErrorClass::Fatal
            }
        }
    }

    /// Stable code.
    pub fn code(&self) -> ErrorCode {
        ErrorCode::new(match self {
            ChainError::Unreachable { .. } => "chain/unreachable",
            ChainError::Timeout { .. } => "chain/timeout",
            ChainError::Rpc { .. } => "chain/rpc-error",
            ChainError::LogLimit { .. } => "chain/log-limit",
            ChainError::Inconsistent { .. } => "chain/rpc-inconsistent",
            ChainError::WrongChain { .. } => "chain/wrong-chain",
            ChainError::NoContract { .. } => "chain/no-contract",
            ChainError::WrongCode { .. } => "chain/wrong-code",
            ChainError::Reverted(_) => "chain/reverted",
            ChainError::InsufficientFunds { .. } => "chain/insufficient-funds",
            ChainError::FeeLimit { .. } => "chain/fee-limit",
            ChainError::Malformed { .. } => "chain/malformed-answer",
            ChainError::Invalid { .. } => "chain/invalid-input",
        })
    }

    /// Whether waiting may help.
    pub fn is_transient(&self) -> bool {
        self.class() == ErrorClass::Transient
    }
}
