//! The three layers as trees of the same shape.

use std::ffi::OsString;
use std::path::Path;

use super::error::line_of;
use super::node::{Content, Node};
use super::{ConfigError, Origin};

pub(super) fn from_file(path: &Path, text: &str) -> Result<Node, ConfigError> {
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| ConfigError::Syntax {
        path: path.to_owned(),
        line: line_of(text, error.span().map_or(0, |span| span.start)),
        message: error.message().to_owned(),
    })?;
    Ok(from_value(toml::Value::Table(table), &Origin::File { path: path.to_owned(), line: None }))
}

pub(super) fn from_flags(overrides: toml::Table) -> Node {
    from_value(toml::Value::Table(overrides), &Origin::CommandLine)
}

/// Variables `PREFIX__A__B=text` as `a.b = text`, in the order of their names so that errors are stable.
pub(super) fn from_environment(
    prefix: &str,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Node, ConfigError> {
    let prefix = format!("{prefix}__");
    let mut ours: Vec<(String, OsString)> = environment
        .into_iter()
        .filter_map(|(variable, value)| Some((variable.into_string().ok()?, value)))
        .filter(|(variable, _)| variable.starts_with(&prefix))
        .collect();
    ours.sort();
    let mut root = Node::table(Origin::Default);
    for (variable, value) in ours {
        let text = value.into_string().map_err(|_| ConfigError::NotUnicode { variable: variable.clone() })?;
        let origin = Origin::Environment(variable.clone());
        let parts = variable.strip_prefix(&prefix).unwrap_or_default().rsplit("__");
        let mut node = Node::new(origin.clone(), Content::Text(text));
        for part in parts {
            node = Node::new(
                origin.clone(),
                Content::Table([(part.to_ascii_lowercase(), node)].into_iter().collect()),
            );
        }
        root.merge(node)?;
    }
    Ok(root)
}

fn from_value(value: toml::Value, origin: &Origin) -> Node {
    let content = match value {
        toml::Value::Table(table) => {
            Content::Table(table.into_iter().map(|(key, value)| (key, from_value(value, origin))).collect())
        }
        toml::Value::Array(values) => {
            Content::Array(values.into_iter().map(|value| from_value(value, origin)).collect())
        }
        toml::Value::String(text) => Content::String(text),
        toml::Value::Integer(number) => Content::Integer(number),
        toml::Value::Float(number) => Content::Float(number),
        toml::Value::Boolean(boolean) => Content::Boolean(boolean),
        toml::Value::Datetime(datetime) => Content::String(datetime.to_string()),
    };
    Node::new(origin.clone(), content)
}
