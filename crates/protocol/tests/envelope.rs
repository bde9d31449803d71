//! The envelope accepts what was meant and nothing else.

use lode_protocol::envelope::{
    Addressing, Audience, EnvelopeError, Expectation, MAX_CLOCK_SKEW, Purpose, Realm, Sealed, open, seal,
};
use lode_protocol::hash::Digest;
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
