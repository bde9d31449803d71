//! The first step of a boot. Nobody hears of a boot before it is durable: a message of a boot that nobody remembers
//! could be repeated, and a description of it could not be told from the next one's.

use std::time::Duration;

use lode_program::{Clock, FindingSet};
use lode_store::Writer;
use tokio_util::sync::CancellationToken;

use super::{now, store_finding};
use crate::core::Worker;
use crate::core::effect::Effects;
use crate::core::event::Event;
use crate::core::view::View;
use crate::journal;

/// Wait before a store that cannot be written at start is tried again.
const STORE_RETRY: Duration = Duration::from_secs(2);

/// A worker that has started, and what it wants done first. The changes of that are durable.
#[derive(Debug)]
pub struct Booted {
    pub(super) worker: Worker,
    pub(super) effects: Vec<Effects>,
}

impl Booted {
    /// How it stands at its start: what it holds from before is known to everybody from the first moment.
    pub fn view(&self) -> View {
        self.worker.view()
    }
}

/// Starts a worker; tried again until its boot can be written.
pub async fn boot(
    mut worker: Worker,
    writer: &Writer,
    clock: &Clock,
    findings: &FindingSet,
    shutdown: &CancellationToken,
) -> anyhow::Result<Booted> {
    let mut started = worker.step(now(clock), Event::Started)?;
    let changes = std::mem::take(&mut started.changes);
    loop {
        match writer.commit(journal::batch(&changes)).await {
            Ok(_) => break,
            Err(error) => {
                findings.raise(store_finding(&error));
                tracing::error!(code = error.code(), %error, "cannot start before this is written; trying again");
            }
        }
        tokio::select! {
            () = shutdown.cancelled() => anyhow::bail!("stopped before the store could be written"),
            () = tokio::time::sleep(STORE_RETRY) => {}
        }
    }
    for code in ["store/full", "store/failing", "store/unusable"] {
        findings.clear_code(code);
    }
    let stored = worker.step(now(clock), Event::Stored(started.ticket))?;
    Ok(Booted { worker, effects: vec![started, stored] })
}
