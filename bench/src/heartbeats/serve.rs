//! The orchestrator that is measured: a process of its own, on a chain in memory on which every node is a member.

use std::time::Duration;

use anyhow::Context as _;
use lode_contracts::ChainReader as _;
use lode_program::install_crypto_provider;
use lode_protocol::envelope::Realm;
use lode_protocol::ids::{ChainId, PoolId};
use serde::{Deserialize, Serialize};

use super::node;
use super::target::Target;
use crate::child;
use crate::orchestrator::{Orchestrator, chain_with_pool};

/// The child's sub-command.
pub(crate) const COMMAND: &str = "heartbeats-serve";
/// Longest time for the child to be ready.
const READY: Duration = Duration::from_secs(300);

/// Where the orchestrator is, as its process says it.
#[derive(Debug, Serialize, Deserialize)]
struct Place {
    endpoints: Vec<String>,
    orchestrator: String,
    deployment: String,
    chain: u64,
    pool: u32,
}

/// The child process.
pub(super) struct Server {
    child: child::Server,
    pub(super) target: Target,
}

impl Server {
    pub(super) async fn start(nodes: u32) -> anyhow::Result<Self> {
        let (child, place): (child::Server, Place) = child::Server::start(COMMAND, nodes, READY).await?;
        let find = |prefix: &str| {
            place.endpoints.iter().find(|url| url.starts_with(prefix)).context("it does not listen")
        };
        let target = Target {
            pid: child.pid,
            libp2p: find("/ip4")?.parse()?,
            http: find("http://")?.trim_start_matches("http://").trim_end_matches('/').to_owned(),
            orchestrator: place.orchestrator.parse()?,
            realm: Realm {
                chain: ChainId(place.chain),
                deployment: place.deployment.parse()?,
                pool: PoolId(place.pool.into()),
            },
        };
        Ok(Server { child, target })
    }

    /// Ends it by closing its input.
    pub(super) async fn stop(self, patience: Duration) -> anyhow::Result<()> {
        self.child.stop(patience).await
    }
}

/// Runs an orchestrator with so many members until its input is closed.
pub(crate) async fn serve(nodes: u32) -> anyhow::Result<()> {
    install_crypto_provider();
    let (chain, orchestrator, pool) = chain_with_pool().await?;
    node::enroll(&chain, pool, nodes)?;

    // The store is the file of a real one: ordinary beats do not touch it.
    let extra = "[wire]\nlisten = [\"/ip4/127.0.0.1/tcp/0\"]\nhttps = \"127.0.0.1:0\"\nhttps_plain = true\n\
                 max_connections = 20000\nmax_connections_per_address = 20000\n\
                 [wire.strangers]\nhandshakes = 20000\nhandshakes_per_network = 20000\npatience = \"10m\"\n\
                 [limits]\nmessages_per_second = 1000000\nmessage_burst = 1000000\n\
                 unregistered = 100000\nunregistered_per_address = 100000\n\
                 hellos_per_second = 1000000\nhello_burst = 1000000\n\
                 [limits.http]\nrefusal_delay = \"0s\"\n";
    let started = Orchestrator::start(&chain, pool, &orchestrator, extra).await?;
    let realm = chain.deployment().realm(pool);
    let place = Place {
        endpoints: started.running.endpoints.clone(),
        orchestrator: orchestrator.address().to_string(),
        deployment: realm.deployment.to_string(),
        chain: realm.chain.0,
        pool: u32::try_from(realm.pool.0)?,
    };
    println!("{}", serde_json::to_string(&place)?);
    started.until_input_ends().await
}
