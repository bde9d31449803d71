//! The chain: what happens on it. An RPC that does not answer is waited for; nothing is told meanwhile, so that nothing
//! is mistaken for a no.

mod history;
mod questions;

use std::sync::Arc;

use lode_contracts::{
    ChainError, ChainReader, Follower, FollowerConfig, FollowerEvent, SettlementParameters,
    SlashingParameters,
};
use lode_program::backoff::{self, BackoffPolicy};
use lode_program::finding::{Finding, FindingSet};
use lode_protocol::units::Millis;
use tokio::sync::mpsc;

use crate::core::Event;

pub use history::served;
pub use questions::{Question, answer};

/// Batches of events that may wait.
const QUEUE: usize = 64;
/// Waits after failed looks at the chain.
const WAITS: BackoffPolicy = BackoffPolicy::new(Millis(500), Millis::seconds(10));

/// Tells every event and block. Begins early enough for everything that can still be voted on or vetoed; after a
/// restart that is told again. Ends when nobody listens any more.
pub async fn follow(
    reader: Arc<dyn ChainReader>,
    config: FollowerConfig,
    events: mpsc::Sender<Event>,
    findings: FindingSet,
) {
    let timing = patiently(&findings, || reader.epoch_timing()).await;
    let slashing = patiently(&findings, || reader.slashing_terms()).await;
    let settlement = patiently(&findings, || reader.settlement_terms()).await;
    let window = window(&slashing, &settlement);
    let terms = Event::Terms { slashing, settlement };
    if events.send(Event::Timing(timing)).await.is_err() || events.send(terms).await.is_err() {
        return;
    }
    // What events taught is forgotten when blocks are replaced, so that the window is read again.
    while let Following::Anew = follow_window(&reader, config, window, &events, &findings).await {
        if events.send(Event::Resync).await.is_err() {
            return;
        }
    }
}

/// How following ended.
enum Following {
    /// Blocks were replaced.
    Anew,
    /// Nobody listens any more.
    Over,
}

/// Follows from the beginning of the window, until blocks are replaced.
async fn follow_window(
    reader: &Arc<dyn ChainReader>,
    config: FollowerConfig,
    window: Millis,
    events: &mpsc::Sender<Event>,
    findings: &FindingSet,
) -> Following {
    let from = patiently(findings, || async {
        let head = reader.head().await?;
        history::before(reader.as_ref(), head.timestamp.minus(window)).await
    })
    .await;
    let (follower, mut view) = Follower::new(Arc::clone(reader), config, from);
    let (sender, mut received) = mpsc::channel(QUEUE);
    let watch = async {
        loop {
            let failure = view.borrow_and_update().failure.clone();
            match failure {
                Some(failure) => drop(findings.raise(unreachable(&failure.message))),
                None => drop(findings.clear("chain/unreachable", "")),
            }
            if view.changed().await.is_err() {
                return;
            }
        }
    };
    let apply = async {
        while let Some(event) = received.recv().await {
            if matches!(event, FollowerEvent::Rollback { .. }) {
                return Following::Anew;
            }
            for event in translated(event) {
                if events.send(event).await.is_err() {
                    return Following::Over;
                }
            }
        }
        Following::Over
    };
    tokio::select! {
        _ = follower.run(sender) => Following::Over,
        () = watch => Following::Over,
        ended = apply => ended,
    }
}

fn translated(event: FollowerEvent) -> Vec<Event> {
    match event {
        FollowerEvent::Resync { .. } | FollowerEvent::Rollback { .. } => vec![Event::Resync],
        FollowerEvent::Events { events, head, caught_up, .. } => {
            let mut told = Vec::new();
            if !events.is_empty() {
                told.push(Event::Logged(events));
            }
            // What is due is decided by all that happened, never by half of it.
            if caught_up {
                told.push(Event::Head(head));
            }
            told
        }
    }
}

/// How far back something can have happened that still asks for a vote, a verdict or a veto.
fn window(slashing: &SlashingParameters, settlement: &SettlementParameters) -> Millis {
    let phases = [slashing.answer_seconds, slashing.vote_seconds, slashing.execution_seconds];
    let accusation =
        phases.iter().fold(slashing.evidence_seconds, |sum, seconds| sum.saturating_add(*seconds));
    Millis(accusation.max(settlement.veto_seconds).saturating_mul(1_000))
}

async fn patiently<T, F>(findings: &FindingSet, mut ask: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, ChainError>>,
{
    let mut waits = backoff::sequence(WAITS);
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(error) => {
                findings.raise(unreachable(&error.to_string()));
                tokio::time::sleep(waits.next_wait()).await;
            }
        }
    }
}

fn unreachable(detail: &str) -> Finding {
    Finding::warning("chain/unreachable", format!("the chain cannot be read; what was found waits: {detail}"))
        .remedy("check chain.rpc_url; the validator goes on by itself when it answers")
}
