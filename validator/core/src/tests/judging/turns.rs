//! Whose books are looked at when, and what of those that nobody came to look at.

use super::*;

/// A root of a pool whose window closes so many seconds before the others'.
fn promise(pool: u64, sooner: u64) -> PostedRoot {
    let final_at = timestamp_of_seconds(BEGIN + VETO - sooner);
    PostedRoot { pool: PoolId(pool), final_at, ..posted(3) }
}

fn looked_at(bench: &Bench) -> Vec<u64> {
    let pool = |effect: &Effect| match effect {
        Effect::Audit(Matter::Root(root), _) => Some(root.pool.0),
        Effect::Audit(Matter::Redemption(request), _) => Some(request.pool.0),
        _ => None,
    };
    bench.done.iter().filter_map(pool).collect()
}

fn vetoed(bench: &Bench) -> Vec<u64> {
    let pool = |intent: &&Intent| match intent {
        Intent::Rewards(RewardsCall::VetoRoot { pool, .. }) => Some(pool.0),
        _ => None,
    };
    bench.submitted().iter().filter_map(pool).collect()
}

fn seen_of(bench: &mut Bench, promise: PostedRoot, audit: Audit) {
    bench.give(Event::Audited { matter: Matter::Root(promise), audit });
}

fn nobody_answers() -> Audit {
    Audit::Unavailable { message: "nobody answers".to_owned() }
}

#[test]
fn slow_pools_hide_no_root_what_nobody_came_to_look_at_is_vetoed() {
    let mut bench = Bench::new(None);
    // A hundred pools whose books never end, and a false root behind them.
    for pool in 1..=100 {
        root_posted(&mut bench, promise(pool, 1));
    }
    root_posted(&mut bench, promise(200, 0));
    for second in (1..VETO * 7 / 8 - 1).step_by(10) {
        bench.at(second);
    }
    assert_eq!(looked_at(&bench), [1, 2], "there are two turns, and nobody gives one back");
    assert!(vetoed(&bench).is_empty(), "there is time");
    bench.at(VETO * 7 / 8);
    assert!(vetoed(&bench).contains(&200), "no verdict is not a verdict");
    assert_eq!(vetoed(&bench).len(), 101, "nor is a look that does not end");
    // What comes of it then is too late to matter, and is no second veto.
    seen_of(&mut bench, promise(1, 1), Audit::Right);
    bench.at(VETO * 7 / 8 + 1);
    assert_eq!(vetoed(&bench).len(), 101);
}

#[test]
fn a_flood_of_unseen_roots_is_vetoed_in_parts_what_closes_first_goes_first() {
    let mut bench = Bench::new(None);
    for pool in 1..=300 {
        root_posted(&mut bench, promise(pool, 0));
    }
    root_posted(&mut bench, promise(900, 1));
    bench.at(1);
    bench.at(VETO * 7 / 8);
    assert_eq!(vetoed(&bench).len(), 256);
    assert_eq!(vetoed(&bench).first(), Some(&900));
    bench.at(VETO * 7 / 8 + 1);
    assert_eq!(vetoed(&bench).len(), 301);
}

#[test]
fn slow_pools_wait_for_everybody_elses_turn_before_they_have_another() {
    let mut bench = Bench::new(None);
    for pool in 1..=4 {
        root_posted(&mut bench, promise(pool, pool));
    }
    bench.at(1);
    assert_eq!(looked_at(&bench), [4, 3], "whose window closes first goes first");
    bench.at(20);
    seen_of(&mut bench, promise(4, 4), nobody_answers());
    assert_eq!(looked_at(&bench), [4, 3, 2], "a turn that is given back is taken at once");
    bench.at(40);
    root_posted(&mut bench, promise(9, 0));
    seen_of(&mut bench, promise(3, 3), nobody_answers());
    bench.at(60);
    seen_of(&mut bench, promise(2, 2), nobody_answers());
    assert_eq!(looked_at(&bench), [4, 3, 2, 1, 9], "a new pool goes before those that had a turn");
    bench.at(80);
    seen_of(&mut bench, promise(9, 0), Audit::Right);
    seen_of(&mut bench, promise(1, 1), nobody_answers());
    assert_eq!(looked_at(&bench), [4, 3, 2, 1, 9, 4, 3], "and then whoever has waited longest");
}

#[test]
fn the_first_look_is_short_and_whoever_could_not_be_seen_gets_all_the_time() {
    let mut bench = Bench::new(None);
    root_posted(&mut bench, promise(1, 0));
    bench.at(1);
    seen_of(&mut bench, promise(1, 0), nobody_answers());
    bench.at(100);
    let look = |effect: &Effect| match effect {
        Effect::Audit(_, look) => Some(*look),
        _ => None,
    };
    let looks: Vec<Look> = bench.done.iter().filter_map(look).collect();
    assert_eq!(looks, [Look::First, Look::Again]);
}

#[test]
fn one_pool_has_one_turn_however_many_redemptions_it_has() {
    let mut bench = Bench::new(None);
    let redeems = |bench: &mut Bench, pool: u64, payee: u8| {
        bench.logged(ChainEvent::Rewards(RewardsEvent::RedemptionRequested {
            pool: PoolId(pool),
            payee: Address([payee; 20]),
            node: node(1),
            epoch: Epoch(2),
            cumulative: Amount::tokens(5),
            amount: Amount::tokens(5),
            payable_at: timestamp_of_seconds(BEGIN + VETO),
        }));
    };
    for payee in 1..=50 {
        redeems(&mut bench, 1, payee);
    }
    redeems(&mut bench, 2, 1);
    root_posted(&mut bench, promise(1, 0));
    bench.at(1);
    bench.at(2);
    assert_eq!(looked_at(&bench), [1, 1, 2], "its root, one of its redemptions, and the other pool's");
}

#[test]
fn a_root_that_is_told_late_is_looked_at_before_it_counts_as_unseen() {
    for (seen, vetoes) in [(true, 0), (false, 1)] {
        let mut bench = Bench::new(None);
        // The validator starts when the window has almost closed.
        bench.at(VETO - 20);
        root_posted(&mut bench, posted(3));
        bench.at(VETO - 19);
        assert_eq!((looked_at(&bench), vetoed(&bench).len()), (vec![1], 0));
        if seen {
            audited(&mut bench, Audit::Right);
        }
        bench.at(VETO - 9);
        assert_eq!(vetoed(&bench).len(), vetoes);
    }
}

#[test]
fn what_was_found_right_is_not_vetoed_because_something_else_could_not_be_kept() {
    let mut bench = Bench::new(None);
    root_posted(&mut bench, posted(3));
    bench.at(1);
    audited(&mut bench, Audit::Right);
    bench.at(VETO - 5);
    bench.give(Event::NotSubmitted);
    bench.at(VETO - 1);
    assert_eq!((looked_at(&bench).len(), vetoed(&bench).len()), (1, 0));
}
