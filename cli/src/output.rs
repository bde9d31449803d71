//! What commands print: tables that fit the terminal, or JSON; nothing that came from elsewhere steers the terminal.

mod moment;
mod money;
mod sheet;
mod style;
mod tame;
mod words;

use std::borrow::Cow;
use std::io::{self, IsTerminal as _, Write as _};

pub(crate) use moment::{moment, span, utc};
pub(crate) use money::Denomination;
pub use money::Written;
pub use sheet::Sheet;
pub use style::Paint;
pub(crate) use tame::Tamer;
pub(crate) use words::{ago, list};
pub use words::{membership, short_id};

use crate::failure::Kind;
use crate::platform;

/// How results are printed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// For people who want all columns.
    Wide,
    /// For programs.
    Json,
}

/// Columns of the terminal; none where output does not go to one (then nothing is wrapped).
pub fn terminal_width() -> Option<usize> {
    let told = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok()).filter(|width| *width >= 20);
    if !io::stdout().is_terminal() {
        return told;
    }
    platform::terminal_width().or(told)
}

/// Prints a text that is already escaped. A reader that went away (`lode … | head`) is no failure.
pub fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(ReaderGone.into()),
        Err(error) => Err(Kind::Failed.because(format!("cannot write the output: {error}"))),
    }
}

/// Prints one line.
pub fn line(text: &str) -> anyhow::Result<()> {
    print(&format!("{text}\n"))
}

/// Prints JSON.
pub fn json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    line(&escape_in_json(&serde_json::to_string_pretty(value)?))
}

/// Prints JSON on one line.
pub(crate) fn json_line(value: &impl serde::Serialize) -> anyhow::Result<()> {
    line(&escape_in_json(&serde_json::to_string(value)?))
}

/// Escapes what JSON lets stand and a terminal may obey: control characters from 0x7f on, and what turns the direction of
/// text. The lines of the JSON itself stay.
pub(crate) fn escape_in_json(text: &str) -> Cow<'_, str> {
    let steers = |letter: char| letter != '\n' && lode_protocol::text::steers_terminal(letter);
    if !text.contains(steers) {
        return text.into();
    }
    let mut safe = String::with_capacity(text.len() + 8);
    for letter in text.chars() {
        if steers(letter) {
            let mut units = [0; 2];
            for unit in letter.encode_utf16(&mut units) {
                safe.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            safe.push(letter);
        }
    }
    safe.into()
}

/// Says something beside the result, where it spoils no pipe.
pub(crate) fn note(text: &str) {
    eprintln!("{}", lode_protocol::text::escape_controls(text));
}

/// Prints a table.
pub fn sheet(sheet: &Sheet) -> anyhow::Result<()> {
    print(&sheet.render(terminal_width()))
}

/// Whoever read our output has gone: end without a word.
#[derive(Debug, thiserror::Error)]
#[error("the reader of the output went away")]
pub(crate) struct ReaderGone;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_holds_nothing_that_steers_a_terminal_and_says_the_same() {
        let value = serde_json::json!({ "a": "x\u{9b}31m\u{202e}\u{7f}\u{1b}[2J\tä\n" });
        let text = serde_json::to_string_pretty(&value).unwrap();
        let safe = escape_in_json(&text);
        assert!(safe.chars().all(|letter| letter == '\n' || !lode_protocol::text::steers_terminal(letter)));
        assert!(safe.contains("\\u009b") && safe.contains("\\u202e") && safe.contains('ä'), "{safe}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&safe).unwrap(), value);
        assert_eq!(escape_in_json("{}"), "{}");
    }
}
