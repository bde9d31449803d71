//! Whatever happens, in whatever order, the invariants hold after every step.

use lode_protocol::directory::DirectoryChange;
use proptest::prelude::*;

use super::*;

/// What may happen next.
#[derive(Clone, Copy, Debug)]
enum Happening {
    Publish {
        number: u8,
        boot: u64,
        sequence: u64,
        seconds: u64,
    },
    /// The latest descriptor of a node, again.
    Repeat {
        number: u8,
    },
    /// The chain changes its mind about a node, and says so.
    Word {
        number: u8,
        by: u8,
        vouched: bool,
        told: bool,
    },
    /// Blocks are replaced: all that the chain did not tell is told.
    Everything,
    /// The chain answers, by what it said when it was asked or by what it says now.
    Answer {
        late: bool,
    },
    Silent,
    Keep,
    Fail,
    Pass {
        millis: u64,
    },
    /// An answer or a save that nobody waits for.
    Foreign {
        number: u64,
    },
    /// The program ends without a word and starts with what is on the disk.
    Crash,
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        4 => (1u8..6, 1u64..3, 1u64..5, 1u64..60).prop_map(|(number, boot, sequence, seconds)| {
            Happening::Publish { number, boot, sequence, seconds }
        }),
        1 => (1u8..6).prop_map(|number| Happening::Repeat { number }),
        3 => (1u8..6, 1u8..4, any::<bool>(), any::<bool>()).prop_map(|(number, by, vouched, told)| {
            Happening::Word { number, by, vouched, told }
        }),
        1 => Just(Happening::Everything),
        4 => any::<bool>().prop_map(|late| Happening::Answer { late }),
        1 => Just(Happening::Silent),
        4 => Just(Happening::Keep),
        1 => Just(Happening::Fail),
        2 => (1u64..20_000).prop_map(|millis| Happening::Pass { millis }),
        1 => (0u64..50).prop_map(|number| Happening::Foreign { number }),
        1 => Just(Happening::Crash),
    ]
}

struct World {
    bench: Bench,
    /// What the chain said when each question was asked.
    asked: BTreeMap<QuestionId, Vec<(NodeId, ChainWord)>>,
    /// Publications in flight: what they say.
    published: BTreeMap<RequestId, VerifiedDescriptor>,
    latest: BTreeMap<u8, VerifiedDescriptor>,
    /// All that was ever published: a newer one takes an older one's place, also if it ends sooner.
    ever: Vec<VerifiedDescriptor>,
    /// Nodes for which the chain may have refused to vouch since they published.
    doubted: BTreeSet<NodeId>,
    incarnation: u64,
    follower: BTreeMap<NodeId, (u64, u64)>,
    cursor: Cursor,
}

impl World {
    fn new() -> Self {
        let bench = Bench::new();
        let cursor = bench.cursor();
        World {
            bench,
            asked: BTreeMap::new(),
            published: BTreeMap::new(),
            latest: BTreeMap::new(),
            ever: Vec::new(),
            doubted: BTreeSet::new(),
            incarnation: settings().incarnation,
            follower: BTreeMap::new(),
            cursor,
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Publish { number, boot, sequence, seconds } => {
                let lifetime = Millis::seconds(seconds);
                let says = Says { version: (boot, sequence), lifetime, ..Says::default() };
                let descriptor = described(number, self.bench.now.wall, &says);
                self.latest.insert(number, descriptor.clone());
                self.ever.push(descriptor.clone());
                self.publish(descriptor);
            }
            Happening::Repeat { number } => {
                if let Some(descriptor) = self.latest.get(&number).cloned() {
                    self.publish(descriptor);
                }
            }
            Happening::Word { number, by, vouched, told } => {
                let by = provider(by);
                let word = if vouched { ChainWord::Vouched(by) } else { ChainWord::NotEligible(by) };
                self.bench.chain.insert(node(number), word);
                if !vouched {
                    self.doubted.insert(node(number));
                }
                if told {
                    let moved = Moved::These { nodes: vec![node(number)], providers: vec![by] };
                    self.bench.give(Event::ChainMoved(moved)).unwrap();
                }
            }
            Happening::Everything => {
                self.bench.give(Event::ChainMoved(Moved::Everything)).unwrap();
            }
            Happening::Answer { late } => {
                if self.bench.questions.is_empty() {
                    return;
                }
                let (question, nodes) = self.bench.questions.remove(0);
                let now = self.bench.what_it_says(&nodes);
                let said = if late { now } else { self.asked.get(&question).cloned().unwrap_or(now) };
                self.bench.give(Event::ChainAnswered { question, said }).unwrap();
            }
            Happening::Silent => {
                if self.bench.questions.is_empty() {
                    return;
                }
                let (question, _) = self.bench.questions.remove(0);
                self.bench.give(Event::ChainSilent { question, message: "silent".to_owned() }).unwrap();
            }
            Happening::Keep if !self.bench.saves.is_empty() => self.bench.keep(),
            Happening::Fail if !self.bench.saves.is_empty() => self.bench.fail(),
            Happening::Keep | Happening::Fail => {}
            Happening::Pass { millis } => self.bench.pass(Millis(millis)),
            Happening::Foreign { number } => self.foreign(number),
            Happening::Crash => self.crash(),
        }
        for (question, nodes) in &self.bench.questions {
            if !self.asked.contains_key(question) {
                self.asked.insert(*question, self.bench.what_it_says(nodes));
            }
        }
    }

    fn publish(&mut self, descriptor: VerifiedDescriptor) {
        // A question that is on its way may still bring an older word.
        let vouched = matches!(self.bench.chain.get(&descriptor.node()), Some(ChainWord::Vouched(_)));
        if vouched && self.bench.questions.is_empty() {
            self.doubted.remove(&descriptor.node());
        }
        let before = format!("{:?}", self.bench.core);
        match self.bench.publish_again(descriptor.clone()) {
            Ok(request) => drop(self.published.insert(request, descriptor)),
            Err(_) => assert_eq!(format!("{:?}", self.bench.core), before, "a refused event changes nothing"),
        }
    }

    /// Answers to questions of another run, or a second time.
    fn foreign(&mut self, number: u64) {
        let (question, save) = (QuestionId(number + 1_000_000), SaveId(number + 1_000_000));
        let before = self.bench.cursor();
        let said = vec![(node(1), ChainWord::NotRegistered)];
        self.bench.give(Event::ChainAnswered { question, said }).unwrap();
        self.bench.give(Event::ChainSilent { question, message: String::new() }).unwrap();
        self.bench.give(Event::Saved(save)).unwrap();
        assert_eq!(self.bench.cursor(), before);
    }

    fn crash(&mut self) {
        let disk = std::mem::take(&mut self.bench.disk);
        self.incarnation += 1;
        let mut next = Bench::with(&Settings { incarnation: self.incarnation, ..settings() });
        (next.now, next.requests) = (self.bench.now, self.bench.requests);
        next.chain = std::mem::take(&mut self.bench.chain);
        let realm = Realm { chain: ChainId(31_337), deployment: Address([5; 20]), pool: PoolId(1) };
        for (node, (provider, sealed)) in disk {
            // The driver drops rows that do not count any more.
            let Ok(descriptor) = open(&sealed, Scope::Deployment(realm), None, next.now.wall) else {
                continue;
            };
            match next.give(Event::Loaded { descriptor: Box::new(descriptor), provider }) {
                Ok(()) => drop(next.disk.insert(node, (provider, sealed))),
                Err(rejected) => assert!(matches!(rejected, Rejected::Expired { .. }), "{rejected}"),
            }
        }
        self.bench = next;
        self.asked.clear();
        self.published.clear();
        self.bench.give(Event::Tick).unwrap();
        self.bench.give(Event::ChainMoved(Moved::Everything)).unwrap();
    }

    fn check(&mut self, ticked: bool) {
        let listing = self.bench.core.listing();
        for (node, listed) in listing.after(None) {
            if ticked {
                assert!(listed.descriptor.expires_at() > self.bench.now.wall, "{node} has expired");
            }
        }
        // Acknowledged: what is on the disk is that or newer, or that or a newer one has expired, or the chain vouches
        // for its node no more.
        let answers = std::mem::take(&mut self.bench.answers);
        for (request, outcome) in answers {
            let Some(descriptor) = self.published.remove(&request) else { continue };
            if outcome.is_ok() && descriptor.expires_at() > self.bench.now.wall {
                let Some((_, sealed)) = self.bench.disk.get(&descriptor.node()) else {
                    let doubted = self.doubted.contains(&descriptor.node());
                    assert!(
                        doubted || self.newer_has_expired(&descriptor),
                        "an acknowledged publication is lost"
                    );
                    continue;
                };
                let kept = self.reads(sealed);
                assert!(kept >= descriptor.body().version(), "an acknowledged publication is not durable");
            }
        }
        self.follow();
        let listed: BTreeMap<NodeId, (u64, u64)> = self
            .bench
            .core
            .listing()
            .after(None)
            .map(|(node, listed)| (*node, numbers(listed.descriptor.body().version())))
            .collect();
        assert_eq!(self.follower, listed, "whoever follows knows what is listed");
    }

    fn newer_has_expired(&self, than: &VerifiedDescriptor) -> bool {
        self.ever.iter().any(|other| {
            other.node() == than.node()
                && other.body().version() > than.body().version()
                && other.expires_at() <= self.bench.now.wall
        })
    }

    fn reads(&self, sealed: &[u8]) -> (BootCounter, u64) {
        let of = self.latest.values().find(|descriptor| descriptor.sealed() == sealed);
        of.map_or_else(
            || {
                let body = lode_protocol::envelope::peek(sealed).unwrap();
                let realm = body.realm;
                open(sealed, Scope::Deployment(realm), None, body.issued_at).unwrap().body().version()
            },
            |descriptor| descriptor.body().version(),
        )
    }

    /// As a follower does: changes by cursor, two at a time, and everything when it has to.
    fn follow(&mut self) {
        let listing = self.bench.core.listing();
        loop {
            let page = listing.changes(Some(self.cursor), 2, ANY_BYTES);
            if page.resync {
                self.follower.clear();
                let mut after = None;
                loop {
                    let page = Query { after, limit: 2, ..Query::default() }.run(listing);
                    assert!(page.next.is_none() || page.next > after, "pages go up");
                    let entries = page.nodes.iter().map(|entry| (entry.node, (entry.boot.0, entry.sequence)));
                    self.follower.extend(entries);
                    self.cursor = page.cursor;
                    match page.next {
                        Some(next) => after = Some(next),
                        None => break,
                    }
                }
                continue;
            }
            assert!(page.cursor.position >= self.cursor.position, "the cursor goes up");
            for change in page.changes {
                match change {
                    DirectoryChange::Updated { entry } => {
                        self.follower.insert(entry.node, (entry.boot.0, entry.sequence));
                    }
                    DirectoryChange::Removed { node, .. } => drop(self.follower.remove(&node)),
                }
            }
            if self.cursor == page.cursor {
                return;
            }
            self.cursor = page.cursor;
        }
    }

    /// Everything is answered and kept: what is listed is what the chain vouches for, and the disk has all of it.
    fn rest(&mut self) {
        self.bench.give(Event::ChainMoved(Moved::Everything)).unwrap();
        for _ in 0..4 {
            self.bench.settle();
            self.bench.pass(Millis::seconds(2));
        }
        self.bench.settle();
        self.check(true);
        assert!(self.published.is_empty(), "every publication has its answer");
        let vouched = |node: &NodeId| matches!(self.bench.chain.get(node), Some(ChainWord::Vouched(_)));
        assert!(self.bench.listed().iter().all(vouched));
        let known: BTreeSet<NodeId> = self.bench.core.listing().known().collect();
        assert_eq!(known.iter().copied().filter(vouched).collect::<BTreeSet<_>>(), self.bench.listed());
        assert_eq!(self.bench.disk.keys().copied().collect::<BTreeSet<_>>(), known);
        for (node, (provider, _)) in &self.bench.disk {
            assert_eq!(self.bench.core.listing().provider_of(node), Some(*provider));
        }
    }
}

fn numbers((boot, sequence): (BootCounter, u64)) -> (u64, u64) {
    (boot.0, sequence)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_invariants_hold_and_it_ends_as_the_chain_says(
        happenings in proptest::collection::vec(happening(), 1..80),
    ) {
        let mut world = World::new();
        for happening in happenings {
            world.happen(happening);
            world.check(matches!(happening, Happening::Pass { .. } | Happening::Crash));
        }
        world.rest();
    }
}
