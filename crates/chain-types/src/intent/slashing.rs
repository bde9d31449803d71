//! Calls of the court.

use lode_protocol::amount::Amount;
use lode_protocol::hash::Digest;
use lode_protocol::ids::{AccusationId, Address, NodeId, ProviderId};
use lode_protocol::keys::EthereumSignature;
use lode_protocol::settlement::Answer;
use minicbor::{Decode, Encode};

use crate::record::Offence;

/// Calls of the court.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum SlashingCall {
    /// The sender accuses a provider; the bond comes from its allowance for `Slashing`.
    #[n(54)]
    Accuse {
        /// Whose stake is at stake.
        #[n(0)]
        provider: ProviderId,
        /// By which node the offence was done.
        #[n(1)]
        node: NodeId,
        /// What it was.
        #[n(2)]
        offence: Offence,
        /// Stake to hold.
        #[n(3)]
        amount: Amount,
        /// Digest of the evidence.
        #[n(4)]
        evidence: Digest,
        /// Where the evidence lies.
        #[n(5)]
        uri: String,
    },
    /// The accused provider answers, once.
    #[n(55)]
    AnswerAccusation {
        /// Which accusation.
        #[n(0)]
        id: AccusationId,
        /// Digest of the answer.
        #[n(1)]
        answer: Digest,
        /// Where the answer lies.
        #[n(2)]
        uri: String,
    },
    /// Anybody submits an answer that the accused provider signed.
    #[n(56)]
    AnswerAccusationBySignature {
        /// What the provider signed.
        #[n(0)]
        statement: Answer,
        /// The provider's signature.
        #[n(1)]
        signature: EthereumSignature,
    },
    /// A validator votes, once.
    #[n(57)]
    VoteAccusation {
        /// Which accusation.
        #[n(0)]
        id: AccusationId,
        /// How.
        #[n(1)]
        guilty: bool,
    },
    /// Anybody has the verdict carried out once the vote is over.
    #[n(58)]
    ResolveAccusation {
        /// Which accusation.
        #[n(0)]
        id: AccusationId,
    },
    /// Anybody has what `Slashing` owes paid to whom it is owed: payments that the token refused when they were due.
    #[n(60)]
    CollectOwed {
        /// To whom.
        #[n(0)]
        to: Address,
    },
}
