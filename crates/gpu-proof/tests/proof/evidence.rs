//! Who signed something false is found guilty, and nobody else is, whatever is put into the file.

use lode_gpu_proof::attacks::{Forgery, ForgingProver, Parties, Transcript};
use lode_gpu_proof::evidence::{
    Acquittal, Deed, Evidence, Exhibit, Guilt, MAX_EVIDENCE_BYTES, Suspect, Verdict, verify_evidence,
};
use lode_gpu_proof::{CpuProver, EpochVerifier, FreivaldsSecret, Params, ProofError, Prover, SessionInputs};
use lode_protocol::envelope::{Realm, Sealed, decode, encode};
use lode_protocol::hash::Digest;
use lode_protocol::ids::{Address, ChainId, GpuUuid, NodeId, Nonce, PoolId, ValidatorId};
use lode_protocol::keys::SigningKey;
use lode_protocol::proof::{Answer, Challenge, GpuOpening, Phase, ProofClassId, Selection};
use lode_protocol::units::Timestamp;
use proptest::prelude::*;

const GPU: &str = "GPU-00000000-0000-0000-0000-000000000001";

fn key(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32]).unwrap()
}

fn parties() -> Parties {
    Parties {
        validator: key(200),
        node: key(1),
        realm: Realm { chain: ChainId(31_337), deployment: Address([0xa3; 20]), pool: PoolId(0) },
        now: Timestamp(1_800_000_000_000),
    }
}

fn held(forgery: Forgery, number: u8) -> Transcript {
    let mut prover = ForgingProver::new(forgery, GPU.to_owned());
    Transcript::hold(&parties(), Params::TINY, &mut prover, number).unwrap()
}

/// With the reference prover: not even a forger that does not forge is what a node runs.
fn honest(number: u8) -> Transcript {
    let mut prover = CpuProver::new(GPU.to_owned());
    Transcript::hold(&parties(), Params::TINY, &mut prover, number).unwrap()
}

fn judged(evidence: &Evidence) -> Verdict {
    verify_evidence(&evidence.to_bytes())
}

fn acquitted(evidence: &Evidence) -> &'static str {
    match judged(evidence) {
        Verdict::Innocent(acquittal) => acquittal.code(),
        Verdict::Guilty { guilt, .. } => panic!("guilty: {guilt}"),
    }
}

fn start_of(transcript: &Transcript) -> (Nonce, Digest, Digest) {
    let parties = parties();
    let inputs = |number: u8, part: u8| lode_protocol::hash::keccak256_of([[number, part].as_slice()]);
    let number = opened_run(transcript).0[0];
    let (beacon, nonce) = (inputs(number, 1), inputs(number, 2));
    let start = Challenge::Start {
        run: Nonce([number; 16]),
        beacon,
        nonce,
        prepare: Some(transcript.prepare.digest),
    };
    assert_eq!(parties.ask(&start).digest, transcript.start.digest);
    (Nonce([number; 16]), beacon, nonce)
}

fn opened_run(transcript: &Transcript) -> Nonce {
    match answer_of(&transcript.opened) {
        Answer::Opened { run, .. } => run,
        other => panic!("{other:?}"),
    }
}

fn answer_of(sealed: &Sealed) -> Answer {
    use lode_protocol::envelope::{Expectation, open};
    let parties = parties();
    let expected = Expectation {
        recipient: Some(parties.validator.address()),
        realm: parties.realm,
        now: parties.now,
        signer: None,
    };
    open::<Answer>(&sealed.bytes, &expected).unwrap().body
}

/// What a validator that checks the opening with a secret of its own would point at.
fn suspect_of(transcript: &Transcript) -> (ProofError, Option<Suspect>) {
    let Answer::Opened { opening: GpuOpening { gpu, opening }, .. } = answer_of(&transcript.opened) else {
        panic!("no opening")
    };
    let Answer::Committed { root, walk, .. } = answer_of(&transcript.product) else { panic!("no commit") };
    let (_, beacon, nonce) = start_of(transcript);
    let parties = parties();
    let node = (NodeId(parties.node.address()), parties.node.public());
    let session = SessionInputs::of(parties.realm, node, &gpu, beacon, nonce);
    let seed = session.seed(&Params::TINY);
    let commit = lode_gpu_proof::Commit {
        session_seed: seed,
        walk_root: walk.unwrap().into(),
        gemm_root: root.into(),
    };
    let verifier = EpochVerifier::new(Params::TINY, &session.epoch(), FreivaldsSecret::new([9; 32])).unwrap();
    let error = verifier.verify_bytes(&seed, &commit, &transcript.choice, &opening).unwrap_err();
    let suspect = Suspect::of(&error, transcript.choice.rows(), &transcript.choice.walkers());
    (error, suspect)
}

#[test]
fn every_forgery_that_a_node_signs_is_found_guilty_of_the_check_that_it_failed() {
    for forgery in Forgery::ALL.iter().filter(|forgery| **forgery != Forgery::Honest) {
        let transcript = held(*forgery, 7);
        let (error, suspect) = suspect_of(&transcript);
        let Verdict::Guilty { deed, guilt } = judged(&transcript.evidence(suspect)) else {
            panic!("{} got away", forgery.name())
        };
        assert_eq!(guilt, Guilt::Opening(error), "{}", forgery.name());
        let expected = Deed {
            realm: parties().realm,
            node: NodeId(key(1).address()),
            validator: ValidatorId(key(200).address()),
            gpu: GPU.parse().unwrap(),
            start: transcript.start.digest,
            at: Timestamp(1_800_000_000_000),
        };
        assert_eq!(deed, expected);
    }
}

#[test]
fn an_honest_node_is_innocent_whatever_is_suspected() {
    let transcript = honest(7);
    for suspect in transcript.suspects() {
        assert_eq!(acquitted(&transcript.evidence(suspect)), "evidence/nothing-false", "{suspect:?}");
    }
    for suspect in [
        Suspect::Row { position: 64 },
        Suspect::Row { position: u32::MAX },
        Suspect::Walk { position: 40, interval: 0 },
        Suspect::Walk { position: 0, interval: 8 },
        Suspect::Walk { position: u32::MAX, interval: u32::MAX },
    ] {
        assert_eq!(acquitted(&transcript.evidence(Some(suspect))), "evidence/nothing-false", "{suspect:?}");
    }
}

#[test]
fn a_forger_is_innocent_where_nobody_points_at_the_lie() {
    let transcript = held(Forgery::FlippedEntry, 7);
    assert_eq!(acquitted(&transcript.evidence(None)), "evidence/nothing-false");
    assert!(judged(&transcript.evidence(Some(Suspect::Row { position: 5 }))).is_guilty());
}

#[test]
fn messages_of_two_conversations_prove_nothing() {
    let (one, other) = (honest(7), honest(8));
    let parts = |transcript: &Transcript| {
        [
            transcript.prepare.bytes.clone(),
            transcript.start.bytes.clone(),
            transcript.product.bytes.clone(),
            transcript.demand.bytes.clone(),
            transcript.opened.bytes.clone(),
        ]
    };
    let (ones, others) = (parts(&one), parts(&other));
    for mask in 1..31_u8 {
        let [prepare, start, product, demand, opened]: [Vec<u8>; 5] = std::array::from_fn(|part| {
            if mask >> part & 1 == 1 { others[part].clone() } else { ones[part].clone() }
        });
        let exhibit =
            Exhibit::Opening { product, demand, opened, suspect: Some(Suspect::Row { position: 0 }) };
        let mixed = Evidence::new(Params::TINY, prepare, start, exhibit);
        assert_eq!(acquitted(&mixed), "evidence/unbound", "mask {mask:05b}");
    }
}

#[test]
fn a_question_written_after_the_answer_does_not_count() {
    let parties = parties();
    let transcript = honest(7);
    let (run, beacon, _) = start_of(&transcript);
    let exhibit = |demand: &Sealed| Exhibit::Opening {
        product: transcript.product.bytes.clone(),
        demand: demand.bytes.clone(),
        opened: transcript.opened.bytes.clone(),
        suspect: None,
    };
    // Another start of the same run, after the commits are known.
    let late = parties.ask(&Challenge::Start {
        run,
        beacon,
        nonce: Digest([66; 32]),
        prepare: Some(transcript.prepare.digest),
    });
    let forged = Evidence::new(
        Params::TINY,
        transcript.prepare.bytes.clone(),
        late.bytes.clone(),
        exhibit(&transcript.demand),
    );
    assert_eq!(acquitted(&forged), "evidence/unbound");
    // Other rows of the same run, after the opening is known.
    let gpu: GpuUuid = GPU.parse().unwrap();
    let rows: Vec<u64> = (0..64).collect();
    let selection = Selection { gpu: gpu.clone(), rows, walkers: transcript.choice.walkers() };
    let other = parties.ask(&Challenge::Open { run, selections: vec![selection] });
    assert_eq!(acquitted(&transcript.with(exhibit(&other))), "evidence/unbound");
    // Other parameters than the node was told: the same challenge as if it were for another class.
    let bigger = Params { rows: 512, ..Params::TINY };
    let (prepare, start) = (transcript.prepare.bytes.clone(), transcript.start.bytes.clone());
    let forged = Evidence::new(bigger, prepare, start.clone(), exhibit(&transcript.demand));
    assert_eq!(acquitted(&forged), "evidence/params");
    let prepare = parties.ask(&Challenge::Prepare {
        run,
        epoch: 1,
        class: ProofClassId(1),
        parameters: bigger.hash().into(),
        gpus: vec![gpu],
        start_at: parties.now,
    });
    let forged = Evidence::new(bigger, prepare.bytes, start, exhibit(&transcript.demand));
    assert_eq!(acquitted(&forged), "evidence/unbound");
}

/// A demand that the class does not allow, truthfully answered by an honest node.
fn answered_demand(rows: Vec<u64>, walkers: Vec<u64>, twice: bool) -> Evidence {
    let parties = parties();
    let transcript = honest(7);
    let (run, beacon, nonce) = start_of(&transcript);
    let gpu: GpuUuid = GPU.parse().unwrap();
    let selection = Selection { gpu: gpu.clone(), rows: rows.clone(), walkers: walkers.clone() };
    let mut selections = vec![selection];
    if twice {
        let other = Selection {
            gpu: gpu.clone(),
            rows: transcript.choice.rows().to_vec(),
            walkers: transcript.choice.walkers(),
        };
        selections.push(other);
    }
    let demand = parties.ask(&Challenge::Open { run, selections });
    let mut prover = CpuProver::new(GPU.to_owned());
    prover.prepare(&Params::TINY).unwrap();
    let node = (NodeId(parties.node.address()), parties.node.public());
    prover.start(&SessionInputs::of(parties.realm, node, &gpu, beacon, nonce), &mut |_| ()).unwrap();
    let opening = prover.open(&rows, &walkers).unwrap().to_bytes();
    let opened = parties.answer(&Answer::Opened {
        run,
        opening: GpuOpening { gpu, opening },
        start: Some(transcript.start.digest),
        demand: Some(demand.digest),
    });
    transcript.with(Exhibit::Opening {
        product: transcript.product.bytes.clone(),
        demand: demand.bytes,
        opened: opened.bytes,
        suspect: None,
    })
}

#[test]
fn a_node_that_answers_a_demand_out_of_bounds_owes_nothing() {
    let (rows, walkers): (Vec<u64>, Vec<u64>) = ((0..64).collect(), (0..40).collect());
    let lawful = answered_demand(rows.clone(), walkers.clone(), false);
    assert_eq!(acquitted(&lawful), "evidence/nothing-false");
    let repeated = vec![3; 64];
    for (rows, walkers, twice) in [
        (vec![1], walkers.clone(), false),
        (rows.clone(), vec![], false),
        (repeated, walkers.clone(), false),
        (rows.clone(), vec![7; 40], false),
        (rows, walkers, true),
    ] {
        assert_eq!(acquitted(&answered_demand(rows, walkers, twice)), "evidence/unlawful-demand");
    }
}

#[test]
fn foreign_signatures_and_roles_prove_nothing() {
    let guilty = held(Forgery::SkippedRows, 7);
    let (_, suspect) = suspect_of(&guilty);
    assert!(judged(&guilty.evidence(suspect)).is_guilty());
    // The same conversation, but the lie is signed by somebody else: of another key, of the validator itself.
    for forger in [key(9), key(200)] {
        let answer = answer_of(&guilty.opened);
        let opened = Parties { node: forger, ..parties() }.answer(&answer);
        let evidence = guilty.with(Exhibit::Opening {
            product: guilty.product.bytes.clone(),
            demand: guilty.demand.bytes.clone(),
            opened: opened.bytes,
            suspect,
        });
        assert_eq!(acquitted(&evidence), "evidence/unbound");
    }
    // On another chain.
    let elsewhere = Realm { chain: ChainId(1), ..parties().realm };
    let answer = answer_of(&guilty.product);
    let product = Parties { realm: elsewhere, ..parties() }.answer(&answer);
    let evidence = guilty.with(Exhibit::Opening {
        product: product.bytes,
        demand: guilty.demand.bytes.clone(),
        opened: guilty.opened.bytes.clone(),
        suspect,
    });
    assert_eq!(acquitted(&evidence), "evidence/unbound");
    // A message in another's place.
    let evidence = guilty.with(Exhibit::Opening {
        product: guilty.walk.bytes.clone(),
        demand: guilty.demand.bytes.clone(),
        opened: guilty.opened.bytes.clone(),
        suspect,
    });
    assert_eq!(acquitted(&evidence), "evidence/unbound");
}

#[test]
fn an_answer_that_counts_for_too_long_does_not_say_when_it_was_given() {
    use lode_protocol::envelope::{Addressing, Audience, seal};
    use lode_protocol::units::Millis;
    let transcript = held(Forgery::EmptyOpenings, 7);
    let answer = answer_of(&transcript.opened);
    for (seconds, guilty) in [(300, true), (301, false)] {
        let parties = parties();
        let audience = Audience::Peer(parties.validator.address());
        let lifetime = Millis::seconds(seconds);
        let addressing = Addressing { audience, realm: parties.realm, now: parties.now, lifetime };
        let evidence = transcript.with(Exhibit::Opening {
            product: transcript.product.bytes.clone(),
            demand: transcript.demand.bytes.clone(),
            opened: seal(&parties.node, addressing, &answer).bytes,
            suspect: None,
        });
        assert_eq!(judged(&evidence).is_guilty(), guilty, "{seconds} s");
    }
}

#[test]
fn two_commits_that_exclude_each_other_are_guilty_and_the_same_one_twice_is_not() {
    let parties = parties();
    let transcript = honest(7);
    let (run, ..) = start_of(&transcript);
    let commit = |phase, root: u8, walk: Option<u8>| {
        parties.answer(&Answer::Committed {
            run,
            gpu: GPU.parse().unwrap(),
            phase,
            root: Digest([root; 32]),
            start: Some(transcript.start.digest),
            walk: walk.map(|byte| Digest([byte; 32])),
        })
    };
    let two = |first: &Sealed, second: &Sealed| {
        transcript.with(Exhibit::TwoCommits { first: first.bytes.clone(), second: second.bytes.clone() })
    };
    let walk = commit(Phase::Walk, 1, None);
    let product = commit(Phase::Product, 2, Some(1));
    for innocent in [
        two(&walk, &walk),
        two(&walk, &product),
        two(&product, &walk),
        two(&product, &product),
        two(&walk, &commit(Phase::Product, 2, None)),
        two(&transcript.walk, &transcript.product),
    ] {
        assert_eq!(acquitted(&innocent), "evidence/nothing-false");
    }
    for guilty in [
        two(&walk, &commit(Phase::Walk, 9, None)),
        two(&walk, &commit(Phase::Product, 2, Some(9))),
        two(&commit(Phase::Product, 2, Some(9)), &walk),
        two(&product, &commit(Phase::Product, 9, Some(1))),
    ] {
        let Verdict::Guilty { guilt, .. } = judged(&guilty) else { panic!("not guilty") };
        assert_eq!(guilt, Guilt::TwoCommits);
    }
    // Of two challenges: what excludes each other in one does not in two.
    assert_eq!(acquitted(&two(&walk, &honest(8).walk)), "evidence/unbound");
}

#[test]
fn bytes_that_are_no_opening_say_nothing_false() {
    let parties = parties();
    let transcript = honest(7);
    let (run, ..) = start_of(&transcript);
    let encoded = |opening: Vec<u8>| {
        let opened = parties.answer(&Answer::Opened {
            run,
            opening: GpuOpening { gpu: GPU.parse().unwrap(), opening },
            start: Some(transcript.start.digest),
            demand: Some(transcript.demand.digest),
        });
        transcript.with(Exhibit::Opening {
            product: transcript.product.bytes.clone(),
            demand: transcript.demand.bytes.clone(),
            opened: opened.bytes,
            suspect: None,
        })
    };
    for garbage in [vec![], vec![0xff; 100], vec![0; 1 << 20]] {
        assert_eq!(acquitted(&encoded(garbage)), "evidence/unreadable-opening");
    }
}

#[test]
fn a_file_that_is_none_is_refused_before_it_is_judged() {
    let code = |bytes: &[u8]| match verify_evidence(bytes) {
        Verdict::Innocent(acquittal) => acquittal.code(),
        Verdict::Guilty { .. } => panic!("guilty"),
    };
    assert_eq!(code(&[]), "evidence/malformed");
    assert_eq!(code(&vec![0; MAX_EVIDENCE_BYTES + 1]), "evidence/too-large");
    let transcript = held(Forgery::EmptyOpenings, 7);
    let bytes = transcript.evidence(None).to_bytes();
    assert!(verify_evidence(&bytes).is_guilty());
    let mut longer = bytes.clone();
    longer.push(0);
    assert_eq!(code(&longer), "evidence/malformed");
    // The same content, written otherwise: the version's one byte as two.
    let mut otherwise = vec![bytes[0], 0x18, 0x01];
    otherwise.extend_from_slice(&bytes[2..]);
    assert!(matches!(verify_evidence(&otherwise), Verdict::Innocent(Acquittal::Malformed(_))));
}

#[test]
fn one_deed_has_one_name_however_the_file_is_made() {
    let transcript = held(Forgery::SkippedRows, 7);
    let ids: std::collections::BTreeSet<Digest> = transcript
        .suspects()
        .take(65)
        .filter_map(|suspect| match judged(&transcript.evidence(suspect)) {
            Verdict::Guilty { deed, .. } => Some(deed.id()),
            Verdict::Innocent(_) => None,
        })
        .collect();
    assert_eq!(ids.len(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Bytes of an honest file changed anywhere, in the envelope's clear as in what is signed.
    #[test]
    fn no_change_of_an_honest_file_makes_it_guilty(
        place in any::<prop::sample::Index>(),
        value in any::<u8>(),
        suspect in 0_u32..80,
    ) {
        let evidence = honest(7).evidence(Some(Suspect::Row { position: suspect }));
        let mut bytes = evidence.to_bytes();
        let place = place.index(bytes.len());
        bytes[place] = value;
        prop_assert!(!verify_evidence(&bytes).is_guilty());
    }

    /// An honest node whose questions come from a hostile validator, who then writes any file it likes of them.
    #[test]
    fn an_honest_node_is_innocent_whatever_it_is_asked(
        number in 1_u8..255,
        rows in proptest::collection::btree_set(0_u64..256, 1..=64),
        walkers in proptest::collection::btree_set(0_u64..64, 1..=40),
        position in 0_u32..70,
        interval in 0_u32..10,
        of_row in any::<bool>(),
    ) {
        let parties = parties();
        let transcript = honest(number);
        let (run, beacon, nonce) = start_of(&transcript);
        let gpu: GpuUuid = GPU.parse().unwrap();
        let (rows, walkers): (Vec<u64>, Vec<u64>) = (rows.into_iter().collect(), walkers.into_iter().collect());
        let selection = Selection { gpu: gpu.clone(), rows: rows.clone(), walkers: walkers.clone() };
        let demand = parties.ask(&Challenge::Open { run, selections: vec![selection] });
        let mut prover = CpuProver::new(GPU.to_owned());
        prover.prepare(&Params::TINY).unwrap();
        let node = (NodeId(parties.node.address()), parties.node.public());
        prover.start(&SessionInputs::of(parties.realm, node, &gpu, beacon, nonce), &mut |_| ()).unwrap();
        let opening = prover.open(&rows, &walkers).unwrap().to_bytes();
        let opened = parties.answer(&Answer::Opened {
            run,
            opening: GpuOpening { gpu, opening },
            start: Some(transcript.start.digest),
            demand: Some(demand.digest),
        });
        let suspect = if of_row { Suspect::Row { position } } else { Suspect::Walk { position, interval } };
        let evidence = transcript.with(Exhibit::Opening {
            product: transcript.product.bytes.clone(),
            demand: demand.bytes,
            opened: opened.bytes,
            suspect: Some(suspect),
        });
        prop_assert!(!judged(&evidence).is_guilty());
    }

    #[test]
    fn any_bytes_are_judged_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        prop_assert!(!verify_evidence(&bytes).is_guilty());
    }
}

#[test]
fn a_file_keeps_its_form() {
    let params = Params {
        rows: 2,
        walkers: 2,
        row_openings: 1,
        walk_openings: 1,
        width: 16,
        depth: 64,
        ..Params::TINY
    };
    let mut prover = CpuProver::new(GPU.to_owned());
    let transcript = Transcript::hold(&parties(), params, &mut prover, 7).unwrap();
    let bytes = transcript.evidence(Some(Suspect::Walk { position: 0, interval: 3 })).to_bytes();
    assert_eq!(decode::<Evidence>(&bytes).map(|evidence| encode(&evidence)), Ok(bytes.clone()));
    // Written out by hand: whoever reads files of this version reads exactly this.
    let params = [0x89_u8, 2, 0x18, 64, 16, 4, 2, 8, 0x18, 64, 1, 1];
    let mut expected = vec![0x85_u8, 1];
    expected.extend(params);
    expected.extend(byte_string(&transcript.prepare.bytes));
    expected.extend(byte_string(&transcript.start.bytes));
    expected.extend([0x82, 0, 0x84]);
    for message in [&transcript.product, &transcript.demand, &transcript.opened] {
        expected.extend(byte_string(&message.bytes));
    }
    expected.extend([0x82, 1, 0x82, 0, 3]);
    assert_eq!(bytes, expected, "the form of evidence changed: introduce a new version instead");
}

/// A CBOR byte string of 24 to 65,535 bytes.
fn byte_string(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap();
    let head = match length {
        24..=255 => vec![0x58, length.to_be_bytes()[1]],
        more => [&[0x59][..], &more.to_be_bytes()].concat(),
    };
    [&head[..], bytes].concat()
}
