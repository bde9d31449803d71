//! The chain: reachable, the right one, with the contracts and the pool; and where this node stands on it.

use lode_contracts::{ChainReader, PoolState};
use lode_program::finding::Finding;
use lode_protocol::envelope::MAX_CLOCK_SKEW;
use lode_protocol::ids::NodeId;
use lode_protocol::units::Timestamp;

use crate::config::Config;
use crate::identity;

/// A head older than this says that the RPC endpoint lags, or that this machine's clock is wrong.
const STALE_HEAD: u64 = 10 * 60 * 1_000;

pub(super) async fn check(config: &Config) -> Vec<Finding> {
    let url = config.chain.rpc_url.clone();
    let reader = match config.chain.connect() {
        Ok(reader) => reader,
        Err(error) => {
            return vec![
                Finding::error("chain/bad-config", format!("{error:#}"))
                    .about(config.chain.deployment.display().to_string())
                    .remedy("Set chain.deployment to the deployment file of the pool's chain."),
            ];
        }
    };
    if let Err(error) = reader.verify().await {
        return vec![
            Finding::error(error.code(), error.to_string())
                .about(url)
                .remedy("Check chain.rpc_url and chain.deployment: both must be of the pool's chain."),
        ];
    }
    match standing(config, &reader).await {
        Ok(findings) => findings,
        Err(error) => vec![
            Finding::error(error.code(), error.to_string())
                .about(url)
                .remedy("Try again; the chain's RPC endpoint broke off."),
        ],
    }
}

async fn standing(
    config: &Config,
    reader: &dyn ChainReader,
) -> Result<Vec<Finding>, lode_contracts::ChainError> {
    let mut findings = Vec::new();
    let head = reader.head().await?;
    findings.extend(clock(head.timestamp, Timestamp(lode_program::Clock::system().wall_millis())));
    let subject = format!("pool {}", config.pool());
    match reader.pool(config.pool()).await? {
        None => findings.push(
            Finding::error("pool/not-found", "there is no such pool on this chain")
                .about(&subject)
                .remedy("Set chain.pool."),
        ),
        Some(pool) if pool.state == PoolState::Ended => findings.push(
            Finding::error("pool/ended", "the pool has ended").about(&subject).remedy("Join another pool."),
        ),
        Some(_) => {}
    }
    if let Ok(key) = identity::load_key(config) {
        let node = NodeId(key.address());
        match reader.node(node).await? {
            None => findings.push(
                Finding::warning("node/not-registered", "no provider has authorised this node on chain")
                    .about(node.to_string())
                    .remedy("Run `lode-worker init --provider ADDRESS` and give its output to the provider."),
            ),
            Some(record) if !record.eligible => findings.push(
                Finding::warning("node/not-eligible", "the provider's stake does not cover its nodes")
                    .about(node.to_string())
                    .remedy("The provider adds stake, or removes nodes."),
            ),
            Some(_) => {}
        }
    }
    Ok(findings)
}

/// The head of a live chain is seconds old; a head in the future means that this clock is behind.
fn clock(head: Timestamp, now: Timestamp) -> Option<Finding> {
    if head > now.plus(MAX_CLOCK_SKEW) {
        let behind = head.since(now);
        return Some(
            Finding::error(
                "clock/behind",
                format!("this machine's clock is {behind} behind the chain's newest block"),
            )
            .remedy("Synchronise the clock (chrony or systemd-timesyncd): signed messages would be refused."),
        );
    }
    (now.since(head).0 > STALE_HEAD).then(|| {
        Finding::warning("chain/stale-head", format!("the chain's newest block is {} old", now.since(head)))
            .remedy("Check the RPC endpoint, and this machine's clock.")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use lode_protocol::units::Millis;

    #[test]
    fn clock_skew_is_seen_in_both_directions() {
        let now = Timestamp(1_800_000_000_000);
        assert!(clock(now, now).is_none());
        assert!(clock(now.plus(MAX_CLOCK_SKEW), now).is_none());
        assert_eq!(clock(now.plus(Millis::seconds(31)), now).unwrap().code.as_str(), "clock/behind");
        assert_eq!(clock(now.minus(Millis::seconds(3_600)), now).unwrap().code.as_str(), "chain/stale-head");
    }
}
