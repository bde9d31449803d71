//! Amounts with their unit.

use std::fmt;

use lode_contracts::{Amount, ParseAmountError};

/// Decimals that [`Amount`] is written with.
const WRITTEN_DECIMALS: u32 = 18;

/// A token, as far as its amounts are read and written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Denomination {
    symbol: String,
    decimals: u8,
}

impl Denomination {
    /// The staking token.
    pub(crate) fn lode() -> Self {
        Denomination { symbol: "LODE".to_owned(), decimals: 18 }
    }

    /// Any token, by what it says of itself.
    pub(crate) fn new(symbol: &str, decimals: u8) -> Self {
        // Written by whoever made the token: nothing of it may steer a terminal or look like a number.
        let symbol: String = symbol.chars().filter(|c| c.is_ascii_alphanumeric()).take(12).collect();
        let symbol = if symbol.starts_with(|c: char| c.is_ascii_alphabetic()) {
            symbol
        } else {
            format!("token-{symbol}")
        };
        Denomination { symbol, decimals }
    }

    /// Its short name.
    pub(crate) fn symbol(&self) -> &str {
        &self.symbol
    }

    /// An amount in whole tokens, with the symbol.
    pub(crate) fn show(&self, amount: Amount) -> String {
        format!("{} {}", self.number(amount), self.symbol)
    }

    /// An amount in whole tokens.
    pub(crate) fn number(&self, amount: Amount) -> String {
        let decimals = usize::from(self.decimals);
        let digits = format!("{:0>width$}", amount.0, width = decimals + 1);
        let (whole, fraction) = digits.split_at_checked(digits.len() - decimals).unwrap_or((&digits, ""));
        let fraction = fraction.trim_end_matches('0');
        if fraction.is_empty() { whole.to_owned() } else { format!("{whole}.{fraction}") }
    }

    /// What somebody wrote, in the token's smallest unit.
    pub(crate) fn read(&self, written: &Written) -> Result<Amount, String> {
        if let Some(symbol) = &written.symbol
            && *symbol != self.symbol
        {
            return Err(format!("the amount is in {symbol}, the token is {}", self.symbol));
        }
        let decimals = u32::from(self.decimals);
        let exact = match WRITTEN_DECIMALS.checked_sub(decimals) {
            Some(surplus) => {
                let scale = 10u128.pow(surplus);
                written.amount.0.is_multiple_of(scale).then(|| written.amount.0 / scale)
            }
            None => 10u128
                .checked_pow(decimals - WRITTEN_DECIMALS)
                .and_then(|scale| written.amount.0.checked_mul(scale)),
        };
        exact.map(Amount).ok_or_else(|| {
            format!("{written} cannot be written in {}: it has {} decimals", self.symbol, self.decimals)
        })
    }
}

/// A decimal number that somebody wrote, before it is known of which token: `12.5`, `12.5LODE` or `12.5 LODE`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Written {
    /// With 18 decimals.
    amount: Amount,
    symbol: Option<String>,
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.symbol {
            Some(symbol) => write!(f, "{} {symbol}", self.amount),
            None => fmt::Display::fmt(&self.amount, f),
        }
    }
}

impl std::str::FromStr for Written {
    type Err = ParseAmountError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let number = text.trim_end_matches(|c: char| c.is_ascii_alphanumeric() && !c.is_ascii_digit());
        let symbol = text.get(number.len()..).filter(|symbol| !symbol.is_empty());
        let amount = number.trim_end().parse()?;
        Ok(Written { amount, symbol: symbol.map(str::to_owned) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> Written {
        text.parse().unwrap()
    }

    #[test]
    fn an_amount_is_written_and_read_with_the_decimals_of_its_token() {
        let lode = Denomination::lode();
        assert_eq!(lode.read(&written("12.5 LODE")), Ok(Amount(12_500_000_000_000_000_000)));
        assert_eq!(lode.show(Amount(12_500_000_000_000_000_000)), "12.5 LODE");
        let coarse = Denomination::new("USDX", 6);
        assert_eq!(coarse.read(&written("12.5")), Ok(Amount(12_500_000)));
        assert_eq!(coarse.show(Amount(12_500_000)), "12.5 USDX");
        assert_eq!(coarse.show(Amount(1)), "0.000001 USDX");
        assert_eq!(Denomination::new("IND", 0).show(Amount(7)), "7 IND");
        let fine = Denomination::new("FINE", 24);
        assert_eq!(fine.read(&written("2")), Ok(Amount(2 * 10u128.pow(24))));
    }

    #[test]
    fn an_amount_that_the_token_cannot_express_is_refused() {
        let coarse = Denomination::new("USDX", 6);
        assert!(coarse.read(&written("0.0000001")).unwrap_err().contains("6 decimals"));
        assert!(coarse.read(&written("1 LODE")).unwrap_err().contains("the token is USDX"));
        assert!(Denomination::new("HUGE", 255).read(&written("1")).is_err());
    }

    #[test]
    fn what_is_no_decimal_number_is_refused() {
        for bad in ["", "LODE", "-1", "1e3", "0x10", "1,5", "1.", ".5", "1.0000000000000000001", "1 2"] {
            assert!(bad.parse::<Written>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_symbol_of_a_foreign_token_is_harmless() {
        assert_eq!(Denomination::new("\u{1b}[2JA$B", 18).show(Amount::tokens(1)), "1 token-2JAB");
        assert_eq!(Denomination::new("", 18).show(Amount::tokens(1)), "1 token-");
    }
}
