//! Lengths of time, and how people write them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::fmt::friendly::{SpanParser, SpanPrinter};
use jiff::{SignedDuration, SpanRelativeTo};
use minicbor::{Decode, Encode};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{ParseUnitError, error};

/// A length of time in milliseconds. Text: `10s`, `1m 30s`, `500ms`, `7d`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, Encode, Decode)]
#[cbor(transparent)]
pub struct Millis(#[n(0)] pub u64);

const FORM: &str =
    "a duration: write numbers and their units, like \"500ms\", \"10s\", \"1m 30s\", \"2h\" or \"7d\"";

/// Reads `10s`, `1500ms`, `2h 30m`, `7d`. A day has 24 hours; months and years are refused, they have no fixed length. A
/// bare number is refused too: its unit would be a guess.
///
/// # Errors
/// It is none of these, it is negative, or longer than some hundred years.
pub fn parse_duration(text: &str) -> Result<Duration, ParseUnitError> {
    // The library reads clocks, lists and signs too; a file needs one way to write a duration, and its schema the same.
    if text.contains([':', ',', '+']) {
        return Err(error(text, FORM));
    }
    let span = SpanParser::new().parse_span(text.trim()).map_err(|_| error(text, FORM))?;
    let length = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| error(text, FORM))?;
    Duration::try_from(length).map_err(|_| error(text, FORM))
}

/// Writes `1m 30s`: what [`parse_duration`] reads.
pub fn format_duration(duration: Duration) -> String {
    let length = SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX);
    SpanPrinter::new().duration_to_string(&length)
}

impl Millis {
    /// Whole seconds.
    pub const fn seconds(count: u64) -> Self {
        Millis(count * 1_000)
    }

    /// Later by `span`, where this is a time of a monotonic clock; saturates.
    pub const fn plus(self, span: Millis) -> Self {
        Millis(self.0.saturating_add(span.0))
    }

    /// How much later this is than `earlier`, where both are times of one monotonic clock; zero if it is not.
    pub const fn since(self, earlier: Millis) -> Millis {
        Millis(self.0.saturating_sub(earlier.0))
    }

    /// As the standard library's type.
    pub const fn to_duration(self) -> Duration {
        Duration::from_millis(self.0)
    }

    /// From the standard library's type; saturates.
    pub fn from_duration(duration: Duration) -> Self {
        Millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    }
}

impl FromStr for Millis {
    type Err = ParseUnitError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_duration(text).map(Millis::from_duration)
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format_duration(self.to_duration()))
    }
}

impl Serialize for Millis {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Millis {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl serde::de::Visitor<'_> for Visitor {
            type Value = Millis;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(FORM)
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Millis, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_read_what_people_write() {
        for (text, millis) in [
            ("10s", 10_000),
            ("1m 30s", 90_000),
            ("500ms", 500),
            ("1.5h", 5_400_000),
            ("7d", 604_800_000),
            ("7days", 604_800_000),
            ("2 weeks", 1_209_600_000),
            ("0s", 0),
        ] {
            assert_eq!(text.parse::<Millis>(), Ok(Millis(millis)), "{text}");
        }
    }

    #[test]
    fn a_duration_without_its_unit_and_what_is_no_duration_are_refused() {
        for wrong in
            ["", "10", "2.5", "soon", "-10s", "10s ago", "1 month", "1y", "s", "1:30:00", "1h, 30m", "+1s"]
        {
            assert!(wrong.parse::<Millis>().is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn a_written_duration_reads_back_as_itself(millis in 0u64..10_000_000_000_000) {
            prop_assert_eq!(Millis(millis).to_string().parse::<Millis>(), Ok(Millis(millis)));
        }
    }
}
