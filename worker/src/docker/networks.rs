//! The network of a task: a bridge of its own in a small part of the owner's ranges.
//!
//! Parts that a network of the engine or a route of the host has are stepped over. What somebody else took in between the
//! engine refuses, and another part is tried.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::{Mutex, PoisonError};

use bollard::Docker;
use bollard::errors::Error;
use bollard::models::{Ipam, IpamConfig, Network, NetworkCreateRequest};
use lode_protocol::backoff::seed_of;

use super::call::{CALL, within};
use super::client::DockerEngine;
use super::failure::{During, classify};
use crate::core::effect::ContainerPlan;
use crate::core::event::EngineFailure;
use crate::subnets::{Ipv4Block, host_routes};

/// How often others may be faster. Whoever else takes parts of this range takes them one by one.
const TRIES: u32 = 32;

/// Parts in which networks are being created: the engine does not list them yet.
#[derive(Debug, Default)]
pub(super) struct Reserved(Mutex<BTreeSet<Ipv4Block>>);

/// Gives the part back when it is dropped.
struct Reservation<'a> {
    of: &'a Reserved,
    part: Ipv4Block,
}

impl Reserved {
    /// Has a part chosen that nobody else in this process has.
    fn choose(
        &self,
        choice: impl FnOnce(&BTreeSet<Ipv4Block>) -> Option<Ipv4Block>,
    ) -> Option<Reservation<'_>> {
        let mut parts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let part = choice(&parts)?;
        parts.insert(part);
        Some(Reservation { of: self, part })
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        self.of.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.part);
    }
}

impl DockerEngine {
    pub(super) async fn create_network(&self, plan: &ContainerPlan) -> Result<(), EngineFailure> {
        let docker = self.docker().await?;
        let from = seed_of(plan.id.to_string().as_bytes());
        let mut refused = Vec::new();
        for _ in 0..TRIES {
            let mut networks = self.networks(docker).await?;
            networks.extend(&refused);
            let routes = host_routes().await;
            let chosen = self.reserved.choose(|reserved| {
                networks.extend(reserved);
                self.config.subnets.free_part(&networks, &routes, from)
            });
            let Some(chosen) = chosen else { return Err(self.full()) };
            match within(CALL, docker.create_network(self.network(plan, chosen.part))).await {
                Ok(_) => return Ok(()),
                Err(error) if overlaps(&error) => refused.push(chosen.part),
                Err(error) => return Err(classify(&error, During::Create)),
            }
        }
        Err(self.full())
    }

    fn full(&self) -> EngineFailure {
        EngineFailure::NoRoom(format!(
            "no part of {} is free for one more task's network; the host's owner can name more in docker.subnets",
            self.config.subnets
        ))
    }

    fn network(&self, plan: &ContainerPlan, part: Ipv4Block) -> NetworkCreateRequest {
        let config = IpamConfig { subnet: Some(part.to_string()), ..Default::default() };
        NetworkCreateRequest {
            name: self.config.ownership.name(&plan.id),
            driver: Some("bridge".to_owned()),
            labels: Some(self.config.ownership.labels(&plan.id, plan.attempt)),
            ipam: Some(Ipam { config: Some(vec![config]), ..Default::default() }),
            ..Default::default()
        }
    }

    /// Blocks of every network that the engine has, whoever made it.
    async fn networks(&self, docker: &Docker) -> Result<Vec<Ipv4Block>, EngineFailure> {
        let listed = within(CALL, docker.list_networks(None)).await;
        let listed = listed.map_err(|error| classify(&error, During::Create))?;
        Ok(listed.into_iter().flat_map(blocks).collect())
    }
}

/// What a network of the engine takes.
pub(crate) fn blocks(network: Network) -> Vec<Ipv4Block> {
    let configs = network.ipam.and_then(|ipam| ipam.config).unwrap_or_default();
    let block = |config: IpamConfig| {
        let subnet = config.subnet?;
        // The engine takes addresses in the middle of a subnet, too.
        let (address, prefix) = subnet.split_once('/')?;
        Ipv4Block::around(address.parse::<Ipv4Addr>().ok()?, prefix.parse().ok()?)
    };
    configs.into_iter().filter_map(block).collect()
}

/// Whether the engine says that somebody has these addresses.
fn overlaps(error: &Error) -> bool {
    match error {
        Error::DockerResponseServerError { message, .. } => message.to_ascii_lowercase().contains("overlap"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engine_s_words_for_addresses_that_somebody_has_are_understood() {
        let says = |message: &str| {
            overlaps(&Error::DockerResponseServerError { status_code: 403, message: message.to_owned() })
        };
        assert!(says("Pool overlaps with other one on this address space"));
        assert!(says("invalid pool request: Pool overlaps with other one on this address space"));
        assert!(says(
            "cannot create network 1 (br-1): conflicts with network 2 (br-2): networks have overlapping IPv4"
        ));
        assert!(!says("network with name lode-1 already exists"));
    }

    #[test]
    fn a_part_is_given_to_one_creation_at_a_time() {
        let reserved = Reserved::default();
        let part: Ipv4Block = "10.213.0.0/29".parse().unwrap();
        let first = reserved.choose(|taken| (!taken.contains(&part)).then_some(part));
        assert!(first.is_some());
        assert!(reserved.choose(|taken| (!taken.contains(&part)).then_some(part)).is_none());
        drop(first);
        assert!(reserved.choose(|taken| (!taken.contains(&part)).then_some(part)).is_some());
    }
}
