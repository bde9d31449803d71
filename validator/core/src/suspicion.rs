//! A forger that this validator met, as it is stored. What is done about it: [`super::accuser`].

use lode_chain_types::Amount;
use lode_protocol::hash::Digest;
use lode_protocol::ids::{AccusationId, NodeId, ProviderId};
use minicbor::{Decode, Encode};

/// How far an accusation by this validator is.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum Stage {
    /// There is evidence.
    #[n(0)]
    Found,
    /// The allowance for the bond is on its way.
    #[n(1)]
    Approving {
        /// Stake to accuse for.
        #[n(0)]
        amount: Amount,
    },
    /// The accusation is on its way.
    #[n(2)]
    Accusing {
        /// Stake to accuse for.
        #[n(0)]
        amount: Amount,
    },
    /// It is on chain.
    #[n(3)]
    Open(#[n(0)] AccusationId),
    /// It was lost: the bond is the provider's.
    #[n(4)]
    Lost(#[n(0)] AccusationId),
}

/// One forger.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Suspicion {
    /// Who signed.
    #[n(0)]
    pub node: NodeId,
    /// Whose node it was.
    #[n(1)]
    pub provider: ProviderId,
    /// Digest of the file.
    #[n(2)]
    pub evidence: Digest,
    /// How far it is.
    #[n(3)]
    pub stage: Stage,
}
