//! Keys that the chain was asked about, and what it said: aged, bounded, and all that is kept of a stranger.
//!
//! A key costs its sender nothing, so that there is no end of keys. Of each about sixty bytes are kept for a minute, so
//! that the chain is asked about it once in that time. When all places are taken, the oldest gives way, and nothing is lost
//! but that its next hello asks again. What one address may have asked in a minute is counted apart from the keys, so that
//! one that gave way has cost its address a question all the same; only one that the chain knows gives it back. Keys that
//! the chain knows cost stake: they are in a table of their own, where no stranger displaces them.

use std::collections::{BTreeMap, VecDeque};

use lode_protocol::ids::NodeId;
use lode_protocol::origin::Origin;
use lode_protocol::units::Millis;

use crate::config::Limits;

/// Between two questions about one key.
pub(crate) const ASKED_AGAIN: Millis = Millis::seconds(60);
/// Addresses whose questions are counted: about half a megabyte. Whoever has more of them has that many shares anyway.
const MOST_ORIGINS: usize = 16_384;
/// How long a registered key may take to say hello again.
const REGISTERED: Millis = Millis::seconds(600);

/// What a stranger's hello amounts to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Greeting {
    /// The chain is to be asked.
    Ask,
    /// The chain was asked and has not answered.
    Asked,
    /// The chain has said that it does not know the key.
    Unregistered,
    /// There are too many of its address.
    TooMany,
}

#[derive(Clone, Copy, Debug)]
struct Stranger {
    asked: Seconds,
    origin: Option<Origin>,
    answered: bool,
}

/// On the monotonic clock. Four bytes are enough.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Seconds(u32);

/// All of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Strangers {
    known: BTreeMap<NodeId, Stranger>,
    /// By age. What was forgotten or came again may still stand here.
    order: VecDeque<(Seconds, NodeId)>,
    /// What each address has had asked since its minute began.
    origins: BTreeMap<Origin, u32>,
    /// When the minute of each address began, by age.
    origin_order: VecDeque<(Seconds, Origin)>,
    registered: BTreeMap<NodeId, Seconds>,
    /// By age. What was forgotten may still stand here.
    registered_order: VecDeque<(Seconds, NodeId)>,
}

impl Strangers {
    /// Whether the chain has said lately that it knows the key.
    pub(crate) fn is_registered(&self, id: &NodeId) -> bool {
        self.registered.contains_key(id)
    }

    /// A stranger says hello.
    pub(crate) fn greet(
        &mut self,
        id: NodeId,
        origin: Option<Origin>,
        now: Millis,
        limits: &Limits,
    ) -> Greeting {
        let now = Seconds::of(now);
        self.age(now);
        if let Some(known) = self.known.get(&id) {
            return if known.answered { Greeting::Unregistered } else { Greeting::Asked };
        }
        if let Some(origin) = origin
            && !self.count_ask(origin, now, limits)
        {
            return Greeting::TooMany;
        }
        while self.known.len() >= places(limits) {
            let Some((asked, oldest)) = self.order.pop_front() else { break };
            self.give_way(asked, &oldest);
        }
        self.known.insert(id, Stranger { asked: now, origin, answered: false });
        self.order.push_back((now, id));
        Greeting::Ask
    }

    /// The chain has answered. What it says of a key that gave way meanwhile counts as well.
    pub(crate) fn answered(&mut self, id: NodeId, registered: bool, now: Millis, limits: &Limits) {
        let now = Seconds::of(now);
        self.age(now);
        if !registered {
            self.registered.remove(&id);
            if let Some(known) = self.known.get_mut(&id) {
                known.answered = true;
            }
            return;
        }
        // It costs stake: a whole fleet may come from one address.
        if let Some(origin) = self.known.remove(&id).and_then(|known| known.origin)
            && let Some(asks) = self.origins.get_mut(&origin)
        {
            *asks = asks.saturating_sub(1);
        }
        if self.registered.contains_key(&id) {
            return;
        }
        while self.registered.len() >= places(limits) {
            let Some((since, oldest)) = self.registered_order.pop_front() else { break };
            self.registered_gives_way(since, &oldest);
        }
        self.registered.insert(id, now);
        self.registered_order.push_back((now, id));
    }

    /// It is a stranger no longer.
    pub(crate) fn forget(&mut self, id: &NodeId) {
        self.known.remove(id);
        self.registered.remove(id);
    }

    /// Counts a question of an address, if it has one left.
    fn count_ask(&mut self, origin: Origin, now: Seconds, limits: &Limits) -> bool {
        if let Some(asks) = self.origins.get_mut(&origin) {
            let may = *asks < limits.unregistered_per_address.max(1);
            *asks = asks.saturating_add(u32::from(may));
            return may;
        }
        while self.origins.len() >= MOST_ORIGINS {
            let Some((_, oldest)) = self.origin_order.pop_front() else { break };
            self.origins.remove(&oldest);
        }
        self.origins.insert(origin, 1);
        self.origin_order.push_back((now, origin));
        true
    }

    /// Forgets a stranger, unless it was asked about again since this time.
    fn give_way(&mut self, asked: Seconds, id: &NodeId) {
        if self.known.get(id).is_some_and(|known| known.asked == asked) {
            self.known.remove(id);
        }
    }

    /// The same for a registered key.
    fn registered_gives_way(&mut self, since: Seconds, id: &NodeId) {
        if self.registered.get(id) == Some(&since) {
            self.registered.remove(id);
        }
    }

    fn age(&mut self, now: Seconds) {
        while let Some((asked, id)) = self.order.front().copied()
            && asked.is_over(ASKED_AGAIN, now)
        {
            self.order.pop_front();
            self.give_way(asked, &id);
        }
        while let Some((since, origin)) = self.origin_order.front().copied()
            && since.is_over(ASKED_AGAIN, now)
        {
            self.origin_order.pop_front();
            self.origins.remove(&origin);
        }
        while let Some((since, id)) = self.registered_order.front().copied()
            && since.is_over(REGISTERED, now)
        {
            self.registered_order.pop_front();
            self.registered_gives_way(since, &id);
        }
    }
}

fn places(limits: &Limits) -> usize {
    usize::try_from(limits.unregistered.max(1)).unwrap_or(usize::MAX)
}

impl Seconds {
    fn of(time: Millis) -> Self {
        Seconds(u32::try_from(time.0 / 1_000).unwrap_or(u32::MAX))
    }

    /// A second more than the span, because both ends were rounded down.
    fn is_over(self, span: Millis, now: Seconds) -> bool {
        u64::from(now.0.saturating_sub(self.0)) > span.0 / 1_000
    }
}

#[cfg(test)]
mod tests {
    use lode_protocol::ids::Address;

    use super::*;

    fn node(number: u32) -> NodeId {
        let mut address = [0; 20];
        address[..4].copy_from_slice(&number.to_be_bytes());
        NodeId(Address(address))
    }

    fn origin(number: u8) -> Option<Origin> {
        Some(Origin([number; 8]))
    }

    const LIMITS: fn() -> Limits =
        || Limits { unregistered: 100, unregistered_per_address: 10, ..Limits::default() };

    #[test]
    fn forty_bytes_are_kept_of_a_stranger_and_a_place_in_the_order() {
        assert!(size_of::<NodeId>() + size_of::<Stranger>() <= 40);
        assert!(size_of::<(Seconds, NodeId)>() <= 24);
    }

    #[test]
    fn any_number_of_keys_from_any_number_of_addresses_takes_the_same_room() {
        let mut strangers = Strangers::default();
        for number in 0..100_000_u32 {
            let now = Millis(u64::from(number) * 3);
            let from = Some(Origin(u64::from(number / 7).to_be_bytes()));
            assert_eq!(strangers.greet(node(number), from, now, &LIMITS()), Greeting::Ask);
        }
        assert_eq!(strangers.known.len(), 100);
        assert!(strangers.order.len() <= 100);
        assert!(strangers.origins.len() <= MOST_ORIGINS);
        assert_eq!(strangers.origins.len(), strangers.origin_order.len());
    }

    #[test]
    fn one_address_has_its_own_share_and_gets_it_back_after_a_minute() {
        let mut strangers = Strangers::default();
        let greet = |strangers: &mut Strangers, number, from, at| {
            strangers.greet(node(number), origin(from), Millis::seconds(at), &LIMITS())
        };
        for number in 0..10 {
            assert_eq!(greet(&mut strangers, number, 1, 5), Greeting::Ask);
        }
        assert_eq!(greet(&mut strangers, 10, 1, 5), Greeting::TooMany);
        assert_eq!(greet(&mut strangers, 11, 2, 5), Greeting::Ask, "other addresses do not notice");
        assert_eq!(greet(&mut strangers, 3, 1, 60), Greeting::Asked);
        strangers.answered(node(3), false, Millis::seconds(60), &LIMITS());
        assert_eq!(greet(&mut strangers, 3, 1, 61), Greeting::Unregistered);
        assert_eq!(greet(&mut strangers, 3, 1, 66), Greeting::Ask);
        assert_eq!(strangers.known.len(), 1, "what is older than a minute is gone");
    }

    #[test]
    fn displaced_keys_cost_their_addresses_as_many_questions_as_others() {
        let mut strangers = Strangers::default();
        // 640 keys of 64 addresses, which bring all of theirs every second; there is room for a hundred.
        let asked_in = |strangers: &mut Strangers, second: u64| {
            let asks = |number: &u32| {
                let from = origin(u8::try_from(number % 64).unwrap());
                strangers.greet(node(*number), from, Millis::seconds(second), &LIMITS()) == Greeting::Ask
            };
            (0..640).filter(asks).count()
        };
        assert_eq!(asked_in(&mut strangers, 0), 640);
        for second in 1..=60 {
            assert_eq!(asked_in(&mut strangers, second), 0, "at {second} s");
        }
        assert_eq!(asked_in(&mut strangers, 61), 640);
    }

    #[test]
    fn any_number_of_addresses_is_counted_in_bounded_room() {
        let mut strangers = Strangers::default();
        for number in 0..50_000_u32 {
            let from = Some(Origin(u64::from(number).to_be_bytes()));
            assert_eq!(strangers.greet(node(number), from, Millis(0), &LIMITS()), Greeting::Ask);
        }
        assert_eq!(strangers.origins.len(), MOST_ORIGINS);
        assert_eq!(strangers.origin_order.len(), MOST_ORIGINS);
    }

    #[test]
    fn registered_keys_cost_their_address_nothing() {
        let mut strangers = Strangers::default();
        for number in 0..50 {
            assert_eq!(strangers.greet(node(number), origin(1), Millis(0), &LIMITS()), Greeting::Ask);
            strangers.answered(node(number), true, Millis(0), &LIMITS());
        }
        assert_eq!(strangers.registered.len(), 50);
    }

    #[test]
    fn an_answer_that_comes_again_takes_no_further_room_and_an_old_row_drops_no_fresh_entry() {
        let limits = Limits { unregistered: 2, ..LIMITS() };
        let mut strangers = Strangers::default();
        for second in 0..500 {
            strangers.answered(node(1), true, Millis::seconds(second), &limits);
        }
        assert_eq!(strangers.registered_order.len(), 1);
        strangers.answered(node(1), false, Millis::seconds(500), &limits);
        strangers.answered(node(2), true, Millis::seconds(501), &limits);
        strangers.answered(node(1), true, Millis::seconds(502), &limits);
        strangers.answered(node(3), true, Millis::seconds(503), &limits);
        assert!(strangers.is_registered(&node(1)), "only its first row was the oldest");
        assert!(!strangers.is_registered(&node(2)));
        assert!(strangers.is_registered(&node(3)));
    }

    #[test]
    fn who_is_registered_is_not_displaced_by_who_is_not() {
        let mut strangers = Strangers::default();
        assert_eq!(strangers.greet(node(1), origin(1), Millis(0), &LIMITS()), Greeting::Ask);
        for number in 2..1_000 {
            strangers.greet(node(number), None, Millis(5), &LIMITS());
        }
        assert!(!strangers.known.contains_key(&node(1)));
        strangers.answered(node(1), true, Millis(10), &LIMITS());
        for number in 1_000..2_000 {
            strangers.greet(node(number), None, Millis(15), &LIMITS());
            strangers.answered(node(number), false, Millis(15), &LIMITS());
        }
        assert!(strangers.is_registered(&node(1)));
        strangers.forget(&node(1));
        assert!(!strangers.is_registered(&node(1)));
    }
}
