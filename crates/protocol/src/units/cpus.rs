//! Shares of CPUs.

use std::fmt;
use std::str::FromStr;

use minicbor::{Decode, Encode};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{ParseUnitError, error, scaled};

/// Thousandths of a CPU. Text: `0.5`, `4`, or `500m`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, Encode, Decode)]
#[cbor(transparent)]
pub struct MilliCpus(#[n(0)] pub u32);

const FORM: &str = "a number of CPUs: write like 4, 0.5 or \"500m\", in whole thousandths or more";

impl FromStr for MilliCpus {
    type Err = ParseUnitError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let value = match text.trim().strip_suffix('m') {
            Some(thousandths) => scaled(thousandths, 1).filter(|_| !thousandths.contains('.')),
            None => scaled(text.trim(), 1_000),
        };
        // What is less than a thousandth is not none: none is no limit.
        let is_none = !text.bytes().any(|byte| matches!(byte, b'1'..=b'9'));
        value
            .and_then(|thousandths| u32::try_from(thousandths).ok())
            .filter(|thousandths| *thousandths > 0 || is_none)
            .map(MilliCpus)
            .ok_or_else(|| error(text, FORM))
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

/// A number or a text in a spec.
#[derive(Deserialize)]
#[serde(untagged)]
enum NumberOrText {
    Integer(u64),
    Float(f64),
    Text(String),
}

impl<'de> Deserialize<'de> for MilliCpus {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = match NumberOrText::deserialize(deserializer)
            .map_err(|_| serde::de::Error::custom(format!("expected {FORM}")))?
        {
            NumberOrText::Integer(value) => value.to_string(),
            NumberOrText::Float(value) if value > 0.0 && value < 0.001 => value.to_string(),
            // No more decimals than a text may have.
            NumberOrText::Float(value) => format!("{value:.9}"),
            NumberOrText::Text(text) => text,
        };
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpus_read_what_people_write() {
        assert_eq!("0.5".parse(), Ok(MilliCpus(500)));
        assert_eq!("250m".parse(), Ok(MilliCpus(250)));
        assert_eq!("4".parse(), Ok(MilliCpus(4_000)));
        for none in ["0", "0.0", "0m", " 0.000 "] {
            assert_eq!(none.parse(), Ok(MilliCpus(0)), "{none}");
        }
        for wrong in ["", "m", "-1", "1.5m", "+1", "many", "0.0009", "0.000000001"] {
            assert!(wrong.parse::<MilliCpus>().is_err(), "{wrong}");
        }
    }
}
