//! What the chain says about the pool and this node, read through the worker's own RPC: the worker trusts no
//! orchestrator's word on who the orchestrator is.
//!
//! An RPC error changes nothing: the last known facts stand, and are known not to be fresh.

use std::sync::Arc;
use std::time::Duration;

use lode_contracts::{ChainError, ChainReader};
use lode_program::finding::{Finding, FindingSet};
use lode_protocol::ids::{NodeId, PoolId};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::core::chain::ChainFacts;
use crate::endpoints::{self, EndpointPolicy};

/// Time one look at the chain may take.
const LOOK_TIMEOUT: Duration = Duration::from_secs(20);

/// The worker's view of the chain.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ChainView {
    /// The last known facts, if there ever were any.
    pub known: Option<ChainFacts>,
    /// Whether the last look succeeded.
    pub fresh: bool,
}

/// One look at everything the worker wants to know.
pub async fn look(
    reader: &dyn ChainReader,
    pool: PoolId,
    node: NodeId,
) -> Result<Option<ChainFacts>, ChainError> {
    let Some(record) = reader.pool(pool).await? else { return Ok(None) };
    let membership = reader.membership(pool, node).await?;
    let registered = reader.node(node).await?;
    let provider = registered.map(|registered| registered.provider);
    let paid = match provider {
        Some(provider) => reader.earnings(pool, &[provider.0]).await?.first().map(|earned| earned.paid),
        None => None,
    };
    Ok(Some(ChainFacts {
        orchestrator: record.orchestrator,
        endpoints: record.endpoints,
        requirements: record.requirements,
        membership: membership.state,
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
    /// How the pool's endpoints are judged, where they are dialled.
    endpoints: Option<EndpointPolicy>,
    findings: FindingSet,
    view: watch::Sender<ChainView>,
}

impl ChainWatch {
    /// Starts from what was known before.
    pub fn new(
        reader: Arc<dyn ChainReader>,
        (pool, node): (PoolId, NodeId),
        interval: Duration,
        known: Option<ChainFacts>,
        endpoints: Option<EndpointPolicy>,
        findings: FindingSet,
    ) -> (Self, watch::Receiver<ChainView>) {
        let (view, receiver) = watch::channel(ChainView { known, fresh: false });
        (Self { reader, pool, node, interval, endpoints, findings, view }, receiver)
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
                self.judge(&known);
                self.view.send_if_modified(|view| {
                    let changed = view.known.as_ref() != Some(&known) || !view.fresh;
                    *view = ChainView { known: Some(known), fresh: true };
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

    fn judge(&self, known: &ChainFacts) {
        if self.endpoints.is_some_and(|policy| policy.refuses_all(&known.endpoints)) {
            let text =
                "the pool's endpoints on chain lead into a network that is not public, and are not dialled";
            self.findings.raise(Finding::warning(endpoints::PRIVATE, text).remedy(
                "if the pool is in your own network, set network.private_endpoints = true, or name its endpoints in \
                 orchestrator.endpoints; else ask the pool's owner",
            ));
        } else {
            // The pool's own: validators have theirs.
            self.findings.clear(endpoints::PRIVATE, "");
        }
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
