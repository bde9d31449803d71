//! What the core wants of the chain, and what became of it.

use std::time::Duration;

use lode_contracts::{
    ChainEvent, Epoch, Intent, Outbox, OutboxError, OutboxEvent, Outcome, PoolsCall, PoolsEvent, RewardsCall,
};
use lode_program::backoff;
use lode_protocol::error_code::ErrorCode;
use lode_protocol::ids::NodeId;
use lode_protocol::join::{Join, LeaveStatement};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{Following, WAITS};
use crate::core::effect::ChainCommand;
use crate::core::event::Event;
use crate::driver::Handle;
use crate::identity::Identity;

/// Joins that travel together at most.
const JOINS: usize = 50;
/// How long the first join waits for others.
const JOIN_WAIT: Duration = Duration::from_millis(300);

/// Carries the core's orders: what to follow to the watch, what to write to the outbox.
#[derive(Debug)]
pub struct ChainCommands {
    /// For signing invites and naming the pool.
    pub identity: Identity,
    /// Where writes go.
    pub outbox: Outbox,
    /// Where follows go.
    pub watch: mpsc::UnboundedSender<Following>,
}

impl ChainCommands {
    /// Runs until the driver ends.
    pub async fn run(self, mut orders: mpsc::UnboundedReceiver<ChainCommand>) {
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
                None => self.submit(Intent::Pools(PoolsCall::JoinBatch(std::mem::take(&mut joins)))).await,
                Some(ChainCommand::SubmitJoin { invite, consent }) => {
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
                        self.submit(Intent::Pools(PoolsCall::JoinBatch(std::mem::take(&mut joins)))).await;
                    }
                }
                Some(ChainCommand::FollowNode(node)) => drop(self.watch.send(Following::Yes(node))),
                // The driver asks the watch itself: of these there is no end, and nothing here waits for one.
                Some(ChainCommand::LookUpNode(_)) => {}
                Some(ChainCommand::UnfollowNode(node)) => drop(self.watch.send(Following::No(node))),
                Some(ChainCommand::SubmitEject { node }) => {
                    self.submit(Intent::Pools(PoolsCall::Eject { pool: self.identity.realm.pool, node }))
                        .await;
                }
                Some(ChainCommand::SubmitLeave { node, leave }) => {
                    let statement = LeaveStatement {
                        pool: self.identity.realm.pool,
                        node,
                        counter: leave.counter,
                        deadline: leave.deadline,
                    };
                    self.submit(Intent::Pools(PoolsCall::LeaveBySignature {
                        statement,
                        signature: leave.signature,
                    }))
                    .await;
                }
                Some(ChainCommand::SubmitRoot { epoch, root, total, depth, proven_epoch }) => {
                    let pool = self.identity.realm.pool;
                    self.submit(Intent::Rewards(RewardsCall::PostRoot {
                        pool,
                        epoch,
                        root,
                        total,
                        depth,
                        proven_epoch,
                    }))
                    .await;
                }
                Some(ChainCommand::FollowRoot(epoch)) => drop(self.watch.send(Following::Root(epoch))),
            }
        }
    }

    /// Until the outbox has it durably: the store may be full for a while.
    async fn submit(&self, intent: Intent) {
        let mut waits = backoff::sequence(WAITS);
        loop {
            match self.outbox.submit(intent.clone()).await {
                Ok(_) | Err(OutboxError::Stopped) => return,
                Err(error) => {
                    tracing::warn!(code = %error.code(), %error, "the outbox did not take an intent; trying again");
                    tokio::time::sleep(waits.next_wait()).await;
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
            if let Intent::Rewards(RewardsCall::PostRoot { epoch, .. }) = &intent {
                self.root_posted(*epoch, &outcome).await;
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

impl ChainOutcomes {
    /// What became of a root is read from the chain; only a refusal is said at once. A root that is there already is
    /// ours, or its epoch was passed: that is read as well.
    async fn root_posted(&self, epoch: Epoch, outcome: &Outcome) {
        if let Outcome::Reverted { error, .. } = outcome
            && error.name != "EpochAlreadyPosted"
        {
            self.driver.fact(Event::RootFailed { epoch, message: error.to_string() }).await;
        }
        let _ = self.watch.send(Following::Budget);
    }
}

fn concerned(intent: &Intent) -> Vec<NodeId> {
    match intent {
        Intent::Pools(PoolsCall::JoinBatch(joins)) => joins.iter().map(|join| join.invite.node).collect(),
        Intent::Pools(PoolsCall::Eject { node, .. }) => vec![*node],
        Intent::Pools(PoolsCall::LeaveBySignature { statement, .. }) => vec![statement.node],
        _ => Vec::new(),
    }
}

/// Joins of a batch that did not come about, with the reason.
fn failed_joins(intent: &Intent, outcome: &Outcome) -> Vec<(NodeId, u64, String)> {
    let Intent::Pools(PoolsCall::JoinBatch(joins)) = intent else { return Vec::new() };
    match outcome {
        Outcome::Confirmed(receipt) => receipt
            .events
            .iter()
            .filter_map(|logged| match &logged.event {
                ChainEvent::Pools(PoolsEvent::JoinFailed { node, reason, .. }) => {
                    Some((*node, reason.to_string()))
                }
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
            .map(|join| {
                (join.invite.node, join.invite.counter, format!("the contract refused the joins: {error}"))
            })
            .collect(),
    }
}
