//! What the core asks of the chain. One question after the other; the same one asked again meanwhile is asked once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lode_contracts::{Amount, ChainError, ChainReader, Epoch};
use lode_program::backoff;
use lode_program::finding::FindingSet;
use lode_protocol::ids::{AccusationId, NodeId, ProviderId, ValidatorId};
use tokio::sync::mpsc;

use super::{WAITS, unreachable};
use crate::core::{Event, Facts, Price};

/// Nodes asked for in one call.
const BATCH: usize = 500;

/// A question of the core.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Question {
    /// About nodes.
    Facts(Vec<NodeId>),
    /// About weights.
    Standing(Epoch),
    /// About a root.
    Root(Epoch),
    /// About a beacon.
    Beacon(Epoch),
    /// Whom this validator checks.
    Drawn(Epoch, Vec<NodeId>),
    /// About an accusation.
    Accusation(AccusationId),
    /// What an accusation would take.
    Price {
        /// Of this node,
        node: NodeId,
        /// of this provider,
        provider: ProviderId,
        /// for this amount.
        amount: Amount,
    },
}

/// Questions that wait.
#[derive(Debug, Default)]
struct Waiting {
    nodes: BTreeSet<NodeId>,
    drawn: BTreeSet<(Epoch, NodeId)>,
    /// Asked for again with the next block if they fail.
    once: Once,
}

#[derive(Debug, Default)]
struct Once {
    standing: Option<Epoch>,
    root: Option<Epoch>,
    beacon: Option<Epoch>,
    accusations: BTreeSet<AccusationId>,
    prices: BTreeMap<NodeId, (ProviderId, Amount)>,
}

impl Waiting {
    fn note(&mut self, question: Question) {
        match question {
            Question::Facts(more) => self.nodes.extend(more),
            Question::Standing(epoch) => self.once.standing = Some(epoch),
            Question::Root(epoch) => self.once.root = Some(epoch),
            Question::Beacon(epoch) => self.once.beacon = Some(epoch),
            Question::Drawn(epoch, nodes) => {
                // Only the latest epoch counts.
                self.drawn.retain(|(known, _)| *known == epoch);
                self.drawn.extend(nodes.into_iter().map(|node| (epoch, node)));
            }
            Question::Accusation(id) => drop(self.once.accusations.insert(id)),
            Question::Price { node, provider, amount } => {
                self.once.prices.insert(node, (provider, amount));
            }
        }
    }

    fn is_empty(&self) -> bool {
        let once = &self.once;
        self.nodes.is_empty()
            && self.drawn.is_empty()
            && once.standing.is_none()
            && once.root.is_none()
            && once.beacon.is_none()
            && once.accusations.is_empty()
            && once.prices.is_empty()
    }
}

/// Answers questions until nobody asks or listens any more.
pub async fn answer(
    reader: Arc<dyn ChainReader>,
    validator: ValidatorId,
    mut questions: mpsc::UnboundedReceiver<Question>,
    events: mpsc::Sender<Event>,
    findings: FindingSet,
) {
    let mut waiting = Waiting::default();
    let mut waits = backoff::sequence(WAITS);
    let asking = Asking { reader: reader.as_ref(), validator };
    loop {
        if waiting.is_empty() {
            let Some(question) = questions.recv().await else { return };
            waiting.note(question);
        }
        while let Ok(question) = questions.try_recv() {
            waiting.note(question);
        }
        let (mut answers, failure) = asking.all(&mut waiting).await;
        if let Some(error) = &failure {
            findings.raise(unreachable(&error.to_string()));
            let lost = std::mem::take(&mut waiting.once);
            answers.extend(lost.prices.into_keys().map(|node| Event::Price { node, price: None }));
        }
        for event in answers {
            if events.send(event).await.is_err() {
                return;
            }
        }
        match failure {
            Some(_) => tokio::time::sleep(waits.next_wait()).await,
            None => waits.reset(),
        }
    }
}

struct Asking<'a> {
    reader: &'a dyn ChainReader,
    validator: ValidatorId,
}

impl Asking<'_> {
    /// Asks what waits, a batch of each; what was answered waits no more.
    async fn all(&self, waiting: &mut Waiting) -> (Vec<Event>, Option<ChainError>) {
        let mut answers = Vec::new();
        let failure = self.ask(waiting, &mut answers).await.err();
        (answers, failure)
    }

    async fn ask(&self, waiting: &mut Waiting, answers: &mut Vec<Event>) -> Result<(), ChainError> {
        let reader = self.reader;
        if let Some(epoch) = waiting.once.standing {
            let own = reader.validator_weight(self.validator, epoch).await?;
            let total = reader.total_weight(epoch).await?;
            answers.push(Event::Standing { epoch, own, total });
            waiting.once.standing = None;
        }
        if let Some(epoch) = waiting.once.root {
            answers.push(Event::Root { epoch, root: reader.root_of(epoch).await? });
            waiting.once.root = None;
        }
        if let Some(epoch) = waiting.once.beacon {
            answers.push(Event::Beacon { epoch, beacon: reader.beacon_of(epoch).await? });
            waiting.once.beacon = None;
        }
        while let Some(id) = waiting.once.accusations.first().copied() {
            answers.push(Event::Accusation { id, record: reader.accusation(id).await? });
            waiting.once.accusations.remove(&id);
        }
        while let Some((node, (provider, amount))) = waiting.once.prices.first_key_value() {
            let (node, provider, amount) = (*node, *provider, *amount);
            let price = self.price(node, provider, amount).await?;
            answers.push(Event::Price { node, price: Some(price) });
            waiting.once.prices.remove(&node);
        }
        self.nodes(&mut waiting.nodes, answers).await?;
        self.drawn(&mut waiting.drawn, answers).await
    }

    async fn price(&self, node: NodeId, provider: ProviderId, wanted: Amount) -> Result<Price, ChainError> {
        let reader = self.reader;
        let amount = wanted.min(reader.max_slash(provider).await?);
        let open = match reader.open_accusation(provider, node).await? {
            Some(id) => reader.accusation(id).await?,
            None => None,
        };
        let own = self.validator.0;
        Ok(Price {
            amount,
            bond: reader.bond_for(amount).await?,
            allowance: reader.token_allowance(own, reader.deployment().slashing).await?,
            balance: reader.token_balance(own).await?,
            open,
        })
    }

    async fn nodes(
        &self,
        waiting: &mut BTreeSet<NodeId>,
        answers: &mut Vec<Event>,
    ) -> Result<(), ChainError> {
        let batch: Vec<NodeId> = waiting.iter().take(BATCH).copied().collect();
        if batch.is_empty() {
            return Ok(());
        }
        let records = self.reader.nodes(&batch).await?;
        let proofs = self.reader.proven(&batch).await?;
        for ((node, record), proven) in batch.iter().zip(records).zip(proofs) {
            let facts = Facts { provider: record.map(|record| record.provider), proven };
            answers.push(Event::Facts { node: *node, facts });
            waiting.remove(node);
        }
        Ok(())
    }

    async fn drawn(
        &self,
        waiting: &mut BTreeSet<(Epoch, NodeId)>,
        answers: &mut Vec<Event>,
    ) -> Result<(), ChainError> {
        let Some((epoch, _)) = waiting.first().copied() else { return Ok(()) };
        let batch: Vec<NodeId> = waiting.iter().take(BATCH).map(|(_, node)| *node).collect();
        let drawn = match self.reader.drawn(epoch, self.validator, &batch).await {
            Ok(drawn) => drawn,
            // The chain was set back: the beacon that was seen is drawn again, and then this is asked again.
            Err(ChainError::Reverted(_)) => {
                waiting.clear();
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        for (node, drawn) in batch.into_iter().zip(drawn) {
            answers.push(Event::Drawn { epoch, node, drawn });
            waiting.remove(&(epoch, node));
        }
        Ok(())
    }
}
