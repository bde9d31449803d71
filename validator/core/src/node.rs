//! One node and whether it is due for a proof.

use lode_chain_types::{Epoch, ProvenRecord};
use lode_gpu_proof::ProofClass;
use lode_protocol::backoff::BackoffPolicy;
use lode_protocol::units::{Millis, Timestamp};

use super::event::{Description, Facts};

/// A node that keeps failing waits at most so many times the usual wait.
const MOST_WAITS: u64 = 64;

/// What is known about a node that has described itself. What the chain says may be unknown: then nothing is done.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) description: Description,
    pub(super) facts: Option<Facts>,
    pub(super) connected: bool,
    /// No run before.
    pub(super) not_before: Millis,
    failures: u32,
    pub(super) last: Option<String>,
}

/// What a node's look at itself comes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Due {
    /// Prove it now.
    Now,
    /// Look again at this moment.
    At(Millis),
    /// Look again in this epoch.
    In(Epoch),
    /// Something has to happen first.
    Unknown,
}

impl Node {
    /// One of which nothing is known but what it says of itself.
    pub(super) fn new(description: Description, connected: bool) -> Self {
        let (facts, last, not_before) = (None, None, Millis::default());
        Self { description, facts, connected, not_before, failures: 0, last }
    }

    /// Whether it is due; `validity` is how many epochs a proof counts, `drawn` whether this validator is to check it.
    pub(super) fn due(
        &self,
        (now, wall): (Millis, Timestamp),
        epoch: Epoch,
        class: &ProofClass,
        validity: u64,
        drawn: Option<bool>,
    ) -> Due {
        let (description, Some(facts)) = (&self.description, &self.facts) else { return Due::Unknown };
        let there = self.connected && facts.provider.is_some() && !description.gpus.is_empty();
        if !there || description.expires_at < wall || drawn != Some(true) {
            return Due::Unknown;
        }
        let renew = facts.proven.as_ref().and_then(|proven| renewal(proven, description, class, validity));
        match renew {
            Some(renew) if renew > epoch => Due::In(renew),
            Some(_) | None if self.not_before > now => Due::At(self.not_before),
            Some(_) | None => Due::Now,
        }
    }

    /// Whether it is listed and registered.
    pub(super) fn has_standing(&self) -> bool {
        self.facts.as_ref().is_some_and(|facts| facts.provider.is_some())
    }

    /// A run ended without a full pass.
    pub(super) fn put_off(&mut self, now: Millis, retry: Millis) {
        let waits = BackoffPolicy::new(retry, Millis(retry.0.saturating_mul(MOST_WAITS)));
        self.not_before = now.plus(waits.wait(self.failures));
        self.failures = self.failures.saturating_add(1);
    }

    /// It cannot be proven at the moment, through no fault of its own.
    pub(super) fn wait(&mut self, now: Millis, retry: Millis) {
        self.not_before = now.plus(retry);
    }

    /// All its GPUs passed.
    pub(super) fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// It says something new about itself: what failed before may work now.
    pub(super) fn changed(&mut self) {
        self.failures = 0;
        self.not_before = Millis::default();
    }
}

/// From which epoch on a proof has to be made anew; `None` is now.
fn renewal(
    proven: &ProvenRecord,
    description: &Description,
    class: &ProofClass,
    validity: u64,
) -> Option<Epoch> {
    let whole = usize::from(proven.gpu_count) == description.gpus.len();
    if !proven.current || !whole || proven.class.0 != class.id.0 {
        return None;
    }
    Some(Epoch(proven.expiry_epoch.0.saturating_sub(validity / 2)))
}
