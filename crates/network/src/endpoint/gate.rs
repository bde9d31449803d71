//! Handshakes under way, and who gives way when there are too many.
//!
//! A handshake costs whoever begins it nothing, so that a newcomer is not refused because of those who are silent: the
//! oldest gives way, first of the newcomer's own network and then of all. Only one that has had some time does, or whoever
//! dials fast enough would let nobody finish: until then strangers are refused. Addresses that are known from peers with
//! standing give way to each other only, never to strangers, who give way to them at once.
//!
//! This stands in the transport and not among the swarm's behaviours, which can refuse a connection but not end one whose
//! handshake is under way.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::future::{AbortHandle, AbortRegistration, Abortable, Aborted, BoxFuture};
use libp2p::Multiaddr;
use libp2p::core::transport::{Boxed, DialOpts, ListenerId, Transport, TransportError, TransportEvent};
use lode_program::pace::{Pace, Rate};
use lode_protocol::origin::Origin;

use super::limits::StrangerLimits;
use super::range::Network;
use super::regulars::Regulars;
use crate::metrics::NetworkMetrics;
use crate::multiaddress::ip_of;

/// The reason under which it is counted.
const TOO_MANY: &str = "too-many-handshakes";

/// A handshake that is younger does not give way to its like. Three round trips over a long way are done in this time.
const LEAST_AGE: Duration = Duration::from_millis(500);

/// Longest time that a handshake waits because its network has begun many.
const LONGEST_WAIT: Duration = Duration::from_secs(3);
/// Networks whose handshakes are counted at one time.
const MOST_NETWORKS: usize = 16_384;

/// All handshakes under way.
#[derive(Debug)]
pub(crate) struct Gate {
    all: usize,
    per_network: usize,
    pace: Pace<Network>,
    regulars: Arc<Regulars>,
    metrics: NetworkMetrics,
    under_way: Mutex<UnderWay>,
}

#[derive(Debug, Default)]
struct UnderWay {
    number: u64,
    /// Oldest first.
    all: BTreeMap<u64, Handshake>,
    networks: HashMap<Network, BTreeSet<u64>>,
}

#[derive(Debug)]
struct Handshake {
    since: Instant,
    network: Option<Network>,
    is_regular: bool,
    abort: AbortHandle,
}

/// A place among the handshakes; dropped with its handshake.
#[derive(Debug)]
pub(crate) struct Ticket {
    gate: Arc<Gate>,
    number: u64,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        // Gone already if it gave way.
        self.gate.under_way().remove(self.number);
    }
}

impl UnderWay {
    fn remove(&mut self, number: u64) -> Option<Handshake> {
        let handshake = self.all.remove(&number)?;
        if let Some(network) = handshake.network
            && let Some(numbers) = self.networks.get_mut(&network)
        {
            numbers.remove(&number);
            if numbers.is_empty() {
                self.networks.remove(&network);
            }
        }
        Some(handshake)
    }

    /// Ends the handshake, of these numbers, that gives way to a newcomer; false if none does.
    fn displace(&mut self, among: &[u64], newcomer_is_regular: bool, now: Instant) -> bool {
        let gives_way = |number: u64, is_regular: bool| {
            self.all.get(&number).is_some_and(|other| {
                other.is_regular == is_regular
                    && match (newcomer_is_regular, is_regular) {
                        (true, false) => true,
                        (false, true) => false,
                        (true, true) | (false, false) => now.duration_since(other.since) >= LEAST_AGE,
                    }
            })
        };
        let stranger = among.iter().find(|number| gives_way(**number, false));
        let victim = stranger.or_else(|| among.iter().find(|number| gives_way(**number, true)));
        let Some(victim) = victim.copied() else { return false };
        if let Some(handshake) = self.remove(victim) {
            handshake.abort.abort();
        }
        true
    }
}

impl Gate {
    pub(crate) fn new(
        limits: &StrangerLimits,
        regulars: Arc<Regulars>,
        metrics: NetworkMetrics,
    ) -> Arc<Self> {
        Arc::new(Self {
            all: limits.handshakes,
            per_network: limits.handshakes_per_network,
            pace: Pace::new(
                Rate {
                    per_second: limits.handshakes_per_second,
                    burst: u32::try_from(limits.handshakes_per_network).unwrap_or(u32::MAX),
                },
                LONGEST_WAIT,
                MOST_NETWORKS,
            ),
            regulars,
            metrics,
            under_way: Mutex::default(),
        })
    }

    fn under_way(&self) -> MutexGuard<'_, UnderWay> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A newcomer, and how long it waits before it begins. `None`: nobody who is here gives way to it.
    pub(crate) fn enter(
        self: &Arc<Self>,
        ip: Option<IpAddr>,
        now: Instant,
    ) -> Option<(Ticket, AbortRegistration, Duration)> {
        let network = ip.map(Network::of);
        let is_regular = ip.is_some_and(|ip| self.regulars.knows(Origin::from(ip)));
        let mut under_way = self.under_way();
        let neighbours = network.and_then(|network| under_way.networks.get(&network));
        let crowded = neighbours.filter(|numbers| numbers.len() >= self.per_network);
        let crowd: Option<Vec<u64>> = match crowded {
            Some(numbers) => Some(numbers.iter().copied().collect()),
            None if under_way.all.len() >= self.all => Some(under_way.all.keys().copied().collect()),
            None => None,
        };
        if let Some(crowd) = crowd {
            if !under_way.displace(&crowd, is_regular, now) {
                self.metrics.refuse(TOO_MANY);
                return None;
            }
            self.metrics.evict(TOO_MANY);
        }
        under_way.number += 1;
        let number = under_way.number;
        let (abort, registration) = AbortHandle::new_pair();
        under_way.all.insert(number, Handshake { since: now, network, is_regular, abort });
        if let Some(network) = network {
            under_way.networks.entry(network).or_default().insert(number);
        }
        drop(under_way);
        let wait = match network {
            Some(network) if !is_regular => self.pace.wait(network, now),
            Some(_) | None => Duration::ZERO,
        };
        Some((Ticket { gate: Arc::clone(self), number }, registration, wait))
    }
}

/// A transport whose incoming handshakes pass the gate.
pub(crate) struct Gated<O> {
    pub(crate) inner: Boxed<O>,
    pub(crate) gate: Arc<Gate>,
}

impl<O: 'static> Transport for Gated<O> {
    type Output = O;
    type Error = io::Error;
    type ListenerUpgrade = BoxFuture<'static, io::Result<O>>;
    type Dial = <Boxed<O> as Transport>::Dial;

    fn listen_on(&mut self, id: ListenerId, address: Multiaddr) -> Result<(), TransportError<io::Error>> {
        self.inner.listen_on(id, address)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.inner.remove_listener(id)
    }

    fn dial(
        &mut self,
        address: Multiaddr,
        options: DialOpts,
    ) -> Result<Self::Dial, TransportError<io::Error>> {
        self.inner.dial(address, options)
    }

    fn poll(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, io::Error>> {
        let Poll::Ready(event) = Pin::new(&mut self.inner).poll(context) else { return Poll::Pending };
        let ip = match &event {
            TransportEvent::Incoming { send_back_addr, .. } => ip_of(send_back_addr),
            _ => None,
        };
        Poll::Ready(event.map_upgrade(|upgrade| match self.gate.enter(ip, Instant::now()) {
            Some((ticket, registration, wait)) => {
                pass(ticket, Abortable::new(after(wait, upgrade), registration))
            }
            None => refuse(),
        }))
    }
}

async fn after<T>(wait: Duration, handshake: impl Future<Output = T>) -> T {
    if !wait.is_zero() {
        tokio::time::sleep(wait).await;
    }
    handshake.await
}

fn pass<O: 'static>(
    ticket: Ticket,
    handshake: Abortable<impl Future<Output = io::Result<O>> + Send + 'static>,
) -> BoxFuture<'static, io::Result<O>> {
    Box::pin(async move {
        let outcome = handshake.await;
        drop(ticket);
        outcome.unwrap_or_else(|Aborted| Err(gave_way()))
    })
}

fn refuse<O: 'static>() -> BoxFuture<'static, io::Result<O>> {
    Box::pin(async { Err(gave_way()) })
}

fn gave_way() -> io::Error {
    io::Error::other("the handshake gave way to others")
}

#[cfg(test)]
mod tests;
