//! Durations ("10s", "2m 30s") and sizes ("16GiB") as people write them.
//!
//! `#[serde(with = "lode_program::config::duration")]` and its siblings put them on fields; the parse functions
//! also serve as clap value parsers.

use std::time::Duration;

const SIZE_UNITS: [(&str, u64); 11] = [
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
    ("pib", 1 << 50),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("tb", 1_000_000_000_000),
    ("pb", 1_000_000_000_000_000),
    ("b", 1),
];

/// Reads "10s", "1500ms", "2h 30m". A bare number is refused: its unit would be a guess.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text.trim())
        .map_err(|_| format!("`{text}` is not a duration; write for example 500ms, 10s or 2m"))
}

/// Reads "512", "512B", "16GiB" (powers of 1024), "16GB" (powers of 1000) or "1.5GiB" as bytes.
pub fn parse_byte_size(text: &str) -> Result<u64, String> {
    let refuse = || format!("`{text}` is not a size; write for example 512MiB or 16GiB");
    let lower = text.trim().to_ascii_lowercase();
    let (number, unit) = SIZE_UNITS
        .iter()
        .find_map(|(suffix, unit)| Some((lower.strip_suffix(suffix)?.trim_end(), *unit)))
        .unwrap_or((lower.as_str(), 1));
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(unit).ok_or_else(refuse);
    }
    let (whole, fraction) = number.split_once('.').ok_or_else(refuse)?;
    let digits =
        u32::try_from(fraction.len()).ok().filter(|digits| (1..=9).contains(digits)).ok_or_else(refuse)?;
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(refuse());
    }
    let whole: u64 = whole.parse().map_err(|_| refuse())?;
    let fraction: u128 = fraction.parse().map_err(|_| refuse())?;
    let part = u64::try_from(fraction * u128::from(unit) / 10_u128.pow(digits)).map_err(|_| refuse())?;
    whole.checked_mul(unit).and_then(|bytes| bytes.checked_add(part)).ok_or_else(refuse)
}

/// Writes bytes with the largest unit that divides them, so that reading it back gives the same number.
#[must_use]
pub fn format_byte_size(bytes: u64) -> String {
    for (name, unit) in
        [("PiB", 1_u64 << 50), ("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)]
    {
        if bytes >= unit && bytes.is_multiple_of(unit) {
            return format!("{}{name}", bytes / unit);
        }
    }
    format!("{bytes}B")
}

/// `#[serde(with = "…")]` for a `Duration` written as text.
pub mod duration {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes "10s".
    pub fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(*value))
    }

    /// Reads "10s".
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        super::parse_duration(&text).map_err(serde::de::Error::custom)
    }
}

/// `#[serde(with = "…", default)]` for an `Option<Duration>` written as text.
pub mod duration_option {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes "10s" or nothing.
    pub fn serialize<S: Serializer>(value: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => super::duration::serialize(value, serializer),
            None => serializer.serialize_none(),
        }
    }

    /// Reads "10s".
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        let text: Option<String> = Option::deserialize(deserializer)?;
        text.map(|text| super::parse_duration(&text)).transpose().map_err(serde::de::Error::custom)
    }
}

/// `#[serde(with = "…")]` for a `u64` of bytes written as text or as a whole number.
pub mod byte_size {
    use std::fmt;

    use serde::de::{Deserializer, Error, Visitor};
    use serde::ser::Serializer;

    /// Writes "16GiB".
    pub fn serialize<S: Serializer>(value: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::format_byte_size(*value))
    }

    /// Reads "16GiB" or a number of bytes.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        deserializer.deserialize_any(SizeVisitor)
    }

    struct SizeVisitor;

    impl Visitor<'_> for SizeVisitor {
        type Value = u64;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("a size such as 512MiB or 16GiB")
        }

        fn visit_i64<E: Error>(self, bytes: i64) -> Result<u64, E> {
            u64::try_from(bytes).map_err(|_| E::custom("a size cannot be negative"))
        }

        fn visit_u64<E: Error>(self, bytes: u64) -> Result<u64, E> {
            Ok(bytes)
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<u64, E> {
            super::parse_byte_size(text).map_err(E::custom)
        }
    }
}

/// `#[serde(with = "…", default)]` for an `Option<u64>` of bytes.
pub mod byte_size_option {
    use serde::{Deserialize, Deserializer, Serializer};

    #[derive(Deserialize)]
    #[serde(transparent)]
    struct Size(#[serde(with = "super::byte_size")] u64);

    /// Writes "16GiB" or nothing.
    pub fn serialize<S: Serializer>(value: &Option<u64>, serializer: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => super::byte_size::serialize(value, serializer),
            None => serializer.serialize_none(),
        }
    }

    /// Reads "16GiB" or a number of bytes.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
        Ok(Option::<Size>::deserialize(deserializer)?.map(|size| size.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_in_both_kinds_of_units() {
        assert_eq!(parse_byte_size("16GiB"), Ok(16 << 30));
        assert_eq!(parse_byte_size(" 2 gb "), Ok(2_000_000_000));
        assert_eq!(parse_byte_size("1.5KiB"), Ok(1536));
        assert_eq!(parse_byte_size("77"), Ok(77));
        for wrong in ["", "GiB", "-1", "1.GiB", "1e3", "99999999999PiB", "1.-5KiB", "0x10"] {
            assert!(parse_byte_size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_written_size_reads_back_as_itself() {
        for bytes in [0, 1, 1023, 1024, 1 << 40, u64::MAX, 3 << 19] {
            assert_eq!(parse_byte_size(&format_byte_size(bytes)), Ok(bytes));
        }
    }

    #[test]
    fn a_duration_without_a_unit_is_refused() {
        assert_eq!(parse_duration("1m 30s"), Ok(Duration::from_secs(90)));
        assert!(parse_duration("10").is_err());
    }
}
