//! The worker's side of proofs: it dials every validator that the chain names and answers their challenges.
//!
//! Only validators of the on-chain set are spoken to: their keys come from the chain, and the handshake proves them.
//! One run at a time uses the GPUs. A chain that cannot be read changes nothing.

mod conversation;
mod prover;
mod run;
mod voucher;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lode_contracts::{ChainReader, ValidatorRecord};
use lode_network::{ClientConfig, EndpointUrl, PeerClient};
use lode_program::clock::Clock;
use lode_program::finding::Finding;
use lode_program::{FindingSet, TaskGroup};
use lode_protocol::envelope::Realm;
use lode_protocol::ids::{AssignmentId, GpuUuid, ValidatorId};
use lode_protocol::keys::SigningKey;
use tokio::sync::{Mutex, watch};
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::gpus::GpuView;
use conversation::Conversation;

/// Between two looks at the set of validators.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// Time one look may take.
const LOOK_TIMEOUT: Duration = Duration::from_secs(20);
/// Longest wait before a validator that cannot be reached is dialled again.
const REDIAL: Duration = Duration::from_secs(10);
/// The prover next to this program.
const SIBLING_PROVER: &str = "lode-prove-cpu";

/// What the responder works with.
#[derive(Debug)]
pub struct ProofContext {
    /// The network.
    pub endpoint: lode_network::Endpoint,
    /// The chain.
    pub reader: Arc<dyn ChainReader>,
    /// The node's key.
    pub key: SigningKey,
    /// Chain, deployment, pool.
    pub realm: Realm,
    /// The GPUs.
    pub gpus: watch::Receiver<Arc<GpuView>>,
    /// GPUs held by tasks.
    pub holders: watch::Receiver<BTreeMap<GpuUuid, AssignmentId>>,
    /// Prover and its arguments; empty means `lode-prove-cpu` next to this program.
    pub command: Vec<String>,
    /// Whether openings are checked before they are signed.
    pub self_check: bool,
    /// What is wrong.
    pub findings: FindingSet,
    /// Background tasks.
    pub tasks: TaskGroup,
}

/// What all conversations share.
#[derive(Debug)]
pub(crate) struct Shared {
    key: SigningKey,
    /// Without a pool: a proof is for the node, not for one of its pools.
    realm: Realm,
    gpus: watch::Receiver<Arc<GpuView>>,
    holders: watch::Receiver<BTreeMap<GpuUuid, AssignmentId>>,
    command: Vec<String>,
    self_check: bool,
    findings: FindingSet,
    clock: Clock,
    /// Held by the run that uses the GPUs.
    turn: Mutex<()>,
}

/// A conversation that goes on; dropping it ends it.
#[derive(Debug)]
struct Link {
    endpoint: String,
    _stop: DropGuard,
}

/// Answers challenges until shutdown.
pub async fn respond(context: ProofContext, shutdown: CancellationToken) -> anyhow::Result<()> {
    let ProofContext { endpoint, reader, key, realm, gpus, holders, command, self_check, findings, tasks } =
        context;
    let command = if command.is_empty() { vec![sibling()?] } else { command };
    let shared = Arc::new(Shared {
        key,
        realm: realm.without_pool(),
        gpus,
        holders,
        command,
        self_check,
        findings,
        clock: Clock::system(),
        turn: Mutex::new(()),
    });
    let mut links: BTreeMap<ValidatorId, Link> = BTreeMap::new();
    loop {
        let has_gpus = !shared.gpus.borrow().specs.is_empty();
        let looked = match has_gpus {
            true => timeout(LOOK_TIMEOUT, reader.validators()).await,
            false => Ok(Ok(Vec::new())),
        };
        match looked {
            Ok(Ok(validators)) => {
                links.retain(|id, link| {
                    let stays =
                        validators.iter().any(|record| record.id == *id && record.endpoint == link.endpoint);
                    if !stays {
                        shared.findings.clear("validator/unreachable", &id.to_string());
                    }
                    stays
                });
                for record in validators {
                    let std::collections::btree_map::Entry::Vacant(free) = links.entry(record.id) else {
                        continue;
                    };
                    let stop = shutdown.child_token();
                    if connect(&shared, &endpoint, &tasks, &record, &stop) {
                        free.insert(Link { endpoint: record.endpoint, _stop: stop.drop_guard() });
                    }
                }
            }
            Ok(Err(error)) => tracing::debug!(%error, "the set of validators cannot be read now"),
            Err(_) => tracing::debug!("the chain did not name the validators in time"),
        }
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = tokio::time::sleep(LOOK_INTERVAL) => {}
        }
    }
}

/// Starts a conversation; false if the validator names no place where it can be dialled.
fn connect(
    shared: &Arc<Shared>,
    endpoint: &lode_network::Endpoint,
    tasks: &TaskGroup,
    record: &ValidatorRecord,
    stop: &CancellationToken,
) -> bool {
    let peers: Vec<EndpointUrl> = record
        .endpoint
        .split([',', ' '])
        .filter_map(|text| text.trim().parse::<EndpointUrl>().ok())
        .filter(|url| matches!(url, EndpointUrl::Peer(_)))
        .collect();
    if peers.is_empty() {
        tracing::debug!(validator = %record.id, endpoint = record.endpoint, "the validator names no libp2p endpoint");
        return false;
    }
    let config = ClientConfig { backoff_max: REDIAL, ..ClientConfig::new(record.id.0, peers) };
    let (client, task, events) = PeerClient::proof(endpoint.clone(), config);
    let conversation = Conversation::new(Arc::clone(shared), record.id, client, events);
    let token = stop.clone();
    tasks.once(format!("proof-{}", record.id), async move {
        let carried = task.run(token.clone());
        tokio::select! {
            () = token.cancelled() => {}
            () = carried => {}
            () = conversation.run() => {}
        }
        Ok::<(), anyhow::Error>(())
    });
    true
}

fn sibling() -> anyhow::Result<String> {
    let mut path: PathBuf = std::env::current_exe()?;
    path.set_file_name(SIBLING_PROVER);
    Ok(path.display().to_string())
}

/// A validator that cannot be reached cannot prove this node.
fn unreachable(validator: ValidatorId, detail: &str) -> Finding {
    Finding::warning("validator/unreachable", format!("the validator cannot be reached: {detail}"))
        .about(validator.to_string())
        .remedy(
            "the worker goes on trying; ask the validator's operator whether its endpoint on chain is right",
        )
}
