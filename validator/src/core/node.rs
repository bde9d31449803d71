//! One node and whether it is due for a proof.

use lode_contracts::{Epoch, ProvenRecord};
use lode_gpu_proof::ProofClass;
use lode_protocol::units::{Millis, Timestamp};

use super::event::{Description, Facts};
use super::settings::Moment;

/// A node that keeps failing waits at most so many times the usual wait.
const LONGEST_WAIT_FACTOR: u64 = 64;

/// What is known about a node. All of it may be unknown: then nothing is done.
#[derive(Debug, Default)]
pub(super) struct Node {
    pub(super) description: Option<Description>,
    pub(super) facts: Option<Facts>,
    pub(super) connected: bool,
    /// No run before.
    pub(super) not_before: Moment,
    failures: u32,
    pub(super) last: Option<String>,
}

/// What a node's look at itself comes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Due {
    /// Prove it now.
    Now,
    /// Look again at this moment.
    At(Moment),
    /// Look again in this epoch.
    In(Epoch),
    /// Something has to happen first.
    Unknown,
}

impl Node {
    /// Whether it is due; `validity` is how many epochs a proof counts, `drawn` whether this validator is to check it.
    pub(super) fn due(
        &self,
        (now, wall): (Moment, Timestamp),
        epoch: Epoch,
        class: &ProofClass,
        validity: u64,
        drawn: Option<bool>,
    ) -> Due {
        let (Some(description), Some(facts)) = (&self.description, &self.facts) else { return Due::Unknown };
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

    /// A run ended without a full pass.
    pub(super) fn put_off(&mut self, now: Moment, retry: Millis) {
        let factor = 1_u64.checked_shl(self.failures).unwrap_or(LONGEST_WAIT_FACTOR).min(LONGEST_WAIT_FACTOR);
        self.failures = self.failures.saturating_add(1);
        self.not_before = now.plus(Millis(retry.0.saturating_mul(factor)));
    }

    /// It cannot be proven at the moment, through no fault of its own.
    pub(super) fn wait(&mut self, now: Moment, retry: Millis) {
        self.not_before = now.plus(retry);
    }

    /// All its GPUs passed.
    pub(super) fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// It says something new about itself: what failed before may work now.
    pub(super) fn changed(&mut self) {
        self.failures = 0;
        self.not_before = Moment::default();
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
