//! Names of connections: the core's and the transport's.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::core::event::ConnectionId;

/// Which of the core's connections is which of the transport's.
#[derive(Clone, Debug, Default)]
pub struct Links {
    numbers: Arc<AtomicU64>,
    open: Arc<Mutex<LinkMaps>>,
}

#[derive(Debug, Default)]
struct LinkMaps {
    by_transport: HashMap<lode_network::ConnectionId, ConnectionId>,
    by_core: HashMap<ConnectionId, lode_network::ConnectionId>,
}

impl Links {
    pub(super) fn fresh(&self) -> ConnectionId {
        ConnectionId(self.numbers.fetch_add(1, Ordering::Relaxed).saturating_add(1))
    }

    fn maps(&self) -> MutexGuard<'_, LinkMaps> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn opened(&self, transport: lode_network::ConnectionId) {
        let core = self.fresh();
        let mut maps = self.maps();
        maps.by_transport.insert(transport, core);
        maps.by_core.insert(core, transport);
    }

    pub(super) fn closed(&self, transport: lode_network::ConnectionId) -> Option<ConnectionId> {
        let mut maps = self.maps();
        let core = maps.by_transport.remove(&transport)?;
        maps.by_core.remove(&core);
        Some(core)
    }

    pub(super) fn core(&self, transport: lode_network::ConnectionId) -> Option<ConnectionId> {
        self.maps().by_transport.get(&transport).copied()
    }

    /// The transport's name of an open stream.
    pub fn transport(&self, core: ConnectionId) -> Option<lode_network::ConnectionId> {
        self.maps().by_core.get(&core).copied()
    }
}
