//! Calls of the token, and plain transfers.

use lode_protocol::amount::Amount;
use lode_protocol::ids::Address;
use minicbor::{Decode, Encode};

/// Calls of the token, and plain transfers.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum TokenCall {
    /// The sender lets somebody take its tokens, of the kind that is staked.
    #[n(33)]
    Approve {
        /// Who may.
        #[n(0)]
        spender: Address,
        /// How much.
        #[n(1)]
        amount: Amount,
    },
    /// The owner of a development token makes some.
    #[n(34)]
    Mint {
        /// For whom.
        #[n(0)]
        to: Address,
        /// How much.
        #[n(1)]
        amount: Amount,
    },
    /// The sender gives tokens away.
    #[n(35)]
    TransferToken {
        /// To whom.
        #[n(0)]
        to: Address,
        /// How much.
        #[n(1)]
        amount: Amount,
    },
    /// The sender gives the chain's coin away.
    #[n(36)]
    TransferNative {
        /// To whom.
        #[n(0)]
        to: Address,
        /// How much.
        #[n(1)]
        amount: Amount,
    },
    /// The sender lets somebody take its tokens of any kind, such as a pool's reward token.
    #[n(59)]
    ApproveToken {
        /// Which token.
        #[n(0)]
        token: Address,
        /// Who may.
        #[n(1)]
        spender: Address,
        /// How much.
        #[n(2)]
        amount: Amount,
    },
}
