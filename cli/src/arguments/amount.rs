//! Amounts as people write them.

use lode_contracts::Amount;

/// `12.5`, `12.5LODE` or `12.5 LODE`.
pub(super) fn parse_amount(text: &str) -> Result<Amount, String> {
    let number = text.trim();
    let number = number.strip_suffix("LODE").unwrap_or(number).trim_end();
    number.parse::<Amount>().map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_whole_tokens_with_or_without_their_unit() {
        assert_eq!(parse_amount("12.5").unwrap(), Amount(12_500_000_000_000_000_000));
        assert_eq!(parse_amount("12.5 LODE").unwrap(), parse_amount("12.5LODE").unwrap());
        assert!(parse_amount("LODE").is_err());
        assert!(parse_amount("1e3").is_err());
    }
}
