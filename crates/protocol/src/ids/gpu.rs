//! GPUs, by the name that NVIDIA gives them.

use std::fmt;
use std::str::FromStr;

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use super::{ParseIdError, cut};

/// NVIDIA's name of a GPU (`GPU-…`) or of a MIG instance (`MIG-…`): the key of everything about GPUs, never an index.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Serialize)]
#[cbor(transparent)]
#[serde(transparent)]
pub struct GpuUuid(#[n(0)] Box<str>);

impl GpuUuid {
    /// Longest accepted name, in bytes.
    pub const MAX_LENGTH: usize = 96;

    /// The name as NVML gives it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for GpuUuid {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = text.starts_with("GPU-") || text.starts_with("MIG-");
        let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'/');
        if known && plain && text.len() <= Self::MAX_LENGTH && text.len() > 4 {
            return Ok(GpuUuid(text.into()));
        }
        Err(ParseIdError::Form {
            what: "GPU uuid",
            got: cut(text),
            reason: "expected GPU-… or MIG-… of letters, digits and dashes".to_owned(),
        })
    }
}

impl fmt::Display for GpuUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for GpuUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'b, C> Decode<'b, C> for GpuUuid {
    fn decode(decoder: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        decoder.str()?.parse().map_err(|_| minicbor::decode::Error::message("not a GPU uuid"))
    }
}

impl<'de> Deserialize<'de> for GpuUuid {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gpu_uuids_take_no_characters_that_mean_something_elsewhere() {
        assert!("GPU-11111111-1111-1111-1111-111111111111".parse::<GpuUuid>().is_ok());
        for bad in ["all", "GPU-", "GPU-a,GPU-b", "GPU-a b", "0"] {
            assert!(bad.parse::<GpuUuid>().is_err(), "{bad}");
        }
    }
}
