//! Who has a place: connections are counted, in all and per address, and when all places are taken the oldest connection
//! that waits for a request's head gives way to a newcomer. So nobody keeps others out by being silent; who keeps them
//! out by being busy falls under the limits of [`super::ServeLimits`].
//!
//! Loopback has no share of its own: who comes from there is a proxy, which all its callers share, or this machine itself.
//!
//! | phase | what ends it |
//! |---|---|
//! | `Waits` (from the beginning, TLS included) | a head is there: `Busy` |
//! | `Busy` | the answer was given to the connection: `Answered` |
//! | `Answered` | all of it was written: `Waits` |

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use lode_protocol::origin::Origin;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::ServeLimits;
use super::heads::{Heads, Room};
use super::opening::LARGEST;
use super::unsent::{self, Account};
use crate::pace::{Pace, Rate};

/// Addresses whose refusals are counted at one time.
const REFUSED_CALLERS: usize = 16_384;

/// All places of one listener.
#[derive(Debug)]
pub(super) struct Places {
    free: Arc<Semaphore>,
    max_per_address: usize,
    max_idle: usize,
    heads: Arc<Heads>,
    refusals: Pace<Origin>,
    unsent: Arc<Semaphore>,
    max_unsent: u64,
    max_unsent_per_address: u64,
    /// Tests on real sockets have no other addresses.
    counts_loopback: bool,
    state: Mutex<State>,
    /// A connection began to wait for a head.
    began_to_wait: Notify,
}

#[derive(Debug, Default)]
struct State {
    addresses: HashMap<Origin, Open>,
    /// By the order in which they began.
    waiting: BTreeMap<u64, CancellationToken>,
    /// Those of them that were answered before: HTTP's buffers are held for them.
    idle: BTreeSet<u64>,
    begun: u64,
}

#[derive(Debug)]
struct Open {
    connections: usize,
    unsent: Arc<Semaphore>,
}

/// The place of one connection; dropping it makes room.
#[derive(Debug)]
pub(super) struct Place {
    phase: Mutex<Phase>,
    account: Account,
    gives_way: CancellationToken,
    counted: OfAddress,
    _permit: OwnedSemaphorePermit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// With its number.
    Waits(u64),
    Busy,
    Answered,
}

/// One connection of an address; dropping it takes it off the count.
#[derive(Debug)]
struct OfAddress {
    address: Origin,
    places: Arc<Places>,
}

impl Drop for OfAddress {
    fn drop(&mut self) {
        let mut state = self.places.lock();
        if let Some(open) = state.addresses.get_mut(&self.address) {
            open.connections -= 1;
            if open.connections == 0 {
                state.addresses.remove(&self.address);
            }
        }
    }
}

impl Places {
    pub(super) fn new(limits: &ServeLimits) -> Arc<Self> {
        Self::build(limits, false)
    }

    /// Loopback is an address like any other.
    #[cfg(test)]
    pub(super) fn counting_loopback(limits: &ServeLimits) -> Arc<Self> {
        Self::build(limits, true)
    }

    fn build(limits: &ServeLimits, counts_loopback: bool) -> Arc<Self> {
        Arc::new(Self {
            free: Arc::new(Semaphore::new(limits.max_connections.clamp(1, Semaphore::MAX_PERMITS))),
            max_per_address: limits.max_connections_per_address.max(1),
            max_idle: limits.max_idle_connections,
            heads: Heads::new(limits.max_unfinished_heads, LARGEST),
            refusals: Pace::new(
                Rate { per_second: limits.refusals_per_second, burst: limits.refusal_burst },
                limits.refusal_delay,
                REFUSED_CALLERS,
            ),
            unsent: unsent::room(limits.max_unsent),
            max_unsent: limits.max_unsent,
            max_unsent_per_address: limits.max_unsent_per_address,
            counts_loopback,
            state: Mutex::default(),
            began_to_wait: Notify::new(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Each change under this lock is whole before anything could panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a newcomer, who waits until there is one; none for an address that has its share. `gives_way` is
    /// cancelled when the connection has to end in favour of another one. To be asked by one task only.
    pub(super) async fn take(
        self: &Arc<Self>,
        address: IpAddr,
        gives_way: CancellationToken,
    ) -> Option<Place> {
        let (most_connections, most_unsent) = self.share(address);
        let (counted, unsent) = self.count(address.into(), most_connections, most_unsent)?;
        let permit = loop {
            let free = Arc::clone(&self.free);
            if let Ok(permit) = Arc::clone(&free).try_acquire_owned() {
                break permit;
            }
            if self.dismiss_oldest() {
                // It lets go as soon as it runs, and nobody else takes its place.
                break free.acquire_owned().await.ok()?;
            }
            tokio::select! {
                permit = free.acquire_owned() => break permit.ok()?,
                () = self.began_to_wait.notified() => {}
            }
        };
        let least = self.max_unsent.min(most_unsent);
        let account = Account::new(unsent, Arc::clone(&self.unsent), least);
        let number = self.wait(gives_way.clone(), false);
        Some(Place { phase: Mutex::new(Phase::Waits(number)), account, gives_way, counted, _permit: permit })
    }

    /// Most connections and unsent bytes of one address.
    fn share(&self, address: IpAddr) -> (usize, u64) {
        if !self.counts_loopback && address.to_canonical().is_loopback() {
            return (usize::MAX, self.max_unsent);
        }
        (self.max_per_address, self.max_unsent_per_address)
    }

    fn count(
        self: &Arc<Self>,
        address: Origin,
        most_connections: usize,
        most_unsent: u64,
    ) -> Option<(OfAddress, Arc<Semaphore>)> {
        let mut state = self.lock();
        let open = state
            .addresses
            .entry(address)
            .or_insert_with(|| Open { connections: 0, unsent: unsent::room(most_unsent) });
        if open.connections >= most_connections {
            return None;
        }
        open.connections += 1;
        let unsent = Arc::clone(&open.unsent);
        drop(state);
        Some((OfAddress { address, places: Arc::clone(self) }, unsent))
    }

    fn wait(&self, gives_way: CancellationToken, answered: bool) -> u64 {
        let mut state = self.lock();
        let number = state.begun;
        state.begun += 1;
        state.waiting.insert(number, gives_way);
        if answered {
            state.idle.insert(number);
            if state.idle.len() > self.max_idle
                && let Some(oldest) = state.idle.pop_first()
                && let Some(gives_way) = state.waiting.remove(&oldest)
            {
                gives_way.cancel();
            }
        }
        drop(state);
        self.began_to_wait.notify_one();
        number
    }

    fn dismiss_oldest(&self) -> bool {
        let mut state = self.lock();
        let Some((number, gives_way)) = state.waiting.pop_first() else { return false };
        state.idle.remove(&number);
        drop(state);
        gives_way.cancel();
        true
    }

    /// Places that are not free.
    #[cfg(test)]
    pub(super) fn taken(&self) -> usize {
        self.lock().addresses.values().map(|open| open.connections).sum()
    }

    /// As if this address had been refused so often.
    #[cfg(test)]
    pub(super) fn refuse(&self, address: IpAddr, times: u32) {
        for _ in 0..times {
            self.refusals.wait(address.into(), Instant::now());
        }
    }

    /// Bytes that wait to be sent, of all connections.
    #[cfg(test)]
    pub(super) fn unsent_bytes(&self) -> usize {
        unsent::room(self.max_unsent).available_permits() - self.unsent.available_permits()
    }
}

impl Place {
    /// What waits to be sent on this connection is counted here.
    pub(super) fn account(&self) -> &Account {
        &self.account
    }

    /// Room for the first head, of which nothing has come yet.
    pub(super) fn room_for_head(&self) -> Room {
        self.counted.places.heads.room(self.gives_way.clone())
    }

    /// A request's head is there: nobody may take the place now.
    pub(super) fn head_arrived(&self) {
        let mut phase = self.lock();
        self.stop_waiting(*phase);
        *phase = Phase::Busy;
    }

    /// A refusal goes to whoever has this place, at once or after a while. Meanwhile the place may be taken, as from
    /// somebody who says nothing: to be refused over and over keeps nobody else out.
    pub(super) async fn refused(&self) {
        let places = &self.counted.places;
        let wait = places.refusals.wait(self.counted.address, Instant::now());
        if wait.is_zero() {
            return;
        }
        *self.lock() = Phase::Waits(places.wait(self.gives_way.clone(), false));
        tokio::time::sleep(wait).await;
        self.head_arrived();
    }

    /// The whole answer was given to the connection.
    pub(super) fn answered(&self) {
        let mut phase = self.lock();
        if *phase == Phase::Busy {
            *phase = Phase::Answered;
        }
    }

    /// Nothing of what was given to the connection is unwritten.
    pub(super) fn flushed(&self) {
        let mut phase = self.lock();
        if *phase == Phase::Answered {
            *phase = Phase::Waits(self.counted.places.wait(self.gives_way.clone(), true));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Phase> {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stop_waiting(&self, phase: Phase) {
        if let Phase::Waits(number) = phase {
            let mut state = self.counted.places.lock();
            state.waiting.remove(&number);
            state.idle.remove(&number);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let phase = *self.lock();
        self.stop_waiting(phase);
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::StatusCode;
    use axum::response::Response;

    use super::*;

    fn places(max_connections: usize, max_connections_per_address: usize) -> Arc<Places> {
        let limits = ServeLimits { max_connections, max_connections_per_address, ..ServeLimits::default() };
        Places::new(&limits)
    }

    async fn take(places: &Arc<Places>, from: &str) -> Option<Place> {
        places.take(from.parse().expect("an address"), CancellationToken::new()).await
    }

    #[tokio::test]
    async fn a_proxy_on_this_machine_has_all_places_and_all_room_for_its_callers() {
        let limits = ServeLimits {
            max_connections: 5,
            max_connections_per_address: 1,
            max_unsent: 3 << 20,
            max_unsent_per_address: 1 << 20,
            ..ServeLimits::default()
        };
        let places = Places::new(&limits);
        let mut held = Vec::new();
        for from in ["127.0.0.1", "127.0.0.1", "::ffff:127.0.0.1", "127.0.0.1"] {
            held.push(take(&places, from).await.expect("no share"));
        }
        let large = || Response::new(Body::from(vec![7; 1 << 20]));
        let answers: Vec<_> = held.iter().map(|place| place.account().count(large(), ())).collect();
        let answered = answers.iter().filter(|answer| answer.status() == StatusCode::OK).count();
        assert_eq!(answered, 3, "all of the room, and no more than that");
        drop(answers);
        let other = take(&places, "192.0.2.1").await.expect("a place");
        assert!(take(&places, "192.0.2.1").await.is_none());
        assert_eq!(other.account().count(large(), ()).status(), StatusCode::OK);
    }

    #[tokio::test]
    async fn an_address_at_its_limit_is_refused_until_one_of_its_connections_ends() {
        let places = places(10, 2);
        let first = take(&places, "192.0.2.1").await.expect("room");
        let _second = take(&places, "192.0.2.1").await.expect("room");
        assert!(take(&places, "::ffff:192.0.2.1").await.is_none());
        let _other = take(&places, "192.0.2.2").await.expect("room");
        drop(first);
        let _third = take(&places, "192.0.2.1").await.expect("room again");
        assert_eq!(places.free.available_permits(), 7);
    }

    #[tokio::test]
    async fn a_whole_64_is_one_address() {
        let places = places(10, 1);
        let _first = take(&places, "2001:db8::1").await.expect("room");
        assert!(take(&places, "2001:db8::ffff:2").await.is_none());
        let _other = take(&places, "2001:db8:0:1::1").await.expect("room");
    }

    #[tokio::test]
    async fn when_all_places_are_taken_the_oldest_silent_connection_gives_way() {
        let places = places(2, 10);
        let (first, second) =
            (take(&places, "192.0.2.1").await.unwrap(), take(&places, "192.0.2.2").await.unwrap());
        first.head_arrived();
        let ((), newcomer) = tokio::join!(
            async {
                second.gives_way.cancelled().await;
                drop(second);
            },
            take(&places, "192.0.2.3"),
        );
        assert!(newcomer.is_some());
        assert!(!first.gives_way.is_cancelled(), "it has sent a head");
    }

    #[tokio::test]
    async fn of_connections_that_were_answered_so_many_are_kept_for_a_further_request() {
        let limits = ServeLimits { max_idle_connections: 2, ..ServeLimits::default() };
        let places = Places::new(&limits);
        let mut held = Vec::new();
        for _ in 0..4 {
            held.push(take(&places, "192.0.2.1").await.unwrap());
        }
        for place in &held[..3] {
            place.head_arrived();
            place.answered();
            place.flushed();
        }
        let gave_way: Vec<bool> = held.iter().map(|place| place.gives_way.is_cancelled()).collect();
        assert_eq!(gave_way, [true, false, false, false], "the oldest, and who never spoke is not counted");
        drop(held);
        let state = places.lock();
        assert!(state.waiting.is_empty() && state.idle.is_empty());
    }

    #[tokio::test]
    async fn who_waits_for_the_next_request_gives_way_and_who_is_still_read_from_does_not() {
        let places = places(1, 10);
        let only = take(&places, "192.0.2.1").await.unwrap();
        only.head_arrived();
        only.flushed();
        only.answered();
        {
            let mut newcomer = std::pin::pin!(take(&places, "192.0.2.2"));
            assert!(futures::poll!(&mut newcomer).is_pending());
            assert!(!only.gives_way.is_cancelled(), "its answer is not written yet");
            only.flushed();
            assert!(futures::poll!(&mut newcomer).is_pending());
            assert!(only.gives_way.is_cancelled());
            drop(only);
            assert!(newcomer.await.is_some());
        }
        assert!(places.lock().addresses.is_empty() && places.lock().waiting.is_empty());
    }
}
