//! Calls of the pools.

use lode_protocol::hash::Digest;
use lode_protocol::ids::{Address, NodeId, PoolId, ProviderId};
use lode_protocol::join::{Join, LeaveStatement, PoolApproval};
use lode_protocol::keys::EthereumSignature;
use minicbor::{Decode, Encode};

use super::PoolParameters;

/// Calls of the pools.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum PoolsCall {
    /// The sender creates a pool.
    #[n(9)]
    CreatePool(#[n(0)] PoolParameters),
    /// The owner opens a pool.
    #[n(10)]
    StartPool(#[n(0)] PoolId),
    /// The owner ends a pool.
    #[n(11)]
    EndPool(#[n(0)] PoolId),
    /// The owner replaces the orchestrator key.
    #[n(12)]
    SetOrchestrator {
        /// The pool.
        #[n(0)]
        pool: PoolId,
        /// The new key.
        #[n(1)]
        orchestrator: Address,
    },
    /// The owner or orchestrator publishes where it listens.
    #[n(13)]
    SetEndpoints {
        /// The pool.
        #[n(0)]
        pool: PoolId,
        /// Where, separated by spaces.
        #[n(1)]
        endpoints: String,
    },
    /// The owner publishes other requirements.
    #[n(14)]
    SetRequirements {
        /// The pool.
        #[n(0)]
        pool: PoolId,
        /// Their hash.
        #[n(1)]
        requirements: Digest,
        /// Where they can be read.
        #[n(2)]
        uri: String,
    },
    /// The owner offers a pool; `None` takes the offer back.
    #[n(15)]
    TransferPool {
        /// The pool.
        #[n(0)]
        pool: PoolId,
        /// To whom.
        #[n(1)]
        to: Option<Address>,
    },
    /// The proposed owner takes a pool.
    #[n(16)]
    AcceptPool(#[n(0)] PoolId),
    /// Anybody submits joins.
    #[n(17)]
    JoinBatch(#[n(0)] Vec<Join>),
    /// The node or its provider leaves.
    #[n(18)]
    Leave {
        /// The pool.
        #[n(0)]
        pool: PoolId,
        /// The node.
        #[n(1)]
        node: NodeId,
    },
    /// Anybody submits a signed leave.
    #[n(19)]
    LeaveBySignature {
        /// What was signed.
        #[n(0)]
        statement: LeaveStatement,
        /// Of the node or its provider.
        #[n(1)]
        signature: EthereumSignature,
    },
    /// The owner or orchestrator puts a node out.
    #[n(20)]
    Eject {
        /// The pool.
        #[n(0)]
        pool: PoolId,
        /// The node.
        #[n(1)]
        node: NodeId,
    },
    /// The owner keeps a node out.
    #[n(21)]
    BanNode {
        /// The pool.
        #[n(0)]
        pool: PoolId,
        /// The node.
        #[n(1)]
        node: NodeId,
    },
    /// The owner lets a node come back.
    #[n(22)]
    UnbanNode {
        /// The pool.
        #[n(0)]
        pool: PoolId,
        /// The node.
        #[n(1)]
        node: NodeId,
    },
    /// The owner keeps a provider's nodes out.
    #[n(23)]
    BanProvider {
        /// The pool.
        #[n(0)]
        pool: PoolId,
        /// The provider.
        #[n(1)]
        provider: ProviderId,
    },
    /// The owner lets a provider's nodes count again.
    #[n(24)]
    UnbanProvider {
        /// The pool.
        #[n(0)]
        pool: PoolId,
        /// The provider.
        #[n(1)]
        provider: ProviderId,
    },
    /// The sending provider lets its nodes join a pool, or not any more.
    #[n(38)]
    SetPoolApproval {
        /// The pool.
        #[n(0)]
        pool: PoolId,
        /// Whether its nodes may join.
        #[n(1)]
        approved: bool,
    },
    /// Anybody submits a provider's signed approval.
    #[n(39)]
    SetPoolApprovalBySignature {
        /// What the provider signed.
        #[n(0)]
        statement: PoolApproval,
        /// The provider's signature.
        #[n(1)]
        signature: EthereumSignature,
    },
}
