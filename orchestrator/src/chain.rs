//! What the chain knows becomes facts for the core; what the core wants of the chain goes into the outbox.
//!
//! Facts are *read*, not pieced together from events: an event only says which nodes to read again. So a restart, a
//! reorganisation and a missed event end the same way, in a fresh read. An error is never a fact: it makes the view
//! stale, and the nodes stay to be read. The view is fresh when the follower is at the head and nothing waits to be
//! read. Strangers are looked up after all of that, and make it neither stale nor fresh.
//!
//! Joins wait a moment for each other and travel as one transaction; the contract judges each on its own.

mod orders;
mod questions;
mod reading;
mod settling;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lode_contracts::{
    ChainError, ChainReader, ChainView as FollowerView, Epoch, Follower, FollowerConfig, FollowerEvent,
    MembershipState as RecordState, PoolRecord, PoolState,
};
use lode_program::Shutdown;
use lode_program::backoff::{self, BackoffPolicy};
use lode_program::finding::{Finding, FindingSet};
use lode_protocol::ids::{NodeId, PoolId, ProviderId};
use lode_protocol::units::Millis;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::core::event::{
    ChainMembership, ChainPool, ChainView, Event, MembershipState, Proof, Registration,
};
use crate::driver::Handle;
pub use orders::{ChainCommands, ChainOutcomes};
use reading::Reading;

/// Nodes read at once.
const BATCH: usize = 200;
/// Questions about strangers on their way to the watch: twice what the driver takes of messages at once. They are dropped
/// when the watch does not keep up; whoever waits for one says hello again.
const QUESTIONS: usize = 8_192;
/// Between two reads about strangers: 2,000 keys a second are answered, and the endpoint is kept for the pool.
const LOOK_UP_PAUSE: Duration = Duration::from_millis(100);
/// Waits after a failed read or an intent that was not taken.
const WAITS: BackoffPolicy = BackoffPolicy::new(Millis(250), Millis::seconds(10));

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
    /// How its events are followed.
    pub follower: FollowerConfig,
    /// Between two looks.
    pub poll_interval: Duration,
    /// Age at which the view is stale.
    pub stale_after: Duration,
    /// Whether the pool pays.
    pub settles: bool,
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
    /// For people.
    pub status: ChainStatus,
    /// For people.
    pub findings: FindingSet,
    /// Our own address: the pool's orchestrator key.
    pub own: lode_protocol::ids::Address,
}

/// Nodes to follow or not, from the order router. Unbounded: there are a few orders for each node, and strangers are none.
pub type FollowOrders = mpsc::UnboundedReceiver<Following>;

/// Where strangers are asked about, and where the watch hears of it.
pub fn questions() -> (mpsc::Sender<NodeId>, mpsc::Receiver<NodeId>) {
    mpsc::channel(QUESTIONS)
}

/// Whether a node's facts are wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Following {
    /// From now on.
    Yes(NodeId),
    /// Not any longer.
    No(NodeId),
    /// Read it again now: a transaction about it has ended.
    Again(NodeId),
    /// Say how the root of this epoch stands, from now on.
    Root(Epoch),
    /// Read the pool's money again now.
    Budget,
}

impl ChainWatch {
    /// Runs until shutdown.
    pub async fn run(
        self,
        mut orders: FollowOrders,
        mut questions: mpsc::Receiver<NodeId>,
        shutdown: Shutdown,
    ) {
        tokio::select! {
            () = shutdown.requested() => {}
            () = self.watch(&mut orders, &mut questions) => {}
        }
    }

    async fn watch(&self, orders: &mut FollowOrders, questions: &mut mpsc::Receiver<NodeId>) {
        let mut reading = Reading { pool: self.settings.pool, pool_dirty: true, ..Reading::default() };
        reading.settling.wanted = self.settings.settles;
        reading.settling.mark();
        // Every followed node is read in full anyway, so that following begins at the head.
        let (sender, mut events) = mpsc::channel(16);
        let (view_sender, mut view) = watch::channel(FollowerView::default());
        let following = self.follow(sender, view_sender);
        let reading_facts = async {
            let mut waits = backoff::sequence(WAITS);
            let mut look = tokio::time::interval(self.settings.poll_interval);
            look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            let mut not_before = Instant::now();
            let mut look_up_waits = backoff::sequence(WAITS);
            let mut look_up_not_before = Instant::now();
            loop {
                tokio::select! {
                    order = orders.recv() => match order {
                        Some(order) => reading.order(order),
                        None => return,
                    },
                    Some(node) = questions.recv() => reading.ask(node),
                    Some(event) = events.recv() => reading.event(event),
                    Ok(()) = view.changed() => {}
                    _ = look.tick() => {}
                    () = tokio::time::sleep_until(look_up_not_before), if reading.has_questions() => {}
                }
                while let Ok(order) = orders.try_recv() {
                    reading.order(order);
                }
                while let Ok(node) = questions.try_recv() {
                    reading.ask(node);
                }
                let current = view.borrow_and_update().clone();
                if !reading.following && current.head.is_some() {
                    // What was read before the follower began may be older than where it began.
                    reading.following = true;
                    reading.mark_all();
                }
                reading.expire(&current);
                if Instant::now() >= not_before && reading.has_work() {
                    match self.read(&mut reading).await {
                        Ok(()) => waits.reset(),
                        Err(error) => {
                            tracing::debug!(code = %error.code(), %error, "facts could not be read; trying again");
                            not_before = Instant::now() + waits.next_wait();
                        }
                    }
                }
                self.tell(&mut reading, current).await;
                // After the pool's own facts, and what fails here keeps none of them waiting.
                if Instant::now() >= look_up_not_before && reading.has_questions() {
                    let pause = if self.look_up(&mut reading.asked).await {
                        look_up_waits.reset();
                        LOOK_UP_PAUSE
                    } else {
                        look_up_waits.next_wait()
                    };
                    look_up_not_before = Instant::now() + pause;
                }
            }
        };
        tokio::select! {
            () = following => {}
            () = reading_facts => {}
        }
    }

    /// Follows from the head as soon as there is one.
    async fn follow(&self, sender: mpsc::Sender<FollowerEvent>, view: watch::Sender<FollowerView>) {
        let mut waits = backoff::sequence(WAITS);
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
                    tokio::time::sleep(waits.next_wait()).await;
                }
            }
        };
        // Confirmations are waited for from before the head, so that nothing between is missed.
        let number = head.number.saturating_sub(self.settings.follower.confirmations.saturating_add(1));
        let start = match self.reader.block(number).await {
            Ok(Some(block)) if number >= self.reader.deployment().block => {
                Some(lode_contracts::ChainCursor { number: block.number, hash: block.hash })
            }
            Ok(_) | Err(_) => None,
        };
        let (follower, mut seen) = Follower::new(Arc::clone(&self.reader), self.settings.follower, start);
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
            let approvals = self.approvals(registrations.iter().flatten().map(|node| node.provider)).await?;
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
                        registration: registration.map(|record| Registration {
                            provider: record.provider,
                            eligible: record.eligible,
                            approved: approvals.get(&record.provider).copied().unwrap_or_default(),
                        }),
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
        if reading.settling.is_dirty() {
            for fact in reading.settling.read(self.reader.as_ref(), self.settings.pool).await? {
                self.driver.fact(fact).await;
            }
        }
        Ok(())
    }

    /// Which of these providers let their nodes join the pool.
    async fn approvals(
        &self,
        providers: impl Iterator<Item = ProviderId>,
    ) -> Result<BTreeMap<ProviderId, bool>, ChainError> {
        let distinct: BTreeSet<ProviderId> = providers.collect();
        let asked = distinct.into_iter().map(async |provider| {
            let approved = self.reader.is_pool_approved(self.settings.pool, provider).await?;
            Ok::<_, ChainError>((provider, approved))
        });
        Ok(futures::future::try_join_all(asked).await?.into_iter().collect())
    }

    async fn tell_pool(&self, reading: &mut Reading, record: PoolRecord) {
        const KEY: &str = "pool/foreign-key";
        if record.orchestrator == self.own {
            self.findings.clear(KEY, "");
        } else {
            let message = format!(
                "the pool's orchestrator key on chain is {}, ours is {}",
                record.orchestrator, self.own
            );
            self.findings.raise(
                Finding::error(KEY, message)
                    .remedy("Restart with the pool's new key, or set the pool's key back."),
            );
        }
        if reading.terms != Some(record.requirements) {
            reading.terms = Some(record.requirements);
            self.driver.fact(Event::RequirementsChanged(record.requirements)).await;
        }
        let pool = ChainPool {
            running: record.state == PoolState::Running,
            max_nodes: record.max_nodes.unwrap_or(0),
            member_count: record.member_count,
            owner: record.owner,
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
