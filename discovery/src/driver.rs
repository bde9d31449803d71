//! The owner loop: one task owns the core; what happens goes in, what is to be done is done, in order. Questions to the
//! chain and writes to the disk are waited for beside it: the loop itself waits for nothing but the next event.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use lode_contracts::ChainReader;
use lode_program::clock::Clock;
use lode_program::finding::{Finding, FindingSet};
use lode_program::health::Pulse;
use lode_protocol::cursor::Cursor;
use lode_protocol::envelope::Realm;
use lode_protocol::ids::{NodeId, PoolId};
use lode_protocol::time::Now;
use lode_protocol::units::Millis;
use lode_store::{Batch, Store, StoreError, Ticket, Writer};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::chain;
use crate::config::Limits;
use crate::core::{
    ChainWord, Core, Effect, Effects, Event, Moved, QuestionId, Rejected, RequestId, SaveId, Settings, Stored,
};
use crate::handle::{Handle, Incoming};
use crate::storage::{self, Unlisted};
use crate::undecided::Undecided;

/// How often time is told to the core.
const TICK: Duration = Duration::from_millis(500);
/// Publications and news of the chain that may wait for the core; senders wait beyond that.
const INCOMING: usize = 1_024;
/// Longest wait for the chain: what is not answered by then is not known.
const CHAIN_DEADLINE: Duration = Duration::from_secs(30);

/// What the driver works with.
#[derive(Debug)]
pub struct Driver {
    core: Arc<RwLock<Core>>,
    incoming: mpsc::Receiver<Incoming>,
    changed: watch::Sender<Cursor>,
    chain: Arc<dyn ChainReader>,
    writer: Writer,
    clock: Clock,
    findings: FindingSet,
    waiting: BTreeMap<RequestId, oneshot::Sender<Result<(), Rejected>>>,
    requests: u64,
    work: JoinSet<Event>,
    realm: Realm,
    undecided: Undecided,
}

impl Driver {
    /// Takes up what the store holds.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn open(
        store: &dyn Store,
        writer: Writer,
        chain: Arc<dyn ChainReader>,
        clock: Clock,
        limits: &Limits,
        incarnation: u64,
    ) -> Result<(Self, Handle), StoreError> {
        let realm: Realm = chain.deployment().realm(PoolId(0));
        let mut core = Core::new(&Settings {
            incarnation,
            retained_changes: limits.retained_changes,
            nodes: limits.nodes,
            publications_per_node: limits.publications_per_node,
            refusals_stand: Millis::from_duration(limits.refusals_stand),
        });
        let now = clock.now();
        let (mut dropped, mut later) = (Vec::new(), Vec::new());
        for row in store.load(storage::DESCRIPTORS)? {
            let taken = storage::open(&row, realm, now.wall).and_then(|stands| {
                core.step(now, stands.loaded()).map_err(|rejected| storage::why_rejected(&rejected, now))
            });
            match taken {
                Ok(_) => {}
                Err(Unlisted::Later) => later.push(row),
                Err(Unlisted::Never) => dropped.push(row.0),
            }
        }
        let undecided = Undecided::new(later, limits.nodes, now.monotonic);
        tracing::info!(nodes = core.listing().len(), dropped = dropped.len(), "directory loaded");
        if undecided.len() > 0 {
            tracing::warn!(
                rows = undecided.len(),
                "stored descriptors do not count now and are kept: if they are many, check this machine's clock"
            );
        }
        let findings = FindingSet::new(clock);
        let (changed, receiver) = watch::channel(core.listing().cursor());
        let (sender, incoming) = mpsc::channel(INCOMING);
        let core = Arc::new(RwLock::new(core));
        let handle = Handle {
            core: Arc::clone(&core),
            incoming: sender,
            changed: receiver,
            realm,
            clock,
            findings: findings.clone(),
        };
        let driver = Self {
            core,
            incoming,
            changed,
            chain,
            writer,
            clock,
            findings,
            waiting: BTreeMap::new(),
            requests: 0,
            work: JoinSet::new(),
            realm,
            undecided,
        };
        driver.drop_rows(dropped);
        Ok((driver, handle))
    }

    /// Rows that cannot be listed any more are in nobody's way: that they go is not waited for.
    fn drop_rows(&self, keys: Vec<Vec<u8>>) {
        for keys in keys.chunks(storage::MOST_DROPPED) {
            let mut batch = Batch::new();
            for key in keys {
                batch.delete(storage::DESCRIPTORS, key.clone());
            }
            if let Err(error) = self.writer.try_enqueue(batch) {
                tracing::debug!(%error, "old rows stay until the next start");
            }
        }
    }

    /// Until shutdown.
    pub async fn run(mut self, pulse: Pulse, shutdown: CancellationToken) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            let event = tokio::select! {
                () = shutdown.cancelled() => return,
                _ = ticks.tick() => {
                    pulse.beat();
                    Event::Tick
                }
                Some(incoming) = self.incoming.recv() => self.receive(incoming),
                Some(done) = self.work.join_next() => match done {
                    Ok(event) => event,
                    Err(error) => {
                        tracing::error!(%error, "a task of the directory broke off");
                        continue;
                    }
                },
            };
            let ticked = matches!(event, Event::Tick);
            self.step(event);
            if ticked {
                self.reconsider();
            }
        }
    }

    /// Looks again at stored rows that did not count.
    fn reconsider(&mut self) {
        let now = self.clock.now();
        let mut dropped = Vec::new();
        for row in self.undecided.due(now.monotonic) {
            let Some(node) = storage::node_of(&row) else { continue };
            let known = self.core.read().unwrap_or_else(PoisonError::into_inner).listing().knows(&node);
            // It has said something since: its row is the core's to write.
            if known {
                continue;
            }
            match storage::open(&row, self.realm, now.wall).and_then(|stands| self.load(now, stands.loaded()))
            {
                // The chain may have said something else since.
                Ok(()) => {
                    self.step(Event::ChainMoved(Moved::These { nodes: vec![node], providers: Vec::new() }))
                }
                Err(Unlisted::Later) => self.undecided.put_back(row),
                Err(Unlisted::Never) => dropped.push(row.0),
            }
        }
        self.drop_rows(dropped);
    }

    fn load(&mut self, now: Now, loaded: Event) -> Result<(), Unlisted> {
        let effects = {
            let mut core = self.core.write().unwrap_or_else(PoisonError::into_inner);
            core.step(now, loaded).map_err(|rejected| storage::why_rejected(&rejected, now))?
        };
        let mut events = VecDeque::new();
        self.carry_out(effects, &mut events);
        events.into_iter().for_each(|event| self.step(event));
        Ok(())
    }

    fn receive(&mut self, incoming: Incoming) -> Event {
        match incoming {
            Incoming::ChainMoved(moved) => Event::ChainMoved(moved),
            Incoming::Publication { descriptor, reply } => {
                self.requests += 1;
                let request = RequestId(self.requests);
                self.waiting.insert(request, reply);
                Event::Published { request, descriptor }
            }
        }
    }

    /// One event, and what it makes happen at once.
    fn step(&mut self, event: Event) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let request = match &event {
                Event::Published { request, .. } => Some(*request),
                Event::Tick
                | Event::Loaded { .. }
                | Event::ChainMoved(_)
                | Event::ChainAnswered { .. }
                | Event::ChainSilent { .. }
                | Event::Saved(_)
                | Event::NotSaved { .. } => None,
            };
            let (result, cursor) = {
                let mut core = self.core.write().unwrap_or_else(PoisonError::into_inner);
                let result = core.step(self.clock.now(), event);
                (result, core.listing().cursor())
            };
            match (result, request) {
                (Ok(effects), _) => self.carry_out(effects, &mut events),
                (Err(rejected), Some(request)) => self.answer(request, Err(rejected)),
                (Err(rejected), None) => tracing::error!(%rejected, "an event was refused"),
            }
            self.changed.send_if_modified(|known| std::mem::replace(known, cursor) != cursor);
        }
    }

    fn carry_out(&mut self, effects: Effects, events: &mut VecDeque<Event>) {
        for effect in effects {
            match effect {
                Effect::Answer { request, outcome } => self.answer(request, outcome),
                Effect::AskChain { question, nodes } => self.ask(question, nodes),
                Effect::Save { save, changes } => events.extend(self.save(save, changes)),
            }
        }
    }

    fn answer(&mut self, request: RequestId, outcome: Result<(), Rejected>) {
        if let Some(reply) = self.waiting.remove(&request) {
            // Whoever asked may have gone.
            drop(reply.send(outcome));
        }
    }

    fn ask(&mut self, question: QuestionId, nodes: Vec<NodeId>) {
        let (chain, findings) = (Arc::clone(&self.chain), self.findings.clone());
        self.work.spawn(async move {
            let message = match tokio::time::timeout(CHAIN_DEADLINE, chain.nodes(&nodes)).await {
                Ok(Ok(records)) => {
                    let words = records.into_iter().map(|record| match record {
                        None => ChainWord::NotRegistered,
                        Some(record) if record.eligible => ChainWord::Vouched(record.provider),
                        Some(record) => ChainWord::NotEligible(record.provider),
                    });
                    return Event::ChainAnswered { question, said: nodes.into_iter().zip(words).collect() };
                }
                Ok(Err(error)) => error.to_string(),
                Err(_) => format!("no answer within {CHAIN_DEADLINE:?}"),
            };
            findings.raise(chain::unreachable(&message));
            Event::ChainSilent { question, message }
        });
    }

    /// Queues a batch: batches are written in the order in which they are queued here.
    fn save(&mut self, save: SaveId, changes: Vec<Stored>) -> Option<Event> {
        let mut batch = Batch::new();
        for change in changes {
            storage::add(&mut batch, change);
        }
        match self.writer.try_enqueue(batch) {
            Ok(ticket) => {
                self.work.spawn(written(save, ticket, self.findings.clone()));
                None
            }
            Err(error) => Some(not_saved(save, &error, &self.findings)),
        }
    }
}

async fn written(save: SaveId, ticket: Ticket, findings: FindingSet) -> Event {
    match ticket.await {
        Ok(_) => {
            findings.clear_code("store/behind");
            Event::Saved(save)
        }
        Err(error) => not_saved(save, &error, &findings),
    }
}

fn not_saved(save: SaveId, error: &StoreError, findings: &FindingSet) -> Event {
    findings.raise(
        Finding::warning("store/behind", format!("descriptors are listed but not stored: {error}")).remedy(
            "Make room on the disk of the data directory; until then publications are refused, and a restart forgets \
             recent descriptors.",
        ),
    );
    Event::NotSaved { save, message: error.to_string() }
}
