//! Owns the store and the list of intents without an outcome. Commands are short: nobody waits for the chain here.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::OutboxError;
use super::record::{Flight, Owner, Record};
use super::store::OutboxStore;
use crate::Intent;
use crate::IntentId;

/// What the keeper is asked.
#[derive(Debug)]
pub(crate) enum Command {
    /// Take an intent.
    Submit { intent: Intent, reply: oneshot::Sender<Result<IntentId, OutboxError>> },
    /// Forget an intent whose outcome was dealt with.
    Acknowledge { id: IntentId, reply: oneshot::Sender<Result<(), OutboxError>> },
    /// Record the transaction of an intent, or that it has none any more.
    SetFlight { id: IntentId, flight: Option<Flight>, reply: oneshot::Sender<Result<(), OutboxError>> },
    /// Which intent is the first without an outcome.
    First { reply: oneshot::Sender<Option<(IntentId, Record)>> },
    /// The intent has its outcome; it stays in the store until acknowledged.
    Settled { id: IntentId, reply: oneshot::Sender<()> },
}

#[derive(Debug)]
pub(crate) struct Keeper {
    store: Arc<dyn OutboxStore>,
    owner: Owner,
    max_pending: usize,
    next: u64,
    /// Without an outcome, in the order they were submitted.
    pending: BTreeMap<IntentId, Record>,
}

impl Keeper {
    pub(crate) async fn load(
        store: Arc<dyn OutboxStore>,
        owner: Owner,
        max_pending: usize,
    ) -> Result<Self, OutboxError> {
        let mut pending = BTreeMap::new();
        for (key, bytes) in store.load().await? {
            pending.insert(IntentId(key), Record::from_bytes(key, &bytes, &owner)?);
        }
        let next = pending.keys().next_back().map_or(1, |last| last.0.saturating_add(1));
        Ok(Keeper { store, owner, max_pending, next, pending })
    }

    pub(crate) fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Carries a command out. An asker who went away does not care for the answer.
    pub(crate) async fn handle(&mut self, command: Command) {
        match command {
            Command::Submit { intent, reply } => drop(reply.send(self.submit(intent).await)),
            Command::Acknowledge { id, reply } => {
                self.pending.remove(&id);
                drop(reply.send(self.store.remove(id.0).await.map_err(OutboxError::from)));
            }
            Command::SetFlight { id, flight, reply } => drop(reply.send(self.set_flight(id, flight).await)),
            Command::First { reply } => {
                let first = self.pending.first_key_value().map(|(id, record)| (*id, record.clone()));
                drop(reply.send(first));
            }
            Command::Settled { id, reply } => {
                self.pending.remove(&id);
                reply.send(()).unwrap_or(());
            }
        }
    }

    async fn submit(&mut self, intent: Intent) -> Result<IntentId, OutboxError> {
        if !intent.adds_up()
            && let Some((id, _)) = self.pending.iter().find(|(_, record)| record.intent == intent)
        {
            return Ok(*id);
        }
        if self.pending.len() >= self.max_pending {
            return Err(OutboxError::Full { pending: self.pending.len() });
        }
        let id = IntentId(self.next);
        let record = Record { owner: self.owner, intent, flight: None };
        self.store.save(id.0, record.to_bytes()).await?;
        self.next = self.next.saturating_add(1);
        self.pending.insert(id, record);
        Ok(id)
    }

    async fn set_flight(&mut self, id: IntentId, flight: Option<Flight>) -> Result<(), OutboxError> {
        let Some(record) = self.pending.get(&id) else { return Ok(()) };
        let changed = Record { flight, ..record.clone() };
        self.store.save(id.0, changed.to_bytes()).await?;
        self.pending.insert(id, changed);
        Ok(())
    }
}
