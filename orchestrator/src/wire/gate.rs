//! Messages of keys without a session, over HTTPS: how many of them are verified at all.
//!
//! A signature costs its sender nothing that it did not have before, and us a verification, another one for the description
//! in a hello, and one of our own for the answer. Over libp2p a handshake was paid for; over HTTPS nothing was. So what comes
//! there without a session is counted before a signature is looked at: by address (an IPv4 address or an IPv6 /64; loopback is
//! not counted so, a proxy may stand there), and all together. Nodes that the pool knows hold a reserve, each by its key: they
//! come back after a restart, all at once and from behind one address, whatever strangers do meanwhile. A stranger may claim
//! such a key, which is no secret; by that he uses up a reserve, and the node itself has the share of its address.
//!
//! What claims a session is verified without being counted, and when it was forged, that is counted for its address: from one
//! that has forged as much as it might have said, a session is worth no more than the reserve of its key.
//!
//! What is turned away here is a refusal as others are: the listener lets whoever is refused often wait for the answer
//! (`lode_program::listen`). That holds up who asks one after the other; this, who asks many times at once.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::{PoisonError, RwLock};
use std::time::Instant;

use lode_protocol::keys::PublicKey;
use lode_protocol::origin::Origin;

use crate::buckets::{Buckets, Pace};

/// Addresses of one generation.
const ORIGINS: usize = 16_384;
/// What a known key may say without a session beyond the shares of others: a beat that is told that there is none, a hello,
/// and both once more.
const RESERVE: Pace = Pace { per_second: 1, burst: 8 };
/// Known keys.
const KEYS: usize = 65_536;

/// Counts messages without a session.
#[derive(Debug)]
pub struct Gate {
    origins: Buckets<Origin>,
    all: Buckets<()>,
    forged: Buckets<Origin>,
    reserve: Buckets<PublicKey>,
    known: RwLock<HashSet<PublicKey>>,
}

impl Gate {
    /// `address`: what one address may say, `all`: all of them together. `known` are the keys of the pool's nodes.
    pub fn new(address: Pace, all: Pace, known: impl IntoIterator<Item = PublicKey>) -> Self {
        Gate {
            origins: Buckets::new(address, ORIGINS),
            all: Buckets::new(all, 1),
            forged: Buckets::new(address, ORIGINS),
            reserve: Buckets::new(RESERVE, KEYS),
            known: RwLock::new(known.into_iter().collect()),
        }
    }

    /// A node has a session: it is one of the pool's.
    pub fn know(&self, key: PublicKey) {
        if !self.is_known(&key) {
            let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
            if known.len() < KEYS {
                known.insert(key);
            }
        }
    }

    fn is_known(&self, key: &PublicKey) -> bool {
        self.known.read().unwrap_or_else(PoisonError::into_inner).contains(key)
    }

    /// Whether a message is looked at that claims the key of a node with a session.
    pub fn lets_session_in(&self, remote: Option<IpAddr>, claimed: &PublicKey, now: Instant) -> bool {
        let forges = counted(remote).is_some_and(|origin| self.forged.owes(&origin, now).is_some());
        !forges || self.reserve.take(*claimed, 1, now).is_ok()
    }

    /// Such a message was not signed with that key.
    pub fn was_forged(&self, remote: Option<IpAddr>, now: Instant) {
        if let Some(origin) = counted(remote) {
            self.forged.charge(origin, 1, now);
        }
    }

    /// Whether a message that claims this key, or can be read as none, is looked at.
    pub fn lets_in(&self, remote: Option<IpAddr>, claimed: Option<&PublicKey>, now: Instant) -> bool {
        let has_share = counted(remote).is_none_or(|origin| self.origins.take(origin, 1, now).is_ok());
        if has_share && self.all.take((), 1, now).is_ok() {
            return true;
        }
        claimed.is_some_and(|key| self.is_known(key) && self.reserve.take(*key, 1, now).is_ok())
    }
}

/// Where a message is counted.
fn counted(remote: Option<IpAddr>) -> Option<Origin> {
    remote.filter(|address| !address.to_canonical().is_loopback()).map(Origin::from)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const ADDRESS: Pace = Pace { per_second: 10, burst: 100 };
    const ALL: Pace = Pace { per_second: 1_000, burst: 4_000 };

    fn key(number: u32) -> PublicKey {
        let mut key = [2; 33];
        key[1..5].copy_from_slice(&number.to_be_bytes());
        PublicKey(key)
    }

    fn ip(number: u32) -> Option<IpAddr> {
        Some(IpAddr::V4((0x0a00_0000 + number).into()))
    }

    fn let_in(gate: &Gate, from: u32, count: u32, remote: Option<IpAddr>, now: Instant) -> usize {
        (from..from + count).filter(|number| gate.lets_in(remote, Some(&key(*number)), now)).count()
    }

    #[test]
    fn of_a_flood_of_one_address_a_hundred_are_verified_at_once_and_ten_a_second_then() {
        let (gate, start) = (Gate::new(ADDRESS, ALL, []), Instant::now());
        assert_eq!(let_in(&gate, 0, 5_000, ip(1), start), 100);
        assert_eq!(let_in(&gate, 5_000, 5_000, ip(1), start + Duration::from_secs(3)), 30);
        assert_eq!(let_in(&gate, 0, 50, ip(2), start), 50, "another address does not notice");
        let network: IpAddr = "2001:db8::1".parse().unwrap();
        let other: IpAddr = "2001:db8::ffff:2".parse().unwrap();
        assert_eq!(let_in(&gate, 0, 90, Some(network), start), 90);
        assert_eq!(let_in(&gate, 90, 90, Some(other), start), 10, "a /64 is one address");
    }

    #[test]
    fn all_addresses_together_have_no_more_than_all_may() {
        let (gate, start) = (Gate::new(ADDRESS, ALL, []), Instant::now());
        let verified: usize = (0..1_000).map(|number| let_in(&gate, 0, 10, ip(number), start)).sum();
        assert_eq!(verified, 4_000);
    }

    #[test]
    fn two_thousand_nodes_of_one_address_come_back_in_the_middle_of_a_flood() {
        let start = Instant::now();
        let gate = Gate::new(ADDRESS, ALL, (0..1_000).map(key));
        (1_000..2_000).for_each(|number| gate.know(key(number)));
        for remote in [ip(1), Some(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST))] {
            let_in(&gate, 10_000, 10_000, remote, start);
            // A beat that is told that there is no session, and a hello.
            assert_eq!(let_in(&gate, 0, 2_000, remote, start), 2_000);
            assert_eq!(let_in(&gate, 0, 2_000, remote, start), 2_000);
            assert_eq!(let_in(&gate, 20_000, 10, remote, start), 0, "nobody else has a reserve");
        }
    }

    #[test]
    fn who_forges_beats_of_sessions_is_held_to_what_its_address_may_say_and_no_session_elsewhere_notices() {
        let (gate, start) = (Gate::new(ADDRESS, ALL, []), Instant::now());
        let mut verified = 0;
        for number in 0..5_000 {
            if gate.lets_session_in(ip(1), &key(number % 10), start) {
                gate.was_forged(ip(1), start);
                verified += 1;
            }
        }
        // What the address may say, one more that shows it, and the reserves of ten keys.
        assert!((100..=181).contains(&verified), "{verified}");
        assert!((0..1_000).all(|_| gate.lets_session_in(ip(2), &key(1), start)), "another address");
        let later = start + Duration::from_secs(60);
        assert!((0..1_000).all(|_| gate.lets_session_in(ip(1), &key(1), later)), "and in the end the same");
    }

    #[test]
    fn who_claims_the_key_of_a_node_uses_its_reserve_and_not_the_share_of_its_address() {
        let (gate, start) = (Gate::new(ADDRESS, ALL, [key(1)]), Instant::now());
        let claimed = (0..5_000).filter(|_| gate.lets_in(ip(1), Some(&key(1)), start)).count();
        assert_eq!(claimed, 108);
        assert!(gate.lets_in(ip(2), Some(&key(1)), start), "the node itself comes from elsewhere");
    }
}
