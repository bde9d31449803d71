//! Places of the HTTPS fallback: so many requests at once, and of these so many of one address.
//!
//! A request holds its place from before its body is read: whoever sends nothing holds it for as long as a body may take.
//! So one address has a share only, and many addresses are needed to take all places.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lode_protocol::origin::Origin;

use super::ServerConfig;

/// All places, and who holds them.
#[derive(Debug)]
pub(super) struct HttpPlaces {
    all: usize,
    per_address: usize,
    loopback_has_all: bool,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_origin: HashMap<Origin, usize>,
}

/// A place; dropped with its request.
#[derive(Debug)]
pub(super) struct HttpPlace {
    places: Arc<HttpPlaces>,
    /// Whose share it is of.
    origin: Option<Origin>,
}

/// Why there is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum NoPlace {
    AllTaken,
    ShareTaken,
}

impl HttpPlaces {
    pub(super) fn new(config: &ServerConfig) -> Arc<Self> {
        Arc::new(Self {
            all: config.http_requests,
            per_address: config.http_requests_per_address,
            loopback_has_all: config.http_loopback_has_all,
            taken: Mutex::default(),
        })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a request from there.
    pub(super) fn take(self: &Arc<Self>, remote: Option<IpAddr>) -> Result<HttpPlace, NoPlace> {
        // On loopback stands a proxy, and behind it are many.
        let has_share = |ip: &IpAddr| !(self.loopback_has_all && ip.to_canonical().is_loopback());
        let origin = remote.filter(has_share).map(Origin::from);
        let mut taken = self.taken();
        if taken.all >= self.all {
            return Err(NoPlace::AllTaken);
        }
        if let Some(origin) = origin {
            let held = taken.by_origin.get(&origin).copied().unwrap_or_default();
            if held >= self.per_address {
                return Err(NoPlace::ShareTaken);
            }
            taken.by_origin.insert(origin, held + 1);
        }
        taken.all += 1;
        Ok(HttpPlace { places: Arc::clone(self), origin })
    }
}

impl Drop for HttpPlace {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        taken.all -= 1;
        if let Some(origin) = self.origin
            && let Some(held) = taken.by_origin.get_mut(&origin)
        {
            *held -= 1;
            if *held == 0 {
                taken.by_origin.remove(&origin);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(http_requests: usize, http_requests_per_address: usize) -> Arc<HttpPlaces> {
        HttpPlaces::new(&ServerConfig { http_requests, http_requests_per_address, ..ServerConfig::default() })
    }

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn one_address_has_its_share_and_the_others_have_the_rest() {
        let places = places(3, 2);
        let first = places.take(ip("192.0.2.1")).unwrap();
        let _second = places.take(ip("::ffff:192.0.2.1")).unwrap();
        assert_eq!(places.take(ip("192.0.2.1")).unwrap_err(), NoPlace::ShareTaken);
        let other = places.take(ip("2001:db8::1")).unwrap();
        assert_eq!(places.take(ip("192.0.2.9")).unwrap_err(), NoPlace::AllTaken);
        drop(other);
        assert_eq!(places.take(ip("192.0.2.1")).unwrap_err(), NoPlace::ShareTaken);
        drop(first);
        assert!(places.take(ip("192.0.2.1")).is_ok());
    }

    #[test]
    fn all_of_a_64_are_one_and_what_is_gone_leaves_nothing() {
        let places = places(10, 1);
        let held = places.take(ip("2001:db8::1")).unwrap();
        assert_eq!(places.take(ip("2001:db8::2:2")).unwrap_err(), NoPlace::ShareTaken);
        let other = places.take(ip("2001:db8:0:1::1")).unwrap();
        drop((held, other));
        let taken = places.taken();
        assert!(taken.all == 0 && taken.by_origin.is_empty());
    }

    #[test]
    fn a_proxy_on_loopback_may_have_all() {
        let places = places(4, 1);
        let held: Vec<HttpPlace> = ["127.0.0.1", "127.0.0.1", "::1", "::ffff:127.0.0.1"]
            .map(|at| places.take(ip(at)).unwrap())
            .into();
        assert_eq!(places.take(ip("127.0.0.1")).unwrap_err(), NoPlace::AllTaken);
        drop(held);
        assert!(places.take(ip("127.0.0.1")).is_ok());
    }
}
