//! `[chain]`: the same names, bounds and words in every program.
//!
//! What a program has no use for is refused, so that no setting is without effect. What is read has been checked.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use lode_contracts::{Deployment, FollowerConfig, OutboxConfig, RpcChain, RpcConfig};
use lode_program::backoff::random_seed;
use lode_program::config::duration_option;
use lode_program::{Exit, ExitError};
use lode_protocol::ids::PoolId;
use lode_protocol::units::Millis;
use serde::de::{Deserialize, Deserializer, Error};

/// The chain is not looked at more often.
const SHORTEST_POLL: Duration = Duration::from_millis(50);
/// Blocks in one question for events, if nothing else is said.
pub const DEFAULT_BLOCK_RANGE: u64 = 2_000;
const DEFAULT_STALE_AFTER: Duration = Duration::from_secs(30);

/// What a program has a use for, beside the URL and the deployment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChainUse {
    /// It belongs to a pool.
    pub pool: bool,
    /// How often it looks at the chain if nothing else is said.
    pub poll_interval: Duration,
    /// It follows events, and waits for blocks on top of theirs.
    pub confirmations: bool,
    /// It acts on a view that can be too old.
    pub stale_after: bool,
}

/// `[chain]`
#[derive(Clone, PartialEq, Eq)]
pub struct ChainConfig {
    /// JSON-RPC over HTTP. May carry a key: it is not part of the debug form.
    pub rpc_url: String,
    /// The deployment's JSON file: chain id and addresses of the contracts.
    pub deployment: PathBuf,
    /// Number of the pool; 0 where the program belongs to none.
    pub pool: PoolId,
    /// Time between two looks at the chain.
    pub poll_interval: Duration,
    /// How many blocks must stand on a block before it counts. 0 on development chains.
    pub confirmations: u64,
    /// Most blocks in one question for events. Where the RPC allows fewer, fewer are asked for.
    pub block_range: u64,
    /// The view is stale when the chain has given no consistent answer for so long.
    pub stale_after: Duration,
}

impl fmt::Debug for ChainConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChainConfig")
            .field("deployment", &self.deployment)
            .field("pool", &self.pool)
            .field("poll_interval", &self.poll_interval)
            .field("confirmations", &self.confirmations)
            .field("block_range", &self.block_range)
            .field("stale_after", &self.stale_after)
            .finish_non_exhaustive()
    }
}

/// As it is written.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    rpc_url: String,
    deployment: PathBuf,
    #[serde(default)]
    pool: Option<u64>,
    #[serde(default, with = "duration_option")]
    poll_interval: Option<Duration>,
    #[serde(default)]
    confirmations: Option<u64>,
    #[serde(default)]
    block_range: Option<u64>,
    #[serde(default, with = "duration_option")]
    stale_after: Option<Duration>,
}

impl ChainConfig {
    /// Reads and checks the section of a program with such a use for it: the body of its `deserialize_with`.
    ///
    /// # Errors
    /// What is missing, out of bounds, or without effect.
    pub fn read<'de, D: Deserializer<'de>>(deserializer: D, usage: &ChainUse) -> Result<Self, D::Error> {
        let written = Written::deserialize(deserializer)?;
        let unused = |name: &str, why: &str| {
            Err(D::Error::custom(format!("`{name}` has no effect here: {why}; leave it out")))
        };
        let pool = match (usage.pool, written.pool) {
            (true, None) => return Err(D::Error::missing_field("pool")),
            (true, Some(0)) => return Err(D::Error::custom("`pool` is 0; pools are numbered from 1")),
            (true, Some(number)) => PoolId(number),
            (false, None) => PoolId(0),
            (false, Some(_)) => return unused("pool", "this program belongs to no pool"),
        };
        if !usage.confirmations && written.confirmations.is_some() {
            return unused("confirmations", "this program reads the newest state only");
        }
        if !usage.stale_after && written.stale_after.is_some() {
            return unused("stale_after", "this program decides nothing by a view that can be too old");
        }
        let poll_interval = written.poll_interval.unwrap_or(usage.poll_interval);
        let stale_after = written.stale_after.unwrap_or(DEFAULT_STALE_AFTER);
        let text = |time: Duration| Millis::from_duration(time).to_string();
        if poll_interval < SHORTEST_POLL {
            return Err(D::Error::custom(format!("`poll_interval` is below {}", text(SHORTEST_POLL))));
        }
        if written.block_range == Some(0) {
            return Err(D::Error::custom(
                "`block_range` is 0, so that no events could be read; leave it out, or write what the RPC's provider allows",
            ));
        }
        if usage.stale_after && stale_after <= poll_interval {
            return Err(D::Error::custom(format!(
                "`stale_after` is {}, but the chain is looked at every {} only: set it to several times `poll_interval`",
                text(stale_after),
                text(poll_interval)
            )));
        }
        Ok(Self {
            rpc_url: written.rpc_url,
            deployment: written.deployment,
            pool,
            poll_interval,
            confirmations: written.confirmations.unwrap_or_default(),
            block_range: written.block_range.unwrap_or(DEFAULT_BLOCK_RANGE),
            stale_after,
        })
    }

    /// The deployment that is named.
    ///
    /// # Errors
    /// A configuration error that names the setting.
    pub fn load_deployment(&self) -> Result<Deployment, ExitError> {
        Deployment::load(&self.deployment)
            .map_err(|error| ExitError::new(Exit::BadConfig, format!("chain.deployment: {error}")))
    }

    /// The chain. Nothing is asked yet.
    ///
    /// # Errors
    /// A configuration error that names the setting.
    pub fn connect(&self) -> Result<RpcChain, ExitError> {
        let deployment = self.load_deployment()?;
        let config = RpcConfig { max_range: self.block_range, ..RpcConfig::new(self.rpc_url.clone()) };
        RpcChain::new(config, deployment)
            .map_err(|error| ExitError::new(Exit::BadConfig, format!("chain.rpc_url: {error}")))
    }

    /// How events are followed.
    #[must_use]
    pub fn follower(&self) -> FollowerConfig {
        FollowerConfig {
            poll_interval_ms: Millis::from_duration(self.poll_interval).0,
            confirmations: self.confirmations,
            max_range: self.block_range,
            seed: random_seed(),
        }
    }

    /// How transactions are sent: as `base` says, by this chain's confirmations and no slower than it is looked at.
    #[must_use]
    pub fn outbox(&self, base: OutboxConfig) -> OutboxConfig {
        let poll_interval_ms = base.poll_interval_ms.min(Millis::from_duration(self.poll_interval).0);
        OutboxConfig { confirmations: self.confirmations, poll_interval_ms, ..base }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lode_program::config::load_from;

    const POOL: ChainUse = ChainUse {
        pool: true,
        poll_interval: Duration::from_secs(2),
        confirmations: true,
        stale_after: true,
    };
    const NOTHING: ChainUse = ChainUse {
        pool: false,
        poll_interval: Duration::from_secs(10),
        confirmations: false,
        stale_after: false,
    };
    const LEAST: &str = "rpc_url = \"http://127.0.0.1:1/secret\"\ndeployment = \"d.json\"\n";

    #[derive(Debug, serde::Deserialize)]
    struct OfPool {
        #[serde(deserialize_with = "of_pool")]
        chain: ChainConfig,
    }

    #[derive(Debug, serde::Deserialize)]
    struct OfNothing {
        #[serde(deserialize_with = "of_nothing")]
        chain: ChainConfig,
    }

    fn of_pool<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ChainConfig, D::Error> {
        ChainConfig::read(deserializer, &POOL)
    }

    fn of_nothing<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ChainConfig, D::Error> {
        ChainConfig::read(deserializer, &NOTHING)
    }

    /// As the programs read it.
    fn read<T: serde::de::DeserializeOwned>(more: &str) -> Result<T, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.toml");
        std::fs::write(&path, format!("[chain]\n{LEAST}{more}")).unwrap();
        load_from(Some(&path), "LODE_TEST", Vec::new(), toml::Table::new()).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_left_out_is_what_the_program_says() {
        let chain = read::<OfPool>("pool = 3\n").unwrap().chain;
        assert_eq!((chain.pool, chain.confirmations, chain.block_range), (PoolId(3), 0, DEFAULT_BLOCK_RANGE));
        assert_eq!((chain.poll_interval, chain.stale_after), (POOL.poll_interval, DEFAULT_STALE_AFTER));
        let chain = read::<OfNothing>("").unwrap().chain;
        assert_eq!((chain.pool, chain.poll_interval), (PoolId(0), NOTHING.poll_interval));
    }

    #[test]
    fn what_cannot_work_or_has_no_effect_is_refused_with_its_reason() {
        let pool = |more: &str| read::<OfPool>(more).unwrap_err();
        for (more, reason) in [
            ("", "pool"),
            ("pool = 0\n", "numbered from 1"),
            ("pool = 1\npoll_interval = \"1ms\"\n", "poll_interval"),
            ("pool = 1\npoll_interval = \"1m\"\n", "stale_after"),
            ("pool = 1\nblock_range = 0\n", "block_range"),
            ("pool = 1\npoll_intervall = \"1m\"\n", "poll_intervall"),
        ] {
            let error = pool(more);
            assert!(error.contains("chain") && error.contains(reason), "{more}: {error}");
        }
        for more in ["pool = 1\n", "confirmations = 1\n", "stale_after = \"1m\"\n"] {
            let error = read::<OfNothing>(more).unwrap_err();
            assert!(error.contains("has no effect") && error.contains("chain"), "{more}: {error}");
        }
        assert!(read::<OfNothing>("poll_interval = \"1m\"\n").is_ok(), "nothing of it can be stale");
    }

    #[test]
    fn a_key_in_the_url_is_not_shown_and_errors_name_the_setting() {
        let chain = read::<OfPool>("pool = 1\n").unwrap().chain;
        assert!(!format!("{chain:?}").contains("secret"), "{chain:?}");
        let error = chain.connect().unwrap_err().to_string();
        assert!(error.contains("chain.deployment") && error.contains("d.json"), "{error}");
    }

    #[test]
    fn those_who_follow_and_send_do_so_as_the_section_says() {
        let more = "pool = 1\npoll_interval = \"200ms\"\nconfirmations = 4\nblock_range = 500\n";
        let chain = read::<OfPool>(more).unwrap().chain;
        let (follower, other) = (chain.follower(), chain.follower());
        assert_eq!((follower.poll_interval_ms, follower.confirmations, follower.max_range), (200, 4, 500));
        assert_ne!(follower.seed, other.seed);
        let outbox = chain.outbox(OutboxConfig::default());
        assert_eq!((outbox.poll_interval_ms, outbox.confirmations), (200, 4));
        let quick = chain.outbox(OutboxConfig::development());
        assert_eq!(quick.poll_interval_ms, OutboxConfig::development().poll_interval_ms);
    }
}
