//! What a validator says about what it does, as data: the core has no log. Whatever an operator has to act on is a
//! finding instead.

use lode_chain_types::{Amount, Epoch, Offence};
use lode_protocol::error_code::ErrorCode;
use lode_protocol::hash::Digest;
use lode_protocol::ids::{AccusationId, Address, NodeId, PoolId, ProviderId};

use super::matter::Matter;
use super::opinion::Judgement;

/// One line of the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Report {
    /// A run with a node begins.
    RunBegun {
        /// The node.
        node: NodeId,
        /// How many GPUs it has.
        gpus: usize,
        /// The running epoch.
        epoch: Epoch,
    },
    /// A run ended, and nothing is known about the node.
    NoVerdict {
        /// The node.
        node: NodeId,
        /// Why.
        code: ErrorCode,
        /// In words.
        message: String,
    },
    /// A node signed a forged proof; the evidence is kept.
    ForgedProof {
        /// The node.
        node: NodeId,
        /// Names the file.
        evidence: Digest,
    },
    /// A forger is under accusation already, or as many as may be are.
    NotAccusedAgain {
        /// The node.
        node: NodeId,
    },
    /// A forger is accused by somebody else, for as much.
    AccusedByAnother {
        /// The node.
        node: NodeId,
        /// The other's accusation.
        accusation: AccusationId,
    },
    /// A forger's provider has no stake left that could be held.
    NothingToHold {
        /// The node.
        node: NodeId,
    },
    /// This validator's accusation is on chain.
    Accused {
        /// The node.
        node: NodeId,
        /// Its number.
        accusation: AccusationId,
    },
    /// The contract refused this validator's accusation.
    AccusationRefused {
        /// The node.
        node: NodeId,
        /// Name of the contract's error.
        error: String,
    },
    /// Somebody accuses a provider.
    AccusationOpened {
        /// Its number.
        accusation: AccusationId,
        /// Who is accused.
        provider: ProviderId,
        /// For which node.
        node: NodeId,
        /// By whom.
        accuser: Address,
        /// Of what.
        offence: Offence,
    },
    /// An accused provider was found guilty.
    FoundGuilty {
        /// In which accusation.
        accusation: AccusationId,
        /// What it lost.
        slashed: Amount,
    },
    /// An accused provider was acquitted.
    Acquitted {
        /// In which accusation.
        accusation: AccusationId,
    },
    /// What the evidence of an accusation shows.
    EvidenceShows {
        /// Which accusation.
        accusation: AccusationId,
        /// Guilt, or none.
        judgement: Judgement,
    },
    /// The evidence of an accusation cannot be looked at.
    EvidenceUnavailable {
        /// Which accusation.
        accusation: AccusationId,
        /// Why.
        code: ErrorCode,
        /// In words.
        message: String,
    },
    /// This validator votes.
    Voting {
        /// On which accusation.
        accusation: AccusationId,
        /// How.
        guilty: bool,
        /// Why.
        why: String,
    },
    /// A promise of a pool adds up.
    PromiseHolds {
        /// Which.
        matter: Matter,
    },
    /// A promise of a pool cannot be checked yet.
    PromiseUnavailable {
        /// Which.
        matter: Matter,
        /// Why.
        message: String,
    },
    /// A root takes earnings away; this validator refutes it.
    RootRefuted {
        /// Whose root.
        pool: PoolId,
        /// Of which epoch.
        epoch: Epoch,
        /// At which place.
        index: u64,
    },
    /// This validator vetoes a promise.
    Vetoed {
        /// Which.
        matter: Matter,
        /// Why.
        code: ErrorCode,
        /// In words.
        message: String,
    },
}
