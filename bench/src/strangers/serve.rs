//! The orchestrator that is measured: a process of its own with the limits that it comes with, on a chain in memory on
//! which every honest node is enrolled.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::Context as _;
use lode_contracts::ChainReader as _;
use lode_network::PeerAddress;
use lode_program::{install_crypto_provider, open_files};
use lode_testkit::chain::FakeChain;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

use super::place::Place;
use crate::heartbeats::node;
use crate::orchestrator::{Orchestrator, chain_with_pool};

/// The child's sub-command.
pub(crate) const COMMAND: &str = "strangers-serve";
/// Leases are short, so that there are many beats to measure. All limits are what they are by default.
const SETTINGS: &str = "[wire]\nlisten = [\"/ip4/127.0.0.1/tcp/0\"]\nhttps = \"127.0.0.1:0\"\nhttps_plain = true\n\
                        [terms]\nbeat_interval = \"2s\"\nsuspect_after = \"6s\"\nlost_after = \"12s\"\n";

/// Runs an orchestrator, with so many nodes enrolled, until its input is closed.
pub(crate) async fn serve(nodes: u32) -> anyhow::Result<()> {
    install_crypto_provider();
    open_files::raise();
    let (chain, orchestrator, pool) = chain_with_pool().await?;
    node::enroll(&chain, pool, nodes)?;
    let started = Orchestrator::start(&chain, pool, &orchestrator, SETTINGS).await?;
    let counter = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let chain_requests = counter.local_addr()?;
    let telling = tokio::spawn(tell_requests(counter, Arc::clone(&chain)));
    let find = |prefix: &str| {
        let mut urls = started.running.endpoints.iter();
        urls.find(|url| url.starts_with(prefix)).context("it does not listen")
    };
    let peer: PeerAddress = find("/ip4")?.parse()?;
    let realm = chain.deployment().realm(pool);
    let place = Place {
        libp2p: SocketAddr::from((Ipv4Addr::LOCALHOST, peer.port())),
        wire: find("http://")?.trim_start_matches("http://").trim_end_matches('/').parse()?,
        api: started.running.api,
        chain_requests,
        token: started.token.clone(),
        data: started.data_dir(),
        orchestrator: orchestrator.address().to_string(),
        deployment: realm.deployment.to_string(),
        chain: realm.chain.0,
        pool: u32::try_from(realm.pool.0)?,
    };
    println!("{}", serde_json::to_string(&place)?);
    let ended = started.until_input_ends().await;
    telling.abort();
    ended
}

/// The chain is in this process, and who measures is not.
async fn tell_requests(counter: TcpListener, chain: Arc<FakeChain>) {
    while let Ok((mut stream, _)) = counter.accept().await {
        // Whoever asked sees that the answer is no number.
        let _ = stream.write_all(chain.requests().to_string().as_bytes()).await;
    }
}
