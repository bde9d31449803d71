//! The envelope accepts what was meant and nothing else.

use lode_protocol::envelope::{
    Addressing, Audience, EnvelopeError, Expectation, Header, MAX_CLOCK_SKEW, MAX_MESSAGE_LIFETIME, Purpose,
    Realm, SIGNING_DOMAIN, Sealed, encode, open, peek, seal,
};
use lode_protocol::error_code::ErrorCode;
use lode_protocol::hash::{Digest, keccak256_of};
use lode_protocol::ids::{Address, BootCounter, ChainId, Nonce, PoolId};
use lode_protocol::keys::SigningKey;
use lode_protocol::session::{Hello, Refusal};
use lode_protocol::units::{Millis, Timestamp};
use proptest::prelude::*;

const NOW: Timestamp = Timestamp(1_800_000_000_000);

fn key(byte: u8) -> SigningKey {
    SigningKey::from_bytes(&[byte; 32]).unwrap()
}

fn realm() -> Realm {
    Realm { chain: ChainId(31_337), deployment: Address([5; 20]), pool: PoolId(1) }
}

fn hello() -> Hello {
    Hello {
        boot: BootCounter(3),
        nonce: Nonce([9; 16]),
        agent_version: "0.1.0".to_owned(),
        descriptor: b"descriptor".to_vec(),
        takes_tags: None,
    }
}

fn addressing() -> Addressing {
    Addressing {
        audience: Audience::Peer(key(2).address()),
        realm: realm(),
        now: NOW,
        lifetime: Millis::seconds(30),
    }
}

fn expectation() -> Expectation {
    Expectation { recipient: Some(key(2).address()), realm: realm(), now: NOW, signer: None }
}

fn sealed() -> Sealed {
    seal(&key(1), addressing(), &hello())
}

#[test]
fn an_honest_message_opens_with_its_signer_and_digest() {
    let sealed = sealed();
    let opened = open::<Hello>(&sealed.bytes, &expectation()).unwrap();
    assert_eq!((opened.signer, opened.digest, opened.body), (key(1).address(), sealed.digest, hello()));
}

#[test]
fn a_message_for_another_peer_pool_deployment_or_chain_is_refused() {
    let bytes = sealed().bytes;
    let refuse = |expected: Expectation| open::<Hello>(&bytes, &expected).unwrap_err().code();
    assert_eq!(
        refuse(Expectation { recipient: Some(key(3).address()), ..expectation() }),
        "envelope/wrong-audience"
    );
    assert_eq!(refuse(Expectation { recipient: None, ..expectation() }), "envelope/wrong-audience");
    for other in [
        Realm { pool: PoolId(2), ..realm() },
        Realm { deployment: Address([6; 20]), ..realm() },
        Realm { chain: ChainId(1), ..realm() },
    ] {
        assert_eq!(refuse(Expectation { realm: other, ..expectation() }), "envelope/wrong-pool");
    }
}

#[test]
fn a_message_of_another_purpose_or_signer_is_refused() {
    let bytes = sealed().bytes;
    assert_eq!(
        open::<Refusal>(&bytes, &expectation()).unwrap_err(),
        EnvelopeError::WrongPurpose { expected: Purpose::Refusal, got: Purpose::Hello }
    );
    let expected = Expectation { signer: Some(key(3).address()), ..expectation() };
    assert_eq!(open::<Hello>(&bytes, &expected).unwrap_err().code(), "envelope/wrong-signer");
}

#[test]
fn clocks_may_differ_by_the_allowed_skew_in_both_directions_and_no_more() {
    let bytes = sealed().bytes;
    let at = |now: Timestamp| open::<Hello>(&bytes, &Expectation { now, ..expectation() });
    assert!(at(NOW.minus(MAX_CLOCK_SKEW)).is_ok());
    assert_eq!(at(NOW.minus(MAX_CLOCK_SKEW).minus(Millis(1))).unwrap_err().code(), "envelope/not-yet-valid");
    let last = NOW.plus(Millis::seconds(30)).plus(MAX_CLOCK_SKEW);
    assert!(at(last).is_ok());
    assert_eq!(at(last.plus(Millis(1))).unwrap_err().code(), "envelope/expired");
    // Both say by how much and which way.
    let ahead = at(NOW.minus(Millis::seconds(45))).unwrap_err();
    assert!(ahead.to_string().contains("the sender's clock is 45s ahead of the receiver's"), "{ahead}");
    let behind = at(NOW.plus(Millis::seconds(90))).unwrap_err();
    assert!(behind.to_string().contains("the sender's clock is 1m 30s behind the receiver's"), "{behind}");
    // Times at the ends of the range neither panic nor pass.
    assert!(at(Timestamp(0)).is_err());
    assert!(at(Timestamp(u64::MAX)).is_err());
}

#[test]
fn an_oversized_message_is_refused_before_it_is_decoded() {
    let big = vec![0u8; 80 << 10];
    assert_eq!(open::<Hello>(&big, &expectation()).unwrap_err().code(), "envelope/too-large");
}

#[test]
fn the_wire_bytes_of_version_one_never_change() {
    let golden = include_str!("golden/hello-v1.hex").trim();
    assert_eq!(hex::encode(sealed().bytes), golden, "wire version 1 changed: introduce version 2 instead");
    let digest: Digest = include_str!("golden/hello-v1.digest").trim().parse().expect("a digest");
    assert_eq!(sealed().digest, digest);
}

proptest! {
    #[test]
    fn any_single_bit_change_is_refused(position in 0usize..4096, bit in 0u8..8) {
        let mut bytes = sealed().bytes;
        let position = position % bytes.len();
        bytes[position] ^= 1 << bit;
        prop_assert!(open::<Hello>(&bytes, &expectation()).is_err());
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        prop_assert!(open::<Hello>(&bytes, &expectation()).is_err());
    }
}

/// A header and a body as somebody signs them who does not seal.
fn signed(header: Header, body: &Hello) -> Vec<u8> {
    let mut statement = Vec::new();
    let mut encoder = minicbor::Encoder::new(&mut statement);
    encoder.array(2).unwrap().encode(header).unwrap().bytes(&encode(body)).unwrap();
    let digest = keccak256_of([SIGNING_DOMAIN, &[2], &statement[..]]);
    let mut bytes = Vec::new();
    let mut encoder = minicbor::Encoder::new(&mut bytes);
    encoder.array(2).unwrap().bytes(&statement).unwrap().bytes(&key(1).sign(&digest).0).unwrap();
    bytes
}

fn header() -> Header {
    peek(&sealed().bytes).unwrap()
}

#[test]
fn what_is_signed_by_hand_is_what_is_sealed() {
    assert_eq!(signed(header(), &hello()), sealed().bytes);
}

#[test]
fn a_message_that_counts_for_a_thousand_years_is_refused() {
    let lasting = |lifetime| seal(&key(1), Addressing { lifetime, ..addressing() }, &hello()).bytes;
    let code = |bytes: &[u8], expected| open::<Hello>(bytes, &expected).unwrap_err().code();
    let most = Purpose::Hello.longest_validity();
    assert!(open::<Hello>(&lasting(most), &expectation()).is_ok());
    for lifetime in [most.plus(Millis(1)), Millis::seconds(1_000 * 365 * 86_400), Millis(u64::MAX)] {
        assert_eq!(code(&lasting(lifetime), expectation()), "envelope/counts-too-long");
        // Skew is for clocks that differ, not for messages that last.
        let late = Expectation { now: NOW.plus(MAX_CLOCK_SKEW), ..expectation() };
        assert_eq!(code(&lasting(lifetime), late), "envelope/counts-too-long");
    }
    let since_1970 =
        Header { issued_at: Timestamp(0), expires_at: NOW.plus(Millis::seconds(60)), ..header() };
    assert_eq!(code(&signed(since_1970, &hello()), expectation()), "envelope/counts-too-long");
}

#[test]
fn no_purpose_lets_a_copy_live_longer_than_a_descriptor_and_honest_lifetimes_fit() {
    // The longest that honest programs sign: 60 s, requests for output 120 s, descriptors an hour.
    for purpose in
        [Purpose::Hello, Purpose::Heartbeat, Purpose::Challenge, Purpose::LogRequest, Purpose::Leave]
    {
        assert_eq!(purpose.longest_validity(), MAX_MESSAGE_LIFETIME);
    }
    assert!(MAX_MESSAGE_LIFETIME > Millis::seconds(120));
    assert!(Purpose::Descriptor.longest_validity() > Millis::seconds(3_600));
}

#[test]
fn a_message_that_expired_before_it_was_issued_is_refused() {
    let code = |bytes: &[u8]| open::<Hello>(bytes, &expectation()).unwrap_err().code();
    for before in [Millis(1), Millis::seconds(20)] {
        let reversed = Header { issued_at: NOW, expires_at: NOW.minus(before), ..header() };
        assert_eq!(code(&signed(reversed, &hello())), "envelope/expires-before-issue");
    }
    let instant = Header { issued_at: NOW, expires_at: NOW, ..header() };
    assert!(open::<Hello>(&signed(instant, &hello()), &expectation()).is_ok());
}

#[test]
fn a_message_of_a_conversation_that_is_addressed_to_anybody_is_refused() {
    let bytes = seal(&key(1), Addressing { audience: Audience::Any, ..addressing() }, &hello()).bytes;
    for recipient in [Some(key(2).address()), None] {
        let error = open::<Hello>(&bytes, &Expectation { recipient, ..expectation() }).unwrap_err();
        assert_eq!(error, EnvelopeError::NotAddressed { purpose: Purpose::Hello });
        assert_eq!(error.code(), "envelope/not-addressed");
    }
}

#[test]
fn a_refusal_to_anybody_is_read_by_people_and_heard_by_no_program() {
    let refusal = Refusal {
        code: ErrorCode::new("envelope/malformed"),
        message: "not ours".to_owned(),
        remedy: "none".to_owned(),
        reopen: true,
        retry_after: None,
        request: Digest::default(),
    };
    let bytes = seal(&key(1), Addressing { audience: Audience::Any, ..addressing() }, &refusal).bytes;
    assert!(open::<Refusal>(&bytes, &Expectation { recipient: None, ..expectation() }).is_ok());
    let error = open::<Refusal>(&bytes, &expectation()).unwrap_err();
    assert_eq!(error.code(), "envelope/not-addressed");
}

/// Statement and signature of a message, and how a byte string of a length is spelt.
fn parts() -> (Vec<u8>, Vec<u8>) {
    let bytes = sealed().bytes;
    let mut decoder = minicbor::Decoder::new(&bytes);
    assert_eq!(decoder.array().unwrap(), Some(2));
    (decoder.bytes().unwrap().to_vec(), decoder.bytes().unwrap().to_vec())
}

fn short(bytes: &[u8]) -> Vec<u8> {
    let mut spelt = Vec::new();
    minicbor::Encoder::new(&mut spelt).bytes(bytes).unwrap();
    spelt
}

fn long(bytes: &[u8]) -> Vec<u8> {
    [&[0x5a][..], &u32::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
}

/// One string in two pieces.
fn pieces(bytes: &[u8]) -> Vec<u8> {
    let (first, second) = bytes.split_at(bytes.len() / 2);
    [&[0x5f][..], &short(first), &short(second), &[0xff]].concat()
}

/// The same message with the same signature in other bytes, each with the code by which it is refused. Recorded in
/// `golden/hello-v1-FORM.hex`.
fn respelt() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let (statement, signature) = parts();
    let (statement, signature) = (statement.as_slice(), signature.as_slice());
    let (first, second) = (short(statement), short(signature));
    vec![
        ("indefinite-array", [&[0x9f][..], &first, &second, &[0xff]].concat(), "envelope/indefinite-length"),
        (
            "indefinite-statement",
            [&[0x82][..], &pieces(statement), &second].concat(),
            "envelope/indefinite-length",
        ),
        ("extra-element", [&[0x83][..], &first, &second, &[0xf6]].concat(), "envelope/extra-elements"),
        ("long-array", [&[0x98, 2][..], &first, &second].concat(), "envelope/long-length"),
        ("long-statement", [&[0x82][..], &long(statement), &second].concat(), "envelope/long-length"),
        ("long-signature", [&[0x82][..], &first, &long(signature)].concat(), "envelope/long-length"),
        ("trailing-byte", [&sealed().bytes[..], &[0]].concat(), "envelope/malformed"),
        ("no-signature", [&[0x81][..], &first].concat(), "envelope/malformed"),
    ]
}

#[test]
fn the_same_signature_in_other_bytes_is_refused_each_with_its_own_code() {
    for (form, bytes, code) in respelt() {
        assert_eq!(open::<Hello>(&bytes, &expectation()).unwrap_err().code(), code, "{form}");
        assert_eq!(peek(&bytes).unwrap_err().code(), code, "{form}: nor is it peeked into");
    }
}

#[test]
fn the_spellings_that_are_refused_are_recorded() {
    let folder = std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    for (form, bytes, code) in respelt() {
        let path = folder.join(format!("hello-v1-{form}.hex"));
        if !path.exists() && std::env::var_os("LODE_RECORD_GOLDEN").is_some() {
            std::fs::write(&path, hex::encode(&bytes) + "\n").unwrap();
        }
        let golden = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{form}: {error}"));
        assert_eq!(hex::encode(&bytes), golden.trim(), "{form}");
        let golden = hex::decode(golden.trim()).unwrap();
        assert_eq!(open::<Hello>(&golden, &expectation()).unwrap_err().code(), code, "{form}");
    }
}

proptest! {
    /// Whoever is accepted has one spelling: an accepted message, taken apart and put together again, is itself.
    #[test]
    fn an_accepted_message_has_one_spelling(
        descriptor in proptest::collection::vec(any::<u8>(), 0..70_000),
        array in 0usize..3,
        statement in 0usize..3,
        signature in 0usize..3,
    ) {
        let honest = seal(&key(1), addressing(), &Hello { descriptor, ..hello() }).bytes;
        let mut decoder = minicbor::Decoder::new(&honest);
        decoder.array().unwrap();
        let parts = (decoder.bytes().unwrap(), decoder.bytes().unwrap());
        let spell = |way: usize, bytes: &[u8]| match way {
            0 => short(bytes),
            1 => long(bytes),
            _ => pieces(bytes),
        };
        let (head, tail): (&[u8], &[u8]) = match array {
            0 => (&[0x82], &[]),
            1 => (&[0x98, 2], &[]),
            _ => (&[0x9f], &[0xff]),
        };
        let bytes = [head, &spell(statement, parts.0), &spell(signature, parts.1), tail].concat();
        prop_assert_eq!(open::<Hello>(&bytes, &expectation()).is_ok(), bytes == honest);
    }
}
