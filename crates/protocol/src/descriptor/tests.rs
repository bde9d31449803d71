use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::envelope::{Addressing, Audience, EnvelopeError, MAX_CLOCK_SKEW, Realm, seal};
use crate::hardware::{GpuSpec, MAX_GPUS};
use crate::ids::{Address, ChainId, PoolId};
use crate::keys::SigningKey;

const NOW: Timestamp = Timestamp(1_800_000_000_000);
const HOUR: Millis = Millis::seconds(3_600);

fn key(byte: u8) -> SigningKey {
    SigningKey::from_bytes(&[byte; 32]).unwrap()
}

fn realm(pool: u64) -> Realm {
    Realm { chain: ChainId(31_337), deployment: Address([5; 20]), pool: PoolId(pool) }
}

fn gpu(index: usize) -> GpuSpec {
    GpuSpec {
        uuid: format!("GPU-{index}").parse().unwrap(),
        model: Some("NVIDIA H200".to_owned()),
        memory: None,
        compute_capability: None,
        pci_bus_id: None,
        parent: None,
    }
}

fn honest() -> NodeDescriptor {
    NodeDescriptor {
        node: NodeId(key(1).address()),
        specs: NodeSpecs { gpus: vec![gpu(1), gpu(2)], ..NodeSpecs::default() },
        addresses: Vec::new(),
        sealing_key: None,
        agent_version: "0.1.0".to_owned(),
        boot: BootCounter(1),
        sequence: 1,
        issued_at: NOW,
        expires_at: NOW.plus(HOUR),
    }
}

fn sealed(by: u8, descriptor: &NodeDescriptor) -> Vec<u8> {
    let addressing = Addressing { audience: Audience::Any, realm: realm(1), now: NOW, lifetime: HOUR };
    seal(&key(by), addressing, descriptor).bytes
}

fn read(descriptor: &NodeDescriptor) -> Result<VerifiedDescriptor, DescriptorError> {
    open(&sealed(1, descriptor), Scope::Pool(realm(1)), None, NOW)
}

#[test]
fn what_an_honest_node_says_is_read_by_its_pool_and_by_the_whole_deployment() {
    let bytes = sealed(1, &honest());
    for scope in [Scope::Pool(realm(1)), Scope::Deployment(realm(0)), Scope::Deployment(realm(9))] {
        let opened = open(&bytes, scope, Some(honest().node), NOW).unwrap();
        assert_eq!((opened.node(), opened.pool(), opened.body()), (honest().node, PoolId(1), &honest()));
        assert_eq!((opened.public_key(), opened.sealed()), (key(1).public(), bytes.as_slice()));
        assert_eq!(opened.expires_at(), NOW.plus(HOUR));
    }
}

#[test]
fn another_pool_deployment_or_node_is_refused() {
    let bytes = sealed(1, &honest());
    let code = |scope, of| open(&bytes, scope, of, NOW).unwrap_err().code();
    assert_eq!(code(Scope::Pool(realm(2)), None), "envelope/wrong-pool");
    let elsewhere = Realm { deployment: Address([6; 20]), ..realm(1) };
    assert_eq!(code(Scope::Deployment(elsewhere), None), "envelope/wrong-pool");
    assert_eq!(code(Scope::Pool(realm(1)), Some(NodeId(key(2).address()))), "envelope/wrong-signer");
    let forged = open(&sealed(2, &honest()), Scope::Pool(realm(1)), None, NOW).unwrap_err();
    assert_eq!(forged.code(), "descriptor/wrong-node");
}

#[test]
fn the_earlier_end_of_envelope_and_body_counts() {
    let addressing =
        Addressing { audience: Audience::Any, realm: realm(1), now: NOW, lifetime: Millis::seconds(60) };
    let bytes = seal(&key(1), addressing, &honest()).bytes;
    let opened = open(&bytes, Scope::Pool(realm(1)), None, NOW).unwrap();
    assert_eq!(opened.expires_at(), NOW.plus(Millis::seconds(60)));
}

#[test]
fn a_lifetime_begins_by_now_ends_later_and_takes_at_most_a_day() {
    let day = MAX_DESCRIPTOR_LIFETIME;
    for (issued_at, expires_at, code) in [
        (NOW, NOW.plus(day), None),
        (NOW, NOW.plus(day).plus(Millis(1)), Some("descriptor/lifetime")),
        (NOW, NOW, Some("descriptor/lifetime")),
        (NOW.plus(MAX_CLOCK_SKEW), NOW.plus(HOUR), None),
        (NOW.plus(MAX_CLOCK_SKEW).plus(Millis(1)), NOW.plus(HOUR), Some("descriptor/lifetime")),
        (NOW.minus(HOUR), NOW.minus(MAX_CLOCK_SKEW), None),
        (NOW.minus(HOUR), NOW.minus(MAX_CLOCK_SKEW).minus(Millis(1)), Some("descriptor/expired")),
    ] {
        let read = read(&NodeDescriptor { issued_at, expires_at, ..honest() });
        assert_eq!(
            read.err().map(|error| error.code().as_str().to_owned()).as_deref(),
            code,
            "{issued_at} {expires_at}"
        );
    }
}

/// Everything that has a cap, at the cap.
fn full() -> NodeDescriptor {
    let text = "x".repeat(MAX_TEXT);
    // As many GPUs and labels of full length do not fit the envelope together: their number is tried on its own.
    let labels = (0..8).map(|index| (format!("{index:0>width$}", width = MAX_LABEL_KEY), text.clone()));
    NodeDescriptor {
        specs: NodeSpecs {
            cpu_model: Some(text.clone()),
            driver_version: Some(text.clone()),
            engine_version: Some(text.clone()),
            os: text.clone(),
            architecture: text.clone(),
            gpus: vec![GpuSpec { model: Some(text.clone()), pci_bus_id: Some(text.clone()), ..gpu(1) }],
            labels: labels.collect(),
            ..NodeSpecs::default()
        },
        addresses: vec![text.clone(); MAX_ADDRESSES],
        agent_version: text,
        ..honest()
    }
}

type Change = fn(&mut NodeDescriptor);

#[test]
fn whatever_is_at_its_cap_is_taken_and_one_more_of_anything_is_not() {
    assert!(read(&full()).is_ok());
    let beyond: [(&str, Change); 12] = [
        ("GPUs", |d| d.specs.gpus = (0..=MAX_GPUS).map(gpu).collect()),
        ("addresses", |d| d.addresses = vec![String::new(); MAX_ADDRESSES + 1]),
        ("labels", |d| {
            d.specs.labels = (0..=MAX_LABELS).map(|index| (index.to_string(), String::new())).collect();
        }),
        ("address", |d| d.addresses = vec!["x".repeat(MAX_TEXT + 1)]),
        ("label key", |d| d.specs.labels = BTreeMap::from([("x".repeat(MAX_LABEL_KEY + 1), String::new())])),
        ("label value", |d| d.specs.labels = BTreeMap::from([(String::new(), "x".repeat(MAX_TEXT + 1))])),
        ("agent version", |d| d.agent_version = "x".repeat(MAX_TEXT + 1)),
        ("operating system", |d| d.specs.os = "x".repeat(MAX_TEXT + 1)),
        ("CPU model", |d| d.specs.cpu_model = Some("x".repeat(MAX_TEXT + 1))),
        ("engine version", |d| d.specs.engine_version = Some("x".repeat(MAX_TEXT + 1))),
        ("GPU model", |d| d.specs.gpus[0].model = Some("x".repeat(MAX_TEXT + 1))),
        ("PCI bus id", |d| d.specs.gpus[0].pci_bus_id = Some("x".repeat(MAX_TEXT + 1))),
    ];
    for (what, change) in beyond {
        let mut descriptor = honest();
        change(&mut descriptor);
        let error = read(&descriptor).unwrap_err();
        assert_eq!(error.code(), "descriptor/too-large", "{what}");
        assert!(error.to_string().contains(what), "{what}: {error}");
    }
    let mut most = honest();
    most.specs.gpus = (0..MAX_GPUS).map(gpu).collect();
    most.specs.labels = (0..MAX_LABELS).map(|index| (index.to_string(), String::new())).collect();
    assert!(read(&most).is_ok());
}

#[test]
fn eleven_thousand_labels_of_a_stranger_are_refused() {
    let mut descriptor = honest();
    descriptor.specs.labels = (0..11_000).map(|index| (format!("{index:x}"), String::new())).collect();
    assert!(crate::envelope::encode(&descriptor).len() <= NodeDescriptor::MAX_BYTES, "it fits its envelope");
    let error = read(&descriptor).unwrap_err();
    assert_eq!(error, DescriptorError::TooMany { what: "labels", count: 11_000, limit: MAX_LABELS });
    assert_eq!(error.code(), "descriptor/too-large");
}

#[test]
fn a_descriptor_beyond_its_size_is_refused_before_anything_is_kept_of_it() {
    let mut descriptor = honest();
    descriptor.specs.os = "x".repeat(2 * NodeDescriptor::MAX_BYTES);
    let error = read(&descriptor).unwrap_err();
    assert!(matches!(error, DescriptorError::Envelope(EnvelopeError::TooLarge { .. })), "{error}");
}

#[test]
fn a_gpu_that_is_claimed_twice_is_refused() {
    let mut descriptor = honest();
    descriptor.specs.gpus.push(gpu(1));
    assert_eq!(read(&descriptor).unwrap_err().code(), "descriptor/repeated-gpu");
}

proptest! {
    /// Whatever is done to the bytes, nobody says anything but what was signed.
    #[test]
    fn a_changed_descriptor_is_refused_or_says_what_was_signed(
        at in 0_usize..400,
        to in any::<u8>(),
        cut in 0_usize..40,
        deployment in any::<bool>(),
    ) {
        let mut bytes = sealed(1, &honest());
        let length = bytes.len();
        if let Some(byte) = bytes.get_mut(at % length) {
            *byte = to;
        }
        bytes.truncate(length - cut);
        let scope = if deployment { Scope::Deployment(realm(0)) } else { Scope::Pool(realm(1)) };
        if let Ok(opened) = open(&bytes, scope, None, NOW) {
            prop_assert_eq!(opened.body(), &honest());
            prop_assert_eq!(opened.public_key(), key(1).public());
        }
    }
}
