//! The chain: what happens on it, and what the core asks of it. An RPC that does not answer is waited for; nothing is
//! told meanwhile, so that nothing is mistaken for a no.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use lode_contracts::{
    ChainCursor, ChainError, ChainEvent, ChainReader, Epoch, Follower, FollowerConfig, FollowerEvent,
};
use lode_program::finding::{Finding, FindingSet};
use lode_protocol::ids::{NodeId, ValidatorId};
use tokio::sync::mpsc;

use crate::core::{Event, Facts};

/// Nodes asked for in one call.
const BATCH: usize = 500;
/// Batches of events that may wait.
const QUEUE: usize = 64;
/// Pause after a failed look at the chain.
const RETRY: Duration = Duration::from_secs(1);

/// A question of the core.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Question {
    /// About nodes.
    Facts(Vec<NodeId>),
    /// About weights.
    Standing(Epoch),
    /// About a root.
    Root(Epoch),
}

/// Tells every block and what concerns nodes, from the present block on. Ends when nobody listens any more.
pub async fn follow(
    reader: Arc<dyn ChainReader>,
    config: FollowerConfig,
    events: mpsc::Sender<Event>,
    findings: FindingSet,
) {
    let timing = patiently(&findings, || reader.epoch_timing()).await;
    let head = patiently(&findings, || reader.head()).await;
    let from = ChainCursor { number: head.number, hash: head.hash };
    if events.send(Event::Timing(timing)).await.is_err() || events.send(Event::Head(head)).await.is_err() {
        return;
    }
    let (follower, mut view) = Follower::new(reader, config, Some(from));
    let (sender, mut received) = mpsc::channel(QUEUE);
    let watch = async {
        loop {
            let failure = view.borrow_and_update().failure.clone();
            match failure {
                Some(failure) => drop(findings.raise(unreachable(&failure.message))),
                None => drop(findings.clear("chain/unreachable", "")),
            }
            if view.changed().await.is_err() {
                return;
            }
        }
    };
    let apply = async {
        while let Some(event) = received.recv().await {
            let told = match event {
                FollowerEvent::Resync { .. } => events.send(Event::Resync).await,
                FollowerEvent::Events { events: logged, head, .. } => {
                    let touched: Vec<NodeId> =
                        logged.iter().flat_map(|logged| concerned(&logged.event)).collect();
                    let told = match touched.is_empty() {
                        true => Ok(()),
                        false => events.send(Event::Touched(touched)).await,
                    };
                    match told {
                        Ok(()) => events.send(Event::Head(head)).await,
                        Err(error) => Err(error),
                    }
                }
            };
            if told.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        _ = follower.run(sender) => {}
        () = watch => {}
        () = apply => {}
    }
}

/// Answers questions, one after the other; the same question asked again meanwhile is asked once.
pub async fn answer(
    reader: Arc<dyn ChainReader>,
    validator: ValidatorId,
    mut questions: mpsc::UnboundedReceiver<Question>,
    events: mpsc::Sender<Event>,
    findings: FindingSet,
) {
    let mut nodes: BTreeSet<NodeId> = BTreeSet::new();
    let (mut standing, mut root) = (None, None);
    loop {
        if nodes.is_empty() && standing.is_none() && root.is_none() {
            let Some(question) = questions.recv().await else { return };
            note(question, &mut nodes, &mut standing, &mut root);
        }
        while let Ok(question) = questions.try_recv() {
            note(question, &mut nodes, &mut standing, &mut root);
        }
        let batch: Vec<NodeId> = nodes.iter().take(BATCH).copied().collect();
        let asked = ask(reader.as_ref(), validator, &batch, standing, root).await;
        match asked {
            Ok(answers) => {
                for node in &batch {
                    nodes.remove(node);
                }
                (standing, root) = (None, None);
                for event in answers {
                    if events.send(event).await.is_err() {
                        return;
                    }
                }
            }
            Err(error) => {
                findings.raise(unreachable(&error.to_string()));
                // Weights and roots are asked for again with the next block.
                (standing, root) = (None, None);
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

fn note(
    question: Question,
    nodes: &mut BTreeSet<NodeId>,
    standing: &mut Option<Epoch>,
    root: &mut Option<Epoch>,
) {
    match question {
        Question::Facts(more) => nodes.extend(more),
        Question::Standing(epoch) => *standing = Some(epoch),
        Question::Root(epoch) => *root = Some(epoch),
    }
}

async fn ask(
    reader: &dyn ChainReader,
    validator: ValidatorId,
    nodes: &[NodeId],
    standing: Option<Epoch>,
    root: Option<Epoch>,
) -> Result<Vec<Event>, ChainError> {
    let mut answers = Vec::new();
    if let Some(epoch) = standing {
        let own = reader.validator_weight(validator, epoch).await?;
        let total = reader.total_weight(epoch).await?;
        answers.push(Event::Standing { epoch, own, total });
    }
    if let Some(epoch) = root {
        let root = reader.root_of(epoch).await?;
        answers.push(Event::Root { epoch, root });
    }
    if !nodes.is_empty() {
        let records = reader.nodes(nodes).await?;
        let proofs = reader.proven(nodes).await?;
        for ((node, record), proven) in nodes.iter().zip(records).zip(proofs) {
            let facts = Facts { registered: record.is_some(), proven };
            answers.push(Event::Facts { node: *node, facts });
        }
    }
    Ok(answers)
}

async fn patiently<T, F>(findings: &FindingSet, mut ask: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, ChainError>>,
{
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(error) => {
                findings.raise(unreachable(&error.to_string()));
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

/// Nodes whose registration or proof an event changes.
fn concerned(event: &ChainEvent) -> Vec<NodeId> {
    match event {
        ChainEvent::NodeAdded { node, .. }
        | ChainEvent::NodeRemoved { node, .. }
        | ChainEvent::NodeProven { node, .. }
        | ChainEvent::NodeUnproven { node, .. } => vec![*node],
        ChainEvent::NodeReplaced { old, new, .. } => vec![*old, *new],
        _ => Vec::new(),
    }
}

fn unreachable(detail: &str) -> Finding {
    Finding::warning("chain/unreachable", format!("the chain cannot be read; what was found waits: {detail}"))
        .remedy("check chain.rpc_url; the validator goes on by itself when it answers")
}
