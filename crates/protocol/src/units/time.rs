//! Points in time.

use std::fmt;
use std::str::FromStr;

use minicbor::{Decode, Encode};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Millis, ParseUnitError, error};

/// A point in time: milliseconds since the Unix epoch, UTC. JSON: RFC 3339.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, Encode, Decode)]
#[cbor(transparent)]
pub struct Timestamp(#[n(0)] pub u64);

const FORM: &str = "a time: write RFC 3339 in UTC like 2026-01-31T12:00:00Z";

impl Timestamp {
    /// Later by `span`; saturates.
    pub fn plus(self, span: Millis) -> Self {
        Timestamp(self.0.saturating_add(span.0))
    }

    /// Earlier by `span`; saturates at the epoch (an unsigned underflow here once locked nodes out).
    pub fn minus(self, span: Millis) -> Self {
        Timestamp(self.0.saturating_sub(span.0))
    }

    /// How much later `self` is than `earlier`; zero if it is not.
    pub fn since(self, earlier: Timestamp) -> Millis {
        Millis(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339, UTC, milliseconds. A time beyond the year 9999 is shown as that year's end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown =
            i64::try_from(self.0).ok().and_then(|millis| jiff::Timestamp::from_millisecond(millis).ok());
        write!(f, "{:.3}", shown.unwrap_or(jiff::Timestamp::MAX))
    }
}

impl FromStr for Timestamp {
    type Err = ParseUnitError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let time: jiff::Timestamp = text.trim().parse().map_err(|_| error(text, FORM))?;
        u64::try_from(time.as_millisecond()).map(Timestamp).map_err(|_| error(text, FORM))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subtracting_times_never_underflows_in_either_direction() {
        let (early, late) = (Timestamp(1_000), Timestamp(2_000));
        assert_eq!(late.since(early), Millis(1_000));
        assert_eq!(early.since(late), Millis(0));
        assert_eq!(early.minus(Millis(5_000)), Timestamp(0));
    }

    #[test]
    fn times_print_as_rfc3339_even_at_the_end_of_time() {
        for (millis, text) in
            [(1_700_000_000_123, "2023-11-14T22:13:20.123Z"), (1_700_000_000_000, "2023-11-14T22:13:20.000Z")]
        {
            assert_eq!(Timestamp(millis).to_string(), text);
            assert_eq!(text.parse::<Timestamp>(), Ok(Timestamp(millis)));
        }
        assert!(Timestamp(u64::MAX).to_string().starts_with("9999-12-"));
        assert!("1960-01-01T00:00:00Z".parse::<Timestamp>().is_err());
    }
}
