//! The pool that is simulated: its configuration, with times that the invariants know.

use std::collections::{BTreeMap, BTreeSet};

use lode_orchestrator_core::config::{Config, Limits, Prices, Requirements, Settlement, Tunables};
use lode_protocol::amount::Amount;
use lode_protocol::hash::Digest;
use lode_protocol::units::Millis;

use crate::world::{CHAIN, POOL, POOLS, REWARDS};

/// Hash of the pool's requirements.
pub const REQUIREMENTS: Digest = Digest([3; 32]);

/// The pool's configuration: leases as `lode dev` has them, everything paid.
pub fn config() -> Config {
    Config {
        chain: CHAIN,
        pools_contract: POOLS,
        pool: POOL,
        requirements_hash: REQUIREMENTS,
        terms: tunables(),
        requirements: Requirements { allow_cpu_only: true, ..Requirements::default() },
        declared: None,
        settlement: Some(Settlement {
            rewards_contract: REWARDS,
            prices: Prices { per_gpu_hour: Amount::tokens(3), classes: BTreeMap::new() },
            tenants: BTreeSet::new(),
            checkpoint: Millis::seconds(5),
            kept_epochs: 3,
        }),
        // So few that strangers displace each other and honest nodes, and come to the end of their addresses' shares.
        limits: Limits { unregistered: 6, unregistered_per_address: 2, ..Limits::default() },
    }
}

/// Times that the invariants know of.
pub fn tunables() -> Tunables {
    Tunables {
        beat_interval: Millis::seconds(2),
        suspect_after: Millis::seconds(6),
        lost_after: Millis::seconds(12),
        join_deadline: Millis::seconds(20),
        admission_deadline: Millis::seconds(40),
        first_beat_deadline: Millis::seconds(20),
        cooldown: Millis::seconds(10),
        most_attempts: 1_000,
        start_deadline: Millis::seconds(20),
        retry_first: Millis(500),
        retry_most: Millis::seconds(5),
        avoid: Millis::seconds(10),
        forgive_after: Millis::seconds(20),
        ..Tunables::default()
    }
}
