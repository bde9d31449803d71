//! What the chain knows becomes facts for the core; what the core wants of the chain goes into the outbox.
//!
//! Facts are *read*, not pieced together from events: an event only says which nodes to read again. So a restart, a
//! reorganisation and a missed event end the same way, in a fresh read. An error is never a fact: it makes the view
//! stale, and the nodes stay to be read. The view is fresh when the follower is at the head and nothing waits to be
//! read.
//!
//! Joins wait a moment for each other and travel as one transaction; the contract judges each on its own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lode_contracts::{
    ChainError, ChainEvent, ChainReader, ChainView as FollowerView, EpochTiming, Follower, FollowerConfig,
    FollowerEvent, Intent, MembershipState as RecordState, Outbox, OutboxEvent, Outcome, PoolRecord, PoolState,
};
use lode_program::Shutdown;
use lode_program::finding::{Finding, FindingSet};
use lode_protocol::error_code::ErrorCode;
use lode_protocol::ids::{NodeId, PoolId, ProviderId};
use lode_protocol::join::{Join, LeaveStatement};
use lode_store::Writer;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::core::event::{
    ChainMembership, ChainPool, ChainView, Event, MembershipState, Proof, Registration,
};
use crate::driver::{ChainOrder, Handle};
use crate::recovery::remember_terms;
use crate::wire::Identity;

/// Nodes read at once.
const BATCH: usize = 200;
/// Joins that travel together at most.
const JOINS: usize = 50;
/// How long the first join waits for others.
const JOIN_WAIT: Duration = Duration::from_millis(300);
/// First wait after a failed read; doubles up to [`LAST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LAST_WAIT: Duration = Duration::from_secs(10);

/// The chain as `status` shows it. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct ChainStatus(Arc<Mutex<Shown>>);

/// What is shown.
#[derive(Clone, Debug, Default)]
pub struct Shown {
    /// Whether the core may act on the view.
    pub fresh: bool,
    /// Nodes whose facts wait to be read.
    pub waiting: usize,
    /// The follower's view.
    pub view: FollowerView,
    /// The pool as last read.
    pub pool: Option<PoolRecord>,
}

impl ChainStatus {
    /// As it is now.
    pub fn current(&self) -> Shown {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn update(&self, change: impl FnOnce(&mut Shown)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// How to follow.
#[derive(Clone, Copy, Debug)]
pub struct ChainSettings {
    /// The pool.
    pub pool: PoolId,
    /// Between two looks.
    pub poll_interval: Duration,
    /// Blocks on top before a block counts.
    pub confirmations: u64,
    /// Age at which the view is stale.
    pub stale_after: Duration,
}

/// What is known of a followed node besides what the core was told.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    provider: Option<ProviderId>,
    /// Last epoch in which its proof counts.
    expiry: Option<lode_contracts::Epoch>,
}

/// Reads facts for the core.
#[derive(Debug)]
pub struct ChainWatch {
    /// The chain.
    pub reader: Arc<dyn ChainReader>,
    /// How.
    pub settings: ChainSettings,
    /// The core.
    pub driver: Handle,
    /// To remember what the pool is like.
    pub writer: Writer,
    /// For people.
    pub status: ChainStatus,
    /// For people.
    pub findings: FindingSet,
    /// Our own address: the pool's orchestrator key.
    pub own: lode_protocol::ids::Address,
}

/// Mutable part of the watch.
#[derive(Debug, Default)]
struct Reading {
    followed: BTreeMap<NodeId, Known>,
    dirty: BTreeSet<NodeId>,
    pool_dirty: bool,
    following: bool,
    timing: Option<EpochTiming>,
    epoch: Option<lode_contracts::Epoch>,
    told: Option<ChainView>,
    /// Terms that the store and the core know.
    terms: Option<lode_protocol::hash::Digest>,
}

/// Nodes to follow or not, from the order router.
pub type FollowOrders = mpsc::UnboundedReceiver<Following>;

/// Whether a node's facts are wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Following {
    /// From now on.
    Yes(NodeId),
    /// Not any longer.
    No(NodeId),
    /// Read it again now: a transaction about it has ended.
    Again(NodeId),
}

impl ChainWatch {
    /// Runs until shutdown.
    pub async fn run(self, mut orders: FollowOrders, shutdown: Shutdown) {
        tokio::select! {
            () = shutdown.requested() => {}
            () = self.watch(&mut orders) => {}
        }
    }

    async fn watch(&self, orders: &mut FollowOrders) {
        let mut reading = Reading { pool_dirty: true, ..Reading::default() };
        // Every followed node is read in full anyway, so that following begins at the head.
        let (sender, mut events) = mpsc::channel(16);
        let (view_sender, mut view) = watch::channel(FollowerView::default());
        let following = self.follow(sender, view_sender);
        let reading_facts = async {
            let mut wait = FIRST_WAIT;
            let mut look = tokio::time::interval(self.settings.poll_interval);
            look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            let mut not_before = Instant::now();
            loop {
                tokio::select! {
                    order = orders.recv() => match order {
                        Some(order) => reading.order(order),
                        None => return,
                    },
                    Some(event) = events.recv() => reading.event(event),
                    Ok(()) = view.changed() => {}
                    _ = look.tick() => {}
                }
                while let Ok(order) = orders.try_recv() {
                    reading.order(order);
                }
                let current = view.borrow_and_update().clone();
                if !reading.following && current.head.is_some() {
                    // What was read before the follower began may be older than where it began.
                    reading.following = true;
                    reading.mark_all();
                }
                if Instant::now() >= not_before && reading.has_work() {
                    match self.read(&mut reading).await {
                        Ok(()) => wait = FIRST_WAIT,
                        Err(error) => {
                            tracing::debug!(code = %error.code(), %error, "facts could not be read; trying again");
                            not_before = Instant::now() + wait;
                            wait = (wait * 2).min(LAST_WAIT);
                        }
                    }
                }
                reading.expire(&current);
                self.tell(&mut reading, current).await;
            }
        };
        tokio::select! {
            () = following => {}
            () = reading_facts => {}
        }
    }

    /// Follows from the head as soon as there is one.
    async fn follow(&self, sender: mpsc::Sender<FollowerEvent>, view: watch::Sender<FollowerView>) {
        let mut wait = FIRST_WAIT;
        let head = loop {
            match self.reader.head().await {
                Ok(head) => break head,
                Err(error) => {
                    view.send_modify(|view| {
                        view.failure = Some(lode_contracts::ViewFailure {
                            code: error.code(),
                            message: error.to_string(),
                        });
                    });
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(LAST_WAIT);
                }
            }
        };
        // Confirmations are waited for from before the head, so that nothing between is missed.
        let number = head.number.saturating_sub(self.settings.confirmations.saturating_add(1));
        let start = match self.reader.block(number).await {
            Ok(Some(block)) if number >= self.reader.deployment().block => {
                Some(lode_contracts::ChainCursor { number: block.number, hash: block.hash })
            }
            Ok(_) | Err(_) => None,
        };
        let config = FollowerConfig {
            poll_interval_ms: u64::try_from(self.settings.poll_interval.as_millis()).unwrap_or(u64::MAX),
            confirmations: self.settings.confirmations,
            ..FollowerConfig::default()
        };
        let (follower, mut seen) = Follower::new(Arc::clone(&self.reader), config, start);
        let copy = async {
            while seen.changed().await.is_ok() {
                view.send_replace(seen.borrow_and_update().clone());
            }
        };
        tokio::join!(follower.run(sender), copy);
    }

    /// Reads what is dirty, and tells the core.
    async fn read(&self, reading: &mut Reading) -> Result<(), ChainError> {
        if reading.timing.is_none() {
            reading.timing = Some(self.reader.epoch_timing().await?);
        }
        if reading.pool_dirty {
            let record = self.reader.pool(self.settings.pool).await?;
            reading.pool_dirty = false;
            if let Some(record) = record {
                self.tell_pool(reading, record).await;
            }
        }
        while !reading.dirty.is_empty() {
            let nodes: Vec<NodeId> = reading.dirty.iter().copied().take(BATCH).collect();
            let registrations = self.reader.nodes(&nodes).await?;
            let memberships = self.reader.memberships(self.settings.pool, &nodes).await?;
            let proofs = self.reader.proven(&nodes).await?;
            for (((node, registration), membership), proof) in
                nodes.iter().copied().zip(registrations).zip(memberships).zip(proofs)
            {
                reading.dirty.remove(&node);
                let Some(known) = reading.followed.get_mut(&node) else { continue };
                let current = proof.filter(|proof| proof.current);
                known.provider = registration.map(|record| record.provider);
                known.expiry = current.map(|proof| proof.expiry_epoch);
                let facts = [
                    Event::ChainNode {
                        node,
                        registration: registration
                            .map(|record| Registration { provider: record.provider, eligible: record.eligible }),
                    },
                    Event::ChainMembership {
                        node,
                        membership: ChainMembership {
                            state: membership_state(membership.state, membership.active),
                            join_counter: membership.join_counter,
                        },
                    },
                    Event::ChainProven {
                        node,
                        proof: current
                            .map(|proof| Proof { class: proof.class.0, gpu_count: proof.gpu_count.into() }),
                    },
                ];
                for fact in facts {
                    self.driver.fact(fact).await;
                }
            }
        }
        Ok(())
    }

    async fn tell_pool(&self, reading: &mut Reading, record: PoolRecord) {
        const KEY: &str = "pool/foreign-key";
        if record.orchestrator == self.own {
            self.findings.clear(KEY, "");
        } else {
            let message = format!("the pool's orchestrator key on chain is {}, ours is {}", record.orchestrator, self.own);
            self.findings.raise(
                Finding::error(KEY, message).remedy("Restart with the pool's new key, or set the pool's key back."),
            );
        }
        if reading.terms != Some(record.requirements) {
            reading.terms = Some(record.requirements);
            if let Err(error) = self.writer.commit(remember_terms(&record)).await {
                tracing::warn!(code = error.code(), %error, "the pool's terms could not be remembered");
            }
            let terms = record.requirements;
            self.driver.adopt_terms(terms).await;
        }
        let pool = ChainPool {
            running: record.state == PoolState::Running,
            max_nodes: record.max_nodes.unwrap_or(0),
            member_count: record.member_count,
        };
        self.driver.fact(Event::ChainPool(pool)).await;
        self.status.update(|shown| shown.pool = Some(record));
    }

    /// Tells whether the view may be acted upon, when that has changed.
    async fn tell(&self, reading: &mut Reading, view: FollowerView) {
        const STALE: &str = "chain/unreachable";
        let fresh = view.is_fresh(Instant::now(), self.settings.stale_after) && !reading.has_work();
        let now = if fresh { ChainView::Fresh } else { ChainView::Stale };
        // While nodes are being read for the first time the view is not stale for long: that is not worth a finding.
        match &view.failure {
            Some(failure) if !fresh => {
                let message = format!("the chain cannot be read ({}): {}", failure.code, failure.message);
                self.findings.raise(
                    Finding::warning(STALE, message)
                        .remedy("Check chain.rpc_url and the node behind it. Running tasks are untouched; joins and placements wait."),
                );
            }
            Some(_) | None => {
                self.findings.clear(STALE, "");
            }
        }
        self.status.update(|shown| {
            shown.fresh = fresh;
            shown.waiting = reading.dirty.len();
            shown.view = view;
        });
        if reading.told != Some(now) {
            reading.told = Some(now);
            self.driver.fact(Event::ChainViewed(now)).await;
        }
    }
}

fn membership_state(state: RecordState, active: bool) -> MembershipState {
    match state {
        RecordState::Never => MembershipState::Never,
        RecordState::Member => MembershipState::Member { active },
        RecordState::Left => MembershipState::Left,
        RecordState::Ejected => MembershipState::Ejected,
        RecordState::Banned => MembershipState::Banned,
    }
}

impl Reading {
    fn has_work(&self) -> bool {
        self.pool_dirty || !self.dirty.is_empty()
    }

    fn order(&mut self, order: Following) {
        match order {
            Following::Yes(node) => {
                self.followed.entry(node).or_default();
                self.dirty.insert(node);
            }
            Following::Again(node) => self.mark(node),
            Following::No(node) => {
                self.followed.remove(&node);
                self.dirty.remove(&node);
            }
        }
    }

    fn mark(&mut self, node: NodeId) {
        if self.followed.contains_key(&node) {
            self.dirty.insert(node);
        }
    }

    fn mark_provider(&mut self, provider: ProviderId) {
        let theirs = self.followed.iter().filter(|(_, known)| known.provider == Some(provider));
        let nodes: Vec<NodeId> = theirs.map(|(node, _)| *node).collect();
        self.dirty.extend(nodes);
    }

    fn mark_all(&mut self) {
        self.pool_dirty = true;
        self.dirty.extend(self.followed.keys().copied());
    }

    fn event(&mut self, event: FollowerEvent) {
        match event {
            FollowerEvent::Resync { .. } => {
                self.epoch = None;
                self.mark_all();
            }
            FollowerEvent::Events { events, .. } => {
                for logged in events {
                    self.happened(&logged.event);
                }
            }
        }
    }

    /// What an event makes worth reading again.
    fn happened(&mut self, event: &ChainEvent) {
        match event {
            ChainEvent::ProviderRegistered { provider, .. }
            | ChainEvent::Staked { provider, .. }
            | ChainEvent::UnstakeRequested { provider, .. }
            | ChainEvent::Withdrawn { provider, .. }
            | ChainEvent::ProviderBanned { provider, .. }
            | ChainEvent::ProviderUnbanned { provider, .. } => self.mark_provider(*provider),
            ChainEvent::NodeAdded { provider, node, .. } | ChainEvent::NodeRemoved { provider, node, .. } => {
                // The stake must cover all units: one more or less concerns every node of the provider.
                self.mark_provider(*provider);
                self.mark(*node);
            }
            ChainEvent::NodeReplaced { provider, old, new, .. } => {
                self.mark_provider(*provider);
                self.mark(*old);
                self.mark(*new);
            }
            ChainEvent::NodeJoined { node, .. }
            | ChainEvent::NodeAlreadyMember { node, .. }
            | ChainEvent::NodeLeft { node, .. }
            | ChainEvent::NodeEjected { node, .. } => {
                self.pool_dirty = true;
                self.mark(*node);
            }
            ChainEvent::JoinFailed { node, .. }
            | ChainEvent::NodeBanned { node, .. }
            | ChainEvent::NodeUnbanned { node, .. }
            | ChainEvent::NodeProven { node, .. }
            | ChainEvent::NodeUnproven { node, .. }
            | ChainEvent::ProofFailed { node, .. } => self.mark(*node),
            ChainEvent::PoolStarted { .. }
            | ChainEvent::PoolEnded { .. }
            | ChainEvent::OrchestratorChanged { .. }
            | ChainEvent::EndpointsChanged { .. }
            | ChainEvent::RequirementsChanged { .. }
            | ChainEvent::OwnershipTransferred { .. }
            | ChainEvent::PoolCreated { .. } => self.pool_dirty = true,
            _ => {}
        }
    }

    /// Proofs run out by time, without an event.
    fn expire(&mut self, view: &FollowerView) {
        let (Some(timing), Some(head)) = (self.timing, view.head) else { return };
        let epoch = timing.epoch_at(head.timestamp);
        if self.epoch.replace(epoch) == Some(epoch) {
            return;
        }
        let over: Vec<NodeId> = self
            .followed
            .iter()
            .filter(|(_, known)| known.expiry.is_some_and(|expiry| expiry < epoch))
            .map(|(node, _)| *node)
            .collect();
        self.dirty.extend(over);
    }
}

/// Carries the core's orders: what to follow to the watch, what to write to the outbox.
#[derive(Debug)]
pub struct ChainOrders {
    /// For signing invites and naming the pool.
    pub identity: Identity,
    /// Where writes go.
    pub outbox: Outbox,
    /// Where follows go.
    pub watch: mpsc::UnboundedSender<Following>,
}

impl ChainOrders {
    /// Runs until the driver ends.
    pub async fn run(self, mut orders: mpsc::UnboundedReceiver<ChainOrder>) {
        let mut joins: Vec<Join> = Vec::new();
        let mut due = Instant::now();
        loop {
            let order = tokio::select! {
                order = orders.recv() => match order {
                    Some(order) => Some(order),
                    None => return,
                },
                () = tokio::time::sleep_until(due), if !joins.is_empty() => None,
            };
            match order {
                None => self.submit(Intent::JoinBatch(std::mem::take(&mut joins))).await,
                Some(ChainOrder::Join { invite, consent }) => {
                    if joins.is_empty() {
                        due = Instant::now() + JOIN_WAIT;
                    }
                    let digest = invite.invite_digest(&self.identity.pools_domain);
                    joins.push(Join {
                        invite,
                        invite_signature: self.identity.key.sign_recoverable(&digest),
                        consent_signature: consent,
                    });
                    if joins.len() >= JOINS {
                        self.submit(Intent::JoinBatch(std::mem::take(&mut joins))).await;
                    }
                }
                Some(ChainOrder::Follow(node)) => drop(self.watch.send(Following::Yes(node))),
                Some(ChainOrder::Unfollow(node)) => drop(self.watch.send(Following::No(node))),
                Some(ChainOrder::Eject(node)) => {
                    self.submit(Intent::Eject { pool: self.identity.realm.pool, node }).await;
                }
                Some(ChainOrder::Leave { node, leave }) => {
                    let statement = LeaveStatement {
                        pool: self.identity.realm.pool,
                        node,
                        counter: leave.counter,
                        deadline: leave.deadline,
                    };
                    self.submit(Intent::LeaveBySignature { statement, signature: leave.signature }).await;
                }
            }
        }
    }

    /// Until the outbox has it durably: the store may be full for a while.
    async fn submit(&self, intent: Intent) {
        let mut wait = FIRST_WAIT;
        loop {
            match self.outbox.submit(intent.clone()).await {
                Ok(_) | Err(lode_contracts::OutboxError::Stopped) => return,
                Err(error) => {
                    tracing::warn!(code = %error.code(), %error, "the outbox did not take an intent; trying again");
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(LAST_WAIT);
                }
            }
        }
    }
}

/// Tells the core what became of joins, and has everything else read again.
#[derive(Debug)]
pub struct ChainOutcomes {
    /// The core.
    pub driver: Handle,
    /// To acknowledge.
    pub outbox: Outbox,
    /// To have nodes read again.
    pub watch: mpsc::UnboundedSender<Following>,
}

impl ChainOutcomes {
    /// Runs until the outbox ends.
    pub async fn run(self, mut outcomes: mpsc::UnboundedReceiver<OutboxEvent>) {
        while let Some(OutboxEvent { id, intent, outcome }) = outcomes.recv().await {
            let failed = failed_joins(&intent, &outcome);
            for node in concerned(&intent) {
                // The watch ends only with the program.
                let _ = self.watch.send(Following::Again(node));
            }
            if let Outcome::Reverted { error, .. } = &outcome {
                tracing::warn!(%error, ?intent, "the contract refused an intent");
            }
            for (node, counter, message) in failed {
                let code = ErrorCode::new("join/reverted");
                self.driver.fact(Event::JoinFailed { node, counter, code, message }).await;
            }
            if let Err(error) = self.outbox.acknowledge(id).await {
                // It comes again after a restart, and does no harm then.
                tracing::warn!(code = %error.code(), %error, "an outcome could not be acknowledged");
            }
        }
    }
}

fn concerned(intent: &Intent) -> Vec<NodeId> {
    match intent {
        Intent::JoinBatch(joins) => joins.iter().map(|join| join.invite.node).collect(),
        Intent::Eject { node, .. } => vec![*node],
        Intent::LeaveBySignature { statement, .. } => vec![statement.node],
        _ => Vec::new(),
    }
}

/// Joins of a batch that did not come about, with the reason.
fn failed_joins(intent: &Intent, outcome: &Outcome) -> Vec<(NodeId, u64, String)> {
    let Intent::JoinBatch(joins) = intent else { return Vec::new() };
    match outcome {
        Outcome::Confirmed(receipt) => receipt
            .events
            .iter()
            .filter_map(|logged| match &logged.event {
                ChainEvent::JoinFailed { node, reason, .. } => Some((*node, reason.to_string())),
                _ => None,
            })
            .filter_map(|(node, reason)| {
                let join = joins.iter().find(|join| join.invite.node == node)?;
                Some((node, join.invite.counter, format!("the contract refused the join: {reason}")))
            })
            .collect(),
        Outcome::AlreadyDone(_) => Vec::new(),
        Outcome::Reverted { error, .. } => joins
            .iter()
            .map(|join| (join.invite.node, join.invite.counter, format!("the contract refused the joins: {error}")))
            .collect(),
    }
}
