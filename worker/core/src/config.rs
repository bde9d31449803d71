//! What the core is told about itself. Nothing of it changes while the worker runs.

use std::ops::RangeInclusive;

use lode_protocol::eip712::Domain;
use lode_protocol::ids::{NodeId, PoolId};
use lode_protocol::units::Millis;

use crate::images::ImageWatermarks;

/// Who this node is and how it behaves.
#[derive(Clone, Debug)]
pub struct Config {
    /// The pool.
    pub pool: PoolId,
    /// This node.
    pub node: NodeId,
    /// EIP-712 domain of the pool's contract, for invites.
    pub pools_domain: Domain,
    /// EIP-712 domain of the rewards contract, for receipts.
    pub rewards_domain: Domain,
    /// Version that greetings name.
    pub agent_version: String,
    /// Host ports lent to tasks.
    pub ports: RangeInclusive<u16>,
    /// How often containers are listed, whatever is known about them.
    pub resync_interval: Millis,
    /// When images go; `None`: never.
    pub images: Option<ImageWatermarks>,
    /// Fresh entropy of this boot, for nonces.
    pub seed: [u8; 32],
}
