//! Proofs that are wrong in content.

use super::forger::ForgingProver;
use crate::challenge::{Challenge, OpeningSecret};
use crate::digest::Digest;
use crate::error::ProofError;
use crate::prover::Prover;
use crate::seed::SessionInputs;
use crate::transcript::Commit;
use crate::verifier::EpochVerifier;

/// One way to forge a proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forgery {
    /// No forgery: the control that shows the others are caught for what they do.
    Honest,
    /// Every other row of the product is left out (zeros).
    SkippedRows,
    /// One entry of each row is off by one bit.
    FlippedEntry,
    /// The low byte of every entry is rounded away, as narrower number formats do.
    RoundedProduct,
    /// All rows are the first one, shifted: what structured (Hankel, circulant) matrices would allow.
    ShiftedRows,
    /// The product was computed before the walk (without the pad that the walk yields).
    EarlyProduct,
    /// Every other walk was not walked.
    SkippedWalks,
    /// One honest walk stands for all walkers.
    CopiedChain,
    /// The openings are empty lists.
    EmptyOpenings,
    /// One row is opened again and again.
    RepeatedRow,
    /// Rows of the prover's choice instead of those asked for.
    OtherRows,
    /// Rows cut short.
    ShortRows,
    /// Entries beyond what a product can have.
    HugeEntries,
    /// Nothing was computed at the commitment; rows are computed when they are asked for.
    LateRows,
    /// The two roots stand in each other's place.
    SwappedRoots,
    /// The proof of an earlier session (another nonce), as it was.
    ReplayedSession,
    /// The proof of an earlier session under the name of this one.
    RelabelledSession,
    /// The proof of another node, as it was.
    ForeignNode,
    /// One GPU's proof given again for a second GPU.
    OneGpuSoldTwice,
}

impl Forgery {
    /// All of them, the honest control first.
    pub const ALL: &'static [Self] = &[
        Self::Honest,
        Self::SkippedRows,
        Self::FlippedEntry,
        Self::RoundedProduct,
        Self::ShiftedRows,
        Self::EarlyProduct,
        Self::SkippedWalks,
        Self::CopiedChain,
        Self::EmptyOpenings,
        Self::RepeatedRow,
        Self::OtherRows,
        Self::ShortRows,
        Self::HugeEntries,
        Self::LateRows,
        Self::SwappedRoots,
        Self::ReplayedSession,
        Self::RelabelledSession,
        Self::ForeignNode,
        Self::OneGpuSoldTwice,
    ];

    /// A name for listings.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Honest => "honest",
            Self::SkippedRows => "skipped-rows",
            Self::FlippedEntry => "flipped-entry",
            Self::RoundedProduct => "rounded-product",
            Self::ShiftedRows => "shifted-rows",
            Self::EarlyProduct => "early-product",
            Self::SkippedWalks => "skipped-walks",
            Self::CopiedChain => "copied-chain",
            Self::EmptyOpenings => "empty-openings",
            Self::RepeatedRow => "repeated-row",
            Self::OtherRows => "other-rows",
            Self::ShortRows => "short-rows",
            Self::HugeEntries => "huge-entries",
            Self::LateRows => "late-rows",
            Self::SwappedRoots => "swapped-roots",
            Self::ReplayedSession => "replayed-session",
            Self::RelabelledSession => "relabelled-session",
            Self::ForeignNode => "foreign-node",
            Self::OneGpuSoldTwice => "one-gpu-sold-twice",
        }
    }

    /// The one of this name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|forgery| forgery.name() == name)
    }

    /// The check that must catch it; none for the honest control.
    #[must_use]
    pub const fn caught_by(self) -> Option<&'static str> {
        match self {
            Self::Honest => None,
            Self::SkippedRows
            | Self::FlippedEntry
            | Self::RoundedProduct
            | Self::ShiftedRows
            | Self::EarlyProduct => Some("proof/freivalds"),
            Self::SkippedWalks | Self::CopiedChain => Some("proof/walk-replay"),
            Self::EmptyOpenings => Some("proof/opening-count"),
            Self::RepeatedRow | Self::OtherRows => Some("proof/opening-index"),
            Self::ShortRows => Some("proof/opening-shape"),
            Self::HugeEntries => Some("proof/row-range"),
            Self::LateRows | Self::SwappedRoots | Self::RelabelledSession | Self::OneGpuSoldTwice => {
                Some("proof/row-merkle")
            }
            Self::ReplayedSession | Self::ForeignNode => Some("proof/session-seed"),
        }
    }

    /// Forges a proof for `session` and has it verified, through the same bytes a peer would send.
    ///
    /// # Errors
    /// The check that caught it. `Ok` means that the forgery passed.
    ///
    /// # Panics
    /// Never with the parameters of a verifier, which were checked.
    pub fn attempt(
        self,
        verifier: &EpochVerifier,
        session: &SessionInputs,
        secret: &OpeningSecret,
        later_beacon: &Digest,
    ) -> Result<(), ProofError> {
        let params = *verifier.params();
        let mut prover = ForgingProver::new(self, session.gpu_uuid.clone());
        prover.prepare(&params).expect("a verifier's parameters are valid");
        let commit = prover.start(session, &mut |_| ()).expect("it was prepared");
        let challenge = Challenge::derive(&params, secret, &commit, later_beacon);
        let opening = prover.open(challenge.rows(), &challenge.walkers()).expect("it was started");
        let commit = Commit::from_bytes(&commit.to_bytes())?;
        verifier.verify_bytes(&session.seed(&params), &commit, &challenge, &opening.to_bytes())
    }
}
