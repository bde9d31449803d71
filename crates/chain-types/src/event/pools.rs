//! Events of the pools.

use lode_protocol::hash::Digest;
use lode_protocol::ids::{Address, NodeId, PoolId, ProviderId};

use crate::refusal::Refusal;

/// Events of the pools.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PoolsEvent {
    /// A pool was created.
    PoolCreated {
        /// The pool.
        pool: PoolId,
        /// Its owner.
        owner: Address,
        /// Its orchestrator's key.
        orchestrator: Address,
        /// The token it pays in.
        reward_token: Option<Address>,
        /// Hash of its requirements.
        requirements: Digest,
        /// Most members at one time.
        max_nodes: Option<u32>,
        /// Where the requirements can be read.
        uri: String,
        /// Where its orchestrator listens.
        endpoints: String,
    },
    /// A pool takes joins.
    PoolStarted {
        /// The pool.
        pool: PoolId,
    },
    /// A pool is over.
    PoolEnded {
        /// The pool.
        pool: PoolId,
    },
    /// A pool has another orchestrator key; what the old one signed is dead.
    OrchestratorChanged {
        /// The pool.
        pool: PoolId,
        /// The key that is dead.
        previous: Address,
        /// The key that counts.
        current: Address,
    },
    /// A pool's orchestrator listens elsewhere.
    EndpointsChanged {
        /// The pool.
        pool: PoolId,
        /// Where.
        endpoints: String,
    },
    /// A pool has other requirements.
    RequirementsChanged {
        /// The pool.
        pool: PoolId,
        /// Their hash.
        requirements: Digest,
        /// Where they can be read.
        uri: String,
    },
    /// A pool is offered to another owner.
    OwnershipTransferStarted {
        /// The pool.
        pool: PoolId,
        /// Its owner.
        owner: Address,
        /// To whom it is offered; `None` takes the offer back.
        pending: Option<Address>,
    },
    /// A pool has another owner.
    OwnershipTransferred {
        /// The pool.
        pool: PoolId,
        /// Who was.
        previous: Address,
        /// Who is.
        current: Address,
    },
    /// A node is a member.
    NodeJoined {
        /// The pool.
        pool: PoolId,
        /// The node.
        node: NodeId,
        /// Its provider.
        provider: ProviderId,
        /// How often it has joined, this time included.
        counter: u64,
        /// The registration that joined.
        registration: u64,
    },
    /// A join of a member: nothing changed, the wish is fulfilled.
    NodeAlreadyMember {
        /// The pool.
        pool: PoolId,
        /// The node.
        node: NodeId,
    },
    /// An item of `JoinBatch` was refused.
    JoinFailed {
        /// The pool named in the item.
        pool: PoolId,
        /// The node named in the item.
        node: NodeId,
        /// Why.
        reason: Refusal,
    },
    /// A node left.
    NodeLeft {
        /// The pool.
        pool: PoolId,
        /// The node.
        node: NodeId,
        /// Its join counter.
        counter: u64,
    },
    /// A node was put out.
    NodeEjected {
        /// The pool.
        pool: PoolId,
        /// The node.
        node: NodeId,
        /// Its join counter.
        counter: u64,
    },
    /// A node is kept out; a membership that it had ended with it.
    NodeBanned {
        /// The pool.
        pool: PoolId,
        /// The node.
        node: NodeId,
    },
    /// A node may come back, by a new invite.
    NodeUnbanned {
        /// The pool.
        pool: PoolId,
        /// The node.
        node: NodeId,
    },
    /// A provider's nodes do not count in this pool.
    ProviderBanned {
        /// The pool.
        pool: PoolId,
        /// The provider.
        provider: ProviderId,
    },
    /// A provider's nodes count again in this pool.
    ProviderUnbanned {
        /// The pool.
        pool: PoolId,
        /// The provider.
        provider: ProviderId,
    },
    /// A provider lets its nodes join a pool, or not any more. Memberships stay as they are.
    PoolApprovalChanged {
        /// The pool.
        pool: PoolId,
        /// The provider.
        provider: ProviderId,
        /// Whether its nodes may join.
        approved: bool,
    },
}
