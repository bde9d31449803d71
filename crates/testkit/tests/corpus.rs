//! Replays the fuzz corpora on the stable toolchain, with every input also cut and bent.

#![expect(clippy::unwrap_used, reason = "in a test a failed step ends the test")]

use std::path::PathBuf;

use lode_gpu_proof::attacks::{Forgery, ForgingProver, Parties, Transcript};
use lode_gpu_proof::evidence::{Exhibit, Suspect, verify_evidence};
use lode_gpu_proof::{CpuProver, Params, Prover};
use lode_protocol::descriptor::{NodeDescriptor, Scope, open};
use lode_protocol::envelope::{Addressing, Audience, Realm, seal};
use lode_protocol::hardware::NodeSpecs;
use lode_protocol::ids::{Address, BootCounter, ChainId, NodeId, PoolId};
use lode_protocol::keys::SigningKey;
use lode_protocol::units::{Millis, Timestamp};
use lode_testkit::fuzz::{FORGER, TARGETS, Target, short_run};

/// An input as it is, cut and bent.
fn replay(target: &Target, input: &[u8]) {
    (target.run)(input);
    for cut in (0..input.len()).step_by(1 + input.len() / 64) {
        (target.run)(&input[..cut]);
        let mut bent = input.to_vec();
        bent[cut] ^= 0x80;
        (target.run)(&bent);
        bent[cut] = 0xff;
        (target.run)(&bent);
    }
}

#[test]
fn no_input_of_the_corpora_breaks_a_decoder() {
    for target in TARGETS {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target.name);
        let entries =
            std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let mut inputs = 0;
        for entry in entries {
            let input = std::fs::read(entry.unwrap().path()).unwrap();
            inputs += 1;
            replay(target, &input);
        }
        assert!(inputs > 0, "the corpus of {} is empty", target.name);
    }
}

/// Runs of a fixed seed: fewer where a case costs a signature, a proof or a connection.
#[test]
fn what_a_fixed_seed_makes_of_the_corpora_breaks_no_decoder() {
    for target in TARGETS {
        let cases = match target.name {
            "evidence" | "http" => 200,
            "envelope" | "directory" => 1_000,
            _ => 3_000,
        };
        short_run(target.name, cases, target.run);
    }
}

/// What a fuzzer can run: a program, a line in its manifest and inputs to begin with. What it does with them is a test of
/// the crate that it looks into.
#[test]
fn every_fuzz_target_has_a_program_a_line_in_the_manifest_and_a_corpus() {
    let fuzz = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    let names = |folder: &str| -> Vec<String> {
        let entries = std::fs::read_dir(fuzz.join(folder)).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
            .collect();
        names.sort();
        names
    };
    let manifest = std::fs::read_to_string(fuzz.join("Cargo.toml")).unwrap();
    let mut listed: Vec<String> = manifest
        .lines()
        .filter_map(|line| line.strip_prefix("path = \"fuzz_targets/")?.strip_suffix(".rs\""))
        .map(str::to_owned)
        .collect();
    listed.sort();
    assert_eq!(listed, names("fuzz_targets"));
    assert_eq!(listed, names("corpus"));
    for target in TARGETS {
        assert!(listed.iter().any(|name| name == target.name), "{} has no program", target.name);
    }
    for name in listed {
        assert!(
            manifest.contains(&format!("name = \"{name}\"\npath = \"fuzz_targets/{name}.rs\"")),
            "{name}"
        );
        assert!(std::fs::read_dir(fuzz.join("corpus").join(&name)).unwrap().next().is_some(), "{name}");
    }
}

/// Small enough for a fuzzer to turn every byte of it.
const SMALL: Params = Params {
    rows: 4,
    depth: 64,
    width: 16,
    line_rounds: 1,
    walkers: 4,
    intervals: 2,
    steps: 4,
    row_openings: 2,
    walk_openings: 2,
};

fn held(node: [u8; 32], prover: &mut dyn Prover, number: u8) -> Transcript {
    let parties = Parties {
        validator: SigningKey::from_bytes(&[200; 32]).unwrap(),
        node: SigningKey::from_bytes(&node).unwrap(),
        realm: Realm { chain: ChainId(31_337), deployment: Address([0xa3; 20]), pool: PoolId(0) },
        now: Timestamp(1_800_000_000_000),
    };
    Transcript::hold(&parties, SMALL, prover, number).unwrap()
}

/// The inputs of the target `evidence`, and whether they are guilty.
fn files() -> Vec<(&'static str, Vec<u8>, bool)> {
    let gpu = || "GPU-1".to_owned();
    let honest = held([1; 32], &mut CpuProver::new(gpu()), 1);
    let row = Some(Suspect::Row { position: 1 });
    let walk = Some(Suspect::Walk { position: 1, interval: 1 });
    let forged = |forgery| held(FORGER, &mut ForgingProver::new(forgery, gpu()), 1);
    let (flipped, empty) = (forged(Forgery::FlippedEntry), forged(Forgery::EmptyOpenings));
    let two = Exhibit::TwoCommits {
        first: flipped.product.bytes.clone(),
        second: forged(Forgery::HugeEntries).product.bytes,
    };
    vec![
        ("honest-row", honest.evidence(row).to_bytes(), false),
        ("honest-walk", honest.evidence(walk).to_bytes(), false),
        ("flipped-entry", flipped.evidence(row).to_bytes(), true),
        ("copied-chain", forged(Forgery::CopiedChain).evidence(walk).to_bytes(), true),
        ("empty-openings", empty.evidence(None).to_bytes(), true),
        ("two-commits", flipped.with(two).to_bytes(), true),
    ]
}

/// With `LODE_RECORD_GOLDEN=1` they become seeds of the fuzzer.
#[test]
fn files_of_honest_and_forged_conversations_keep_their_verdict_however_they_are_bent() {
    let target = TARGETS.iter().find(|target| target.name == "evidence").unwrap();
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/evidence");
    for (name, bytes, guilty) in files() {
        assert_eq!(verify_evidence(&bytes).is_guilty(), guilty, "{name}");
        replay(target, &bytes);
        if std::env::var_os("LODE_RECORD_GOLDEN").is_some() {
            std::fs::write(folder.join(name), &bytes).unwrap();
        }
    }
}

/// With `LODE_RECORD_GOLDEN=1` it becomes a seed of the fuzzer.
#[test]
fn a_signed_descriptor_opens_and_stays_what_it_is_however_it_is_bent() {
    let key = SigningKey::from_bytes(&[1; 32]).unwrap();
    let now = Timestamp(1_800_000_000_000);
    let realm = Realm { chain: ChainId(31_337), deployment: Address([5; 20]), pool: PoolId(1) };
    let lifetime = Millis::seconds(3_600);
    let descriptor = NodeDescriptor {
        node: NodeId(key.address()),
        specs: NodeSpecs::default(),
        addresses: vec!["/ip4/192.0.2.1/tcp/4001".to_owned()],
        sealing_key: None,
        agent_version: "0.1.0".to_owned(),
        boot: BootCounter(1),
        sequence: 1,
        issued_at: now,
        expires_at: now.plus(lifetime),
    };
    let addressing = Addressing { audience: Audience::Any, realm, now, lifetime };
    let bytes = seal(&key, addressing, &descriptor).bytes;
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/envelope/descriptor");
    if std::env::var_os("LODE_RECORD_GOLDEN").is_some() {
        std::fs::write(&path, &bytes).unwrap();
    }
    replay(TARGETS.iter().find(|target| target.name == "envelope").unwrap(), &bytes);
    assert_eq!(open(&bytes, Scope::Pool(realm), None, now).unwrap().into_body(), descriptor);
}
