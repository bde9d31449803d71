//! From text to [`TaskSpec`]: size cap first, then syntax and fields; errors name the field and the line.

use super::strict::Tree;
use super::{SpecProblem, TaskSpec, ValidTaskSpec};
use crate::error_code::ErrorCode;

/// Longest accepted spec, in bytes.
pub const MAX_SPEC_BYTES: usize = 256 << 10;

/// Why a spec was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// Over [`MAX_SPEC_BYTES`].
    #[error("the task spec has {size} bytes; at most {MAX_SPEC_BYTES} are accepted")]
    TooLarge {
        /// Bytes received.
        size: usize,
    },
    /// Not TOML or JSON, an unknown field, or a value of the wrong form.
    #[error("{at}: {message}")]
    Malformed {
        /// Path of the field, or line and column.
        at: String,
        /// What is wrong.
        message: String,
    },
    /// Well-formed, but the values make no sense.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Invalid(Vec<SpecProblem>),
}

impl SpecError {
    /// The stable code of this error.
    pub fn code(&self) -> ErrorCode {
        ErrorCode::new(match self {
            SpecError::TooLarge { .. } => "task/spec-too-large",
            SpecError::Malformed { .. } => "task/spec-malformed",
            SpecError::Invalid(_) => "task/spec-invalid",
        })
    }
}

impl TaskSpec {
    /// Reads JSON.
    pub fn from_json(text: &[u8]) -> Result<TaskSpec, SpecError> {
        check_size(text.len())?;
        let mut deserializer = serde_json::Deserializer::from_slice(text);
        let spec: TaskSpec = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
            let at = error.path().to_string();
            SpecError::Malformed { at: place(&at), message: error.into_inner().to_string() }
        })?;
        deserializer.end().map_err(|error| SpecError::Malformed {
            at: format!("line {}", error.line()),
            message: error.to_string(),
        })?;
        strictly(&mut serde_json::Deserializer::from_slice(text))?;
        Ok(spec)
    }

    /// Reads TOML.
    pub fn from_toml(text: &str) -> Result<TaskSpec, SpecError> {
        check_size(text.len())?;
        let deserializer =
            toml::Deserializer::parse(text).map_err(|error| malformed_toml(text, "", &error))?;
        let spec = serde_path_to_error::deserialize(deserializer).map_err(|error| {
            let at = error.path().to_string();
            malformed_toml(text, &at, error.inner())
        })?;
        strictly(toml::Deserializer::parse(text).map_err(|error| malformed_toml(text, "", &error))?)?;
        Ok(spec)
    }

    /// Reads JSON and checks the values.
    pub fn checked_from_json(text: &[u8]) -> Result<ValidTaskSpec, SpecError> {
        Self::from_json(text)?.validate().map_err(SpecError::Invalid)
    }
}

/// Refuses what the derived parser reads and nobody means.
fn strictly<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<(), SpecError>
where
    D::Error: std::fmt::Display,
{
    let tree: Tree = serde_path_to_error::deserialize(deserializer).map_err(|error| {
        SpecError::Malformed { at: place(&error.path().to_string()), message: error.inner().to_string() }
    })?;
    match serde_path_to_error::deserialize::<_, TaskSpec>(tree) {
        Ok(_) => Ok(()),
        Err(error) => Err(SpecError::Malformed {
            at: place(&error.path().to_string()),
            message: error.inner().to_string(),
        }),
    }
}

fn check_size(size: usize) -> Result<(), SpecError> {
    if size > MAX_SPEC_BYTES { Err(SpecError::TooLarge { size }) } else { Ok(()) }
}

fn place(path: &str) -> String {
    if path == "." || path.is_empty() { "task spec".to_owned() } else { path.to_owned() }
}

fn malformed_toml(text: &str, path: &str, error: &toml::de::Error) -> SpecError {
    let line = error.span().map(|span| 1 + text.get(..span.start).unwrap_or("").matches('\n').count());
    let at = match line {
        Some(line) => format!("{} (line {line})", place(path)),
        None => place(path),
    };
    SpecError::Malformed { at, message: error.message().to_owned() }
}
