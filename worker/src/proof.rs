//! The worker's side of proofs: it dials every validator that the chain names and answers their challenges.
//!
//! Only validators of the on-chain set are spoken to: their keys come from the chain, and the handshake proves them.
//! One run at a time uses the GPUs. A chain that cannot be read changes nothing.

mod conversation;
mod dialogue;
mod prover;
mod run;
mod voucher;

use std::collections::{BTreeMap, BTreeSet};
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
use tokio::sync::{Mutex, mpsc, watch};
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::endpoints::{self, EndpointPolicy};
use crate::gpus::{GpuView, ProofEnded};
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
    /// To be told how proofs ended.
    pub proofs: mpsc::Sender<ProofEnded>,
    /// GPUs held by tasks.
    pub holders: watch::Receiver<BTreeMap<GpuUuid, AssignmentId>>,
    /// Prover and its arguments; empty means `lode-prove-cpu` next to this program.
    pub command: Vec<String>,
    /// Whether openings are checked before they are signed.
    pub self_check: bool,
    /// Which of the validators' endpoints are dialled.
    pub policy: EndpointPolicy,
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
    proofs: mpsc::Sender<ProofEnded>,
    holders: watch::Receiver<BTreeMap<GpuUuid, AssignmentId>>,
    command: Vec<String>,
    self_check: bool,
    findings: FindingSet,
    clock: Clock,
    /// Held by the run that uses the GPUs.
    turn: Mutex<()>,
}

impl Shared {
    /// A GPU's health depends on how its proofs end.
    fn proof_ended(&self, gpu: &GpuUuid, passed: bool) {
        if self.proofs.try_send(ProofEnded { gpu: gpu.clone(), passed }).is_err() {
            tracing::warn!(%gpu, passed, "the end of a proof could not be noted in the GPU's health");
        }
    }
}

/// A conversation that goes on; dropping it ends it.
#[derive(Debug)]
struct Link {
    endpoint: String,
    _stop: DropGuard,
}

/// Answers challenges until shutdown.
pub async fn respond(context: ProofContext, shutdown: CancellationToken) -> anyhow::Result<()> {
    let ProofContext {
        endpoint,
        reader,
        key,
        realm,
        gpus,
        proofs,
        holders,
        command,
        self_check,
        policy,
        findings,
        tasks,
    } = context;
    let command = if command.is_empty() { vec![sibling()?] } else { command };
    let shared = Arc::new(Shared {
        key,
        realm: realm.without_pool(),
        gpus,
        proofs,
        holders,
        command,
        self_check,
        findings,
        clock: Clock::system(),
        turn: Mutex::new(()),
    });
    let mut links: BTreeMap<ValidatorId, Link> = BTreeMap::new();
    let mut private = BTreeSet::new();
    loop {
        let has_gpus = !shared.gpus.borrow().offered.gpus.is_empty();
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
                tell_private(&shared.findings, policy, &validators, &mut private);
                for record in validators {
                    let std::collections::btree_map::Entry::Vacant(free) = links.entry(record.id) else {
                        continue;
                    };
                    let stop = shutdown.child_token();
                    if connect(&shared, (&endpoint, policy), &tasks, &record, &stop) {
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
    (endpoint, policy): (&lode_network::Endpoint, EndpointPolicy),
    tasks: &TaskGroup,
    record: &ValidatorRecord,
    stop: &CancellationToken,
) -> bool {
    let mut peers = policy.usable(&record.endpoint);
    peers.retain(|url| matches!(url, EndpointUrl::Peer(_)));
    if peers.is_empty() {
        tracing::debug!(
            validator = %record.id,
            endpoint = record.endpoint,
            "the validator names no libp2p endpoint that may be dialled"
        );
        return false;
    }
    let config = ClientConfig {
        backoff_max: REDIAL,
        public_names_only: policy == EndpointPolicy::Public,
        ..ClientConfig::new(record.id.0, peers)
    };
    let (client, task, events) = PeerClient::proof(endpoint.clone(), config);
    let conversation = Conversation::new(Arc::clone(shared), record.id, client, events);
    let token = stop.clone();
    tasks.once(format!("proof-{}", record.id), async move {
        let carried = task.run(token.clone());
        tokio::select! {
            () = token.cancelled() => {}
            () = carried => {}
            () = dialogue::answer(conversation) => {}
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

/// Says which validators are left alone because of where their endpoints lead, and takes back what does not hold any more.
/// `private` are those that it was said of.
fn tell_private(
    findings: &FindingSet,
    policy: EndpointPolicy,
    validators: &[ValidatorRecord],
    private: &mut BTreeSet<ValidatorId>,
) {
    let dials = |policy: EndpointPolicy, record: &ValidatorRecord| {
        policy.usable(&record.endpoint).iter().any(|url| matches!(url, EndpointUrl::Peer(_)))
    };
    let refused =
        validators.iter().filter(|record| dials(EndpointPolicy::Anywhere, record) && !dials(policy, record));
    let refused: BTreeSet<ValidatorId> = refused.map(|record| record.id).collect();
    for gone in private.difference(&refused) {
        findings.clear(endpoints::PRIVATE, &gone.to_string());
    }
    for id in refused.difference(private) {
        let text =
            "the validator's endpoint on chain leads into a network that is not public, and is not dialled";
        let remedy = "if the validator is in your own network, set network.private_endpoints = true; else ask its operator";
        findings.raise(Finding::warning(endpoints::PRIVATE, text).about(id.to_string()).remedy(remedy));
    }
    *private = refused;
}

/// A validator that cannot be reached cannot prove this node.
fn unreachable(validator: ValidatorId, detail: &str) -> Finding {
    Finding::warning("validator/unreachable", format!("the validator cannot be reached: {detail}"))
        .about(validator.to_string())
        .remedy(
            "the worker goes on trying; ask the validator's operator whether its endpoint on chain is right",
        )
}

#[cfg(test)]
mod tests {
    use lode_contracts::Amount;
    use lode_protocol::ids::Address;

    use super::*;

    fn record(number: u8, endpoint: &str) -> ValidatorRecord {
        ValidatorRecord {
            id: ValidatorId(Address([number; 20])),
            stake: Amount::tokens(1),
            exit_at: None,
            endpoint: endpoint.to_owned(),
        }
    }

    fn told(findings: &FindingSet) -> Vec<String> {
        let rows = findings.list();
        let mut about: Vec<String> = rows.into_iter().map(|row| row.finding.subject).collect();
        about.sort();
        about
    }

    #[test]
    fn a_validator_at_a_private_address_is_told_of_until_it_moves_or_is_allowed() {
        let (findings, mut private) = (FindingSet::new(Clock::system()), BTreeSet::new());
        let mut validators = vec![
            record(1, "/ip4/10.0.0.7/tcp/7700"),
            record(2, "/ip4/8.8.8.8/tcp/7700"),
            record(3, "/ip4/127.0.0.1/tcp/7700, https://v.example"),
            record(4, "nonsense"),
        ];
        let id = |place: usize| validators[place].id.to_string();
        let (first, third) = (id(0), id(2));
        tell_private(&findings, EndpointPolicy::Public, &validators, &mut private);
        assert_eq!(told(&findings), [first, third.clone()]);
        validators[0].endpoint = "/dns4/v.example/tcp/7700".to_owned();
        tell_private(&findings, EndpointPolicy::Public, &validators, &mut private);
        assert_eq!(told(&findings), [third]);
        tell_private(&findings, EndpointPolicy::Anywhere, &validators, &mut private);
        assert!(told(&findings).is_empty());
    }
}
