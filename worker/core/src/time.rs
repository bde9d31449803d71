//! Arithmetic on the monotonic clock that cannot overflow.

use lode_protocol::units::Millis;

/// `span` after `time`.
pub(crate) fn after(time: Millis, span: Millis) -> Millis {
    Millis(time.0.saturating_add(span.0))
}

/// Whether `span` has passed since `time`.
pub(crate) fn passed(now: Millis, time: Millis, span: Millis) -> bool {
    now.0.saturating_sub(time.0) >= span.0
}
