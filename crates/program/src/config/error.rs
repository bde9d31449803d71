//! What can be wrong with a configuration, always naming the setting and where it came from.

use std::fmt;
use std::io;
use std::path::PathBuf;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Where a setting's value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody gave it.
    Default,
    /// The configuration file; the line counts from 1 and is filled in when an error is reported.
    File {
        /// The file.
        path: PathBuf,
        /// The line of the setting, where it could be found.
        line: Option<usize>,
    },
    /// An environment variable.
    Environment(String),
    /// The command line.
    CommandLine,
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => formatter.write_str("not set"),
            Self::File { path, line: Some(line) } => write!(formatter, "{}:{line}", path.display()),
            Self::File { path, line: None } => write!(formatter, "{}", path.display()),
            Self::Environment(variable) => write!(formatter, "environment variable {variable}"),
            Self::CommandLine => formatter.write_str("command line"),
        }
    }
}

/// A setting that nothing reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownSetting {
    /// Dotted path.
    pub key: String,
    /// Who set it.
    pub origin: Origin,
}

/// Why a configuration was refused. Programs exit with 64.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file could not be read.
    #[error("cannot read the configuration file {}: {source}; check the path and its permissions", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file is not TOML.
    #[error("{}:{line}: not valid TOML: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// What the parser says.
        message: String,
    },
    /// One setting has a value that its type refuses.
    #[error("setting `{key}` ({origin}): {message}")]
    Invalid {
        /// Dotted path; "(top level)" for the whole.
        key: String,
        /// Who set it.
        origin: Origin,
        /// What is wrong.
        message: String,
    },
    /// A setting that has no default was not given.
    #[error("setting `{key}` is missing; set it in the configuration file, the environment or by a flag")]
    Missing {
        /// Dotted path.
        key: String,
    },
    /// Settings that nothing reads.
    #[error("unknown settings: {}; remove them or correct their spelling", list(.0))]
    Unknown(Vec<UnknownSetting>),
    /// A variable is not UTF-8.
    #[error("environment variable {variable} is not valid UTF-8")]
    NotUnicode {
        /// The variable.
        variable: String,
    },
}

fn list(unknown: &[UnknownSetting]) -> String {
    let rows: Vec<String> = unknown.iter().map(|row| format!("`{}` ({})", row.key, row.origin)).collect();
    rows.join(", ")
}

impl ConfigError {
    /// Fills in the lines of settings that came from the file with this text.
    pub(super) fn with_lines_of(mut self, text: &str) -> Self {
        match &mut self {
            Self::Invalid { key, origin, .. } => fill_line(text, key, origin),
            Self::Unknown(rows) => rows.iter_mut().for_each(|row| fill_line(text, &row.key, &mut row.origin)),
            Self::Read { .. } | Self::Syntax { .. } | Self::Missing { .. } | Self::NotUnicode { .. } => {}
        }
        self
    }
}

/// Line (from 1) of a byte offset.
pub(super) fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

fn fill_line(text: &str, key: &str, origin: &mut Origin) {
    if let Origin::File { line, .. } = origin {
        *line = DeTable::parse(text)
            .ok()
            .and_then(|table| find(table.get_ref(), key))
            .map(|at| line_of(text, at));
    }
}

/// Byte offset of the setting with this dotted path.
fn find(table: &DeTable<'_>, key: &str) -> Option<usize> {
    let mut found: Option<usize> = None;
    let mut table = table;
    for part in key.split('.') {
        let (name, indexes) = split_indexes(part);
        let (spanned_key, spanned) = table.iter().find(|(candidate, _)| candidate.get_ref() == name)?;
        found = Some(spanned_key.span().start);
        let mut value: &Spanned<DeValue<'_>> = spanned;
        for index in indexes {
            value = value.get_ref().as_array()?.get(index)?;
            found = Some(value.span().start);
        }
        match value.get_ref().as_table() {
            Some(inner) => table = inner,
            None => return found,
        }
    }
    found
}

/// Splits `name[1][2]` into its name and indexes.
fn split_indexes(part: &str) -> (&str, Vec<usize>) {
    let Some((name, rest)) = part.split_once('[') else { return (part, Vec::new()) };
    (name, rest.split('[').filter_map(|index| index.trim_end_matches(']').parse().ok()).collect())
}
