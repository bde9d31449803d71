//! What commands print: tables that fit the terminal, or JSON; nothing that came from elsewhere steers the terminal.

mod moment;
mod money;
mod sheet;
mod style;
mod words;

use std::io::{self, IsTerminal as _, Write as _};

pub(crate) use moment::{moment, span, utc};
pub(crate) use money::Denomination;
pub use money::Written;
pub use sheet::Sheet;
pub(crate) use style::Paint;
pub(crate) use words::{ago, list, membership, short_id};

use crate::failure::Kind;

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
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok().map(|size| usize::from(size.ws_col));
    size.filter(|width| *width > 0).or(told)
}

/// Prints a text that is already escaped. A reader that went away (`lode … | head`) is no failure.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(ReaderGone.into()),
        Err(error) => Err(Kind::Failed.because(format!("cannot write the output: {error}"))),
    }
}

/// Prints one line.
pub(crate) fn line(text: &str) -> anyhow::Result<()> {
    print(&format!("{text}\n"))
}

/// Prints JSON.
pub(crate) fn json(value: &serde_json::Value) -> anyhow::Result<()> {
    line(&serde_json::to_string_pretty(value)?)
}

/// Prints a table.
pub(crate) fn sheet(sheet: &Sheet) -> anyhow::Result<()> {
    print(&sheet.render(terminal_width()))
}

/// Whoever read our output has gone: end without a word.
#[derive(Debug, thiserror::Error)]
#[error("the reader of the output went away")]
pub(crate) struct ReaderGone;
