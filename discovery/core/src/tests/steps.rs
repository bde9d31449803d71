//! What becomes of publications.

use super::*;

#[test]
fn a_publication_is_listed_when_the_chain_vouches_and_acknowledged_when_it_is_durable() {
    let mut bench = Bench::new();
    bench.vouch(1, 9);
    let request = bench.publish(1, &Says::default()).unwrap();
    assert!(bench.listed().is_empty(), "nobody vouches for it yet");
    bench.answer_chain();
    assert_eq!(bench.listed(), BTreeSet::from([node(1)]));
    assert!(bench.answers.is_empty(), "it is not durable yet");
    bench.keep();
    assert_eq!(bench.answers[&request], Ok(()));
    assert_eq!(bench.disk[&node(1)].0, provider(9));
}

#[test]
fn whoever_the_chain_does_not_know_or_whose_stake_is_short_is_refused_and_nothing_is_kept() {
    let mut bench = Bench::new();
    let unknown = bench.publish(1, &Says::default()).unwrap();
    bench.answer_chain();
    bench.chain.insert(node(2), ChainWord::NotEligible(provider(9)));
    let short = bench.publish(2, &Says::default()).unwrap();
    bench.answer_chain();
    assert_eq!(bench.answers[&unknown], Err(Rejected::NotRegistered(node(1))));
    assert_eq!(bench.answers[&short], Err(Rejected::NotEligible(node(2))));
    assert_eq!((bench.core.listing().count_known(), bench.saves.len()), (0, 0));
}

#[test]
fn a_chain_that_does_not_answer_is_no_refusal_and_delists_nobody() {
    let mut bench = Bench::new();
    bench.vouch(1, 9);
    bench.publish(1, &Says::default()).unwrap();
    bench.settle();
    let stranger = bench.publish(2, &Says::default()).unwrap();
    bench.give(Event::ChainMoved(Moved::Everything)).unwrap();
    while let Some((question, _)) = bench.questions.pop() {
        bench.give(Event::ChainSilent { question, message: "timeout".to_owned() }).unwrap();
    }
    assert_eq!(bench.answers[&stranger], Err(Rejected::ChainUnknown("timeout".to_owned())));
    assert_eq!(bench.listed(), BTreeSet::from([node(1)]));
    assert!(bench.questions.is_empty(), "it is not asked without pause");
    bench.pass(Millis::seconds(2));
    assert_eq!(bench.questions.len(), 1, "known nodes are asked about again");
}

#[test]
fn an_answer_from_before_the_chain_moved_does_not_count() {
    for moved in [
        Moved::Everything,
        Moved::These { nodes: vec![node(1)], providers: Vec::new() },
        Moved::These { nodes: Vec::new(), providers: vec![provider(9)] },
    ] {
        let mut bench = Bench::new();
        bench.vouch(1, 9);
        let request = bench.publish(1, &Says::default()).unwrap();
        let (question, nodes) = bench.questions.remove(0);
        let said = bench.what_it_says(&nodes);
        bench.chain.clear();
        bench.give(Event::ChainMoved(moved.clone())).unwrap();
        bench.give(Event::ChainAnswered { question, said }).unwrap();
        assert!(bench.listed().is_empty() && bench.answers.is_empty(), "{moved:?}");
        bench.answer_chain();
        assert_eq!(bench.answers[&request], Err(Rejected::NotRegistered(node(1))), "{moved:?}");
    }
    // What happens to others does not matter.
    let mut bench = Bench::new();
    bench.vouch(1, 9);
    bench.publish(1, &Says::default()).unwrap();
    bench
        .give(Event::ChainMoved(Moved::These { nodes: vec![node(2)], providers: vec![provider(8)] }))
        .unwrap();
    bench.answer_chain();
    assert_eq!(bench.listed(), BTreeSet::from([node(1)]));
}

#[test]
fn a_removal_that_is_undone_lists_the_node_again_without_a_word_from_it() {
    let mut bench = Bench::new();
    bench.vouch(1, 9);
    bench.publish(1, &Says::default()).unwrap();
    bench.settle();
    let word = bench.chain.remove(&node(1)).unwrap();
    bench
        .give(Event::ChainMoved(Moved::These { nodes: vec![node(1)], providers: vec![provider(9)] }))
        .unwrap();
    bench.settle();
    assert!(bench.listed().is_empty() && bench.disk.contains_key(&node(1)));
    bench.chain.insert(node(1), word);
    bench.give(Event::ChainMoved(Moved::Everything)).unwrap();
    bench.settle();
    assert_eq!(bench.listed(), BTreeSet::from([node(1)]));
}

#[test]
fn a_listed_node_that_the_chain_is_followed_for_is_not_asked_about_again() {
    let mut bench = Bench::new();
    bench.vouch(1, 9);
    bench.publish(1, &Says::default()).unwrap();
    bench.settle();
    bench.publish(1, &Says { version: (1, 2), ..Says::default() }).unwrap();
    assert!(bench.questions.is_empty());
    // Before the chain is followed, the stored word is not enough.
    let mut bench = Bench::with(&settings());
    let descriptor = Box::new(described(1, START, &Says::default()));
    bench.give(Event::Loaded { descriptor, provider: provider(9) }).unwrap();
    assert_eq!(bench.listed(), BTreeSet::from([node(1)]));
    bench.publish(1, &Says { version: (1, 2), ..Says::default() }).unwrap();
    assert_eq!(bench.questions.len(), 1);
}

#[test]
fn the_same_publication_again_changes_nothing_and_waits_for_the_same_write() {
    let mut bench = Bench::new();
    bench.vouch(1, 9);
    let descriptor = described(1, START, &Says::default());
    let first = bench.publish_again(descriptor.clone()).unwrap();
    bench.answer_chain();
    let cursor = bench.cursor();
    let second = bench.publish_again(descriptor.clone()).unwrap();
    assert_eq!((bench.saves.len(), bench.questions.len(), bench.answers.len()), (1, 0, 0));
    bench.keep();
    assert!(bench.answers[&first].is_ok() && bench.answers[&second].is_ok());
    let third = bench.publish_again(descriptor).unwrap();
    assert!(bench.answers[&third].is_ok() && bench.saves.is_empty());
    assert_eq!(bench.cursor(), cursor);
    // The same version with another content is not the same.
    let other = bench.publish(1, &Says { gpus: 2, ..Says::default() }).unwrap_err();
    assert_eq!(other, Rejected::Stale { boot: 1, sequence: 1 });
}

#[test]
fn what_could_not_be_stored_is_refused_and_stored_later_by_itself_or_by_the_same_again() {
    let mut bench = Bench::new();
    bench.vouch(1, 9);
    let descriptor = described(1, START, &Says::default());
    let request = bench.publish_again(descriptor.clone()).unwrap();
    bench.answer_chain();
    bench.fail();
    assert_eq!(bench.answers[&request], Err(Rejected::NotStored("the disk is full".to_owned())));
    assert!(bench.saves.is_empty());
    bench.pass(Millis::seconds(2));
    assert_eq!(bench.saves.len(), 1, "it is tried again");
    bench.fail();
    let again = bench.publish_again(descriptor).unwrap();
    bench.keep();
    assert_eq!(bench.answers[&again], Ok(()));
    assert!(bench.disk.contains_key(&node(1)));
    bench.pass(Millis::seconds(10));
    assert!(bench.saves.is_empty(), "it is stored once");
}

#[test]
fn a_node_that_publishes_too_often_waits_and_its_refused_publications_cost_nothing() {
    let mut bench = Bench::new();
    bench.vouch(1, 9);
    for sequence in 1..=30 {
        bench.publish(1, &Says { version: (1, sequence), ..Says::default() }).unwrap();
        bench.settle();
    }
    let next = Says { version: (1, 31), ..Says::default() };
    let retry_after = Millis::seconds(2);
    for _ in 0..3 {
        assert_eq!(bench.publish(1, &next).unwrap_err(), Rejected::TooOften { retry_after });
    }
    bench.vouch(2, 9);
    bench.publish(2, &Says::default()).unwrap();
    bench.pass(retry_after);
    bench.publish(1, &next).unwrap();
}

#[test]
fn whoever_repeats_what_is_listed_keeps_its_node_from_nothing() {
    let mut bench = Bench::new();
    bench.vouch(1, 9);
    let says = |sequence| Says { version: (1, sequence), ..Says::default() };
    let listed = described(1, bench.now.wall, &says(1));
    bench.publish_again(listed.clone()).unwrap();
    bench.settle();
    for _ in 0..30 {
        bench.publish_again(listed.clone()).unwrap();
    }
    let retry_after = Millis::seconds(2);
    assert_eq!(bench.publish_again(listed).unwrap_err(), Rejected::TooOften { retry_after });
    bench.publish(1, &says(2)).unwrap();
}

#[test]
fn a_full_directory_makes_room_from_those_aside_and_refuses_otherwise() {
    let mut bench = Bench::with(&Settings { nodes: 2, ..settings() });
    bench.give(Event::ChainMoved(Moved::Everything)).unwrap();
    for number in 1..=3 {
        bench.vouch(number, number);
    }
    for number in [1, 2] {
        bench.publish(number, &Says::default()).unwrap();
        bench.settle();
    }
    assert_eq!(bench.publish(3, &Says::default()).unwrap_err(), Rejected::Full);
    bench.chain.remove(&node(1));
    bench.give(Event::ChainMoved(Moved::These { nodes: vec![node(1)], providers: Vec::new() })).unwrap();
    bench.settle();
    bench.publish(3, &Says::default()).unwrap();
    bench.settle();
    assert_eq!(bench.listed(), BTreeSet::from([node(2), node(3)]));
    assert_eq!(bench.disk.keys().copied().collect::<BTreeSet<_>>(), bench.listed());
}

#[test]
fn descriptors_leave_list_and_disk_when_they_expire_and_one_that_waited_too_long_is_refused() {
    let mut bench = Bench::new();
    bench.vouch(1, 9);
    let says = Says { lifetime: Millis::seconds(10), ..Says::default() };
    bench.publish(1, &says).unwrap();
    bench.settle();
    bench.pass(Millis(9_999));
    assert_eq!(bench.listed().len(), 1);
    bench.pass(Millis(1));
    bench.settle();
    assert!(bench.listed().is_empty() && bench.disk.is_empty());
    let waited = bench.publish(1, &Says { version: (1, 2), ..says }).unwrap();
    bench.pass(Millis::seconds(10));
    bench.answer_chain();
    assert!(matches!(bench.answers[&waited], Err(Rejected::Expired { .. })));
    let expired =
        described(1, START, &Says { version: (1, 3), lifetime: Millis::seconds(1), ..Says::default() });
    assert!(matches!(bench.publish_again(expired).unwrap_err(), Rejected::Expired { .. }));
}

#[test]
fn the_chain_is_asked_about_a_stranger_once_a_minute_however_often_it_publishes() {
    let mut bench = Bench::new();
    bench.publish(1, &Says::default()).unwrap();
    bench.answer_chain();
    for sequence in 2..=500 {
        let again = bench.publish(1, &Says { version: (1, sequence), ..Says::default() });
        assert_eq!(again.unwrap_err(), Rejected::NotRegistered(node(1)));
    }
    assert!(bench.questions.is_empty());
    bench.pass(MINUTE);
    bench.publish(1, &Says { version: (1, 501), ..Says::default() }).unwrap();
    assert_eq!(bench.questions.len(), 1);
}

#[test]
fn who_is_registered_or_whose_stake_grows_is_listed_at_once_whatever_the_chain_said_before() {
    for moved in [
        Moved::Everything,
        Moved::These { nodes: vec![node(1)], providers: Vec::new() },
        Moved::These { nodes: Vec::new(), providers: vec![provider(9)] },
    ] {
        let mut bench = Bench::new();
        bench.chain.insert(node(1), ChainWord::NotEligible(provider(9)));
        bench.publish(1, &Says::default()).unwrap();
        bench.answer_chain();
        let again = bench.publish(1, &Says { version: (1, 2), ..Says::default() });
        assert_eq!(again.unwrap_err(), Rejected::NotEligible(node(1)));
        bench.vouch(1, 9);
        bench.give(Event::ChainMoved(moved.clone())).unwrap();
        bench.publish(1, &Says { version: (1, 3), ..Says::default() }).unwrap();
        bench.settle();
        assert_eq!(bench.listed(), BTreeSet::from([node(1)]), "{moved:?}");
    }
}
