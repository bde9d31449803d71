//! Ports of one dev pool: a block below the ports that the system hands out by itself, ours as long as we live.
//!
//! The block is claimed by an abstract Unix socket named after it: the kernel releases it when the process ends, however
//! it ends, and network namespaces that share no ports share no names. So pools beside each other never collide, and a
//! program that is restarted finds its port free.

use std::net::{Ipv4Addr, TcpListener};
use std::ops::RangeInclusive;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};

use lode_cli::failure::Kind;

/// Ports in a block.
const BLOCK: u16 = 128;
/// Blocks start here.
const FIRST: u16 = 20_000;
/// No block goes beyond.
const LAST: u16 = 32_000;
/// Ports lent to the tasks of one worker.
const TASK_PORTS: u16 = 56;
/// Beginning of the names that claim blocks.
const CLAIM: &str = "lode-dev-ports-";

/// A claimed block of ports.
#[derive(Debug)]
pub(crate) struct PortBlock {
    first: u16,
    // Held, never used: it is the claim.
    _claim: UnixListener,
}

impl PortBlock {
    /// Claims a block that nobody uses. `seed` makes pools that start at once look at different blocks first.
    pub(crate) fn pick(seed: usize) -> anyhow::Result<Self> {
        let taken_by_system = system_range();
        let blocks: Vec<u16> = (FIRST..=LAST - BLOCK)
            .step_by(usize::from(BLOCK))
            .filter(|first| *first > *taken_by_system.end() || first + BLOCK <= *taken_by_system.start())
            .collect();
        let count = blocks.len().max(1);
        for index in 0..count {
            let Some(first) = blocks.get((seed % count + index) % count) else { break };
            if let Ok(block) = PortBlock::claim(*first) {
                return Ok(block);
            }
        }
        let remedy = "stop other dev pools, or programs that listen on ports from 20000 to 32000";
        Err(Kind::Failed.with_remedy(format!("there are no {BLOCK} free ports in a row"), remedy))
    }

    /// Claims the block that starts here, if all of its ports are free.
    pub(crate) fn claim(first: u16) -> anyhow::Result<Self> {
        let claim = UnixListener::bind_addr(&SocketAddr::from_abstract_name(format!("{CLAIM}{first}"))?)
            .map_err(|_| {
                Kind::Conflict.because(format!("the ports from {first} belong to another dev pool"))
            })?;
        for port in first..first + BLOCK {
            TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(|error| {
                let remedy = "stop what uses it, or start with another --data-dir";
                Kind::Conflict.with_remedy(format!("port {port} of this pool is not free: {error}"), remedy)
            })?;
        }
        Ok(PortBlock { first, _claim: claim })
    }

    /// Where it starts.
    pub(crate) fn first(&self) -> u16 {
        self.first
    }
}

/// Which port is whose, by the block's first port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Ports {
    first: u16,
}

impl Ports {
    pub(crate) fn from(first: u16) -> Self {
        Ports { first }
    }

    pub(crate) fn chain(self) -> u16 {
        self.first
    }

    pub(crate) fn discovery(self) -> u16 {
        self.first + 1
    }

    pub(crate) fn api(self) -> u16 {
        self.first + 2
    }

    pub(crate) fn wire(self) -> u16 {
        self.first + 3
    }

    pub(crate) fn wire_http(self) -> u16 {
        self.first + 4
    }

    pub(crate) fn validator(self) -> u16 {
        self.first + 5
    }

    pub(crate) fn validator_health(self) -> u16 {
        self.first + 6
    }

    pub(crate) fn worker_health(self, number: u16) -> u16 {
        self.first + 6 + number
    }

    /// Ports that worker 1 or 2 lends to tasks.
    pub(crate) fn tasks(self, number: u16) -> RangeInclusive<u16> {
        let first = self.first + BLOCK - (3 - number.clamp(1, 2)) * TASK_PORTS;
        first..=first + TASK_PORTS - 1
    }
}

/// How many dev pools hold ports on this machine now, ours included.
pub(crate) fn pools_alive() -> usize {
    let Ok(text) = std::fs::read_to_string("/proc/net/unix") else { return usize::MAX };
    let mut names: Vec<&str> =
        text.lines().filter_map(|line| line.split_once(&format!("@{CLAIM}"))).map(|(_, n)| n).collect();
    names.sort_unstable();
    names.dedup();
    names.len()
}

/// Ports that the system gives to outgoing connections: any of them may be taken at any moment.
fn system_range() -> RangeInclusive<u16> {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut numbers = text.split_whitespace().filter_map(|number| number.parse().ok());
    match (numbers.next(), numbers.next()) {
        (Some(first), Some(last)) => first..=last,
        _ => 32_768..=60_999,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_pools_get_different_blocks_and_a_dead_one_gives_its_block_back() {
        let first = PortBlock::pick(7).unwrap();
        let second = PortBlock::pick(7).unwrap();
        assert_ne!(first.first(), second.first());
        assert!(pools_alive() >= 2);
        let number = first.first();
        assert!(PortBlock::claim(number).is_err());
        drop(first);
        assert_eq!(PortBlock::claim(number).unwrap().first(), number);
    }

    #[test]
    fn a_block_with_a_port_in_use_is_refused() {
        let block = PortBlock::pick(40).unwrap();
        let number = block.first();
        drop(block);
        let _busy = TcpListener::bind((Ipv4Addr::LOCALHOST, number + 9)).unwrap();
        assert!(PortBlock::claim(number).is_err());
    }

    #[test]
    fn no_port_is_given_out_twice_and_all_are_in_the_block() {
        let ports = Ports::from(20_000);
        let mut all = vec![
            ports.chain(),
            ports.discovery(),
            ports.api(),
            ports.wire(),
            ports.wire_http(),
            ports.validator(),
            ports.validator_health(),
            ports.worker_health(1),
            ports.worker_health(2),
        ];
        all.extend(ports.tasks(1));
        all.extend(ports.tasks(2));
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
        assert!(all.iter().all(|port| (20_000..20_000 + BLOCK).contains(port)), "{all:?}");
    }
}
