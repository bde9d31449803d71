//! Publications by network address, before anything is verified.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::DefaultClock;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};
use lode_protocol::origin::Origin;

/// Between two looks for those that need not be remembered.
const FORGET_EVERY: Duration = Duration::from_secs(60);

/// How often each may publish. Clones are the same.
#[derive(Clone, Debug)]
pub struct AddressLimiter {
    limiter: Arc<RateLimiter<Origin, DashMapStateStore<Origin>, DefaultClock>>,
}

impl AddressLimiter {
    /// So many publications per minute from one IPv4 address, or from one /64 of IPv6.
    #[must_use]
    pub fn per_minute(count: u32) -> Self {
        let quota = Quota::per_minute(NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN));
        Self { limiter: Arc::new(RateLimiter::dashmap(quota)) }
    }

    /// Whether one may come from there now.
    #[must_use]
    pub fn admits(&self, from: IpAddr) -> bool {
        self.limiter.check_key(&from.into()).is_ok()
    }

    /// Forgets who may publish as much as ever again.
    pub fn forget(&self) {
        self.limiter.retain_recent();
        self.limiter.shrink_to_fit();
    }

    /// Forgets from time to time.
    pub async fn keep_small(self) {
        let mut interval = tokio::time::interval(FORGET_EVERY);
        loop {
            interval.tick().await;
            self.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_addresses_of_one_network_publish_no_more_than_one() {
        let limiter = AddressLimiter::per_minute(5);
        let admitted = (0..1_000u16).filter(|host| {
            let address = std::net::Ipv6Addr::new(0x2001, 0xdb8, 1, 2, 0, 0, 7, *host);
            limiter.admits(IpAddr::V6(address))
        });
        assert!(admitted.count() < 10, "five, and what a slow test takes in");
        assert!(limiter.admits("2001:db8:1:3::1".parse().unwrap()));
    }
}
