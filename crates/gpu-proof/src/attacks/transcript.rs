//! A whole conversation of a proof, held between two keys with any prover: what a validator has on its desk afterwards.

use lode_protocol::envelope::{self, Addressing, Audience, Realm, Sealed, Signable};
use lode_protocol::hash::{Digest, keccak256_of};
use lode_protocol::ids::{GpuUuid, NodeId, Nonce, PoolId};
use lode_protocol::keys::SigningKey;
use lode_protocol::proof::{Answer, Challenge, GpuOpening, Phase, ProofClassId, Selection};
use lode_protocol::units::{Millis, Timestamp};

use crate::challenge::{Challenge as Choice, OpeningSecret};
use crate::error::ProverError;
use crate::evidence::{Evidence, Exhibit, Suspect};
use crate::params::Params;
use crate::prover::Prover;
use crate::seed::SessionInputs;

/// How long every message counts.
const LIFETIME: Millis = Millis::seconds(60);

/// The two sides, where and when they speak.
#[derive(Clone, Debug)]
pub struct Parties {
    /// Asks.
    pub validator: SigningKey,
    /// Answers.
    pub node: SigningKey,
    /// Chain and deployment, without a pool.
    pub realm: Realm,
    /// The time on both clocks.
    pub now: Timestamp,
}

impl Parties {
    /// Signs what the validator says.
    #[must_use]
    pub fn ask(&self, challenge: &Challenge) -> Sealed {
        self.seal(&self.validator, &self.node, challenge)
    }

    /// Signs what the node says.
    #[must_use]
    pub fn answer(&self, answer: &Answer) -> Sealed {
        self.seal(&self.node, &self.validator, answer)
    }

    fn seal<T: Signable>(&self, from: &SigningKey, to: &SigningKey, body: &T) -> Sealed {
        let audience = Audience::Peer(to.address());
        let realm = Realm { pool: PoolId(0), ..self.realm };
        envelope::seal(from, Addressing { audience, realm, now: self.now, lifetime: LIFETIME }, body)
    }
}

/// Everything that was said, sealed.
#[derive(Clone, Debug)]
pub struct Transcript {
    /// The sizes.
    pub params: Params,
    /// `Prepare`.
    pub prepare: Sealed,
    /// `Start`.
    pub start: Sealed,
    /// The walk's commit.
    pub walk: Sealed,
    /// The product's commit.
    pub product: Sealed,
    /// `Open`.
    pub demand: Sealed,
    /// `Opened`.
    pub opened: Sealed,
    /// What was chosen.
    pub choice: Choice,
}

impl Transcript {
    /// Holds one; `number` makes it another one.
    ///
    /// # Errors
    /// What the prover refuses.
    pub fn hold(
        parties: &Parties,
        params: Params,
        prover: &mut dyn Prover,
        number: u8,
    ) -> Result<Self, ProverError> {
        let gpu: GpuUuid = prover.gpu_uuid().parse().map_err(|error| ProverError::Device {
            reason: format!("its GPU has no proper name: {error}"),
        })?;
        let run = Nonce([number; 16]);
        let [beacon, nonce] = [1_u8, 2].map(|part| keccak256_of([[number, part].as_slice()]));
        let prepare = parties.ask(&Challenge::Prepare {
            run,
            epoch: 1,
            class: ProofClassId(1),
            parameters: params.hash().into(),
            gpus: vec![gpu.clone()],
            start_at: parties.now,
        });
        let start = parties.ask(&Challenge::Start { run, beacon, nonce, prepare: Some(prepare.digest) });

        prover.prepare(&params)?;
        let node = (NodeId(parties.node.address()), parties.node.public());
        let realm = Realm { pool: PoolId(0), ..parties.realm };
        let commit = prover.start(&SessionInputs::of(realm, node, &gpu, beacon, nonce), &mut |_| ())?;
        let committed = |phase, root, walk| Answer::Committed {
            run,
            gpu: gpu.clone(),
            phase,
            root,
            start: Some(start.digest),
            walk,
        };
        let (walk_root, product_root): (Digest, Digest) = (commit.walk_root.into(), commit.gemm_root.into());
        let walk = parties.answer(&committed(Phase::Walk, walk_root, None));
        let product = parties.answer(&committed(Phase::Product, product_root, Some(walk_root)));

        let choice = Choice::derive(&params, &OpeningSecret::new([number; 32]), &commit, &beacon.into());
        let selection =
            Selection { gpu: gpu.clone(), rows: choice.rows().to_vec(), walkers: choice.walkers() };
        let demand = parties.ask(&Challenge::Open { run, selections: vec![selection] });
        let opening = prover.open(choice.rows(), &choice.walkers())?.to_bytes();
        let opened = parties.answer(&Answer::Opened {
            run,
            opening: GpuOpening { gpu, opening },
            start: Some(start.digest),
            demand: Some(demand.digest),
        });
        Ok(Self { params, prepare, start, walk, product, demand, opened, choice })
    }

    /// As evidence that the opening is false.
    #[must_use]
    pub fn evidence(&self, suspect: Option<Suspect>) -> Evidence {
        self.with(Exhibit::Opening {
            product: self.product.bytes.clone(),
            demand: self.demand.bytes.clone(),
            opened: self.opened.bytes.clone(),
            suspect,
        })
    }

    /// The challenge of this conversation with any exhibit.
    #[must_use]
    pub fn with(&self, exhibit: Exhibit) -> Evidence {
        Evidence::new(self.params, self.prepare.bytes.clone(), self.start.bytes.clone(), exhibit)
    }

    /// Every place that can be suspected, and none.
    pub fn suspects(&self) -> impl Iterator<Item = Option<Suspect>> + use<> {
        let Params { row_openings, walk_openings, intervals, .. } = self.params;
        let rows = (0..row_openings).map(|position| Suspect::Row { position });
        let walks = (0..walk_openings).flat_map(move |position| {
            (0..intervals).map(move |interval| Suspect::Walk { position, interval })
        });
        std::iter::once(None).chain(rows.chain(walks).map(Some))
    }
}
