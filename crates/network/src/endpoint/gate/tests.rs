//! Who gives way, without sockets.

use std::net::Ipv4Addr;

use super::*;

struct Bench {
    gate: Arc<Gate>,
    regulars: Arc<Regulars>,
    here: Vec<(u32, Ticket, AbortRegistration)>,
    now: Instant,
}

fn ip(number: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from_bits(number))
}

impl Bench {
    fn new(handshakes: usize, handshakes_per_network: usize) -> Self {
        let limits = StrangerLimits { handshakes, handshakes_per_network, ..StrangerLimits::default() };
        let regulars = Arc::new(Regulars::new(100));
        let gate = Gate::new(&limits, Arc::clone(&regulars), NetworkMetrics::default());
        Self { gate, regulars, here: Vec::new(), now: Instant::now() }
    }

    /// When those who are here have had their time.
    fn enter(&mut self, address: u32) -> bool {
        self.now += LEAST_AGE;
        self.enter_now(address)
    }

    fn enter_now(&mut self, address: u32) -> bool {
        let entered = self.gate.enter(Some(ip(address)), self.now);
        let is_in = entered.is_some();
        self.here.extend(entered.map(|(ticket, registration, _)| (address, ticket, registration)));
        is_in
    }

    /// Who is still there, as the gate sees it.
    fn staying(&self) -> Vec<u32> {
        let under_way = self.gate.under_way();
        let stays = |ticket: &Ticket| under_way.all.contains_key(&ticket.number);
        self.here.iter().filter(|(_, ticket, _)| stays(ticket)).map(|(address, ..)| *address).collect()
    }

    fn is_ended(&self, address: u32) -> bool {
        self.here
            .iter()
            .any(|(other, _, registration)| *other == address && registration.handle().is_aborted())
    }
}

#[test]
fn silent_handshakes_give_way_to_a_newcomer_the_oldest_first() {
    let mut bench = Bench::new(3, 3);
    for network in 1..=5 {
        assert!(bench.enter(network << 8), "nobody is refused because others are silent");
    }
    assert_eq!(bench.staying(), [3 << 8, 4 << 8, 5 << 8]);
    assert!(bench.is_ended(1 << 8) && bench.is_ended(2 << 8) && !bench.is_ended(3 << 8));
}

#[test]
fn a_network_that_floods_displaces_its_own() {
    let mut bench = Bench::new(10, 2);
    assert!(bench.enter(1 << 8));
    for host in 0..200 {
        assert!(bench.enter(2 << 8 | host));
    }
    assert_eq!(bench.staying(), [1 << 8, 2 << 8 | 198, 2 << 8 | 199]);
}

#[test]
fn addresses_of_peers_with_standing_give_way_to_no_stranger() {
    let mut bench = Bench::new(2, 2);
    for known in [1 << 8, 2 << 8, 3 << 8] {
        bench.regulars.remember(Origin::from(ip(known)));
    }
    assert!(bench.enter(1 << 8));
    for stranger in 10..100 {
        assert!(bench.enter(stranger << 8));
    }
    assert_eq!(bench.staying(), [1 << 8, 99 << 8]);
    assert!(bench.enter(2 << 8), "a known one displaces a stranger");
    assert_eq!(bench.staying(), [1 << 8, 2 << 8]);
    assert!(!bench.enter(100 << 8), "all places are held by known ones");
    assert!(bench.enter(3 << 8), "of which the oldest gives way to another one");
    assert_eq!(bench.staying(), [2 << 8, 3 << 8]);
}

#[test]
fn whoever_has_just_come_gives_way_to_no_stranger_however_fast_they_dial() {
    let mut bench = Bench::new(2, 2);
    for known in [8 << 8, 9 << 8] {
        bench.regulars.remember(Origin::from(ip(known)));
    }
    assert!(bench.enter_now(1 << 8) && bench.enter_now(2 << 8));
    for stranger in 10..100 {
        assert!(!bench.enter_now(stranger << 8), "{stranger} came too soon");
    }
    assert!(bench.enter_now(8 << 8), "a known one does not have to wait for a stranger's time");
    assert!(bench.enter_now(9 << 8));
    assert_eq!(bench.staying(), [8 << 8, 9 << 8]);
    assert!(!bench.enter_now(8 << 8), "but for that of another one");
    assert!(bench.enter(8 << 8));
    assert_eq!(bench.staying(), [9 << 8, 8 << 8]);
}

#[test]
fn a_handshake_that_ends_frees_its_place() {
    let mut bench = Bench::new(2, 1);
    for network in 1..=2 {
        assert!(bench.enter(network << 8));
    }
    bench.here.remove(0);
    assert!(bench.enter(3 << 8));
    assert_eq!(bench.staying(), [2 << 8, 3 << 8]);
    bench.here.clear();
    let under_way = bench.gate.under_way();
    assert!(under_way.all.is_empty() && under_way.networks.is_empty());
}

#[test]
fn a_network_that_begins_too_many_waits_and_others_and_known_addresses_do_not() {
    let limits =
        StrangerLimits { handshakes_per_network: 2, handshakes_per_second: 10, ..StrangerLimits::default() };
    let regulars = Arc::new(Regulars::new(100));
    let gate = Gate::new(&limits, Arc::clone(&regulars), NetworkMetrics::default());
    let now = Instant::now();
    // Each ends at once.
    let wait = |host: u32| gate.enter(Some(ip(host)), now).map(|(_, _, wait)| wait.as_millis());
    let waits: Vec<_> = (0..5).map(|host| wait(1 << 8 | host)).collect();
    assert_eq!(waits, [Some(0), Some(0), Some(100), Some(200), Some(300)]);
    assert_eq!(wait(2 << 8), Some(0));
    regulars.remember(Origin::from(ip(1 << 8 | 9)));
    assert_eq!(wait(1 << 8 | 9), Some(0));
}
