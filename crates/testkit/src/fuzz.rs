//! What the fuzz targets do with their input: every decoder that faces a peer or a user.
//!
//! `fuzz/` runs these under libFuzzer; `tests/corpus.rs` replays the committed corpora on the stable toolchain. A
//! target may refuse its input in any way but a panic, and what it accepts must survive being encoded again.
//!
//! Here are the targets of what is public in our libraries. What a program keeps to itself has its targets in a module
//! `fuzz` of its own, which is there for `cfg(fuzzing)` and for tests; [`short_run`] runs any of them.

mod http;
mod said;
mod short;

pub use short::short_run;

use lode_protocol::cursor::Cursor;
use lode_protocol::descriptor::NodeDescriptor;
use lode_protocol::envelope::{self, Expectation, Realm, Signable, decode, encode};
use lode_protocol::ids::{Address, AssignmentId, ChainId, GpuUuid, PoolId};
use lode_protocol::image::ImageReference;
use lode_protocol::logs::{LogBatch, LogRequest};
use lode_protocol::proof::{Answer, Challenge};
use lode_protocol::session::{Granted, Heartbeat, Hello, Instruction, Leave, Refusal};
use lode_protocol::task::TaskSpec;
use lode_protocol::units::{Bytes, MilliCpus, Millis, Timestamp};

/// One fuzz target.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Name of its binary in `fuzz/` and of its corpus folder.
    pub name: &'static str,
    /// What it does with an input.
    pub run: fn(&[u8]),
}

/// Every target there is.
pub const TARGETS: &[Target] = &[
    Target { name: "envelope", run: envelope_target },
    Target { name: "bodies", run: bodies },
    Target { name: "task_json", run: task_json },
    Target { name: "task_toml", run: task_toml },
    Target { name: "text", run: text },
    Target { name: "proof_opening", run: proof_opening },
    Target { name: "evidence", run: evidence },
    Target { name: "image", run: said::image },
    Target { name: "addresses", run: said::addresses },
    Target { name: "published", run: said::published },
    Target { name: "directory", run: said::directory },
    Target { name: "problem", run: said::problem },
    Target { name: "prover", run: said::prover },
    Target { name: "http", run: http::http },
    Target { name: "chain_answers", run: said::chain_answers },
];

fn expectation() -> Expectation {
    Expectation {
        recipient: Some(Address([2; 20])),
        realm: Realm { chain: ChainId(31_337), deployment: Address([5; 20]), pool: PoolId(1) },
        now: Timestamp(1_800_000_000_000),
        signer: None,
    }
}

fn open<T: Signable>(bytes: &[u8]) {
    // A valid signature for this recipient cannot be guessed: whatever opens here would be a forgery.
    assert!(envelope::open::<T>(bytes, &expectation()).is_err(), "opened something that nobody signed");
}

fn envelope_target(bytes: &[u8]) {
    let _ = envelope::peek(bytes);
    open::<Hello>(bytes);
    open::<Heartbeat>(bytes);
    open::<Instruction>(bytes);
    open::<Answer>(bytes);
    descriptor(bytes);
}

/// Anybody's descriptor, in both scopes: what is accepted is within its caps and is what was signed.
fn descriptor(bytes: &[u8]) {
    use lode_protocol::descriptor::{MAX_ADDRESSES, MAX_LABELS, Scope, open};
    let Expectation { realm, now, .. } = expectation();
    for scope in [Scope::Pool(realm), Scope::Deployment(realm)] {
        let Ok(opened) = open(bytes, scope, None, now) else { continue };
        let body = opened.body();
        assert!(body.addresses.len() <= MAX_ADDRESSES && body.specs.labels.len() <= MAX_LABELS);
        assert!(
            body.node.0 == opened.public_key().address().expect("a verified key") && opened.sealed() == bytes
        );
        assert_eq!(open(opened.sealed(), scope, Some(body.node), now).as_ref(), Ok(&opened));
    }
}

fn body<T>(bytes: &[u8])
where
    T: minicbor::Encode<()> + for<'b> minicbor::Decode<'b, ()> + PartialEq + std::fmt::Debug,
{
    if let Ok(value) = decode::<T>(bytes) {
        let again = decode::<T>(&encode(&value)).expect("what was decoded can be encoded and decoded");
        assert_eq!(again, value);
    }
}

fn bodies(bytes: &[u8]) {
    body::<NodeDescriptor>(bytes);
    body::<Hello>(bytes);
    body::<Granted>(bytes);
    body::<Heartbeat>(bytes);
    body::<Instruction>(bytes);
    body::<Refusal>(bytes);
    body::<Leave>(bytes);
    body::<LogRequest>(bytes);
    body::<LogBatch>(bytes);
    body::<Challenge>(bytes);
    body::<Answer>(bytes);
}

fn task_json(bytes: &[u8]) {
    if let Ok(spec) = TaskSpec::checked_from_json(bytes) {
        let text = serde_json::to_vec(spec.as_spec()).expect("a spec has a JSON form");
        let again = TaskSpec::checked_from_json(&text).expect("a valid spec stays valid");
        assert_eq!(again.digest(), spec.digest());
    }
}

fn task_toml(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = TaskSpec::from_toml(text).map(TaskSpec::validate);
    }
}

fn text(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(address) = text.parse::<Address>() {
        assert_eq!(address.to_string().parse::<Address>(), Ok(address));
    }
    if let Ok(id) = text.parse::<AssignmentId>() {
        assert_eq!(id.to_string().parse::<AssignmentId>(), Ok(id));
    }
    if let Ok(cursor) = text.parse::<Cursor>() {
        assert_eq!(cursor.to_string().parse::<Cursor>(), Ok(cursor));
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        assert_eq!(time.to_string().parse::<Timestamp>(), Ok(time));
    }
    if let Ok(image) = text.parse::<ImageReference>() {
        let (written, full) = (image.to_string(), image.canonical());
        assert_eq!(written.parse::<ImageReference>().map(|again| again.canonical()), Ok(full.clone()));
        assert_eq!(full.to_string().parse::<ImageReference>(), Ok(full));
        // It becomes part of URLs: nothing in it may mean something there.
        assert!(!written.contains(['?', '#', '%', '\\', ' ']), "{written}");
        assert!(written.split('/').all(|part| part.bytes().any(|byte| byte != b'.')), "{written}");
    }
    let _ = text.parse::<GpuUuid>();
    let _ = text.parse::<Bytes>().map(|size| size.to_string());
    let _ = text.parse::<MilliCpus>().map(|cpus| cpus.to_string());
    let _ = text.parse::<Millis>().map(|span| span.to_string());
}

fn proof_opening(bytes: &[u8]) {
    let parameters = lode_gpu_proof::ProofClass::TINY.params;
    if let Ok(opening) = lode_gpu_proof::Opening::from_bytes(bytes, &parameters) {
        assert!(opening.to_bytes().len() <= lode_gpu_proof::Opening::max_bytes(&parameters));
    }
    let _ = lode_gpu_proof::Commit::from_bytes(bytes);
}

/// The corpus holds files of honest conversations and of forged ones. Whatever is done to their bytes, signatures hold
/// what is said: nobody becomes guilty of something else than was signed, and nobody innocent becomes guilty.
fn evidence(bytes: &[u8]) {
    use lode_gpu_proof::evidence::{Evidence, MAX_EVIDENCE_BYTES, Verdict, verify_evidence};
    if let Ok(read) = Evidence::from_bytes(bytes) {
        assert!(bytes.len() <= MAX_EVIDENCE_BYTES && read.to_bytes() == bytes, "one file, one form");
    }
    if let Verdict::Guilty { deed, .. } = verify_evidence(bytes) {
        let forger = lode_protocol::keys::SigningKey::from_bytes(&FORGER).expect("a valid key").address();
        assert_eq!(deed.node.0, forger, "only this key has ever signed something false");
    }
}

/// The key of the forging node of the corpus of `evidence`.
pub const FORGER: [u8; 32] = [66; 32];

/// Runs the target of this name.
///
/// # Panics
/// If there is no such target, or if the target found a defect.
pub fn run(name: &str, bytes: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target of this name");
    (target.run)(bytes);
}
