//! Drives the outbox: the keeper answers commands while the sender talks to the chain, one intent at a time.

use std::sync::Arc;
use std::time::Duration;

use lode_protocol::backoff::{Backoff, BackoffPolicy, seed_of};
use lode_protocol::keys::SigningKey;
use lode_protocol::units::Millis;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::Instant;

use super::flight::{Decision, Observation, Waiting, decide};
use super::keeper::{Command, Keeper};
use super::record::{Flight, Record};
use super::{Blocked, OutboxConfig, OutboxEvent, OutboxStatus};
use crate::Intent;
use crate::Receipt;
use crate::error::ChainError;
use crate::port::{Fees, Quote, SendError, SignedTransaction, TransactionPort};
use crate::{IntentId, Outcome};

/// Runs an outbox. Dropping the future stops it; nothing is lost by that.
#[derive(Debug)]
pub struct OutboxRunner {
    keeper: Keeper,
    receiver: mpsc::Receiver<Command>,
    status: watch::Sender<OutboxStatus>,
    sender: Sender,
}

impl OutboxRunner {
    #[expect(clippy::too_many_arguments, reason = "called once, by Outbox::open, to take its parts over")]
    pub(super) fn new(
        port: Arc<dyn TransactionPort>,
        key: SigningKey,
        config: OutboxConfig,
        keeper: Keeper,
        receiver: mpsc::Receiver<Command>,
        commands: mpsc::Sender<Command>,
        events: mpsc::UnboundedSender<OutboxEvent>,
        status: watch::Sender<OutboxStatus>,
    ) -> Self {
        let (first, most) = (config.min_backoff_ms.max(1), config.max_backoff_ms.max(1));
        // Each key has one sender, so that those who wait for one chain are spread by their keys.
        let seed = seed_of(&key.address().0);
        let backoff = Backoff::new(BackoffPolicy::new(Millis(first), Millis(most)), seed);
        let sender = Sender {
            port,
            key,
            config,
            commands,
            events,
            status: status.clone(),
            submitted: Arc::new(Notify::new()),
            backoff,
        };
        OutboxRunner { keeper, receiver, status, sender }
    }

    /// Runs until it is dropped.
    pub async fn run(self) {
        let OutboxRunner { mut keeper, mut receiver, status, mut sender } = self;
        let submitted = sender.submitted.clone();
        let keep = async {
            status.send_modify(|status| status.pending = keeper.pending());
            while let Some(command) = receiver.recv().await {
                // The sender's own questions must not wake it: it would ask again without end.
                let submission = matches!(command, Command::Submit { .. });
                keeper.handle(command).await;
                let pending = keeper.pending();
                status.send_if_modified(|status| std::mem::replace(&mut status.pending, pending) != pending);
                if submission {
                    submitted.notify_one();
                }
            }
        };
        tokio::join!(keep, sender.run());
    }
}

#[derive(Debug)]
struct Sender {
    port: Arc<dyn TransactionPort>,
    key: SigningKey,
    config: OutboxConfig,
    commands: mpsc::Sender<Command>,
    events: mpsc::UnboundedSender<OutboxEvent>,
    status: watch::Sender<OutboxStatus>,
    submitted: Arc<Notify>,
    /// Knows the failures in a row.
    backoff: Backoff,
}

/// What a transaction in flight remembers between looks.
#[derive(Debug, Clone, Copy)]
struct Clock {
    sent: Instant,
    raised: Instant,
    out_of_place: u32,
}

impl Clock {
    fn start() -> Self {
        let now = Instant::now();
        Clock { sent: now, raised: now, out_of_place: 0 }
    }
}

/// Why an intent does not get further now.
enum Trouble {
    Chain(ChainError),
    Store(super::OutboxError),
}

impl From<ChainError> for Trouble {
    fn from(error: ChainError) -> Self {
        Trouble::Chain(error)
    }
}

impl Sender {
    async fn run(&mut self) {
        loop {
            match self.ask(|reply| Command::First { reply }).await {
                Some(Some((id, record))) => self.see_through(id, record).await,
                Some(None) => self.submitted.notified().await,
                None => return,
            }
        }
    }

    /// Stays with one intent until it has an outcome.
    async fn see_through(&mut self, id: IntentId, mut record: Record) {
        let mut clock = Clock::start();
        loop {
            match self.advance(id, &mut record, &mut clock).await {
                Ok(Some(outcome)) => {
                    self.unblocked();
                    tracing::info!(intent = record.intent.name(), %id, outcome = outcome.name(), "intent settled");
                    self.ask(|reply| Command::Settled { id, reply }).await;
                    let intent = record.intent;
                    // A program that dropped its receiver reads outcomes from the chain's events.
                    drop(self.events.send(OutboxEvent { id, intent, outcome }));
                    return;
                }
                Ok(None) => {
                    self.unblocked();
                    tokio::time::sleep(Duration::from_millis(self.config.poll_interval_ms)).await;
                }
                Err(trouble) => {
                    let wait = self.blocked(&trouble);
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }

    /// One step: simulate, sign, record and send; or look after what is in flight.
    async fn advance(
        &mut self,
        id: IntentId,
        record: &mut Record,
        clock: &mut Clock,
    ) -> Result<Option<Outcome>, Trouble> {
        match record.flight.clone() {
            None => self.take_off(id, record, clock).await,
            Some(flight) => self.look_after(id, record, flight, clock).await,
        }
    }

    async fn take_off(
        &mut self,
        id: IntentId,
        record: &mut Record,
        clock: &mut Clock,
    ) -> Result<Option<Outcome>, Trouble> {
        let sender = self.key.address();
        let quote = match self.port.quote(sender, &record.intent).await {
            Ok(quote) => quote,
            Err(ChainError::Reverted(error)) => return Ok(Some(refused(&record.intent, error, None))),
            Err(error) => return Err(error.into()),
        };
        let nonce = self.port.mined_nonce(sender).await?;
        let fees = Fees { max_fee: quote.fees.max_fee.min(self.config.max_fee), ..quote.fees };
        let fees = Fees { max_priority_fee: fees.max_priority_fee.min(fees.max_fee), ..fees };
        let quote = Quote { fees, ..quote };
        let signed = self.port.sign(&self.key, &record.intent, nonce, quote)?;
        let flight = Flight {
            nonce,
            gas_limit: quote.gas_limit,
            fees,
            attempts: vec![signed.hash],
            bytes: signed.bytes,
        };
        self.record(id, record, Some(flight)).await?;
        *clock = Clock::start();
        self.send(record, clock).await?;
        Ok(None)
    }

    async fn look_after(
        &mut self,
        id: IntentId,
        record: &mut Record,
        flight: Flight,
        clock: &mut Clock,
    ) -> Result<Option<Outcome>, Trouble> {
        let mined_nonce = self.port.mined_nonce(self.key.address()).await?;
        let mut receipt = None;
        for attempt in flight.attempts.iter().rev() {
            receipt = self.port.receipt(*attempt).await?;
            if receipt.is_some() {
                break;
            }
        }
        let height = if receipt.is_some() { self.port.height().await? } else { 0 };
        let waiting = Waiting {
            since_sent: clock.sent.elapsed(),
            since_raised: clock.raised.elapsed(),
            out_of_place: clock.out_of_place,
        };
        match decide(&self.config, flight.nonce, Observation { mined_nonce, receipt, height }, waiting) {
            Decision::Settle(receipt) => self.landed(record, receipt).await.map(Some),
            Decision::Wait { out_of_place } => {
                clock.out_of_place = out_of_place;
                Ok(None)
            }
            Decision::SendAgain => {
                self.send(record, clock).await?;
                Ok(None)
            }
            Decision::PayMore => {
                self.pay_more(id, record, flight, clock).await?;
                Ok(None)
            }
            Decision::BeginAnew => {
                tracing::warn!(intent = record.intent.name(), %id, nonce = flight.nonce, mined_nonce,
                    "the chain has no place for the transaction any more: a new one is made");
                self.record(id, record, None).await?;
                *clock = Clock::start();
                Ok(None)
            }
        }
    }

    async fn landed(&self, record: &Record, receipt: Receipt) -> Result<Outcome, Trouble> {
        if receipt.succeeded {
            return Ok(Outcome::Confirmed(receipt));
        }
        let error = self.port.explain(self.key.address(), &record.intent, receipt.block).await?;
        Ok(refused(&record.intent, error, Some(receipt.transaction)))
    }

    async fn pay_more(
        &mut self,
        id: IntentId,
        record: &mut Record,
        flight: Flight,
        clock: &mut Clock,
    ) -> Result<(), Trouble> {
        // What the network asks now; when the call would be refused by now, the old gas limit still does for the
        // replacement, whose receipt then tells.
        let floor = match self.port.quote(self.key.address(), &record.intent).await {
            Ok(quote) => quote.fees,
            Err(ChainError::Reverted(_)) => flight.fees,
            Err(error) => return Err(error.into()),
        };
        let fees = flight.fees.raised(floor);
        if fees.max_fee > self.config.max_fee {
            clock.raised = Instant::now();
            self.send(record, clock).await?;
            return Err(ChainError::FeeLimit { needed: fees.max_fee, limit: self.config.max_fee }.into());
        }
        let quote = Quote { gas_limit: flight.gas_limit, fees };
        let signed = self.port.sign(&self.key, &record.intent, flight.nonce, quote)?;
        let mut attempts = flight.attempts;
        attempts.push(signed.hash);
        let raised = Flight { fees, attempts, bytes: signed.bytes, ..flight };
        tracing::info!(intent = record.intent.name(), %id, max_fee = fees.max_fee, "paying more for the transaction");
        self.record(id, record, Some(raised)).await?;
        clock.raised = Instant::now();
        self.send(record, clock).await
    }

    /// Hands the recorded bytes to the chain.
    async fn send(&self, record: &Record, clock: &mut Clock) -> Result<(), Trouble> {
        let Some(flight) = &record.flight else { return Ok(()) };
        let Some(hash) = flight.attempts.last() else { return Ok(()) };
        let sender = self.key.address();
        let signed = SignedTransaction { sender, hash: *hash, bytes: flight.bytes.clone() };
        let sent = self.port.send(&signed).await;
        clock.sent = Instant::now();
        match sent {
            // The next look finds the receipt, or that the nonce went elsewhere.
            Ok(()) | Err(SendError::NonceUsed) => Ok(()),
            Err(SendError::Underpriced) => {
                // Somebody else's transaction has our nonce, or the base fee has risen: pay more at the next look.
                let overdue = Duration::from_millis(self.config.raise_after_ms);
                clock.raised = Instant::now().checked_sub(overdue).unwrap_or(clock.raised);
                Ok(())
            }
            Err(SendError::Chain(error)) => Err(error.into()),
        }
    }

    async fn record(&self, id: IntentId, record: &mut Record, flight: Option<Flight>) -> Result<(), Trouble> {
        let kept = flight.clone();
        let answer = self.ask(|reply| Command::SetFlight { id, flight: kept, reply }).await;
        answer.unwrap_or(Err(super::OutboxError::Stopped)).map_err(Trouble::Store)?;
        record.flight = flight;
        Ok(())
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.ok()?;
        answer.await.ok()
    }

    /// Notes the trouble and says how long to wait.
    fn blocked(&mut self, trouble: &Trouble) -> Duration {
        let (code, message) = match trouble {
            Trouble::Chain(error) => (error.code(), error.to_string()),
            Trouble::Store(error) => (error.code(), error.to_string()),
        };
        let wait = self.backoff.next_wait();
        let attempts = self.backoff.failures();
        if attempts == 1 {
            tracing::warn!(%code, message, "the outbox waits");
        }
        self.status.send_modify(|status| status.blocked = Some(Blocked { code, message, attempts }));
        wait
    }

    fn unblocked(&mut self) {
        if self.backoff.failures() > 0 {
            self.backoff.reset();
            tracing::info!("the outbox goes on");
            self.status.send_modify(|status| status.blocked = None);
        }
    }
}

fn refused(
    intent: &Intent,
    error: crate::Revert,
    transaction: Option<lode_protocol::hash::Digest>,
) -> Outcome {
    if intent.is_fulfilled_by(&error) {
        Outcome::AlreadyDone(error)
    } else {
        Outcome::Reverted { error, transaction }
    }
}
