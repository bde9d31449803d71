//! IPv4 ranges in which the networks of tasks lie, and which of their parts are free.
//!
//! The engine's own pools hold some thirty networks, which it also gives to everybody else on the host. A task needs two
//! addresses: its container's and the host's.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Prefix of one task's network: eight addresses, of which the engine takes three.
pub const TASK_PREFIX: u8 = 29;

/// A block of IPv4 addresses.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ipv4Block {
    first: u32,
    prefix: u8,
}

impl Ipv4Block {
    /// The block of this prefix in which an address lies; `None`: there is no such prefix.
    pub fn around(address: Ipv4Addr, prefix: u8) -> Option<Self> {
        (prefix <= 32).then(|| Self { first: address.to_bits() & mask(prefix), prefix })
    }

    fn last(self) -> u32 {
        self.first | !mask(self.prefix)
    }

    fn holds(self, other: Self) -> bool {
        self.prefix <= other.prefix && other.first & mask(self.prefix) == self.first
    }
}

fn mask(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0)
}

impl fmt::Display for Ipv4Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", Ipv4Addr::from_bits(self.first), self.prefix)
    }
}

/// Text that is no block.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0:?} is no range of addresses: write its first address and its length, like 10.213.0.0/16")]
pub struct ParseBlockError(String);

impl FromStr for Ipv4Block {
    type Err = ParseBlockError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ParseBlockError(text.chars().take(80).collect());
        let (address, prefix) = text.trim().split_once('/').ok_or_else(wrong)?;
        let (address, prefix): (Ipv4Addr, u8) =
            (address.parse().map_err(|_| wrong())?, prefix.parse().map_err(|_| wrong())?);
        // An address in the middle of the range is a slip of the pen in one of the two.
        Self::around(address, prefix).filter(|block| block.first == address.to_bits()).ok_or_else(wrong)
    }
}

/// The ranges of a host's owner.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Subnets(Vec<Ipv4Block>);

impl Default for Subnets {
    /// 10.213.0.0/16: 8,192 networks.
    fn default() -> Self {
        Self(vec![Ipv4Block { first: Ipv4Addr::new(10, 213, 0, 0).to_bits(), prefix: 16 }])
    }
}

impl fmt::Display for Subnets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&texts.join(", "))
    }
}

impl FromStr for Subnets {
    type Err = ParseBlockError;

    /// One range, or several with commas between them.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::of(text.split(',').map(str::parse).collect::<Result<_, _>>()?)
    }
}

impl Subnets {
    fn of(ranges: Vec<Ipv4Block>) -> Result<Self, ParseBlockError> {
        match ranges.iter().find(|range| range.prefix > TASK_PREFIX) {
            Some(small) => Err(ParseBlockError(small.to_string())),
            None if ranges.is_empty() => Err(ParseBlockError(String::new())),
            None => Ok(Self(ranges)),
        }
    }

    /// How many networks there may be.
    pub fn count(&self) -> u64 {
        self.0.iter().map(|range| parts(*range)).sum()
    }

    /// How many parts are free.
    pub fn free(&self, networks: &[Ipv4Block], routes: &[Ipv4Block]) -> u64 {
        let free = |range: Ipv4Block| {
            let taken = Taken::within(range, networks, routes);
            let parts = (0..parts(range)).filter_map(|number| part(range, number));
            u64::try_from(parts.filter(|part| taken.is_free(*part)).count()).unwrap_or(u64::MAX)
        };
        self.0.iter().map(|range| free(*range)).sum()
    }

    /// A part that overlaps neither a network of the engine nor a route of the host; where the search begins is up to
    /// the caller. A route that reaches beyond the owner's range (the default route, that of a VPN for all of 10.0.0.0/8)
    /// takes nothing of it: the network of a task is more special and comes first.
    pub fn free_part(&self, networks: &[Ipv4Block], routes: &[Ipv4Block], from: u64) -> Option<Ipv4Block> {
        let taken = |range: &Ipv4Block| (*range, Taken::within(*range, networks, routes));
        let ranges: Vec<(Ipv4Block, Taken)> = self.0.iter().map(taken).collect();
        let count = self.count().max(1);
        let start = from % count;
        (0..count).find_map(|step| {
            let mut number = (start + step) % count;
            for (range, taken) in &ranges {
                match number.checked_sub(parts(*range)) {
                    Some(rest) => number = rest,
                    None => return part(*range, number).filter(|part| taken.is_free(*part)),
                }
            }
            None
        })
    }
}

fn parts(range: Ipv4Block) -> u64 {
    1 << TASK_PREFIX.saturating_sub(range.prefix)
}

fn part(range: Ipv4Block, number: u64) -> Option<Ipv4Block> {
    let offset = u32::try_from(number << (32 - TASK_PREFIX)).ok()?;
    Some(Ipv4Block { first: range.first.checked_add(offset)?, prefix: TASK_PREFIX })
}

/// Addresses that are taken: intervals in order, none of which touches another.
struct Taken(Vec<(u32, u32)>);

impl Taken {
    fn within(range: Ipv4Block, networks: &[Ipv4Block], routes: &[Ipv4Block]) -> Self {
        let networks = networks.iter().filter(|block| range.holds(**block) || block.holds(range));
        let routes = routes.iter().filter(|block| range.holds(**block));
        let mut taken: Vec<(u32, u32)> =
            networks.chain(routes).map(|block| (block.first, block.last())).collect();
        taken.sort_unstable();
        Self::of(taken)
    }

    fn of(sorted: Vec<(u32, u32)>) -> Self {
        let mut merged: Vec<(u32, u32)> = Vec::with_capacity(sorted.len());
        for (first, last) in sorted {
            match merged.last_mut() {
                Some((_, end)) if first <= *end => *end = (*end).max(last),
                Some(_) | None => merged.push((first, last)),
            }
        }
        Self(merged)
    }

    fn is_free(&self, block: Ipv4Block) -> bool {
        let before = self.0.partition_point(|(first, _)| *first <= block.last());
        let nearest = before.checked_sub(1).and_then(|at| self.0.get(at));
        nearest.is_none_or(|(_, last)| *last < block.first)
    }
}

impl<'de> Deserialize<'de> for Subnets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SubnetsVisitor)
    }
}

struct SubnetsVisitor;

impl<'de> Visitor<'de> for SubnetsVisitor {
    type Value = Subnets;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a range of addresses like \"10.213.0.0/16\", or a list of them")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Subnets, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Subnets, A::Error> {
        let mut ranges = Vec::new();
        while let Some(text) = items.next_element::<String>()? {
            ranges.push(text.parse().map_err(A::Error::custom)?);
        }
        Subnets::of(ranges).map_err(A::Error::custom)
    }
}

/// The host's routes. Without the kernel's table there is nothing to step over; an engine still refuses what it has
/// itself.
pub async fn host_routes() -> Vec<Ipv4Block> {
    routes_of(&tokio::fs::read_to_string("/proc/net/route").await.unwrap_or_default())
}

/// The routes in the text of `/proc/net/route` (addresses in the order of the machine's bytes).
fn routes_of(table: &str) -> Vec<Ipv4Block> {
    let number = |word: &str| {
        u32::from_str_radix(word, 16).ok().map(|number| u32::from_be_bytes(number.to_ne_bytes()))
    };
    let route = |line: &str| {
        let mut words = line.split_whitespace().skip(1);
        let destination = number(words.next()?)?;
        let mask = number(words.nth(5)?)?;
        Ipv4Block::around(Ipv4Addr::from_bits(destination), u8::try_from(mask.leading_ones()).ok()?)
    };
    table.lines().filter_map(route).collect()
}

#[cfg(test)]
mod tests;
