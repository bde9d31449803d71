//! Units: bytes, CPU shares, durations and points in time. Raw integers stop at the edge.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use minicbor::{Decode, Encode};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A quantity that could not be read from text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{got:?} is not {expected}")]
pub struct ParseUnitError {
    got: String,
    expected: &'static str,
}

fn error(got: &str, expected: &'static str) -> ParseUnitError {
    ParseUnitError { got: got.chars().take(80).collect(), expected }
}

/// A size in bytes. Text: `512MiB`, `16GiB`, `1.5GiB`, `2GB` or a plain number of bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, Encode, Decode)]
#[cbor(transparent)]
pub struct Bytes(#[n(0)] pub u64);

const SIZE_UNITS: [(&str, u64); 10] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("KB", 1_000),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("B", 1),
];
const SIZE_FORM: &str = "a size: write a number and B, KiB, MiB, GiB, TiB, KB, MB, GB or TB, like \"16GiB\"";

impl Bytes {
    /// A size in mebibytes.
    pub const fn mebi(count: u64) -> Self {
        Bytes(count << 20)
    }

    /// A size in gibibytes.
    pub const fn gibi(count: u64) -> Self {
        Bytes(count << 30)
    }
}

impl FromStr for Bytes {
    type Err = ParseUnitError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(split);
        let factor = match unit.trim() {
            "" => 1,
            unit => {
                SIZE_UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(|| error(text, SIZE_FORM))?.1
            }
        };
        scaled(number, factor).map(Bytes).ok_or_else(|| error(text, SIZE_FORM))
    }
}

/// `number` (decimal, up to 9 decimals) times `factor`, exactly, rounded down.
fn scaled(number: &str, factor: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || fraction.len() > 9 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let whole = u128::from(whole.parse::<u64>().ok()?).checked_mul(factor.into())?;
    let part = if fraction.is_empty() { 0 } else { fraction.parse::<u128>().ok()? };
    let part = part.checked_mul(factor.into())? / 10u128.pow(u32::try_from(fraction.len()).ok()?);
    u64::try_from(whole + part).ok()
}

impl fmt::Display for Bytes {
    /// The largest binary unit that needs at most one decimal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, factor) in [("TiB", 1u64 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
            if self.0 >= factor {
                let tenths = u128::from(self.0) * 10 / u128::from(factor);
                return if tenths % 10 == 0 {
                    write!(f, "{}{name}", tenths / 10)
                } else {
                    write!(f, "{}.{}{name}", tenths / 10, tenths % 10)
                };
            }
        }
        write!(f, "{}B", self.0)
    }
}

/// A number or a text in a spec.
#[derive(Deserialize)]
#[serde(untagged)]
enum NumberOrText {
    Integer(u64),
    Float(f64),
    Text(String),
}

impl NumberOrText {
    fn into_text(self) -> String {
        match self {
            NumberOrText::Integer(value) => value.to_string(),
            NumberOrText::Float(value) => value.to_string(),
            NumberOrText::Text(text) => text,
        }
    }
}

impl Serialize for Bytes {
    /// A plain number of bytes: exact, and what programs want.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        NumberOrText::deserialize(deserializer)
            .map_err(|_| serde::de::Error::custom(format!("expected {SIZE_FORM}")))?
            .into_text()
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// Thousandths of a CPU. Text: `0.5`, `4`, or `500m`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, Encode, Decode)]
#[cbor(transparent)]
pub struct MilliCpus(#[n(0)] pub u32);

const CPU_FORM: &str = "a number of CPUs: write like 4, 0.5 or \"500m\"";

impl FromStr for MilliCpus {
    type Err = ParseUnitError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let value = match text.trim().strip_suffix('m') {
            Some(thousandths) => thousandths.parse().ok(),
            None => scaled(text.trim(), 1_000),
        };
        value.and_then(|v| u32::try_from(v).ok()).map(MilliCpus).ok_or_else(|| error(text, CPU_FORM))
    }
}

impl fmt::Display for MilliCpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_multiple_of(1_000) { write!(f, "{}", self.0 / 1_000) } else { write!(f, "{}m", self.0) }
    }
}

impl Serialize for MilliCpus {
    /// A number of CPUs.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(f64::from(self.0) / 1_000.0)
    }
}

impl<'de> Deserialize<'de> for MilliCpus {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        NumberOrText::deserialize(deserializer)
            .map_err(|_| serde::de::Error::custom(format!("expected {CPU_FORM}")))?
            .into_text()
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// A length of time in milliseconds. Text: `10s`, `1m 30s`, `500ms`; a plain number is seconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, Encode, Decode)]
#[cbor(transparent)]
pub struct Millis(#[n(0)] pub u64);

const DURATION_FORM: &str = "a duration: write like \"10s\", \"1m 30s\", \"500ms\" or a number of seconds";

impl Millis {
    /// Whole seconds.
    pub const fn seconds(count: u64) -> Self {
        Millis(count * 1_000)
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
        if let Some(millis) = scaled(text.trim(), 1_000) {
            return Ok(Millis(millis));
        }
        humantime::parse_duration(text.trim())
            .map(Millis::from_duration)
            .map_err(|_| error(text, DURATION_FORM))
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&humantime::format_duration(self.to_duration()), f)
    }
}

impl Serialize for Millis {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Millis {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        NumberOrText::deserialize(deserializer)
            .map_err(|_| serde::de::Error::custom(format!("expected {DURATION_FORM}")))?
            .into_text()
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// A point in time: milliseconds since the Unix epoch, UTC. JSON: RFC 3339.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, Encode, Decode)]
#[cbor(transparent)]
pub struct Timestamp(#[n(0)] pub u64);

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

    fn to_system_time(self) -> std::time::SystemTime {
        std::time::UNIX_EPOCH + Duration::from_millis(self.0)
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339, UTC, milliseconds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // humantime cannot print years beyond 9999; such a time is shown as that year's end.
        let shown = Timestamp(self.0.min(253_402_300_799_999));
        fmt::Display::fmt(&humantime::format_rfc3339_millis(shown.to_system_time()), f)
    }
}

impl FromStr for Timestamp {
    type Err = ParseUnitError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let form = "a time: write RFC 3339 in UTC like 2026-01-31T12:00:00Z";
        let time = humantime::parse_rfc3339_weak(text).map_err(|_| error(text, form))?;
        let since = time.duration_since(std::time::UNIX_EPOCH).map_err(|_| error(text, form))?;
        Ok(Timestamp(Millis::from_duration(since).0))
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
    fn sizes_read_what_people_write() {
        for (text, bytes) in [
            ("16GiB", 16 << 30),
            ("1.5 GiB", 3 << 29),
            ("512MiB", 512 << 20),
            ("2GB", 2_000_000_000),
            ("17", 17),
        ] {
            assert_eq!(text.parse::<Bytes>().unwrap(), Bytes(bytes), "{text}");
        }
        for bad in ["", "GiB", "1.2.3GiB", "-1GiB", "1 parsec", "99999999999TiB"] {
            assert!(bad.parse::<Bytes>().is_err(), "{bad}");
        }
        assert_eq!(Bytes::gibi(16).to_string(), "16GiB");
        assert_eq!(Bytes(1536 << 20).to_string(), "1.5GiB");
    }

    #[test]
    fn cpus_and_durations_read_what_people_write() {
        assert_eq!("0.5".parse::<MilliCpus>().unwrap(), MilliCpus(500));
        assert_eq!("250m".parse::<MilliCpus>().unwrap(), MilliCpus(250));
        assert_eq!("10s".parse::<Millis>().unwrap(), Millis(10_000));
        assert_eq!("2.5".parse::<Millis>().unwrap(), Millis(2_500));
        assert!("soon".parse::<Millis>().is_err());
    }

    #[test]
    fn subtracting_times_never_underflows_in_either_direction() {
        let (early, late) = (Timestamp(1_000), Timestamp(2_000));
        assert_eq!(late.since(early), Millis(1_000));
        assert_eq!(early.since(late), Millis(0));
        assert_eq!(early.minus(Millis(5_000)), Timestamp(0));
    }

    #[test]
    fn times_print_as_rfc3339_even_at_the_end_of_time() {
        assert_eq!(Timestamp(1_700_000_000_123).to_string(), "2023-11-14T22:13:20.123Z");
        assert_eq!(
            Timestamp(1_700_000_000_123).to_string().parse::<Timestamp>().unwrap(),
            Timestamp(1_700_000_000_123)
        );
        let _ = Timestamp(u64::MAX).to_string();
    }
}
