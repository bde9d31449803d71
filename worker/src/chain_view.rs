//! What the chain says about the pool and this node, read through the worker's own RPC: the worker trusts no
//! orchestrator's word on who the orchestrator is.
//!
//! An RPC error changes nothing: the last known facts stand, and are known not to be fresh.

use std::sync::Arc;
use std::time::Duration;

use lode_contracts::{ChainError, ChainReader, Deployment, MembershipState, RpcChain, RpcConfig};
use lode_network::EndpointUrl;
use lode_program::finding::{Finding, FindingSet};
use lode_program::{Exit, ExitError};
use lode_protocol::amount::Amount;
use lode_protocol::hash::Digest;
use lode_protocol::ids::{Address, NodeId, PoolId, ProviderId};
use lode_protocol::units::Timestamp;
use minicbor::{Decode, Encode};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::config::Config;

/// Time one look at the chain may take.
const LOOK_TIMEOUT: Duration = Duration::from_secs(20);

/// What the chain said at its last answer.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct KnownChain {
    /// Address of the orchestrator's key.
    #[n(0)]
    pub orchestrator: Address,
    /// Where it listens, as the pool names it.
    #[n(1)]
    pub endpoints: String,
    /// Hash of the pool's requirements.
    #[n(2)]
    pub requirements: Digest,
    /// Whether this node is a member.
    #[n(3)]
    pub membership: Standing,
    /// Joins so far.
    #[n(4)]
    pub join_counter: u64,
    /// Provider that runs this node, if it is registered.
    #[n(5)]
    pub provider: Option<ProviderId>,
    /// What the pool has paid that provider.
    #[n(6)]
    pub paid: Option<Amount>,
}

/// Where the node stands in the pool.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(index_only)]
pub enum Standing {
    /// Never joined.
    #[n(0)]
    Never,
    /// Member.
    #[n(1)]
    Member,
    /// Was a member.
    #[n(2)]
    Left,
    /// Was removed.
    #[n(3)]
    Ejected,
    /// Was removed for good.
    #[n(4)]
    Banned,
}

impl KnownChain {
    /// The provider's address.
    pub fn provider_address(&self) -> Option<Address> {
        self.provider.map(|provider| provider.0)
    }

    /// The orchestrator's endpoints that can be read; others are left out.
    pub fn endpoint_urls(&self) -> Vec<EndpointUrl> {
        self.endpoints
            .split(|c: char| c.is_whitespace() || c == ',')
            .filter(|text| !text.is_empty())
            .filter_map(|text| {
                text.parse().inspect_err(|error| tracing::debug!(text, %error, "endpoint skipped")).ok()
            })
            .collect()
    }
}

/// The worker's view of the chain.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ChainView {
    /// The last known facts, if there ever were any.
    pub known: Option<KnownChain>,
    /// When the chain answered last, in this run of the worker.
    pub answered_at: Option<Timestamp>,
    /// Whether the last look succeeded.
    pub fresh: bool,
}

/// Connects to the configured chain; nothing is asked yet.
pub fn connect(config: &Config) -> anyhow::Result<Arc<RpcChain>> {
    let deployment = Deployment::load(&config.chain.deployment)
        .map_err(|error| ExitError::new(Exit::BadConfig, error.to_string()))?;
    let chain = RpcChain::new(RpcConfig::new(config.chain.rpc_url.clone()), deployment)
        .map_err(|error| ExitError::new(Exit::BadConfig, format!("chain.rpc_url: {error}")))?;
    Ok(Arc::new(chain))
}

/// One look at everything the worker wants to know.
pub async fn look(
    reader: &dyn ChainReader,
    pool: PoolId,
    node: NodeId,
) -> Result<Option<KnownChain>, ChainError> {
    let Some(record) = reader.pool(pool).await? else { return Ok(None) };
    let membership = reader.membership(pool, node).await?;
    let registered = reader.node(node).await?;
    let provider = registered.map(|registered| registered.provider);
    let paid = match provider {
        Some(provider) => reader.earnings(pool, &[provider.0]).await?.first().map(|earned| earned.paid),
        None => None,
    };
    Ok(Some(KnownChain {
        orchestrator: record.orchestrator,
        endpoints: record.endpoints,
        requirements: record.requirements,
        membership: match membership.state {
            MembershipState::Never => Standing::Never,
            MembershipState::Member => Standing::Member,
            MembershipState::Left => Standing::Left,
            MembershipState::Ejected => Standing::Ejected,
            MembershipState::Banned => Standing::Banned,
        },
        join_counter: membership.join_counter,
        provider,
        paid,
    }))
}

/// Looks at the chain at an interval and publishes what changes.
#[derive(Debug)]
pub struct ChainWatch {
    reader: Arc<dyn ChainReader>,
    pool: PoolId,
    node: NodeId,
    interval: Duration,
    findings: FindingSet,
    view: watch::Sender<ChainView>,
    clock: lode_program::Clock,
}

impl ChainWatch {
    /// Starts from what was known before.
    pub fn new(
        reader: Arc<dyn ChainReader>,
        (pool, node): (PoolId, NodeId),
        interval: Duration,
        known: Option<KnownChain>,
        findings: FindingSet,
        clock: lode_program::Clock,
    ) -> (Self, watch::Receiver<ChainView>) {
        let (view, receiver) = watch::channel(ChainView { known, answered_at: None, fresh: false });
        (Self { reader, pool, node, interval, findings, view, clock }, receiver)
    }

    /// Until shutdown.
    pub async fn run(self, shutdown: CancellationToken) {
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = self.look_once() => {}
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(self.interval) => {}
            }
        }
    }

    async fn look_once(&self) {
        let looked =
            tokio::time::timeout(LOOK_TIMEOUT, look(self.reader.as_ref(), self.pool, self.node)).await;
        let failure = match looked {
            Ok(Ok(Some(known))) => {
                self.findings.clear_code("chain/unreachable");
                self.findings.clear_code("chain/no-pool");
                let at = Timestamp(self.clock.wall_millis());
                self.judge(&known);
                self.view.send_if_modified(|view| {
                    let changed = view.known.as_ref() != Some(&known) || !view.fresh;
                    *view = ChainView { known: Some(known), answered_at: Some(at), fresh: true };
                    changed
                });
                return;
            }
            Ok(Ok(None)) => Finding::error(
                "chain/no-pool",
                format!("the chain has no pool {}; this node cannot join it", self.pool),
            )
            .remedy(
                "set chain.pool to the pool's number, or chain.deployment to the file of the right contracts",
            ),
            Ok(Err(error)) => unreachable_finding(&error.to_string()),
            Err(_) => unreachable_finding(&format!("no answer for {} s", LOOK_TIMEOUT.as_secs())),
        };
        self.findings.raise(failure);
        self.view.send_if_modified(|view| std::mem::replace(&mut view.fresh, false));
    }

    fn judge(&self, known: &KnownChain) {
        if known.provider.is_some() {
            self.findings.clear_code("node/not-registered");
        } else {
            self.findings.raise(
                Finding::warning("node/not-registered", "no provider has authorised this node on chain yet")
                    .remedy(
                        "let the provider run `lode provider authorize` with what `lode-worker init` printed",
                    ),
            );
        }
    }
}

fn unreachable_finding(detail: &str) -> Finding {
    Finding::warning(
        "chain/unreachable",
        format!("the chain's RPC does not answer as it should; what was known last still counts: {detail}"),
    )
    .remedy("check chain.rpc_url; running tasks are not affected, joining waits")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_that_cannot_be_read_are_left_out_and_the_others_stay() {
        let known = KnownChain {
            orchestrator: Address::ZERO,
            endpoints: "/ip4/127.0.0.1/tcp/7000 nonsense, https://pool.example".to_owned(),
            requirements: Digest::default(),
            membership: Standing::Never,
            join_counter: 0,
            provider: None,
            paid: None,
        };
        assert_eq!(known.endpoint_urls().len(), 2);
    }
}
