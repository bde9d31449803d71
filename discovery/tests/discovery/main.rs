//! The directory's driver on a chain in memory and a disk that fails when told to, with a clock that the test moves.

#![expect(clippy::unwrap_used, clippy::panic, reason = "in a test a failed step ends the test")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use lode_contracts::{Amount, ChainReader, FollowerConfig, Intent, Operator, RegistryCall};
use lode_discovery::api::{AddressLimiter, router};
use lode_discovery::app::served;
use lode_discovery::chain;
use lode_discovery::config::{Config, Limits};
use lode_discovery::core::{PageBounds, Query, Rejected};
use lode_discovery::driver::Driver;
use lode_discovery::handle::{Handle, Refused};
use lode_program::health::Health;
use lode_program::listen::{self, Hosts};
use lode_program::{Cause, Clock, Shutdown};
use lode_protocol::descriptor::NodeDescriptor;
use lode_protocol::envelope::{Addressing, Audience, seal};
use lode_protocol::hardware::NodeSpecs;
use lode_protocol::ids::{BootCounter, NodeId, PoolId};
use lode_protocol::keys::SigningKey;
use lode_protocol::units::{Millis, Timestamp};
use lode_store::{Fault, MemoryStore, Store, Writer, WriterLimits};
use lode_testkit::chain::FakeChain;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Far longer than anything takes; reaching it is a failure.
const DEADLINE: Duration = Duration::from_secs(60);
const START: Timestamp = Timestamp(1_800_000_000_000);
const LIFETIME: Millis = Millis::seconds(3_600);
const DESCRIPTORS: lode_store::Table = lode_store::Table::new("descriptors");

fn key(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32]).unwrap()
}

fn node(number: u8) -> NodeId {
    NodeId(key(number).address())
}

struct World {
    chain: Arc<FakeChain>,
    provider: Operator,
    store: MemoryStore,
    clock: Clock,
}

struct Running {
    directory: Handle,
    driver: tokio::task::JoinHandle<()>,
    stop: DropGuard,
}

impl World {
    async fn new() -> Self {
        let chain = FakeChain::new();
        chain.fund(key(100).address(), Amount::tokens(100), Amount::tokens(100_000));
        let provider = Operator::new(chain.clone(), key(100));
        provider.register_provider(Amount::tokens(10_000)).await.unwrap();
        World { chain, provider, store: MemoryStore::new(), clock: Clock::manual(START) }
    }

    fn start(&self) -> Running {
        let (writer, _thread) = Writer::start(Arc::new(self.store.clone()), WriterLimits::default()).unwrap();
        let chain: Arc<dyn ChainReader> = self.chain.clone();
        let limits = Limits { publications_per_node: 5, ..Limits::default() };
        let incarnation = self.clock.wall_millis();
        let (driver, directory) =
            Driver::open(&self.store, writer, Arc::clone(&chain), self.clock, &limits, incarnation).unwrap();
        let stop = CancellationToken::new();
        let pulse = Health::new().pulse("driver", DEADLINE);
        let driver = tokio::spawn(driver.run(pulse, stop.clone()));
        let (following, stopped) = (directory.clone(), stop.clone());
        let config = FollowerConfig { poll_interval_ms: 20, ..FollowerConfig::default() };
        tokio::spawn(async move {
            tokio::select! {
                () = stopped.cancelled() => {}
                () = chain::follow(following, chain, config) => {}
            }
        });
        Running { directory, driver, stop: stop.drop_guard() }
    }

    /// Nodes that the store has a row of.
    fn rows(&self) -> Vec<NodeId> {
        let rows = self.store.load(DESCRIPTORS).unwrap();
        rows.iter().map(|(key, _)| std::str::from_utf8(key).unwrap().parse().unwrap()).collect()
    }

    fn sealed(&self, number: u8, sequence: u64) -> Vec<u8> {
        let now = self.clock.now().wall;
        let descriptor = NodeDescriptor {
            node: node(number),
            specs: NodeSpecs::default(),
            addresses: Vec::new(),
            sealing_key: None,
            agent_version: "0".to_owned(),
            boot: BootCounter(1),
            sequence,
            issued_at: now,
            expires_at: now.plus(LIFETIME),
        };
        let realm = self.chain.deployment().realm(PoolId(1));
        let addressing = Addressing { audience: Audience::Any, realm, now, lifetime: LIFETIME };
        seal(&key(number), addressing, &descriptor).bytes
    }
}

impl Running {
    /// Ends, before anything moves the clock.
    async fn stop(self) {
        drop(self.stop);
        self.driver.await.unwrap();
    }

    async fn publish(&self, number: u8, sealed: &[u8]) -> Result<(), Refused> {
        tokio::time::timeout(DEADLINE, self.directory.publish(node(number), sealed)).await.expect("an answer")
    }

    /// Waits until this node is listed.
    async fn lists_among(&self, number: u8) {
        let waited = tokio::time::timeout(DEADLINE, async {
            loop {
                let page = self.directory.query(&Query { limit: 100, ..Query::default() });
                if page.nodes.iter().any(|entry| entry.node == node(number)) {
                    return;
                }
                self.directory.changes(Some(page.cursor), (100, usize::MAX), DEADLINE).await;
            }
        });
        assert!(waited.await.is_ok(), "never listed: {number}");
    }

    /// Waits for the change after which the list is this.
    async fn lists(&self, numbers: &[u8]) {
        let mut expected: Vec<NodeId> = numbers.iter().map(|number| node(*number)).collect();
        expected.sort_unstable();
        let waited = tokio::time::timeout(DEADLINE, async {
            loop {
                let page = self.directory.query(&Query { limit: 100, ..Query::default() });
                if page.nodes.iter().map(|entry| entry.node).eq(expected.iter().copied()) {
                    return;
                }
                self.directory.changes(Some(page.cursor), (100, usize::MAX), DEADLINE).await;
            }
        });
        assert!(waited.await.is_ok(), "never listed: {numbers:?}");
    }
}

fn rejected(result: Result<(), Refused>) -> Rejected {
    match result.unwrap_err() {
        Refused::Rejected(rejected) => rejected,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn registered_nodes_are_listed_released_ones_leave_and_a_restart_knows_what_was_acknowledged() {
    let world = World::new().await;
    world.provider.add_node(&key(1), 1).await.unwrap();
    world.provider.add_node(&key(2), 1).await.unwrap();
    let running = world.start();
    for number in [1, 2] {
        running.publish(number, &world.sealed(number, 1)).await.unwrap();
    }
    assert_eq!(rejected(running.publish(3, &world.sealed(3, 1)).await), Rejected::NotRegistered(node(3)));
    running.lists(&[1, 2]).await;
    let kept: usize = world.store.load(DESCRIPTORS).unwrap().len();
    assert_eq!(kept, 2, "what was acknowledged is durable");
    world.provider.execute(Intent::Registry(RegistryCall::RemoveNode(node(1)))).await.unwrap();
    running.lists(&[2]).await;
    drop(running);
    world.clock.advance(Duration::from_secs(60));
    let again = world.start();
    again.lists(&[2]).await;
}

#[tokio::test]
async fn a_descriptor_leaves_the_list_when_the_clock_says_so() {
    let world = World::new().await;
    world.provider.add_node(&key(1), 1).await.unwrap();
    let running = world.start();
    running.publish(1, &world.sealed(1, 1)).await.unwrap();
    running.lists(&[1]).await;
    world.clock.advance(LIFETIME.to_duration());
    running.lists(&[]).await;
    running.publish(1, &world.sealed(1, 2)).await.unwrap();
}

#[tokio::test]
async fn a_start_with_a_wrong_clock_deletes_nothing_and_a_right_clock_lists_it_again() {
    let world = World::new().await;
    for number in [1, 2] {
        world.provider.add_node(&key(number), 1).await.unwrap();
    }
    let running = world.start();
    running.publish(1, &world.sealed(1, 1)).await.unwrap();
    running.stop().await;
    let day = Millis::seconds(24 * 3_600);
    for (sequence, wrong) in [START.minus(day), START.plus(LIFETIME).plus(day)].into_iter().enumerate() {
        world.clock.set_wall(wrong);
        let running = world.start();
        running.lists(&[]).await;
        // Batches are written in order: a deletion at the start would be durable by now.
        running.publish(2, &world.sealed(2, 1 + sequence as u64)).await.unwrap();
        assert!(world.rows().contains(&node(1)), "at {wrong}");
        world.clock.set_wall(START.plus(Millis::seconds(1)));
        world.clock.advance(Duration::from_secs(61));
        running.lists_among(1).await;
        running.stop().await;
    }
}

#[tokio::test]
async fn what_is_long_over_and_what_cannot_be_read_goes_from_the_disk() {
    let world = World::new().await;
    for number in [1, 2] {
        world.provider.add_node(&key(number), 1).await.unwrap();
    }
    let running = world.start();
    running.publish(1, &world.sealed(1, 1)).await.unwrap();
    running.stop().await;
    let mut batch = lode_store::Batch::new();
    batch.put(DESCRIPTORS, node(3).to_string().into_bytes(), vec![7; 40]);
    world.store.commit(&batch).unwrap();
    world.clock.set_wall(START.plus(Millis::seconds(30 * 24 * 3_600)));
    let running = world.start();
    running.publish(2, &world.sealed(2, 1)).await.unwrap();
    assert_eq!(world.rows(), [node(2)]);
}

#[tokio::test]
async fn a_full_disk_refuses_publications_by_name_and_takes_them_when_there_is_room() {
    let world = World::new().await;
    world.provider.add_node(&key(1), 1).await.unwrap();
    let running = world.start();
    let sealed = world.sealed(1, 1);
    world.store.set_fault(Some(Fault::Full));
    let refused = rejected(running.publish(1, &sealed).await);
    assert_eq!(refused.code(), "store/behind");
    assert!(running.directory.findings.list().iter().any(|row| row.finding.code == "store/behind"));
    world.store.set_fault(None);
    running.publish(1, &sealed).await.unwrap();
    assert!(running.directory.findings.list().is_empty());
}

#[tokio::test]
async fn a_silent_chain_is_no_refusal_of_the_node_and_changes_nothing_about_others() {
    let world = World::new().await;
    for number in [1, 2] {
        world.provider.add_node(&key(number), 1).await.unwrap();
    }
    let running = world.start();
    running.publish(1, &world.sealed(1, 1)).await.unwrap();
    world.chain.set_reachable(false);
    let refused = rejected(running.publish(2, &world.sealed(2, 1)).await);
    assert_eq!(refused.code(), "chain/unreachable");
    running.lists(&[1]).await;
    world.chain.set_reachable(true);
    running.publish(2, &world.sealed(2, 1)).await.unwrap();
    running.lists(&[1, 2]).await;
}

#[tokio::test]
async fn bad_descriptors_are_refused_before_the_core_hears_of_them_and_one_node_is_held_to_its_rate() {
    let world = World::new().await;
    world.provider.add_node(&key(1), 1).await.unwrap();
    let running = world.start();
    let mut forged = world.sealed(1, 1);
    *forged.last_mut().unwrap() ^= 1;
    match running.publish(1, &forged).await.unwrap_err() {
        Refused::Descriptor(error) => assert_eq!(error.code(), "envelope/bad-signature"),
        other => panic!("{other}"),
    }
    assert!(matches!(running.publish(2, &world.sealed(1, 1)).await, Err(Refused::WrongPlace { .. })));
    for sequence in 1..=5 {
        running.publish(1, &world.sealed(1, sequence)).await.unwrap();
    }
    let refused = rejected(running.publish(1, &world.sealed(1, 6)).await);
    assert_eq!(refused, Rejected::TooOften { retry_after: Millis::seconds(12) });
    world.clock.advance(Duration::from_secs(12));
    running.publish(1, &world.sealed(1, 6)).await.unwrap();
}

#[tokio::test]
async fn a_stranger_is_told_what_is_wrong_by_its_code_and_nothing_of_our_disk() {
    let world = World::new().await;
    world.provider.add_node(&key(1), 1).await.unwrap();
    let running = world.start();
    world.store.set_fault(Some(Fault::Full));
    rejected(running.publish(1, &world.sealed(1, 1)).await);
    let words = running.directory.findings.list()[0].finding.message.clone();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let limiter = AddressLimiter::per_minute(10);
    let routes = router(running.directory.clone(), limiter, PageBounds::default());
    // Ends with the test's runtime.
    tokio::spawn(async move { axum::serve(listener, routes).await });
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = "GET /v1/status HTTP/1.1\r\nHost: directory\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(DEADLINE, stream.read_to_string(&mut answer)).await.expect("an answer").unwrap();
    assert!(answer.contains("\"findings\":[\"store/behind\"]"), "{answer}");
    assert!(!answer.contains(&words), "{answer}");
}

#[tokio::test]
async fn a_page_of_elsewhere_whose_name_leads_here_reads_nothing_of_a_directory() {
    let world = World::new().await;
    let running = world.start();
    let router = router(running.directory.clone(), AddressLimiter::per_minute(600), PageBounds::default());
    let bound = listen::bind("api", SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let (address, shutdown) = (bound.address, Shutdown::new());
    let hosts = Hosts::new(["directory.example".to_owned()], "hosts");
    let serving =
        tokio::spawn(listen::serve(router, bound, hosts, Limits::default().http, None, shutdown.clone()));
    for (host, status) in [("evil.example", "403"), ("directory.example", "200"), ("localhost:1", "200")] {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let request = format!("GET /v1/status HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        tokio::time::timeout(DEADLINE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{host}: {answer}");
    }
    shutdown.request(Cause::Requested("the test is over".to_owned()));
    tokio::time::timeout(DEADLINE, serving).await.unwrap().unwrap();
    running.stop().await;
}

#[tokio::test]
async fn a_body_that_stays_away_is_late_and_of_who_publishes_too_often_none_is_read() {
    let world = World::new().await;
    let running = world.start();
    let router = router(running.directory.clone(), AddressLimiter::per_minute(1), PageBounds::default());
    let bound = listen::bind("api", SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let (address, shutdown) = (bound.address, Shutdown::new());
    let limits = listen::ServeLimits { body_timeout: Duration::from_millis(50), ..Limits::default().http };
    let hosts = Hosts::new([], "hosts");
    let serving = tokio::spawn(listen::serve(router, bound, hosts, limits, None, shutdown.clone()));
    for (status, code) in [("408", "wire/body-timeout"), ("429", "limit/too-many-publications")] {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let head = format!("PUT /v1/nodes/{} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n", node(1));
        stream.write_all(format!("{head}Content-Length: 100\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        tokio::time::timeout(DEADLINE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.contains(code), "{answer}");
    }
    shutdown.request(Cause::Requested("the test is over".to_owned()));
    tokio::time::timeout(DEADLINE, serving).await.unwrap().unwrap();
    running.stop().await;
}

#[tokio::test]
async fn metrics_are_not_at_the_directory_s_public_address_unless_that_is_asked_for() {
    let world = World::new().await;
    let running = world.start();
    let health = Health::new();
    let least = "data_dir = \"d\"\n[chain]\nrpc_url = \"http://127.0.0.1:1\"\ndeployment = \"d.json\"\n";
    for (asked, metrics) in [("", "404"), ("metrics = true\n", "200")] {
        let config: Config = toml::from_str(&format!("{asked}{least}")).unwrap();
        let router = served(running.directory.clone(), AddressLimiter::per_minute(600), &config, &health);
        let bound = listen::bind("api", SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let (address, shutdown) = (bound.address, Shutdown::new());
        let hosts = Hosts::new([], "hosts");
        let serving =
            tokio::spawn(listen::serve(router, bound, hosts, config.limits.http, None, shutdown.clone()));
        for (path, status) in [("/metrics", metrics), ("/readyz", "200"), ("/livez", "200")] {
            let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
            let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            tokio::time::timeout(DEADLINE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {answer}");
            assert!(!answer.contains("failing") && !answer.contains("silent"), "{path}: {answer}");
        }
        shutdown.request(Cause::Requested("the test is over".to_owned()));
        tokio::time::timeout(DEADLINE, serving).await.unwrap().unwrap();
    }
    running.stop().await;
}
