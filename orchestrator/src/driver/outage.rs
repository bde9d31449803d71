//! What the driver does while the store cannot commit (a full disk, most of all).
//!
//! The group that failed is held: its changes are absolute, so that committing the same again is right until it
//! succeeds, and nothing after it was handed to the writer. Meanwhile the process stays up and says why: reads are served, writes are refused with the store's code,
//! workers get no answers (they keep running what they run), ends of streams are remembered, facts wait in their queue.
//! Nothing new is stepped, so the core runs ahead by what was on its way and no more. When the commit succeeds, everything goes on by itself; the
//! core notices that it was away and renews all leases.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use lode_program::backoff::{self, BackoffPolicy};
use lode_program::finding::{Finding, FindingSet};
use lode_program::{Condition, Health, Shutdown};
use lode_protocol::units::Millis;
use lode_store::{Batch, StoreError};

use crate::core::event::Event;
use crate::driver::group::{Group, Output};
use crate::driver::{Driver, Message, Request, WriteError};

/// Waits before the next try.
const WAITS: BackoffPolicy = BackoffPolicy::new(Millis(100), Millis::seconds(2));
/// Code of the finding that says it, whatever the cause.
const FINDING: &str = "store/unwritable";

/// Whether the store takes writes, for those who look from outside. Clones are the same.
#[derive(Clone, Debug)]
pub struct StoreHealth {
    current: Arc<Mutex<Option<(&'static str, String)>>>,
    ready: Condition,
}

impl StoreHealth {
    /// Why the store takes no writes, as code and words; `None` while it does.
    pub fn current(&self) -> Option<(&'static str, String)> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Not ready until the first commit.
    pub fn new(health: &Health) -> Self {
        let starting = Finding::info("store/starting", "nothing has been committed yet");
        StoreHealth { current: Arc::default(), ready: health.condition("store", starting) }
    }

    /// A commit has succeeded.
    pub(crate) fn over(&self) {
        let trouble = self.current.lock().unwrap_or_else(PoisonError::into_inner).take();
        if trouble.is_some() {
            tracing::info!("what was held back is durable; everything goes on");
        }
        self.ready.holds();
    }

    fn raise(&self, error: &StoreError, findings: &FindingSet) {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) =
            Some((error.code(), error.to_string()));
        let finding =
            Finding::error(FINDING, format!("nothing can be made durable ({}): {error}", error.code()))
                .remedy("Free space or repair the disk under data_dir; it goes on by itself. Running tasks are untouched.");
        self.ready.fails(finding.clone());
        findings.raise(finding);
    }
}

/// Whether the same commit may succeed later without a restart.
fn may_recover(error: &StoreError) -> bool {
    error.is_retryable() || matches!(error, StoreError::Denied { .. })
}

impl Driver {
    /// Tries the group's commit until it succeeds.
    pub(super) async fn hold(
        &mut self,
        group: &mut Group,
        batch: &Arc<Batch>,
        mut error: StoreError,
        shutdown: &Shutdown,
    ) -> anyhow::Result<()> {
        let mut waits = backoff::sequence(WAITS);
        loop {
            self.ports.metrics.failed_commits.inc();
            if !may_recover(&error) {
                return Err(error).context("the store cannot keep what was decided");
            }
            self.trouble.raise(&error, &self.ports.findings);
            refuse_waiting(group, &error);
            for waiting in self.pipeline.groups_mut() {
                refuse_waiting(waiting, &error);
            }
            self.serve_meanwhile(waits.next_wait(), &error, shutdown).await;
            if shutdown.is_requested() {
                anyhow::bail!(
                    "stopped while the store could not commit ({error}); the next start goes on from what is durable"
                );
            }
            match self.ports.writer.commit(Arc::clone(batch)).await {
                Ok(_) => break,
                Err(again) => error = again,
            }
        }
        self.trouble.over();
        self.ports.findings.clear(FINDING, "");
        Ok(())
    }

    /// Answers what can be answered, for a while.
    async fn serve_meanwhile(&mut self, wait: Duration, error: &StoreError, shutdown: &Shutdown) {
        let mut over = std::pin::pin!(tokio::time::sleep(wait));
        let mut stopping = std::pin::pin!(shutdown.requested());
        loop {
            tokio::select! {
                () = &mut over => break,
                () = &mut stopping => break,
                Some(request) = self.requests.recv() => match request {
                    Request::Read(question) => question(&self.core, self.now())(),
                    Request::Write { asker, .. } => asker(&self.core, Err(refusal(error, false)))(None),
                },
                Some(message) = self.messages.recv() => self.set_aside(message),
            }
        }
        if let Some(pulse) = &self.ports.pulse {
            pulse.beat();
        }
    }

    /// A worker's message is dropped, unanswered: it comes again. The end of a stream does not, and is kept, if it is one
    /// that the core knows: at most one of each node.
    fn set_aside(&mut self, message: Message) {
        if matches!(*message.event, Event::ConnectionClosed { .. }) {
            if self.core.is_linked(&message.node, message.connection) {
                self.backlog.push(message);
            }
        } else {
            self.ports.metrics.unanswered.inc();
        }
    }
}

/// People do not wait for a disk: they are told at once that their request is undecided. Refusals that changed nothing
/// stay what they are, and questions are answered as they are during the outage.
fn refuse_waiting(group: &mut Group, error: &StoreError) {
    let outputs = std::mem::take(&mut group.outputs);
    for output in outputs {
        match output {
            Output::Answer(answered) => answered(Some(refusal(error, true))),
            Output::Tell(told) => told(),
            kept @ (Output::Send(_)
            | Output::Chain(_)
            | Output::Raise(_)
            | Output::Clear { .. }
            | Output::Keep(_)) => {
                group.outputs.push(kept);
            }
        }
    }
}

fn refusal(error: &StoreError, undecided: bool) -> WriteError {
    WriteError::Store { code: error.code(), message: error.to_string(), undecided }
}
