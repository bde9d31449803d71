//! The outbox: intents that reach the chain whatever happens in between.
//!
//! * An intent is durable before `submit` returns; its nonce and signed bytes are durable before they are sent.
//! * One outbox owns the nonces of one key, and has one transaction in flight: the order of intents is the order on
//!   chain. Many joins travel in one intent, so that this costs no throughput.
//! * An RPC that is down is waited for. A transaction that is not mined is sent again, then replaced by one that pays
//!   more. A chain that forgot it (a development chain restarted from an older state) gets it anew.
//! * What became of an intent is delivered until it is acknowledged: after a restart again.
//!
//! Truth is on the chain: an intent sent twice by a crash must do no harm, and the contracts see to that (a member
//! that joins again is a success).

mod flight;
mod keeper;
mod record;
mod runner;
mod store;

use std::sync::Arc;

use lode_protocol::error_code::ErrorCode;
use lode_protocol::keys::SigningKey;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot, watch};

use self::keeper::{Command, Keeper};
use crate::Intent;
use crate::port::TransactionPort;
use crate::{IntentId, Outcome};

pub use self::runner::OutboxRunner;
pub use self::store::{FileOutboxStore, MemoryOutboxStore, OutboxStore, StoreFailure};

/// Commands that wait for the keeper at most: whoever submits more waits, too.
const COMMANDS: usize = 64;

/// How patient an outbox is. Times in milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OutboxConfig {
    /// Between two looks for a receipt.
    pub poll_interval_ms: u64,
    /// Until a transaction that is not mined is sent again.
    pub resend_after_ms: u64,
    /// Until a transaction that is not mined is replaced by one that pays more.
    pub raise_after_ms: u64,
    /// First wait after a failure; it doubles up to `max_backoff_ms`.
    pub min_backoff_ms: u64,
    /// Longest wait after a failure.
    pub max_backoff_ms: u64,
    /// Most that a unit of gas may cost, in the coin's smallest unit.
    pub max_fee: u64,
    /// How many blocks must stand on a receipt's block before it counts. 0 on development chains.
    pub confirmations: u64,
    /// Most intents that wait; more are refused.
    pub max_pending: usize,
}

impl Default for OutboxConfig {
    fn default() -> Self {
        OutboxConfig {
            poll_interval_ms: 1_000,
            resend_after_ms: 10_000,
            raise_after_ms: 45_000,
            min_backoff_ms: 500,
            max_backoff_ms: 30_000,
            max_fee: 500_000_000_000,
            confirmations: 0,
            max_pending: 10_000,
        }
    }
}

impl OutboxConfig {
    /// For chains on this machine that mine at once.
    pub fn development() -> Self {
        OutboxConfig {
            poll_interval_ms: 100,
            resend_after_ms: 1_000,
            raise_after_ms: 5_000,
            min_backoff_ms: 100,
            max_backoff_ms: 2_000,
            ..OutboxConfig::default()
        }
    }
}

/// What became of an intent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OutboxEvent {
    /// Which intent.
    pub id: IntentId,
    /// What it was.
    pub intent: Intent,
    /// What became of it.
    pub outcome: Outcome,
}

/// How an outbox does.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct OutboxStatus {
    /// Intents that have no outcome yet.
    pub pending: usize,
    /// What holds the first of them up.
    pub blocked: Option<Blocked>,
}

/// Why the outbox makes no progress now. It keeps trying.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Blocked {
    /// Stable code, like `chain/unreachable` or `chain/insufficient-funds`.
    pub code: ErrorCode,
    /// In words.
    pub message: String,
    /// How often in a row.
    pub attempts: u32,
}

/// What an outbox cannot do.
#[derive(Debug, thiserror::Error)]
pub enum OutboxError {
    /// Its store failed: the intent was not taken.
    #[error("the outbox cannot keep the intent: {0}")]
    Store(#[from] StoreFailure),
    /// Too many wait.
    #[error("{pending} intents wait in the outbox already; it takes no more until the chain answers")]
    Full {
        /// How many.
        pending: usize,
    },
    /// Its runner ended.
    #[error("the outbox has stopped: the program shuts down")]
    Stopped,
    /// Its store holds something that is no intent.
    #[error("entry {key} of the outbox cannot be read: {detail}; was it written by a newer version?")]
    Malformed {
        /// Key in the store.
        key: u64,
        /// What is wrong.
        detail: String,
    },
    /// Its store holds intents of another key or other contracts.
    #[error(
        "entry {key} of the outbox belongs to another key or deployment: use the key it was written with"
    )]
    Foreign {
        /// Key in the store.
        key: u64,
    },
}

impl OutboxError {
    /// Stable code.
    pub fn code(&self) -> ErrorCode {
        ErrorCode::new(match self {
            OutboxError::Store(_) => "outbox/store",
            OutboxError::Full { .. } => "outbox/full",
            OutboxError::Stopped => "outbox/stopped",
            OutboxError::Malformed { .. } => "outbox/malformed",
            OutboxError::Foreign { .. } => "outbox/foreign",
        })
    }
}

/// A handle to an outbox. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Outbox {
    commands: mpsc::Sender<Command>,
    status: watch::Receiver<OutboxStatus>,
}

impl Outbox {
    /// Reads what the store holds. The runner must run for anything to happen; outcomes come out of the receiver.
    ///
    /// The receiver is unbounded, but never holds more than one outcome per intent.
    pub async fn open(
        port: Arc<dyn TransactionPort>,
        store: Arc<dyn OutboxStore>,
        key: SigningKey,
        config: OutboxConfig,
    ) -> Result<(Outbox, OutboxRunner, mpsc::UnboundedReceiver<OutboxEvent>), OutboxError> {
        let owner = record::Owner::new(key.address(), port.contracts());
        let (status_sender, status) = watch::channel(OutboxStatus::default());
        let keeper = Keeper::load(store, owner, config.max_pending).await?;
        let (commands, receiver) = mpsc::channel(COMMANDS);
        let (events, outcomes) = mpsc::unbounded_channel();
        let runner =
            OutboxRunner::new(port, key, config, keeper, receiver, commands.clone(), events, status_sender);
        Ok((Outbox { commands, status }, runner, outcomes))
    }

    /// Takes an intent. When this returns, the intent is durable and will reach the chain. An intent equal to one that
    /// waits is that one, unless doing it twice differs from doing it once.
    pub async fn submit(&self, intent: Intent) -> Result<IntentId, OutboxError> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::Submit { intent, reply }).await.map_err(|_| OutboxError::Stopped)?;
        answer.await.map_err(|_| OutboxError::Stopped)?
    }

    /// Forgets an intent whose outcome is dealt with. Until then the outcome is delivered again after a restart.
    pub async fn acknowledge(&self, id: IntentId) -> Result<(), OutboxError> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::Acknowledge { id, reply }).await.map_err(|_| OutboxError::Stopped)?;
        answer.await.map_err(|_| OutboxError::Stopped)?
    }

    /// How it does, now and later.
    pub fn status(&self) -> watch::Receiver<OutboxStatus> {
        self.status.clone()
    }
}
