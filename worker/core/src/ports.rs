//! Host ports out of the range that the host's owner lends.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use lode_protocol::assignment::PublishedPort;
use lode_protocol::task::{Port, PortProtocol};

/// Allocation of host ports. A port that somebody else holds is skipped once the engine has said so.
#[derive(Clone, Debug)]
pub(crate) struct PortAllocator {
    range: RangeInclusive<u16>,
    taken: BTreeSet<(u16, PortProtocol)>,
    foreign: BTreeSet<(u16, PortProtocol)>,
    next: u16,
}

impl PortAllocator {
    /// Lends ports of `range`.
    pub(crate) fn new(range: RangeInclusive<u16>) -> Self {
        let next = *range.start();
        Self { range, taken: BTreeSet::new(), foreign: BTreeSet::new(), next }
    }

    /// One host port for every declared port, or `None` if the range is used up.
    pub(crate) fn allocate(&mut self, wanted: &[Port]) -> Option<Vec<PublishedPort>> {
        let mut granted = Vec::with_capacity(wanted.len());
        for port in wanted {
            match self.free_port(port.protocol) {
                Some(host) => {
                    self.taken.insert((host, port.protocol));
                    granted.push(PublishedPort {
                        name: port.name.clone(),
                        container: port.container,
                        host,
                        protocol: port.protocol,
                    });
                }
                None => {
                    self.release(&granted);
                    return None;
                }
            }
        }
        Some(granted)
    }

    /// Next fit: a port that was just given back rests for a while.
    fn free_port(&mut self, protocol: PortProtocol) -> Option<u16> {
        let (first, last) = (*self.range.start(), *self.range.end());
        let ahead = (self.next.max(first)..=last).chain(first..self.next.max(first));
        let found = ahead.into_iter().find(|port| {
            !self.taken.contains(&(*port, protocol)) && !self.foreign.contains(&(*port, protocol))
        })?;
        self.next = if found == last { first } else { found + 1 };
        Some(found)
    }

    /// Takes note of ports that an adopted container publishes.
    pub(crate) fn adopt(&mut self, ports: &[PublishedPort]) {
        self.taken.extend(ports.iter().map(|port| (port.host, port.protocol)));
    }

    /// Gives ports back.
    pub(crate) fn release(&mut self, ports: &[PublishedPort]) {
        for port in ports {
            self.taken.remove(&(port.host, port.protocol));
        }
    }

    /// Somebody else listens on one of these: give them back and avoid them until [`PortAllocator::forgive`].
    pub(crate) fn avoid(&mut self, ports: &[PublishedPort]) {
        self.release(ports);
        self.foreign.extend(ports.iter().map(|port| (port.host, port.protocol)));
    }

    /// Foreign listeners may have gone: their ports are tried again.
    pub(crate) fn forgive(&mut self) {
        self.foreign.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(name: &str) -> Port {
        Port { name: name.to_owned(), container: 80, protocol: PortProtocol::Tcp }
    }

    #[test]
    fn two_tasks_never_get_the_same_host_port() {
        let mut ports = PortAllocator::new(30_000..=30_001);
        let first = ports.allocate(&[port("a")]).unwrap();
        let second = ports.allocate(&[port("a")]).unwrap();
        assert_ne!(first[0].host, second[0].host);
        assert!(ports.allocate(&[port("a")]).is_none());
        ports.release(&first);
        assert_eq!(ports.allocate(&[port("a")]).unwrap()[0].host, first[0].host);
    }

    #[test]
    fn a_foreign_listener_is_skipped_and_a_partial_allocation_is_given_back() {
        let mut ports = PortAllocator::new(30_000..=30_001);
        let first = ports.allocate(&[port("a")]).unwrap();
        ports.avoid(&first);
        assert!(ports.allocate(&[port("a"), port("b")]).is_none());
        assert_eq!(ports.allocate(&[port("a")]).unwrap()[0].host, 30_001);
        ports.forgive();
        assert_eq!(ports.allocate(&[port("b")]).unwrap()[0].host, 30_000);
    }

    #[test]
    fn a_range_that_ends_at_the_last_port_does_not_overflow() {
        let mut ports = PortAllocator::new(65_535..=65_535);
        assert_eq!(ports.allocate(&[port("a")]).unwrap()[0].host, 65_535);
        assert!(ports.allocate(&[port("a")]).is_none());
    }
}
