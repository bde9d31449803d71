//! One fixed session, honestly proven.

use lode_gpu_proof::{
    Challenge, Commit, CpuProver, Digest, EpochVerifier, FreivaldsSecret, Opening, OpeningSecret, Params,
    ProofError, Prover, SessionInputs, SessionSeed,
};

pub(crate) const LATER_BEACON: Digest = Digest([8; 32]);

pub(crate) fn session() -> SessionInputs {
    SessionInputs {
        epoch_beacon: Digest([1; 32]),
        validator_nonce: Digest([2; 32]),
        chain_id: 31_337,
        pool: Digest([3; 32]),
        node_address: [4; 20],
        node_public_key: [5; 33],
        gpu_uuid: "GPU-00000000-0000-0000-0000-000000000001".to_owned(),
    }
}

pub(crate) fn opening_secret() -> OpeningSecret {
    OpeningSecret::new([7; 32])
}

pub(crate) struct Proof {
    pub(crate) verifier: EpochVerifier,
    pub(crate) seed: SessionSeed,
    pub(crate) commit: Commit,
    pub(crate) challenge: Challenge,
    pub(crate) opening: Opening,
}

impl Proof {
    pub(crate) fn honest(params: Params) -> Self {
        let session = session();
        let mut prover = CpuProver::new(session.gpu_uuid.clone());
        prover.prepare(&params).unwrap();
        let commit = prover.start(&session, &mut |_| ()).unwrap();
        let challenge = Challenge::derive(&params, &opening_secret(), &commit, &LATER_BEACON);
        let opening = prover.open(challenge.rows(), &challenge.walkers()).unwrap();
        let verifier = EpochVerifier::new(params, &session.epoch(), FreivaldsSecret::new([9; 32])).unwrap();
        Self { verifier, seed: session.seed(&params), commit, challenge, opening }
    }

    pub(crate) fn verify(&self) -> Result<(), ProofError> {
        self.verifier.verify_bytes(&self.seed, &self.commit, &self.challenge, &self.opening.to_bytes())
    }
}
