//! The short run of the target `sessions`.

use proptest::collection::vec;
use proptest::prelude::any;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::*;

/// The same runs every time: a fixed seed. Longer and other ones are `scripts/soak fuzz`'s.
#[test]
fn strangers_change_nothing_and_nodes_move_only_their_own_in_whatever_order_they_speak() {
    let config = Config { cases: 300, failure_persistence: None, ..Config::default() };
    let seed = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(config, seed);
    let ran = runner.run(&vec(any::<u8>(), 0..STEP * 80), |bytes| {
        sessions(&bytes);
        Ok(())
    });
    ran.expect("the invariants hold");
}

#[test]
fn the_pool_of_the_target_is_one_in_which_something_can_be_moved() {
    let mut pool = Pool::new();
    let count =
        |pool: &Pool, state| pool.core.assignments.values().filter(|known| known.state == state).count();
    assert_eq!(count(&pool, AssignmentState::Running), 0);
    for _ in 0..3 {
        pool.wait(4_000);
        for number in 0..NODES {
            for own in 0..6 {
                pool.act(4, number, own << 3 | 3);
            }
        }
    }
    assert_eq!(count(&pool, AssignmentState::Running), 5, "all is placed, and runs when its node says so");
}

#[test]
fn the_committed_inputs_of_the_target_break_no_invariant() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/sessions");
    let mut inputs = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        sessions(&std::fs::read(entry.unwrap().path()).unwrap());
        inputs += 1;
    }
    assert!(inputs > 0);
}
