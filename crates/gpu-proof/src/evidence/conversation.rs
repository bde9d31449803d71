//! The messages of a file, opened and bound to each other.
//!
//! A validator could write another question before an answer that it got. Hence a question counts only if the node's
//! signed answer names it, and each message must be between the same two in the same realm.

use lode_protocol::envelope::{self, Audience, EnvelopeError, Expectation, Opened, Realm, Signable};
use lode_protocol::hash::Digest;
use lode_protocol::ids::{Address, GpuUuid, NodeId, Nonce, PoolId, ValidatorId};
use lode_protocol::keys::PublicKey;
use lode_protocol::proof::{Answer, Challenge, GpuOpening, Phase, Selection};
use lode_protocol::units::Timestamp;

use super::acquittal::Acquittal;
use crate::params::Params;
use crate::seed::SessionInputs;

/// A challenge as far as `Start`.
#[derive(Debug)]
pub(super) struct Conversation {
    realm: Realm,
    pub(super) validator: ValidatorId,
    pub(super) node: NodeId,
    run: Nonce,
    gpus: Vec<GpuUuid>,
    pub(super) start: Digest,
    beacon: Digest,
    nonce: Digest,
}

/// A commit of the node.
#[derive(Debug)]
pub(super) struct Commitment {
    pub(super) gpu: GpuUuid,
    pub(super) phase: Phase,
    pub(super) root: Digest,
    pub(super) walk: Option<Digest>,
    /// The key that signed.
    pub(super) key: PublicKey,
    pub(super) at: Timestamp,
}

impl Conversation {
    /// From `Prepare` and `Start`.
    pub(super) fn open(params: &Params, prepare: &[u8], start: &[u8]) -> Result<Self, Acquittal> {
        let prepared = unseal::<Challenge>("the preparation", prepare)?;
        let started = unseal::<Challenge>("the start", start)?;
        let Challenge::Prepare { run, parameters, gpus, .. } = prepared.body else {
            return Err(unbound("the preparation", "it is another message"));
        };
        let Challenge::Start { run: again, beacon, nonce, prepare } = started.body else {
            return Err(unbound("the start", "it is another message"));
        };
        let Audience::Peer(node) = prepared.header.audience else {
            return Err(unbound("the preparation", "it is for nobody in particular"));
        };
        let conversation = Self {
            realm: prepared.header.realm,
            validator: ValidatorId(prepared.signer),
            node: NodeId(node),
            run,
            gpus,
            start: started.digest,
            beacon,
            nonce,
        };
        conversation.is_between("the start", started.signer, node, started.header.realm)?;
        if again != run || prepare != Some(prepared.digest) {
            return Err(unbound("the start", "it does not name the preparation"));
        }
        if conversation.realm.pool != PoolId(0) {
            return Err(unbound("the preparation", "proofs are for no pool in particular"));
        }
        // The node declines other parameters than it knows; that they are sizes at all is checked before they are used.
        params.check().map_err(|error| Acquittal::Params(error.to_string()))?;
        if Digest::from(params.hash()) != parameters {
            return Err(Acquittal::Params("the preparation names others".to_owned()));
        }
        Ok(conversation)
    }

    /// A commit of the node to this start.
    pub(super) fn commitment(&self, what: &'static str, bytes: &[u8]) -> Result<Commitment, Acquittal> {
        let opened = self.answer(what, bytes)?;
        let Answer::Committed { run, gpu, phase, root, start, walk } = opened.body else {
            return Err(unbound(what, "it is another message"));
        };
        if run != self.run || start != Some(self.start) {
            return Err(unbound(what, "it does not name the start"));
        }
        if !self.gpus.contains(&gpu) {
            return Err(unbound(what, "it is about a GPU that was not asked for"));
        }
        let (key, at) = (opened.header.signer, opened.header.issued_at);
        Ok(Commitment { gpu, phase, root, walk, key, at })
    }

    /// What the validator wanted to see of a GPU: the demand's digest and the selection.
    pub(super) fn demand(&self, bytes: &[u8], gpu: &GpuUuid) -> Result<(Digest, Selection), Acquittal> {
        let what = "the demand";
        let opened = unseal::<Challenge>(what, bytes)?;
        self.is_between(what, opened.signer, recipient(&opened), opened.header.realm)?;
        let Challenge::Open { run, selections } = opened.body else {
            return Err(unbound(what, "it is another message"));
        };
        if run != self.run {
            return Err(unbound(what, "it is of another run"));
        }
        let mut named = selections.into_iter().filter(|selection| selection.gpu == *gpu);
        match (named.next(), named.next()) {
            (Some(selection), None) => Ok((opened.digest, selection)),
            (None, _) => Err(unbound(what, "it does not name the GPU")),
            (Some(_), Some(_)) => Err(Acquittal::UnlawfulDemand("it names the GPU twice")),
        }
    }

    /// What the node showed of a GPU on this demand.
    pub(super) fn opening(
        &self,
        bytes: &[u8],
        gpu: &GpuUuid,
        asked: Digest,
    ) -> Result<(Vec<u8>, Timestamp), Acquittal> {
        let what = "the opening";
        let opened = self.answer(what, bytes)?;
        let Answer::Opened { run, opening: GpuOpening { gpu: of, opening }, start, demand } = opened.body
        else {
            return Err(unbound(what, "it is another message"));
        };
        if run != self.run || start != Some(self.start) || demand != Some(asked) {
            return Err(unbound(what, "it does not name the start and the demand"));
        }
        if of != *gpu {
            return Err(unbound(what, "it is of another GPU"));
        }
        Ok((opening, opened.header.issued_at))
    }

    /// What the session of a GPU follows from.
    pub(super) fn session(&self, gpu: &GpuUuid, key: PublicKey) -> SessionInputs {
        SessionInputs::of(self.realm, (self.node, key), gpu, self.beacon, self.nonce)
    }

    /// Chain and deployment.
    pub(super) const fn realm(&self) -> Realm {
        self.realm
    }

    fn answer(&self, what: &'static str, bytes: &[u8]) -> Result<Opened<Answer>, Acquittal> {
        let opened = unseal::<Answer>(what, bytes)?;
        let (from, to) = (opened.signer, recipient(&opened));
        if from != self.node.0 || to != self.validator.0 || opened.header.realm != self.realm {
            return Err(unbound(what, "it is not from the challenged node to the challenger"));
        }
        Ok(opened)
    }

    fn is_between(
        &self,
        what: &'static str,
        validator: Address,
        node: Address,
        realm: Realm,
    ) -> Result<(), Acquittal> {
        if validator == self.validator.0 && node == self.node.0 && realm == self.realm {
            Ok(())
        } else {
            Err(unbound(what, "it is between others"))
        }
    }
}

const fn unbound(what: &'static str, reason: &'static str) -> Acquittal {
    Acquittal::Unbound { what, reason }
}

fn recipient<T>(opened: &Opened<T>) -> Address {
    match opened.header.audience {
        Audience::Peer(peer) => peer,
        Audience::Any => Address::ZERO,
    }
}

/// Verifies a signature, whenever it was given: what a message says does not become false with time.
fn unseal<T: Signable>(what: &'static str, bytes: &[u8]) -> Result<Opened<T>, Acquittal> {
    let refused = |error: EnvelopeError| match error {
        EnvelopeError::CountsTooLong { .. } => Acquittal::NoTime { what },
        error => Acquittal::Message { what, error },
    };
    let claimed = envelope::peek(bytes).map_err(refused)?;
    let recipient = match claimed.audience {
        Audience::Peer(peer) => Some(peer),
        Audience::Any => None,
    };
    let expected = Expectation { recipient, realm: claimed.realm, now: claimed.issued_at, signer: None };
    envelope::open::<T>(bytes, &expected).map_err(refused)
}
