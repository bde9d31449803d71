//! Watches over the engine: lists our containers at an interval and when asked, and notices when it is gone and when
//! it is back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lode_program::{Backoff, backoff};
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::executor::PATIENT;
use crate::core::event::{EngineFailure, Observed};
use crate::engine::Engine;

/// What the engine shows.
#[derive(Debug)]
pub(super) enum Sight {
    /// All our containers, and how many engine calls had ended when the list was asked for.
    Listed(Vec<Observed>, u64),
    /// It does not answer.
    Lost(EngineFailure),
}

/// Shared with the driver.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Engine calls that have changed something and ended: a list asked for before the last of them is old news.
    pub(super) activity: AtomicU64,
    /// List now.
    pub(super) look: Notify,
}

/// The monitor's task.
#[derive(Debug)]
pub(super) struct Monitor {
    pub(super) engine: Arc<dyn Engine>,
    pub(super) interval: Duration,
    pub(super) shared: Arc<Shared>,
    pub(super) sights: mpsc::Sender<Sight>,
    pub(super) version: watch::Sender<Option<String>>,
}

impl Monitor {
    /// From the first touch of the engine until shutdown.
    pub(super) async fn run(self, mut allowed: watch::Receiver<bool>, shutdown: CancellationToken) {
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = self.watch_over(&mut allowed) => {}
        }
    }

    async fn watch_over(&self, allowed: &mut watch::Receiver<bool>) {
        if allowed.wait_for(|allowed| *allowed).await.is_err() {
            return;
        }
        let mut pause = Backoff::new(PATIENT, backoff::random_seed());
        loop {
            let activity = self.shared.activity.load(Ordering::Acquire);
            let (sight, wait) = match self.look().await {
                Ok(containers) => {
                    pause.reset();
                    (Sight::Listed(containers, activity), self.interval)
                }
                Err(failure) => (Sight::Lost(failure), pause.next_wait()),
            };
            let lost = matches!(sight, Sight::Lost(_));
            if self.sights.send(sight).await.is_err() {
                return;
            }
            if lost {
                // Nobody can hurry an engine that is not there.
                tokio::time::sleep(wait).await;
            } else {
                let _ = tokio::time::timeout(wait, self.shared.look.notified()).await;
            }
        }
    }

    async fn look(&self) -> Result<Vec<Observed>, EngineFailure> {
        let version = self.engine.ping().await?;
        self.version.send_if_modified(|known| {
            let changed = known.as_ref() != Some(&version);
            *known = Some(version);
            changed
        });
        self.engine.list().await
    }
}
