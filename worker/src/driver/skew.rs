//! What is said when the orchestrator's messages cannot be taken because of their time: one of the two clocks is wrong, and
//! nothing else would tell.

use lode_program::finding::Finding;
use lode_protocol::envelope::EnvelopeError;

pub(super) const CODE: &str = "clock/differs";

/// The finding, where a message was rejected because of its time.
pub(super) fn finding(error: &EnvelopeError) -> Option<Finding> {
    let difference = error.clock_difference()?;
    let message = format!(
        "the orchestrator's clock is {difference} this machine's, so that its messages are not taken ({}); what runs goes on",
        error.code()
    );
    Some(
        Finding::warning(CODE, message).remedy(
            "Synchronise this machine's clock (chrony or systemd-timesyncd), then the orchestrator's.",
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use lode_protocol::units::Timestamp;

    #[test]
    fn a_clock_that_differs_is_said_with_how_much_and_which_way() {
        let (early, late) = (Timestamp(100_000), Timestamp(145_400));
        let ahead = EnvelopeError::NotYetValid { issued_at: late, now: early };
        assert!(finding(&ahead).unwrap().message.contains("clock is 45s ahead of this machine's"));
        let behind = EnvelopeError::Expired { issued_at: early, expired_at: Timestamp(110_000), now: late };
        assert!(finding(&behind).unwrap().message.contains("clock is 45s behind this machine's"));
        assert!(finding(&EnvelopeError::BadSignature).is_none());
    }
}
