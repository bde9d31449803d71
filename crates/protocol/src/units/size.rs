//! Sizes in bytes, and how people write them.

use std::fmt;
use std::str::FromStr;

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use super::{ParseUnitError, error, scaled};

/// A size in bytes. Text: `512MiB`, `16Gi`, `1.5GiB`, `2G` (powers of 1000 without the `i`); see [`size_text`].
///
/// In JSON between programs it is a plain number of bytes.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, Encode, Decode, Serialize, Deserialize,
)]
#[cbor(transparent)]
#[serde(transparent)]
pub struct Bytes(#[n(0)] pub u64);

/// Lower-case names. `k`, `kb`: powers of 1000, as the SI and Kubernetes have them; `ki`, `kib`: powers of 1024.
const UNITS: [(&str, u64); 21] = [
    ("b", 1),
    ("k", 1_000),
    ("kb", 1_000),
    ("ki", 1 << 10),
    ("kib", 1 << 10),
    ("m", 1_000_000),
    ("mb", 1_000_000),
    ("mi", 1 << 20),
    ("mib", 1 << 20),
    ("g", 1_000_000_000),
    ("gb", 1_000_000_000),
    ("gi", 1 << 30),
    ("gib", 1 << 30),
    ("t", 1_000_000_000_000),
    ("tb", 1_000_000_000_000),
    ("ti", 1 << 40),
    ("tib", 1 << 40),
    ("p", 1_000_000_000_000_000),
    ("pb", 1_000_000_000_000_000),
    ("pi", 1 << 50),
    ("pib", 1 << 50),
];
const BINARY: [(&str, u64); 5] =
    [("PiB", 1 << 50), ("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
const FORM: &str = "a size: write a number and its unit, like \"16GiB\" or \"16Gi\" (powers of 1024), \"16GB\" or \"16G\" (powers of 1000), or \"512B\"";

impl Bytes {
    /// A size in mebibytes.
    pub const fn mebi(count: u64) -> Self {
        Bytes(count << 20)
    }

    /// A size in gibibytes.
    pub const fn gibi(count: u64) -> Self {
        Bytes(count << 30)
    }

    /// Text that reads back as exactly this size: the largest unit that divides it.
    pub fn exact(self) -> String {
        match BINARY.iter().find(|(_, unit)| self.0 >= *unit && self.0.is_multiple_of(*unit)) {
            Some((name, unit)) => format!("{}{name}", self.0 / unit),
            None => format!("{}B", self.0),
        }
    }
}

impl FromStr for Bytes {
    type Err = ParseUnitError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let trimmed = text.trim();
        let split = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
        let (number, unit) = trimmed.split_at(split);
        let unit = unit.trim_start().to_ascii_lowercase();
        // Nothing is nothing in every unit.
        let factor = match UNITS.iter().find(|(name, _)| *name == unit) {
            Some((_, factor)) => *factor,
            None if unit.is_empty() && number == "0" => 1,
            None => return Err(error(text, FORM)),
        };
        scaled(number, factor).map(Bytes).ok_or_else(|| error(text, FORM))
    }
}

impl fmt::Display for Bytes {
    /// The largest binary unit, with at most one decimal: for people. See [`Bytes::exact`].
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, factor) in BINARY {
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

/// `#[serde(with = "…")]` for a size in a file that people write: text with a unit; a bare number is refused but for 0.
pub mod size_text {
    use std::fmt;

    use serde::de::{Deserializer, Error, Visitor};
    use serde::ser::Serializer;

    use super::{Bytes, FORM};

    /// Writes `16GiB`, exactly.
    ///
    /// # Errors
    /// The serializer's.
    pub fn serialize<S: Serializer>(value: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&value.exact())
    }

    /// Reads `16GiB`.
    ///
    /// # Errors
    /// It is no size, or its unit is missing.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        deserializer.deserialize_any(SizeVisitor)
    }

    struct SizeVisitor;

    impl Visitor<'_> for SizeVisitor {
        type Value = Bytes;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str(FORM)
        }

        fn visit_u64<E: Error>(self, number: u64) -> Result<Bytes, E> {
            self.visit_str(&number.to_string())
        }

        fn visit_i64<E: Error>(self, number: i64) -> Result<Bytes, E> {
            self.visit_str(&number.to_string())
        }

        fn visit_f64<E: Error>(self, number: f64) -> Result<Bytes, E> {
            self.visit_str(&number.to_string())
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Bytes, E> {
            text.parse().map_err(E::custom)
        }
    }
}

/// `#[serde(with = "…", default)]` for an optional size in a file that people write.
pub mod size_text_option {
    use serde::{Deserialize, Deserializer, Serializer};

    use super::Bytes;

    #[derive(Deserialize)]
    #[serde(transparent)]
    struct Size(#[serde(with = "super::size_text")] Bytes);

    /// Writes `16GiB`, exactly, or nothing.
    ///
    /// # Errors
    /// The serializer's.
    pub fn serialize<S: Serializer>(value: &Option<Bytes>, serializer: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => super::size_text::serialize(value, serializer),
            None => serializer.serialize_none(),
        }
    }

    /// Reads `16GiB`.
    ///
    /// # Errors
    /// It is no size, or its unit is missing.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Bytes>, D::Error> {
        Ok(Option::<Size>::deserialize(deserializer)?.map(|size| size.0))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_read_what_people_write() {
        for (text, bytes) in [
            ("16GiB", 16 << 30),
            ("16Gi", 16 << 30),
            ("16gi", 16 << 30),
            ("1.5 GiB", 3 << 29),
            ("512MiB", 512 << 20),
            ("2GB", 2_000_000_000),
            ("2G", 2_000_000_000),
            (" 2 gb ", 2_000_000_000),
            ("1.5KiB", 1536),
            ("17B", 17),
            ("0", 0),
        ] {
            assert_eq!(text.parse::<Bytes>(), Ok(Bytes(bytes)), "{text}");
        }
    }

    #[test]
    fn a_size_without_its_unit_and_what_is_no_size_are_refused() {
        for wrong in [
            "",
            "80",
            "1.5",
            "GiB",
            "1.2.3GiB",
            "-1GiB",
            "1 parsec",
            "99999999999TiB",
            "1.GiB",
            ".5GiB",
            "1e3B",
            "0x10B",
            "1G i",
            "+1GiB",
            "1GiBs",
            "１GiB",
        ] {
            assert!(wrong.parse::<Bytes>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_are_shown_shortly_and_written_exactly() {
        assert_eq!(Bytes::gibi(16).to_string(), "16GiB");
        assert_eq!(Bytes(1536 << 20).to_string(), "1.5GiB");
        assert_eq!(Bytes(1536 << 20).exact(), "1536MiB");
        assert_eq!(Bytes(0).exact(), "0B");
    }

    proptest! {
        #[test]
        fn a_written_size_reads_back_as_itself(bytes: u64) {
            prop_assert_eq!(Bytes(bytes).exact().parse::<Bytes>(), Ok(Bytes(bytes)));
        }
    }
}
