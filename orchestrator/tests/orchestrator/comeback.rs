//! A whole fleet comes back after its orchestrator was killed, while strangers do all they can to be in its way.
//!
//! The orchestrator is a process of its own, so that it can be killed as processes are: this same program, which is asked
//! for one test, [`the_orchestrator`]. Its chain is made anew at each start and is always the same; its store is a file that
//! stays. Nodes come from many networks, as they do, strangers from one.

mod fleet;
mod flood;
mod process;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use lode_program::{install_crypto_provider, open_files};
use lode_testkit::relay::Relay;

use self::fleet::Fleet;
use self::flood::Flood;
use self::process::{FOLDER, Process};

/// Nodes of the fleet.
const NODES: u32 = 2_000;
/// Addresses they come from, each in a network of its own.
const NETWORKS: u8 = 40;
/// Longest for all of them to have a session again.
const COMEBACK: Duration = Duration::from_secs(60);
/// Longest for their first sessions: the chain is asked about each.
const FIRST: Duration = Duration::from_secs(300);
/// How long the flood goes on before the kill.
const FLOODED: Duration = Duration::from_secs(10);
/// How long nobody listens.
const AWAY: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "scripts/soak strangers runs it"]
async fn a_fleet_comes_back_after_a_kill_while_strangers_flood() {
    install_crypto_provider();
    open_files::raise();
    let folder = tempfile::tempdir().unwrap();
    let place = process::prepare(folder.path()).await;
    let listener = place.listener();
    let mut relays = Vec::new();
    for network in 0..NETWORKS {
        relays.push(Relay::start(Ipv4Addr::new(127, 1, network, 1), listener).await.unwrap());
    }
    let entrances: Vec<SocketAddr> = relays.iter().map(Relay::address).collect();

    let process = Process::start(folder.path()).await;
    let fleet = Fleet::start(NODES, &place, &entrances).await;
    let first = fleet.all_in_term(process.term, FIRST).await.expect("all have a first session");
    eprintln!("{NODES} nodes have their first session after {:.1} s", first.as_secs_f64());

    let flood = Flood::start(place);
    tokio::time::sleep(FLOODED).await;
    assert_eq!(fleet.in_term(process.term), NODES, "the flood alone sends nobody away");
    let term = process.term;
    process.kill().await;
    tokio::time::sleep(AWAY).await;
    let (before, began) = (flood.done(), Instant::now());
    let process = Process::start(folder.path()).await;
    assert!(process.term > term, "a term is used once");
    let comeback = fleet.all_in_term(process.term, COMEBACK).await;
    let (done, took) = (flood.done(), began.elapsed());
    eprintln!(
        "{} of {NODES} nodes have a session again after {:.1} s, beside {} handshakes and {} hellos of strangers",
        fleet.in_term(process.term),
        took.as_secs_f64(),
        done.handshakes - before.handshakes,
        done.hellos - before.hellos,
    );
    assert!(done.handshakes > before.handshakes && done.hellos > before.hellos, "nobody was in their way");
    comeback.expect("all have a session again in time");
    assert!(took <= COMEBACK + Duration::from_secs(1), "its start counts as well: {took:?}");
}

/// The process that the test above starts. By itself it does nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it is a part of another test"]
async fn the_orchestrator() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    process::serve(folder.as_ref(), NODES).await;
}
