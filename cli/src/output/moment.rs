//! Points in time as a distance with the date beside it.

use lode_protocol::units::{Millis, Timestamp};

/// `in 3h 20m (2027-01-15T09:00:00Z)`, `5m 2s ago (…)`; without a present time, `at 2027-01-15T09:00:00Z`.
pub(crate) fn moment(time: Timestamp, now: Option<Timestamp>) -> String {
    let Some(now) = now else { return format!("at {}", utc(time)) };
    if time > now {
        format!("in {} ({})", span(time.since(now)), utc(time))
    } else {
        format!("{} ago ({})", span(now.since(time)), utc(time))
    }
}

/// The date alone; whole seconds have no fraction.
pub(crate) fn utc(time: Timestamp) -> String {
    time.to_string().replace(".000Z", "Z")
}

/// A length of time in its two largest units: what is below matters to nobody.
pub(crate) fn span(length: Millis) -> String {
    let seconds = length.0 / 1_000;
    let units = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    let mut parts = Vec::new();
    let mut rest = seconds;
    for (size, name) in units {
        let count = rest / size;
        rest %= size;
        if count > 0 {
            parts.push(format!("{count}{name}"));
        } else if !parts.is_empty() {
            break;
        }
        if parts.len() == 2 {
            break;
        }
    }
    if parts.is_empty() { "0s".to_owned() } else { parts.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_its_distance_and_its_date_in_both_directions() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let later: Timestamp = "2026-01-15T00:00:05Z".parse().unwrap();
        assert_eq!(moment(later, Some(now)), "in 14d (2026-01-15T00:00:05Z)");
        assert_eq!(moment(now, Some(later)), "14d ago (2026-01-01T00:00:00Z)");
        assert_eq!(moment(now, Some(now)), "0s ago (2026-01-01T00:00:00Z)");
        assert_eq!(moment(now, None), "at 2026-01-01T00:00:00Z");
    }

    #[test]
    fn lengths_show_their_two_largest_units() {
        assert_eq!(span(Millis::seconds(3_600 + 20 * 60 + 7)), "1h 20m");
        assert_eq!(span(Millis::seconds(62)), "1m 2s");
        assert_eq!(span(Millis::seconds(86_400)), "1d");
        assert_eq!(span(Millis(400)), "0s");
    }
}
