//! Small pieces of text that several commands share.

use lode_api_types::Membership;
use lode_protocol::units::{Millis, Timestamp};

/// How long ago a time was, in the largest unit that is not zero.
pub(crate) fn ago(time: Option<Timestamp>, now: Timestamp) -> String {
    let Some(time) = time else { return "never".to_owned() };
    let Millis(millis) = now.since(time);
    let seconds = millis / 1_000;
    match seconds {
        0..60 => format!("{seconds}s ago"),
        60..3_600 => format!("{}m ago", seconds / 60),
        3_600..86_400 => format!("{}h ago", seconds / 3_600),
        _ => format!("{}d ago", seconds / 86_400),
    }
}

/// Items on lines of their own, or a dash.
pub(crate) fn list(items: impl IntoIterator<Item = String>) -> String {
    let lines: Vec<String> = items.into_iter().collect();
    if lines.is_empty() { "-".to_owned() } else { lines.join("\n") }
}

/// A membership: a word, with what is missing.
pub fn membership(membership: &Membership) -> String {
    let state = membership.status.as_str();
    match (&membership.code, &membership.message) {
        (Some(code), _) => format!("{state}: {code}"),
        (None, Some(message)) => format!("{state}: {message}"),
        (None, None) => state.to_owned(),
    }
}

/// The first digits of an address, for prose.
pub fn short_id(id: &str) -> String {
    let head: String = id.chars().take(10).collect();
    if head.len() < id.len() { format!("{head}…") } else { head }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lode_api_types::MembershipStatus;

    #[test]
    fn times_in_the_future_and_missing_times_are_no_surprise() {
        let now: Timestamp = "2026-01-01T00:01:00Z".parse().unwrap();
        let at = |text: &str| Some(text.parse::<Timestamp>().unwrap());
        assert_eq!(ago(at("2026-01-01T00:00:30Z"), now), "30s ago");
        assert_eq!(ago(at("2026-01-01T00:02:00Z"), now), "0s ago");
        assert_eq!(ago(at("2025-12-30T00:00:00Z"), now), "2d ago");
        assert_eq!(ago(None, now), "never");
    }

    #[test]
    fn a_membership_shows_what_is_missing() {
        let of = |status, code: Option<&'static str>, message: Option<&str>| {
            membership(&Membership {
                status,
                code: code.map(Into::into),
                message: message.map(str::to_owned),
            })
        };
        assert_eq!(of(MembershipStatus::Member, None, None), "member");
        assert_eq!(
            of(MembershipStatus::Waiting, Some("node/not-proven"), Some("no proof yet")),
            "waiting: node/not-proven"
        );
        assert_eq!(of(MembershipStatus::Ejected, None, Some("too hot")), "ejected: too hot");
    }
}
