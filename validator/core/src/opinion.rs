//! What a validator makes of an accusation.

use lode_chain_types::{AccusationRecord, SlashingParameters};
use lode_gpu_proof::evidence::Deed;
use lode_protocol::envelope::Realm;
use lode_protocol::error_code::ErrorCode;
use lode_protocol::hash::Digest;
use lode_protocol::ids::{AccusationId, Address, NodeId, ProviderId};
use lode_protocol::units::{Millis, Timestamp};
use minicbor::{Decode, Encode};

/// What came of looking at the evidence.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Examination {
    /// It was there, and this is what it shows.
    Seen(Judgement),
    /// It could not be looked at: it is not there, or something else is.
    Unavailable {
        /// Stable code.
        code: ErrorCode,
        /// In words.
        message: String,
    },
}

/// What evidence shows.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum Judgement {
    /// Guilt.
    #[n(0)]
    Guilty {
        /// Names the deed: nobody is judged twice for one.
        #[n(0)]
        deed: Digest,
        /// What was done.
        #[n(1)]
        what: String,
    },
    /// Nothing of the kind.
    #[n(1)]
    Innocent {
        /// Stable code.
        #[n(0)]
        code: ErrorCode,
        /// In words.
        #[n(1)]
        why: String,
    },
}

/// A judgement that was come to, kept because evidence may be gone after a restart.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Opinion {
    /// On which accusation.
    #[n(0)]
    pub accusation: AccusationId,
    /// By which evidence: numbers come again on a chain that was set back.
    #[n(1)]
    pub evidence: Digest,
    /// What it shows.
    #[n(2)]
    pub judgement: Judgement,
}

/// An accusation as far as evidence is compared with it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Charge {
    /// Its number.
    pub id: AccusationId,
    /// Who pays if it is true.
    pub provider: ProviderId,
    /// Who is said to have done it.
    pub node: NodeId,
    /// Who says so.
    pub accuser: Address,
    /// What.
    pub offence: lode_chain_types::Offence,
    /// Digest of the evidence.
    pub evidence: Digest,
    /// Where it lies.
    pub uri: String,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// How long after a deed it may be accused.
    pub detection: Millis,
}

impl Judgement {
    /// Innocent, and why.
    pub fn innocent(code: &'static str, why: String) -> Self {
        Judgement::Innocent { code: ErrorCode::new(code), why }
    }
}

impl Charge {
    /// Whether a deed that is proven is the one that is accused: the same node, chain and deployment, and not older
    /// than an offence may be when it is accused. The other judgement is returned.
    pub fn is_about(&self, deed: &Deed, realm: Realm) -> Result<(), Judgement> {
        if deed.node != self.node {
            let why = format!("it is about node {}", deed.node);
            return Err(Judgement::innocent("evidence/other-node", why));
        }
        if deed.realm != realm {
            let why = "it is of another chain or deployment".to_owned();
            return Err(Judgement::innocent("evidence/other-chain", why));
        }
        let (_, latest) = deed.span();
        if latest.plus(self.detection) < self.opened_at {
            let why = format!("it is of {}, and was accused too late", deed.at);
            return Err(Judgement::innocent("evidence/too-old", why));
        }
        Ok(())
    }
}

/// The times of an accusation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Schedule {
    /// The first moment that takes votes.
    pub(super) vote_from: Timestamp,
    /// From here on an accusation whose evidence never came is not waited for any longer.
    pub(super) vote_latest: Timestamp,
    /// The first moment that takes none any more.
    pub(super) vote_until: Timestamp,
    /// By when somebody should have carried the verdict out.
    pub(super) executed_by: Timestamp,
}

impl Schedule {
    pub(super) fn of(terms: &SlashingParameters, opened_at: Timestamp) -> Self {
        let vote_from =
            opened_at.plus(Millis::seconds(terms.evidence_seconds.saturating_add(terms.answer_seconds)));
        let vote_until = vote_from.plus(Millis::seconds(terms.vote_seconds));
        Self {
            vote_from,
            vote_latest: vote_from.plus(Millis::seconds(terms.vote_seconds / 4)),
            vote_until,
            executed_by: vote_until.plus(Millis::seconds(terms.execution_seconds)),
        }
    }
}

/// Whether a record is of the accusation that an event told of.
pub(super) fn is_same(record: &AccusationRecord, evidence: Digest, node: NodeId) -> bool {
    record.evidence == evidence && record.node == node
}
