//! The bytes: golden values, every single-bit change refused, arbitrary bytes survived.

use crate::fixture::{Proof, session};
use lode_gpu_proof::prover_protocol::{FrameBuffer, Request, Response};
use lode_gpu_proof::{
    Commit, CpuProver, EpochVerifier, FreivaldsSecret, Opening, Params, ProofClass, ProofError, Prover,
};
use proptest::prelude::*;
use std::sync::LazyLock;

static PROOF: LazyLock<Proof> = LazyLock::new(|| Proof::honest(Params::TINY));
static OPENING: LazyLock<Vec<u8>> = LazyLock::new(|| PROOF.opening.to_bytes());

/// Small enough for all of its bits to be tried.
const SMALL: Params = Params {
    rows: 4,
    depth: 64,
    width: 16,
    line_rounds: 1,
    walkers: 4,
    intervals: 2,
    steps: 2,
    row_openings: 2,
    walk_openings: 2,
};

fn verify_flipped(proof: &Proof, commit: &[u8], opening: &[u8]) -> Result<(), ProofError> {
    let commit = Commit::from_bytes(commit)?;
    proof.verifier.verify_bytes(&proof.seed, &commit, &proof.challenge, opening)
}

#[test]
fn every_single_bit_of_a_commitment_and_of_a_small_opening_matters() {
    let proof = Proof::honest(SMALL);
    let (commit, opening) = (proof.commit.to_bytes(), proof.opening.to_bytes());
    verify_flipped(&proof, &commit, &opening).unwrap();
    for bit in 0..commit.len() * 8 {
        let mut flipped = commit.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(verify_flipped(&proof, &flipped, &opening).is_err(), "commit bit {bit}");
    }
    for bit in 0..opening.len() * 8 {
        let mut flipped = opening.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(verify_flipped(&proof, &commit, &flipped).is_err(), "opening bit {bit}");
    }
}

/// `golden/reference.py` computes the same roots independently. `LODE_BLESS=1` writes the file anew.
#[test]
fn roots_and_hashes_are_those_of_the_golden_file() {
    let mut lines = vec![
        format!("session seed   {}", PROOF.seed),
        format!("walk root      {}", PROOF.commit.walk_root),
        format!("gemm root      {}", PROOF.commit.gemm_root),
        format!("opening blake3 {}", blake3::hash(&OPENING)),
        format!("commit         {}", hex(&PROOF.commit.to_bytes())),
        format!("challenge rows {:?}", &PROOF.challenge.rows()[..8]),
        format!("prepare frame  {}", hex(&Request::Prepare { class: 1, params: Params::TINY }.to_frame())),
        format!("start frame    {}", hex(&Request::Start { session: session() }.to_frame())),
        format!(
            "open frame     {}",
            hex(&Request::Open { rows: vec![1, 255], walkers: vec![63] }.to_frame())
        ),
        format!("release frame  {}", hex(&Request::Release.to_frame())),
    ];
    for class in ProofClass::ALL {
        lines.push(format!("params hash    {} {} {}", class.id, class.name, class.params.hash()));
    }
    let found = lines.join("\n") + "\n";
    if std::env::var_os("LODE_BLESS").is_some() {
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/proof/golden/tiny.txt"), &found).unwrap();
        panic!("golden file written; run again without LODE_BLESS");
    }
    assert_eq!(found, include_str!("golden/tiny.txt"), "the wire or the arithmetic changed:\n{found}");
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn an_opening_survives_its_encoding_and_fits_its_limit() {
    assert_eq!(Opening::from_bytes(&OPENING, &Params::TINY).unwrap(), PROOF.opening);
    assert!(OPENING.len() <= Opening::max_bytes(&Params::TINY));
    let slack = Opening::max_bytes(&Params::TINY) - OPENING.len();
    assert!(slack < 104 * 36, "the limit is loose by {slack} bytes");
    assert!(Opening::max_bytes(&Params::H200_141) < 4_400_000);
}

#[test]
fn bytes_after_the_end_and_too_many_bytes_are_refused() {
    let mut longer = OPENING.clone();
    longer.push(0);
    assert_eq!(Opening::from_bytes(&longer, &Params::TINY).unwrap_err().code(), "proof/encoding");
    longer.resize(Opening::max_bytes(&Params::TINY) + 1, 0);
    assert_eq!(Opening::from_bytes(&longer, &Params::TINY).unwrap_err().code(), "proof/size");
    let mut commit = PROOF.commit.to_bytes();
    commit.push(0);
    assert_eq!(Commit::from_bytes(&commit).unwrap_err().code(), "proof/encoding");
    commit.resize(Commit::MAX_BYTES + 1, 0);
    assert_eq!(Commit::from_bytes(&commit).unwrap_err().code(), "proof/size");
}

#[test]
fn a_declared_length_allocates_nothing() {
    // an array of 2^32 places, and a byte string of 2^60 bytes, announced in a few bytes
    let huge_array = [0x82, 0x9b, 0, 0, 0, 1, 0, 0, 0, 0];
    assert_eq!(Opening::from_bytes(&huge_array, &Params::TINY).unwrap_err().code(), "proof/opening-count");
    let huge_bytes = [0x82, 0x98, 64, 0x83, 0x00, 0x5b, 0x10, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(Opening::from_bytes(&huge_bytes, &Params::TINY).unwrap_err().code(), "proof/encoding");
    let indefinite = [0x82, 0x9f, 0xff, 0x9f, 0xff];
    assert_eq!(Opening::from_bytes(&indefinite, &Params::TINY).unwrap_err().code(), "proof/encoding");
}

/// Valid about half of the time.
fn small_parameters() -> impl Strategy<Value = Params> {
    (0..20u64, 0..4u32, 0..4u32, 0..4u32, 0..12u64, 0..5u32, (0..9u32, 1..12u32, 1..8u32), any::<u8>())
        .prop_map(
            |(
                rows,
                depth,
                width,
                line_rounds,
                walkers,
                intervals,
                (steps, row_openings, walk_openings),
                odd,
            )| {
                let uneven = u32::from(odd < 20);
                Params {
                    rows,
                    depth: depth * 64 + uneven,
                    width: width * 16,
                    line_rounds,
                    walkers,
                    intervals,
                    steps,
                    row_openings,
                    walk_openings,
                }
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn any_single_bit_change_of_an_opening_is_refused(bit in 0..OPENING.len() * 8) {
        let mut flipped = OPENING.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(verify_flipped(&PROOF, &PROOF.commit.to_bytes(), &flipped).is_err());
    }

    #[test]
    fn a_truncated_opening_is_refused(length in 0..OPENING.len()) {
        prop_assert!(Opening::from_bytes(&OPENING[..length], &Params::TINY).is_err());
    }

    #[test]
    fn decoding_arbitrary_bytes_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        let _ = Commit::from_bytes(&bytes);
        let _ = Opening::from_bytes(&bytes, &SMALL);
        let _ = Request::from_content(&bytes);
        let _ = Response::from_content(&bytes);
        let mut frames = FrameBuffer::new(256);
        frames.push(&bytes);
        while let Ok(Some(content)) = frames.next_frame() {
            let _ = Request::from_content(&content);
        }
    }

    #[test]
    fn decoding_a_damaged_opening_never_panics(at in 0..OPENING.len(), damage in prop::collection::vec(any::<u8>(), 1..40)) {
        let mut bytes = OPENING.clone();
        for (byte, new) in bytes.iter_mut().skip(at).zip(&damage) {
            *byte = *new;
        }
        if bytes != *OPENING {
            prop_assert!(verify_flipped(&PROOF, &PROOF.commit.to_bytes(), &bytes).is_err());
        }
    }

    #[test]
    fn arbitrary_parameters_are_either_refused_by_all_or_prove_and_verify(params in small_parameters()) {
        let mut prover = CpuProver::new("GPU-1".to_owned());
        let epoch = session().epoch();
        let verifier = EpochVerifier::new(params, &epoch, FreivaldsSecret::new([1; 32]));
        prop_assert_eq!(prover.prepare(&params).is_ok(), params.check().is_ok());
        prop_assert_eq!(verifier.is_ok(), params.check().is_ok());
        if params.check().is_ok() {
            let proof = Proof::honest(params);
            prop_assert_eq!(proof.verify(), Ok(()));
            prop_assert!(proof.opening.to_bytes().len() <= Opening::max_bytes(&params));
        }
    }

    #[test]
    fn the_sizes_of_any_parameters_are_computed_without_overflow(
        (rows, depth, width, line_rounds) in any::<(u64, u32, u32, u32)>(),
        (walkers, intervals, steps, row_openings, walk_openings) in any::<(u64, u32, u32, u32, u32)>(),
    ) {
        let params = Params {
            rows, depth, width, line_rounds, walkers, intervals, steps, row_openings, walk_openings,
        };
        let _ = (params.hash(), params.dataset_bytes(), params.walk_reads(), params.gemm_operations());
        let _ = (Opening::max_bytes(&params), Response::max_bytes(&params));
        if params.check().is_err() {
            prop_assert!(CpuProver::new(String::new()).prepare(&params).is_err());
        }
    }

    #[test]
    fn frames_come_out_whole_however_the_bytes_arrive(cuts in prop::collection::vec(1usize..40, 1..200)) {
        let requests = [
            Request::Prepare { class: 1, params: Params::TINY },
            Request::Start { session: session() },
            Request::Open { rows: (0..64).collect(), walkers: (0..40).collect() },
            Request::Release,
        ];
        let bytes: Vec<u8> = requests.iter().flat_map(Request::to_frame).collect();
        let mut frames = FrameBuffer::new(4096);
        let mut seen = Vec::new();
        let mut rest = bytes.as_slice();
        let mut cuts = cuts.into_iter().cycle();
        while !rest.is_empty() {
            let (now, later) = rest.split_at(cuts.next().unwrap().min(rest.len()));
            frames.push(now);
            while let Some(content) = frames.next_frame().unwrap() {
                seen.push(Request::from_content(&content).unwrap());
            }
            rest = later;
        }
        prop_assert!(frames.finish().is_ok());
        prop_assert_eq!(seen, requests);
    }
}
