//! Results that find no quorum.

use lode_chain_types::EpochPhase;

use super::*;
use crate::attestor::{Attestor, Times};

fn result(passed: usize, judged_in: u64) -> NodeResult {
    NodeResult { node: node(1), passed: gpus(1, passed), failed: 0, judged_in: Epoch(judged_in), attempts: 0 }
}

fn outcome() -> Outcome {
    Outcome::Confirmed(Receipt {
        transaction: Digest::default(),
        block: 1,
        block_hash: Digest::default(),
        succeeded: true,
        gas_used: 1,
        events: Vec::new(),
    })
}

/// A block in a half of an epoch, of two validators.
fn block(attestor: &mut Attestor, epoch: u64, phase: EpochPhase) -> Vec<Effect> {
    let into = match phase {
        EpochPhase::Commit => 1,
        EpochPhase::Reveal => EPOCH_SECONDS / 2,
    };
    let timestamp = TIMING.starts(Epoch(epoch)).plus(Millis::seconds(into));
    let head = BlockRef { number: epoch, hash: Digest::default(), timestamp };
    let times = Times {
        head: &head,
        timing: &TIMING,
        validator: validator(),
        class: &ProofClass::TINY,
        validity: 100,
        standing: Some((Amount::tokens(1), Amount::tokens(2))),
    };
    let mut effects = Vec::new();
    let mut secret = Secret::new([epoch.to_be_bytes()[7]; 32]);
    attestor.advance(times, &mut secret, &mut effects);
    effects
}

/// Commits and reveals in an epoch; tells the root, if there was anything to reveal.
fn attest(attestor: &mut Attestor, epoch: u64) -> Option<Digest> {
    let mut root = None;
    for phase in [EpochPhase::Commit, EpochPhase::Reveal] {
        for effect in block(attestor, epoch, phase) {
            let Effect::Submit(intent) = effect else { continue };
            if let Intent::Validators(ValidatorsCall::Reveal { root: revealed, .. }) = &intent {
                root = Some(*revealed);
            }
            attestor.on_outcome(&intent, &outcome(), &mut Vec::new());
        }
    }
    root
}

fn no_quorum(attestor: &mut Attestor, epoch: u64, effects: &mut Vec<Effect>) -> Vec<NodeId> {
    attestor.on_root(Epoch(epoch), Some(Digest([9; 32])), Epoch(epoch), effects)
}

#[test]
fn a_result_without_a_quorum_is_measured_anew_and_stands_meanwhile() {
    let mut attestor = Attestor::load(vec![result(2, 3)], None);
    let mut effects = Vec::new();
    for epoch in 4..7 {
        assert!(attestor.waits(&node(1)));
        assert!(attest(&mut attestor, epoch).is_some());
        let anew = no_quorum(&mut attestor, epoch, &mut effects);
        assert_eq!(anew.len(), usize::from(epoch == 6));
    }
    assert!(!attestor.waits(&node(1)), "it may be measured");
    // It is measured in the very epoch that takes it up again: what it says is as old as before.
    attestor.add(result(2, 7), &mut effects);
    assert!(attestor.waits(&node(1)));
    assert!(attest(&mut attestor, 7).is_some());
}

#[test]
fn a_result_that_cannot_be_measured_anew_is_dropped_in_the_end() {
    let mut attestor = Attestor::load(vec![result(2, 3)], None);
    let mut effects = Vec::new();
    for epoch in 4..10 {
        assert!(attest(&mut attestor, epoch).is_some());
        no_quorum(&mut attestor, epoch, &mut effects);
    }
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Save(Change::DeleteResult(_)))));
    assert_eq!((attestor.pending(), attest(&mut attestor, 10)), (0, None));
}

#[test]
fn what_is_measured_anew_replaces_what_was_and_nothing_to_say_takes_it_back() {
    let mut attestor = Attestor::load(vec![result(2, 3)], None);
    let before = attest(&mut attestor, 4);
    no_quorum(&mut attestor, 4, &mut Vec::new());
    attestor.add(result(1, 4), &mut Vec::new());
    let after = attest(&mut attestor, 5);
    assert!(before.is_some() && after.is_some() && before != after);
    let mut effects = Vec::new();
    attestor.outdated(node(1), &mut effects);
    assert!(matches!(effects[..], [Effect::Save(Change::DeleteResult(_))]));
    assert_eq!(attestor.pending(), 0);
}

#[test]
fn nothing_is_revealed_while_the_chain_is_set_back_before_its_epoch() {
    let mut attestor = Attestor::load(vec![result(2, 3)], None);
    assert!(!block(&mut attestor, 4, EpochPhase::Commit).is_empty());
    // A restart, which does not know whether the commitment is mined.
    let stored = attestor.current().cloned();
    let mut attestor = Attestor::load(vec![result(2, 3)], stored);
    assert!(block(&mut attestor, 3, EpochPhase::Reveal).is_empty());
    let reveals = |effect: &Effect| {
        matches!(effect, Effect::Submit(Intent::Validators(ValidatorsCall::Reveal { epoch: Epoch(4), .. })))
    };
    assert!(block(&mut attestor, 4, EpochPhase::Reveal).iter().any(reveals));
}

#[test]
fn a_result_that_the_chain_has_by_now_is_not_attested_once_more() {
    let mut world = World::new();
    world.join(1, 2, Conduct::Honest);
    while world.results.is_empty() {
        world.pass(1);
    }
    let proven = |gpu_count, current| ProvenRecord {
        class: lode_protocol::proof::ProofClassId(ProofClass::TINY.id.0),
        gpu_count,
        vram_gib: 0,
        walk_score: 10_000,
        gemm_score: 10_000,
        proven_epoch: world.epoch(),
        expiry_epoch: world.epoch().plus(TIMING.max_validity_epochs),
        registration: 1,
        current,
    };
    let (fewer, lapsed, same) = (proven(1, true), proven(2, false), proven(2, true));
    let facts = |proven| Facts { provider: Some(PROVIDER), proven: Some(proven) };
    for other in [fewer, lapsed] {
        world.give(Event::Facts { node: node(1), facts: facts(other) });
        assert!(world.results.contains_key(&node(1)));
    }
    world.give(Event::Facts { node: node(1), facts: facts(same) });
    assert!(world.results.is_empty());
}
