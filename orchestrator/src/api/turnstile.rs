//! Before what is public and costs something: a few pages are made at a time, and nobody stands in the line for more than
//! his share of it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::StatusCode;
use lode_program::Problem;
use lode_protocol::origin::Origin;
use tokio::sync::{Semaphore, SemaphorePermit};

/// Pages that are made at once.
const AT_ONCE: usize = 2;
/// Requests of one IPv4 address or one IPv6 /64 that wait or have their turn. A validator looks at a pool's root and at one of
/// its redemptions at the same time.
const PER_ORIGIN: usize = 2;
/// How long a request waits for its turn.
const PATIENCE: Duration = Duration::from_secs(5);

/// Lets a few strangers in at a time.
#[derive(Debug)]
pub struct PublicRateLimit {
    turns: Semaphore,
    /// Requests that wait or have their turn, where there are any.
    origins: Mutex<HashMap<Origin, usize>>,
}

impl Default for PublicRateLimit {
    fn default() -> Self {
        Self { turns: Semaphore::new(AT_ONCE), origins: Mutex::default() }
    }
}

/// A turn; dropping it lets the next one in.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    _permit: SemaphorePermit<'a>,
    _share: Share<'a>,
}

/// A place in the line.
#[derive(Debug)]
struct Share<'a> {
    line: &'a PublicRateLimit,
    /// None for loopback: that is a proxy, whose callers share it, or this machine itself.
    origin: Option<Origin>,
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        let Some(origin) = self.origin else { return };
        let mut origins = self.line.lock();
        if let Some(count) = origins.get_mut(&origin) {
            *count -= 1;
            if *count == 0 {
                origins.remove(&origin);
            }
        }
    }
}

impl PublicRateLimit {
    /// Waits for a turn.
    pub(super) async fn enter(&self, peer: SocketAddr) -> Result<Turn<'_>, Problem> {
        let share = self.share(peer).ok_or_else(busy)?;
        match tokio::time::timeout(PATIENCE, self.turns.acquire()).await {
            Ok(Ok(permit)) => Ok(Turn { _permit: permit, _share: share }),
            Ok(Err(_)) | Err(_) => Err(busy()),
        }
    }

    fn share(&self, peer: SocketAddr) -> Option<Share<'_>> {
        let address = peer.ip().to_canonical();
        if address.is_loopback() {
            return Some(Share { line: self, origin: None });
        }
        let origin = Origin::from(address);
        let mut origins = self.lock();
        let count = origins.entry(origin).or_default();
        if *count >= PER_ORIGIN {
            return None;
        }
        *count += 1;
        drop(origins);
        Some(Share { line: self, origin: Some(origin) })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Origin, usize>> {
        // Each change under this lock is whole before anything could panic.
        self.origins.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn busy() -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "api/busy", "Too many requests wait")
        .remedy("Wait for your other answers, then try again.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    #[tokio::test]
    async fn an_address_has_no_more_than_its_share_of_the_line() {
        let line = PublicRateLimit::default();
        let first = line.enter(peer("192.0.2.1:1")).await.expect("a turn");
        {
            let _second = line.enter(peer("[::ffff:192.0.2.1]:2")).await.expect("a turn");
            assert!(line.enter(peer("192.0.2.1:3")).await.is_err(), "at once");
            let mut other = std::pin::pin!(line.enter(peer("192.0.2.2:1")));
            assert!(futures::poll!(&mut other).is_pending(), "it waits");
            drop(first);
            drop(other.await.expect("its turn"));
        }
        assert!(line.lock().is_empty());
    }

    #[tokio::test]
    async fn a_proxy_on_this_machine_has_all_turns() {
        let line = PublicRateLimit::default();
        let shares: Vec<_> =
            (1..=9).map(|port| line.share(SocketAddr::from(([127, 0, 0, 1], port)))).collect();
        assert!(shares.iter().all(Option::is_some));
        assert!(line.lock().is_empty());
    }
}
