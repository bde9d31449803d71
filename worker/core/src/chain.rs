//! What the chain says about the pool and this node, read through the worker's own RPC: the worker trusts no
//! orchestrator's word on who the orchestrator is.

use lode_chain_types::MembershipState;
use lode_protocol::amount::Amount;
use lode_protocol::hash::Digest;
use lode_protocol::ids::{Address, ProviderId};
use minicbor::{Decode, Encode};

/// What the chain said at its last answer.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct ChainFacts {
    /// Address of the orchestrator's key.
    #[n(0)]
    pub orchestrator: Address,
    /// Where it listens, as the pool names it.
    #[n(1)]
    pub endpoints: String,
    /// Hash of the pool's requirements.
    #[n(2)]
    pub requirements: Digest,
    /// Whether this node is a member.
    #[n(3)]
    pub membership: MembershipState,
    /// Joins so far.
    #[n(4)]
    pub join_counter: u64,
    /// Provider that runs this node, if it is registered.
    #[n(5)]
    pub provider: Option<ProviderId>,
    /// What the pool has paid that provider.
    #[n(6)]
    pub paid: Option<Amount>,
}

impl ChainFacts {
    /// The provider's address.
    pub fn provider_address(&self) -> Option<Address> {
        self.provider.map(|provider| provider.0)
    }
}

/// The worker's view of the chain. An error changes nothing: the last known facts stand, and are known not to be fresh.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chain {
    /// The last known facts, if there ever were any. Those of an earlier boot are remembered.
    pub(crate) facts: Option<ChainFacts>,
    /// Whether it answered when it was looked at last.
    pub(crate) fresh: bool,
}

impl Chain {
    /// The facts, if they can be acted on.
    pub(crate) fn fresh_facts(&self) -> Option<&ChainFacts> {
        self.facts.as_ref().filter(|_| self.fresh)
    }

    pub(crate) fn provider(&self) -> Option<Address> {
        self.facts.as_ref()?.provider_address()
    }
}
