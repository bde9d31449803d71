//! One run of the proof: provers are started and prepared, begin at one instant, and open what the validator chooses.
//!
//! | state | leaves it by |
//! |---|---|
//! | preparing | all provers ready or failed → `Ready`; none left → `Declined` |
//! | ready | `Start` |
//! | proving | commits go out as they come; `Open` → openings; `Verdict` ends the run |
//!
//! Each GPU is opened once per run: who could ask again and again could read the whole product. Everything has a
//! deadline; a new `Prepare` ends the run that was.
//!
//! Every signature names what it answers: a `Start` that does not name this run's `Prepare` is not obeyed. What is signed
//! for a prover is [`super::voucher`]'s to decide.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lode_gpu_proof::prover_protocol::{Request, Response};
use lode_gpu_proof::{ClassId, ProofClass, SessionInputs};
use lode_program::finding::Finding;
use lode_protocol::hash::Digest;
use lode_protocol::ids::{AssignmentId, GpuUuid, NodeId, Nonce};
use lode_protocol::proof::{Answer, Challenge, Selection};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::conversation::{Conversation, Ended, Heard};
use super::prover::{Provers, Said};
use super::voucher::{Vouched, Voucher};

/// Time provers get to start and to allocate.
const PREPARING: Duration = Duration::from_secs(30);
/// Time the validator gets between `Ready` and `Start`.
const UNTIL_START: Duration = Duration::from_secs(60);
/// Time between `Start` and `Verdict`.
const UNTIL_VERDICT: Duration = Duration::from_secs(300);

/// A run whose provers live.
#[derive(Debug)]
struct Run {
    id: Nonce,
    class: ProofClass,
    /// Provers, by GPU; those that failed are gone.
    requests: BTreeMap<GpuUuid, mpsc::Sender<Request>>,
    ready: BTreeSet<GpuUuid>,
    /// The `Prepare` that is obeyed.
    prepare: Digest,
    failure: Option<String>,
}

/// Openings that are checked before they are signed.
type Checks = JoinSet<(GpuUuid, Result<Answer, String>)>;

/// Takes part in the run that `prepare` asks for. `Ok` also when it was declined.
pub(super) async fn prove(conversation: &mut Conversation, heard: Heard) -> Result<(), Ended> {
    let Challenge::Prepare { run: id, class, parameters, gpus, .. } = heard.challenge else { return Ok(()) };
    let Some(class) = ProofClass::by_id(ClassId(class.0)) else {
        let text = format!("this worker does not know proof class {}: update it", class.0);
        return conversation.decline(id, "proof/unknown-class", text);
    };
    if class.params.hash().0 != parameters.0 {
        let text =
            format!("class {} has other parameters here: run the same release as the validator", class.name);
        return conversation.decline(id, "proof/params", text);
    }
    if let Err((code, text)) = may_prove(conversation, &gpus) {
        return conversation.decline(id, code, text);
    }
    let held = holding(conversation, &gpus);
    if !held.is_empty() {
        return conversation.answer(&Answer::Busy { run: id, assignments: held });
    }
    let shared = conversation.shared.clone();
    let Ok(_turn) = shared.turn.try_lock() else {
        return conversation.decline(
            id,
            "proof/other-run",
            "another validator is proving this node".to_owned(),
        );
    };
    let (mut provers, mut said) = Provers::new(shared.command.clone(), class.params);
    let mut run = Run {
        id,
        class,
        requests: BTreeMap::new(),
        ready: BTreeSet::new(),
        prepare: heard.digest,
        failure: None,
    };
    let absent = shared.gpus.borrow().absent.clone();
    for gpu in gpus {
        if absent.contains(&gpu) {
            run.lost(&gpu, "the driver does not show this GPU now".to_owned());
            continue;
        }
        let started = provers.start(&gpu).and_then(|requests| {
            let prepare = Request::Prepare { class: class.id.0, params: class.params };
            requests.try_send(prepare).map_err(|error| error.to_string())?;
            Ok(requests)
        });
        match started {
            Ok(requests) => drop(run.requests.insert(gpu, requests)),
            Err(reason) => run.lost(&gpu, reason),
        }
    }
    run.prepare(&mut said).await;
    if run.requests.is_empty() {
        let text = run.failure.take().unwrap_or_else(|| "no prover got ready in time".to_owned());
        return conversation.decline(id, "prover/failed", text);
    }
    conversation.answer(&Answer::Ready { run: id })?;
    if let Some(voucher) = run.begin(conversation).await? {
        run.answer_until_judged(conversation, &mut said, voucher).await?;
    }
    // The processes end with `provers`.
    drop(provers);
    Ok(())
}

/// Whether these GPUs are this node's, each named once.
fn may_prove(conversation: &Conversation, gpus: &[GpuUuid]) -> Result<(), (&'static str, String)> {
    let view = conversation.shared.gpus.borrow().clone();
    let distinct: BTreeSet<&GpuUuid> = gpus.iter().collect();
    if gpus.is_empty() || distinct.len() != gpus.len() {
        return Err(("proof/unknown-gpu", "the challenge names no GPU, or one twice".to_owned()));
    }
    match gpus.iter().find(|gpu| !view.offered.gpus.iter().any(|spec| spec.uuid == **gpu)) {
        Some(gpu) => Err(("proof/unknown-gpu", format!("this node has no GPU {gpu}"))),
        None => Ok(()),
    }
}

fn holding(conversation: &Conversation, gpus: &[GpuUuid]) -> Vec<AssignmentId> {
    let holders = conversation.shared.holders.borrow();
    let held: BTreeSet<AssignmentId> = gpus.iter().filter_map(|gpu| holders.get(gpu)).copied().collect();
    held.into_iter().collect()
}

impl Run {
    /// A GPU that takes no further part; the others do.
    fn lost(&mut self, gpu: &GpuUuid, reason: String) {
        tracing::warn!(%gpu, reason, "the prover of a GPU failed");
        self.requests.remove(gpu);
        self.ready.remove(gpu);
        self.failure.get_or_insert(reason);
    }

    /// Until every prover is ready or lost.
    async fn prepare(&mut self, said: &mut mpsc::Receiver<(GpuUuid, Said)>) {
        let deadline = Conversation::within(PREPARING);
        while self.ready.len() < self.requests.len() {
            let Ok(Some((gpu, said))) = tokio::time::timeout_at(deadline, said.recv()).await else { break };
            match said {
                Said::Response(Response::Ready { params_hash, gpu_uuid, .. }) => {
                    if params_hash == self.class.params.hash() && gpu_uuid == gpu.as_str() {
                        self.ready.insert(gpu);
                    } else {
                        self.lost(
                            &gpu,
                            "the prover is ready for something else than it was asked".to_owned(),
                        );
                    }
                }
                Said::Response(Response::Error { code, message }) => {
                    self.lost(&gpu, format!("{code}: {message}"))
                }
                Said::Response(other) => {
                    self.lost(&gpu, format!("the prover spoke out of turn: {}", name(&other)))
                }
                Said::Failed(reason) => self.lost(&gpu, reason),
            }
        }
        let late: Vec<GpuUuid> =
            self.requests.keys().filter(|gpu| !self.ready.contains(*gpu)).cloned().collect();
        for gpu in late {
            self.lost(&gpu, "the prover did not get ready in time".to_owned());
        }
    }

    /// Waits for `Start`; nothing if the validator wants something else now.
    async fn begin(&mut self, conversation: &mut Conversation) -> Result<Option<Voucher>, Ended> {
        let deadline = Conversation::within(UNTIL_START);
        loop {
            let heard = conversation.hear(Some(deadline)).await?;
            match heard.challenge {
                Challenge::Start { run, beacon, nonce, prepare } if run == self.id => {
                    if prepare != Some(self.prepare) {
                        let text =
                            "the start does not name the preparation that it follows: update the validator";
                        conversation.decline(run, "proof/unbound-start", text.to_owned())?;
                        return Ok(None);
                    }
                    return Ok(Some(self.start(conversation, heard.digest, beacon, nonce)));
                }
                Challenge::Prepare { .. } => {
                    conversation.put_back(heard);
                    return Ok(None);
                }
                Challenge::Verdict { run, gpus } => {
                    conversation.judged(&gpus);
                    if run == self.id {
                        return Ok(None);
                    }
                }
                Challenge::Start { .. } | Challenge::Open { .. } => {}
            }
        }
    }

    /// All GPUs at one instant.
    fn start(
        &mut self,
        conversation: &Conversation,
        start: Digest,
        beacon: Digest,
        nonce: Digest,
    ) -> Voucher {
        let shared = &conversation.shared;
        let node = (NodeId(shared.key.address()), shared.key.public());
        let mut voucher = Voucher::new(self.id, self.class.params, start);
        let mut lost = Vec::new();
        for (gpu, requests) in &self.requests {
            let session = SessionInputs::of(shared.realm, node, gpu, beacon, nonce);
            voucher.begin(gpu.clone(), session.clone());
            if requests.try_send(Request::Start { session }).is_err() {
                lost.push(gpu.clone());
            }
        }
        for gpu in lost {
            self.lost(&gpu, "the prover ended before the start".to_owned());
        }
        voucher
    }

    async fn answer_until_judged(
        &mut self,
        conversation: &mut Conversation,
        said: &mut mpsc::Receiver<(GpuUuid, Said)>,
        mut voucher: Voucher,
    ) -> Result<(), Ended> {
        let deadline: Instant = Conversation::within(UNTIL_VERDICT);
        let mut checks = Checks::new();
        loop {
            tokio::select! {
                Some((gpu, said)) = said.recv() => {
                    self.on_prover(conversation, &mut voucher, &mut checks, gpu, said)?;
                }
                Some(checked) = checks.join_next() => match checked {
                    Ok((_, Ok(answer))) => conversation.answer(&answer)?,
                    Ok((gpu, Err(reason))) => self.wrong(conversation, &gpu, reason),
                    Err(error) => tracing::error!(%error, "the check of an opening broke off"),
                },
                heard = conversation.hear(Some(deadline)) => {
                    let heard = heard?;
                    match heard.challenge {
                        Challenge::Open { run, selections } if run == self.id => {
                            self.open(&mut voucher, heard.digest, selections);
                        }
                        Challenge::Verdict { run, gpus } => {
                            conversation.judged(&gpus);
                            if run == self.id {
                                return Ok(());
                            }
                        }
                        Challenge::Prepare { .. } => {
                            conversation.put_back(heard);
                            return Ok(());
                        }
                        Challenge::Start { .. } | Challenge::Open { .. } => {}
                    }
                }
            }
        }
    }

    fn on_prover(
        &mut self,
        conversation: &Conversation,
        voucher: &mut Voucher,
        checks: &mut Checks,
        gpu: GpuUuid,
        said: Said,
    ) -> Result<(), Ended> {
        if !self.requests.contains_key(&gpu) {
            return Ok(());
        }
        let vouched = match said {
            Said::Response(response) => voucher.vouch(&gpu, response),
            Said::Failed(reason) => Err(reason),
        };
        match vouched {
            Ok(Vouched::Nothing) => Ok(()),
            Ok(Vouched::Say(answer)) => conversation.answer(&answer),
            Ok(Vouched::Check(doubt)) if conversation.shared.self_check => {
                checks.spawn_blocking(move || (gpu, doubt.check()));
                Ok(())
            }
            Ok(Vouched::Check(doubt)) => conversation.answer(&doubt.answer),
            Err(reason) => {
                self.lost(&gpu, reason);
                Ok(())
            }
        }
    }

    /// A GPU computed something wrong: it is told to the host's owner and not signed.
    fn wrong(&mut self, conversation: &Conversation, gpu: &GpuUuid, reason: String) {
        let message = format!("the GPU's result is wrong and was not signed: {reason}");
        let finding = Finding::error("proof/self-check", message).about(gpu.as_str());
        conversation.shared.findings.raise(finding.remedy("look up the code in docs/errors.md"));
        conversation.shared.proof_ended(gpu, false);
        self.lost(gpu, reason);
    }

    fn open(&mut self, voucher: &mut Voucher, demand: Digest, selections: Vec<Selection>) {
        for selection in selections {
            if !voucher.demand(demand, &selection) {
                tracing::debug!(gpu = %selection.gpu, "a demand to open a proof was refused");
                continue;
            }
            let Selection { gpu, rows, walkers } = selection;
            if let Some(prover) = self.requests.get(&gpu)
                && prover.try_send(Request::Open { rows, walkers }).is_err()
            {
                self.lost(&gpu, "the prover ended before it was opened".to_owned());
            }
        }
    }
}

fn name(response: &Response) -> &'static str {
    match response {
        Response::Ready { .. } => "ready",
        Response::WalkRoot { .. } => "walk root",
        Response::GemmRoot { .. } => "product root",
        Response::Opening { .. } => "opening",
        Response::Released => "released",
        Response::Error { .. } => "error",
    }
}
