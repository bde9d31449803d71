//! What intents are made of.

use lode_protocol::amount::Amount;
use lode_protocol::hash::Digest;
use lode_protocol::ids::{Address, PoolId};
use lode_protocol::join::{NodeAuthorization, NodeConsent};
use lode_protocol::keys::EthereumSignature;
use minicbor::{Decode, Encode};

use crate::earnings_tree::{EarningsLeaf, EarningsSibling, EarningsTree};
use crate::epoch::Epoch;
use crate::leaf::Leaf;

/// A permit of the token (ERC-2612): lets a contract take the amount without a transaction of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Permit {
    /// Unix seconds until which it counts.
    #[n(0)]
    pub deadline: u64,
    /// Of the owner's key.
    #[n(1)]
    pub signature: EthereumSignature,
}

/// One item of `AddNodes`: the provider's authorisation and the node's consent.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct AuthorizedNode {
    /// What the provider signed.
    #[n(0)]
    pub authorization: NodeAuthorization,
    /// The provider's signature.
    #[n(1)]
    pub authorization_signature: EthereumSignature,
    /// What the node signed.
    #[n(2)]
    pub consent: NodeConsent,
    /// The node's signature.
    #[n(3)]
    pub consent_signature: EthereumSignature,
}

/// What a pool is created with.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct PoolParameters {
    /// The key that signs invites.
    #[n(0)]
    pub orchestrator: Address,
    /// The token that the pool pays in.
    #[n(1)]
    pub reward_token: Option<Address>,
    /// Hash of the requirements.
    #[n(2)]
    pub requirements: Digest,
    /// Most members at one time; `None` is no limit.
    #[n(3)]
    pub max_nodes: Option<u32>,
    /// Where the requirements can be read.
    #[n(4)]
    pub uri: String,
    /// Where the orchestrator listens, separated by spaces.
    #[n(5)]
    pub endpoints: String,
}

/// One item of `ProveBatch`.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct ProofItem {
    /// The leaf.
    #[n(0)]
    pub leaf: Leaf,
    /// Its way to the epoch's root.
    #[n(1)]
    pub path: Vec<Digest>,
}

/// One claim: a payee's leaf under a finalised root.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct ClaimItem {
    /// The pool that pays.
    #[n(0)]
    pub pool: PoolId,
    /// Epoch of the root.
    #[n(1)]
    pub epoch: Epoch,
    /// The payee's place in the tree.
    #[n(2)]
    pub index: u64,
    /// Who is paid, whoever sends.
    #[n(3)]
    pub payee: Address,
    /// What the leaf says: everything earned in this pool so far.
    #[n(4)]
    pub cumulative: Amount,
    /// Its way to the root, from the leaf upwards.
    #[n(5)]
    pub path: Vec<EarningsSibling>,
}

impl ClaimItem {
    /// The claim of the payee at a place of a posted tree; `None` where nobody is.
    pub fn from_tree(pool: PoolId, epoch: Epoch, tree: &EarningsTree, index: u64) -> Option<Self> {
        let (EarningsLeaf { payee, cumulative }, path) = tree.path(index)?;
        Some(ClaimItem { pool, epoch, index, payee, cumulative, path })
    }
}

/// A leaf of a tree of earnings with its way to the root.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct ProvenEarnings {
    /// The leaf.
    #[n(0)]
    pub leaf: EarningsLeaf,
    /// Its way to the root, from the leaf upwards.
    #[n(1)]
    pub path: Vec<EarningsSibling>,
}
