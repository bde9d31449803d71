//! Durations ("10s", "2m 30s") and sizes ("16GiB") on configuration's fields; their grammar is the protocol's.
//!
//! `#[serde(with = "lode_program::config::duration")]` and its siblings put them on fields; the parse functions
//! also serve as clap value parsers.

use std::time::Duration;

use lode_protocol::units::Bytes;

/// Reads "10s", "1500ms", "2h 30m", as clap wants its value parsers.
///
/// # Errors
/// It is no duration.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    lode_protocol::units::parse_duration(text).map_err(|error| error.to_string())
}

/// Reads "16GiB" as clap wants its value parsers.
///
/// # Errors
/// It is no size.
pub fn parse_byte_size(text: &str) -> Result<u64, String> {
    text.parse::<Bytes>().map(|size| size.0).map_err(|error| error.to_string())
}

/// `#[serde(with = "…")]` for a `Duration` written as text.
pub mod duration {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes "10s".
    pub fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&lode_protocol::units::format_duration(*value))
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

/// `#[serde(with = "…")]` for a `u64` of bytes written as text with a unit.
pub mod byte_size {
    use lode_protocol::units::{Bytes, size_text};
    use serde::{Deserializer, Serializer};

    /// Writes "16GiB".
    pub fn serialize<S: Serializer>(value: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        size_text::serialize(&Bytes(*value), serializer)
    }

    /// Reads "16GiB".
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        size_text::deserialize(deserializer).map(|size| size.0)
    }
}

/// `#[serde(with = "…", default)]` for an `Option<u64>` of bytes.
pub mod byte_size_option {
    use lode_protocol::units::{Bytes, size_text_option};
    use serde::{Deserializer, Serializer};

    /// Writes "16GiB" or nothing.
    pub fn serialize<S: Serializer>(value: &Option<u64>, serializer: S) -> Result<S::Ok, S::Error> {
        size_text_option::serialize(&value.map(Bytes), serializer)
    }

    /// Reads "16GiB".
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
        Ok(size_text_option::deserialize(deserializer)?.map(|size| size.0))
    }
}
