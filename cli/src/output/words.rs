//! Small pieces of text that several commands share.

use lode_protocol::units::{Millis, Timestamp};
use serde_json::Value;

/// How long ago a time was, in the largest unit that is not zero.
pub(crate) fn ago(time: Option<&str>, now: Timestamp) -> String {
    let Some(time) = time.and_then(|text| text.parse::<Timestamp>().ok()) else { return "never".to_owned() };
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

/// A membership as the API writes it: a word, or a word with its reason.
pub(crate) fn membership(value: &Value) -> String {
    match value {
        Value::String(word) => word.clone(),
        Value::Object(fields) => {
            let inner = |fields: &serde_json::Map<String, Value>| {
                let text = |key: &str| fields.get(key).and_then(Value::as_str).map(str::to_owned);
                text("code").or_else(|| text("message"))
            };
            if let Some(state) = fields.get("status").and_then(Value::as_str) {
                return match inner(fields) {
                    Some(reason) => format!("{state}: {reason}"),
                    None => state.to_owned(),
                };
            }
            fields
                .iter()
                .map(|(word, reason)| {
                    let reason = match reason {
                        Value::Object(fields) => inner(fields),
                        Value::String(text) => Some(text.clone()),
                        _ => None,
                    };
                    let word = word.to_lowercase();
                    reason.map_or_else(|| word.clone(), |reason| format!("{word}: {reason}"))
                })
                .collect::<Vec<_>>()
                .join(", ")
        }
        _ => "-".to_owned(),
    }
}

/// The first digits of an address, for prose.
pub(crate) fn short_id(id: &str) -> String {
    let head: String = id.chars().take(10).collect();
    if head.len() < id.len() { format!("{head}…") } else { head }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn times_in_the_future_and_missing_times_are_no_surprise() {
        let now: Timestamp = "2026-01-01T00:01:00Z".parse().unwrap();
        assert_eq!(ago(Some("2026-01-01T00:00:30Z"), now), "30s ago");
        assert_eq!(ago(Some("2026-01-01T00:02:00Z"), now), "0s ago");
        assert_eq!(ago(Some("2025-12-30T00:00:00Z"), now), "2d ago");
        assert_eq!(ago(None, now), "never");
    }

    #[test]
    fn a_membership_shows_what_is_missing() {
        assert_eq!(membership(&json!("member")), "member");
        let waiting = json!({"Waiting": {"code": "node/not-proven", "message": "no proof yet"}});
        assert_eq!(membership(&waiting), "waiting: node/not-proven");
        assert_eq!(
            membership(&json!({"status": "waiting", "code": "node/joining"})),
            "waiting: node/joining"
        );
    }
}
