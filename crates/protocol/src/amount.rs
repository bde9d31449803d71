//! Amounts of tokens and of the chain's own coin, in their smallest unit.

use std::fmt;
use std::str::FromStr;

use minicbor::{Decode, Encode};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Decimals of the tokens Lode uses and of the chain's coin.
const DECIMALS: usize = 18;
const ONE: u128 = 10u128.pow(DECIMALS as u32);

/// An amount in the smallest unit (10⁻¹⁸ of a token). Text and JSON: a decimal number of whole tokens, as text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode)]
#[cbor(transparent)]
pub struct Amount(#[cbor(n(0), with = "wide")] pub u128);

impl Amount {
    /// Nothing.
    pub const ZERO: Amount = Amount(0);
    /// More than anybody has: for allowances.
    pub const MAX: Amount = Amount(u128::MAX);

    /// A number of whole tokens.
    pub const fn tokens(count: u64) -> Self {
        Amount(count as u128 * ONE)
    }

    /// The sum, or the largest amount when it does not fit.
    pub fn saturating_add(self, other: Amount) -> Self {
        Amount(self.0.saturating_add(other.0))
    }

    /// The difference, or `None` when `other` is larger.
    pub fn checked_sub(self, other: Amount) -> Option<Self> {
        self.0.checked_sub(other.0).map(Amount)
    }

    /// `factor` times the amount, or the largest amount when it does not fit.
    pub fn saturating_mul(self, factor: u64) -> Self {
        Amount(self.0.saturating_mul(factor.into()))
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, fraction) = (self.0 / ONE, self.0 % ONE);
        if fraction == 0 {
            return write!(f, "{whole}");
        }
        let digits = format!("{fraction:0width$}", width = DECIMALS);
        write!(f, "{whole}.{}", digits.trim_end_matches('0'))
    }
}

impl fmt::Debug for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is not an amount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{got:?} is not an amount: write a decimal number with at most {DECIMALS} decimals, like 12.5")]
pub struct ParseAmountError {
    /// The text, cut to 80 characters.
    pub got: String,
}

impl FromStr for Amount {
    type Err = ParseAmountError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let read = || {
            let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
            let plain = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
            if whole.is_empty() || !plain(whole) || !plain(fraction) || fraction.len() > DECIMALS {
                return None;
            }
            if text.ends_with('.') {
                return None;
            }
            let whole: u128 = whole.parse().ok()?;
            let fraction: u128 = format!("{fraction:0<width$}", width = DECIMALS).parse().ok()?;
            whole.checked_mul(ONE)?.checked_add(fraction).map(Amount)
        };
        read().ok_or_else(|| ParseAmountError { got: text.chars().take(80).collect() })
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// CBOR form of a 128-bit number: 16 bytes, big-endian.
mod wide {
    use minicbor::encode::{Error as EncodeError, Write};
    use minicbor::{Decoder, Encoder, decode::Error as DecodeError};

    pub(super) fn encode<C, W: Write>(
        value: &u128,
        encoder: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), EncodeError<W::Error>> {
        encoder.bytes(&value.to_be_bytes())?.ok()
    }

    pub(super) fn decode<C>(decoder: &mut Decoder<'_>, _: &mut C) -> Result<u128, DecodeError> {
        <[u8; 16]>::try_from(decoder.bytes()?)
            .map(u128::from_be_bytes)
            .map_err(|_| DecodeError::message("wrong length of Amount"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_survive_text_and_cbor() {
        for (text, value) in [("0", 0), ("1", ONE), ("12.5", 12 * ONE + ONE / 2), ("0.000000000000000001", 1)]
        {
            let amount: Amount = text.parse().unwrap();
            assert_eq!(amount, Amount(value));
            assert_eq!(amount.to_string(), text);
            let bytes = minicbor::to_vec(amount).unwrap();
            assert_eq!(minicbor::decode::<Amount>(&bytes).unwrap(), amount);
        }
        let largest = Amount::MAX;
        assert_eq!(largest.to_string().parse::<Amount>().unwrap(), largest);
    }

    #[test]
    fn what_is_not_a_plain_decimal_number_is_refused() {
        for bad in [
            "",
            ".",
            "1.",
            ".5",
            "-1",
            "1e3",
            "0x10",
            "1,5",
            "1.0000000000000000001",
            "340282366920938463464",
        ] {
            assert!(bad.parse::<Amount>().is_err(), "{bad}");
        }
    }
}
