//! What a registry says of its limit: `Retry-After` (RFC 9110: seconds, or a date), and `ratelimit-limit: 100;w=21600`
//! as Docker Hub has it.

use std::fmt;
use std::time::{Duration, SystemTime};

use axum::http::{HeaderMap, header};

const LIMIT: &str = "ratelimit-limit";
/// Nobody is left alone for longer by a header: a date far away is a mistake, or a trick.
const LONGEST: Duration = Duration::from_secs(24 * 3_600);

/// A limit, as far as it was told.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RateLimit {
    /// Requests that it takes.
    pub requests: Option<u64>,
    /// In how many seconds.
    pub window_seconds: Option<u64>,
    /// When to come again.
    pub retry_after: Option<Duration>,
}

impl RateLimit {
    pub(super) fn of(headers: &HeaderMap, now: SystemTime) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let (requests, window_seconds) = text(LIMIT).map(limit).unwrap_or_default();
        let retry_after = text(header::RETRY_AFTER.as_str()).and_then(|text| retry_after(text, now));
        Self { requests, window_seconds, retry_after }
    }
}

/// `100;w=21600`
fn limit(text: &str) -> (Option<u64>, Option<u64>) {
    let mut parts = text.split(';').map(str::trim);
    let requests = parts.next().and_then(|requests| requests.parse().ok());
    (requests, parts.find_map(|part| part.strip_prefix("w=")?.parse().ok()))
}

fn retry_after(text: &str, now: SystemTime) -> Option<Duration> {
    let text = text.trim();
    let wait = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) => LONGEST,
        // A date that has passed: at once.
        Err(_) => httpdate::parse_http_date(text).ok()?.duration_since(now).unwrap_or_default(),
    };
    Some(wait.min(LONGEST))
}

impl fmt::Display for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("429")?;
        if let Some(requests) = self.requests {
            write!(f, ", its limit is {requests} requests")?;
            if let Some(seconds) = self.window_seconds {
                write!(f, " in {seconds} s")?;
            }
        }
        match self.retry_after {
            Some(wait) => write!(f, ", come again in {} s", wait.as_secs()),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(headers: &[(&'static str, &str)]) -> RateLimit {
        let headers = headers.iter().map(|(name, value)| {
            (axum::http::HeaderName::from_static(name), value.parse::<axum::http::HeaderValue>().unwrap())
        });
        RateLimit::of(&headers.collect(), SystemTime::UNIX_EPOCH + Duration::from_secs(1_445_412_400))
    }

    #[test]
    fn seconds_and_dates_say_when_to_come_again_and_nothing_says_more_than_a_day() {
        let wait = |text: &str| of(&[("retry-after", text)]).retry_after;
        assert_eq!(wait("3600"), Some(Duration::from_secs(3_600)));
        assert_eq!(wait(" 0 "), Some(Duration::ZERO));
        assert_eq!(wait("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::from_secs(80)));
        assert_eq!(wait("Wed, 21 Oct 2014 07:28:00 GMT"), None, "that was no Wednesday");
        assert_eq!(wait("Tue, 21 Oct 2014 07:28:00 GMT"), Some(Duration::ZERO));
        for far in ["99999999", "99999999999999999999999999", "Fri, 31 Dec 2199 23:59:59 GMT"] {
            assert!(wait(far).is_none_or(|wait| wait == LONGEST), "{far}");
        }
        for nothing in ["", "-1", "soon", "1.5"] {
            assert_eq!(wait(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn the_limit_is_named_as_far_as_it_was_told() {
        let hub = of(&[("ratelimit-limit", "100;w=21600"), ("retry-after", "60")]);
        assert_eq!(hub.to_string(), "429, its limit is 100 requests in 21600 s, come again in 60 s");
        assert_eq!(of(&[("ratelimit-limit", "<script>")]).to_string(), "429");
    }
}
