//! Units: bytes, CPU shares, durations and points in time. Raw integers stop at the edge.
//!
//! One grammar for sizes and one for durations serves task files, configuration, arguments and query parameters. A
//! number without its unit is refused: `80` was meant as gigabytes, and would be read as bytes.

mod cpus;
mod duration;
mod size;
mod time;

pub use cpus::MilliCpus;
pub use duration::{Millis, format_duration, parse_duration};
pub use size::{Bytes, size_text, size_text_option};
pub use time::Timestamp;

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

/// `number` (decimal, up to 9 decimals) times `factor`, exactly, rounded down.
fn scaled(number: &str, factor: u64) -> Option<u64> {
    let (whole, fraction) = match number.split_once('.') {
        Some((_, "")) => return None,
        Some(parts) => parts,
        None => (number, ""),
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || fraction.len() > 9 || !digits(whole) || !digits(fraction) {
        return None;
    }
    let whole = u128::from(whole.parse::<u64>().ok()?).checked_mul(factor.into())?;
    let part = if fraction.is_empty() { 0 } else { fraction.parse::<u128>().ok()? };
    let part = part.checked_mul(factor.into())? / 10u128.pow(u32::try_from(fraction.len()).ok()?);
    u64::try_from(whole + part).ok()
}
