//! What a lane is doing right now, for those who wait for it.
//!
//! Invariants: `sequence` grows with every NVML call, so "no progress" is "the same sequence twice"; a lane that
//! was marked hung stays so exactly until that call returns.

use std::sync::{Mutex, MutexGuard, PoisonError};

#[derive(Debug, Default)]
pub(super) struct Pulse {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    sequence: u64,
    /// The call that is running.
    call: Option<Call>,
    /// The sequence at which somebody gave up.
    hung_at: Option<u64>,
    /// The GPU because of which another lane has taken over.
    abandoned_for: Option<u32>,
}

/// One NVML call in progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) operation: &'static str,
    /// Index of the GPU it is about, if it is about one.
    pub(super) gpu: Option<u32>,
}

impl Pulse {
    /// The lane starts a call.
    pub(super) fn begin(&self, operation: &'static str, gpu: Option<u32>) {
        let mut state = self.lock();
        state.sequence += 1;
        state.call = Some(Call { operation, gpu });
    }

    /// The lane has no call running.
    pub(super) fn rest(&self) {
        let mut state = self.lock();
        state.sequence += 1;
        state.call = None;
        state.hung_at = None;
    }

    pub(super) fn sequence(&self) -> u64 {
        self.lock().sequence
    }

    /// Marks the lane as hung if it still is where it was at `sequence`.
    pub(super) fn mark_hung(&self, sequence: u64) -> Option<Call> {
        let mut state = self.lock();
        if state.sequence != sequence {
            return None;
        }
        let call = state.call?;
        state.hung_at = Some(sequence);
        Some(call)
    }

    /// The call that hangs, if one was found to.
    pub(super) fn hung(&self) -> Option<Call> {
        let state = self.lock();
        if state.hung_at == Some(state.sequence) { state.call } else { None }
    }

    /// Tells the lane to end once its call about `gpu` returns: another one has taken over.
    pub(super) fn abandon(&self, gpu: u32) {
        self.lock().abandoned_for = Some(gpu);
    }

    pub(super) fn abandoned_for(&self) -> Option<u32> {
        self.lock().abandoned_for
    }

    pub(super) fn is_abandoned(&self) -> bool {
        self.abandoned_for().is_some()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_returned_in_the_last_moment_is_not_taken_for_hung() {
        let pulse = Pulse::default();
        pulse.begin("nvmlDeviceGetName", Some(1));
        let seen = pulse.sequence();
        pulse.rest();
        assert_eq!(pulse.mark_hung(seen), None);
        assert_eq!(pulse.hung(), None);
    }

    #[test]
    fn a_hang_ends_when_the_call_returns() {
        let pulse = Pulse::default();
        pulse.begin("nvmlDeviceGetName", Some(1));
        let call = pulse.mark_hung(pulse.sequence());
        assert_eq!(call, Some(Call { operation: "nvmlDeviceGetName", gpu: Some(1) }));
        assert_eq!(pulse.hung(), call);
        pulse.begin("nvmlDeviceGetSerial", Some(1));
        assert_eq!(pulse.hung(), None);
    }
}
