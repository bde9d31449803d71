//! Strangers: connections that begin a handshake and say no more, and hellos of keys that are thrown away, all of one
//! network and as fast as one thread can. They have a thread of their own, so that the fleet has others.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lode_network::{Endpoint, EndpointConfig, NetworkError, NetworkMetrics, PeerAddress, Protocol};
use lode_testkit::relay::{Relay, connect_from};
use tokio::io::AsyncReadExt as _;
use tokio::runtime::{Builder, Runtime};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::fleet::{hello, key_of};
use super::process::Place;

/// Addresses they come from, 127.0.0.1 and on.
const ADDRESSES: u8 = 5;
/// Silent connections of one address at once.
const SILENT: u32 = 200;
/// Hellos under way from one address.
const HELLOS: u32 = 20;
/// Longest for one hello.
const LIMIT: Duration = Duration::from_secs(10);
/// After something went wrong, as all does while nobody listens.
const PAUSE: Duration = Duration::from_millis(5);
/// Numbers of their keys, far from those of the fleet.
const KEYS: u64 = 1 << 31;

/// How much they did.
#[derive(Clone, Copy, Debug)]
pub(super) struct Done {
    /// Connections that were accepted.
    pub(super) handshakes: u64,
    /// Hellos that were answered.
    pub(super) hellos: u64,
}

#[derive(Debug, Default)]
struct Counts {
    handshakes: AtomicU64,
    hellos: AtomicU64,
    keys: AtomicU64,
}

/// All of them; they go on until this is dropped.
pub(super) struct Flood {
    counts: Arc<Counts>,
    runtime: Option<Runtime>,
}

impl Flood {
    pub(super) fn start(place: Place) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let counts = Arc::new(Counts::default());
        for number in 1..=ADDRESSES {
            let source = Ipv4Addr::new(127, 0, 0, number);
            for _ in 0..SILENT {
                runtime.spawn(be_silent(source, place.clone(), Arc::clone(&counts)));
            }
            let (place, counts) = (place.clone(), Arc::clone(&counts));
            runtime.spawn(async move {
                let relay = Relay::start(source, place.listener()).await.unwrap();
                let entrance = PeerAddress::tcp(relay.address());
                let one = |_: u32| say_hellos(entrance.clone(), place.clone(), Arc::clone(&counts));
                futures::future::join_all((0..HELLOS).map(one)).await;
            });
        }
        Flood { counts, runtime: Some(runtime) }
    }

    pub(super) fn done(&self) -> Done {
        Done {
            handshakes: self.counts.handshakes.load(Ordering::Relaxed),
            hellos: self.counts.hellos.load(Ordering::Relaxed),
        }
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        // A runtime that is merely dropped would wait, which a task must not.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn be_silent(source: Ipv4Addr, place: Place, counts: Arc<Counts>) {
    loop {
        match connect_from(source, place.listener()).await {
            Ok(mut stream) => {
                counts.handshakes.fetch_add(1, Ordering::Relaxed);
                // Until it gives way to the next one.
                let _ = stream.read_to_end(&mut Vec::new()).await;
            }
            Err(_) => sleep(PAUSE).await,
        }
    }
}

async fn say_hellos(entrance: PeerAddress, place: Place, counts: Arc<Counts>) {
    loop {
        match say_hello(&entrance, &place, counts.keys.fetch_add(1, Ordering::Relaxed)).await {
            Ok(()) => {
                counts.hellos.fetch_add(1, Ordering::Relaxed);
            }
            Err(_) => sleep(PAUSE).await,
        }
    }
}

async fn say_hello(entrance: &PeerAddress, place: &Place, number: u64) -> Result<(), NetworkError> {
    let key = key_of(u32::try_from(KEYS + number).unwrap());
    let (endpoint, task) = Endpoint::bind(EndpointConfig::default(), &key, NetworkMetrics::default()).await?;
    let stop = CancellationToken::new();
    tokio::spawn(task.run(stop.clone()));
    let _stop = stop.drop_guard();
    let connection = endpoint.connect(entrance, Some(place.orchestrator), LIMIT).await?;
    let mut stream = endpoint.open(connection.id, Protocol::Session, LIMIT).await?;
    stream.send(&hello(&key, place, number), LIMIT).await?;
    match stream.receive(LIMIT).await? {
        Some(_) => Ok(()),
        None => Err(NetworkError::NotConnected),
    }
}
