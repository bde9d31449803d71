//! Counts connections, in all and per address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

#[derive(Debug)]
pub(super) struct Connections {
    all: Arc<Semaphore>,
    per_address: Arc<PerAddress>,
}

#[derive(Debug)]
struct PerAddress {
    max: usize,
    open: Mutex<HashMap<IpAddr, usize>>,
}

impl PerAddress {
    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Room for one connection, not yet of anybody. The semaphore is never closed, so it is always there in the end.
pub(super) type Permit = Option<OwnedSemaphorePermit>;

/// One open connection; dropping it makes room.
#[derive(Debug)]
pub(super) struct Admitted {
    _permit: Permit,
    address: IpAddr,
    per_address: Arc<PerAddress>,
}

impl Connections {
    pub(super) fn new(max: usize, max_per_address: usize) -> Self {
        Self {
            all: Arc::new(Semaphore::new(max.clamp(1, Semaphore::MAX_PERMITS))),
            per_address: Arc::new(PerAddress { max: max_per_address.max(1), open: Mutex::default() }),
        }
    }

    /// Waits for room.
    pub(super) async fn permit(&self) -> Permit {
        Arc::clone(&self.all).acquire_owned().await.ok()
    }

    /// Counts a connection of this address, or refuses it.
    pub(super) fn admit(&self, permit: Permit, address: IpAddr) -> Option<Admitted> {
        let address = address.to_canonical();
        let mut open = self.per_address.lock();
        let count = open.entry(address).or_default();
        if *count >= self.per_address.max {
            return None;
        }
        *count += 1;
        drop(open);
        Some(Admitted { _permit: permit, address, per_address: Arc::clone(&self.per_address) })
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut open = self.per_address.lock();
        if let Some(count) = open.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_at_its_limit_is_refused_until_one_of_its_connections_ends() {
        let connections = Connections::new(10, 2);
        let (here, there) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2]));
        let first = connections.admit(connections.permit().await, here).expect("room");
        let _second = connections.admit(connections.permit().await, here).expect("room");
        assert!(connections.admit(connections.permit().await, here).is_none());
        let _other = connections.admit(connections.permit().await, there).expect("room");
        drop(first);
        let _third = connections.admit(connections.permit().await, here).expect("room again");
        assert_eq!(connections.all.available_permits(), 7);
    }
}
