//! The merged tree. Each node knows its dotted path and origin, so errors can name them.

use std::collections::BTreeMap;

use super::{ConfigError, Origin};

#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) path: String,
    pub(super) origin: Origin,
    pub(super) content: Content,
}

#[derive(Debug, Clone)]
pub(super) enum Content {
    Table(BTreeMap<String, Node>),
    Array(Vec<Node>),
    String(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    /// From the environment: its type is the one that the field wants.
    Text(String),
}

impl Node {
    pub(super) fn new(origin: Origin, content: Content) -> Self {
        Self { path: String::new(), origin, content }
    }

    pub(super) fn table(origin: Origin) -> Self {
        Self::new(origin, Content::Table(BTreeMap::new()))
    }

    /// Lays `upper` over this node: tables merge, anything else replaces. A table never silently replaces a
    /// value nor a value a table: that is a mistake in one of the layers.
    pub(super) fn merge(&mut self, upper: Node) -> Result<(), ConfigError> {
        self.merge_at("", upper)
    }

    fn merge_at(&mut self, path: &str, upper: Node) -> Result<(), ConfigError> {
        match (&mut self.content, upper.content) {
            (Content::Table(lower), Content::Table(rows)) => {
                for (key, row) in rows {
                    let inner_path = child(path, &key);
                    match lower.get_mut(&key) {
                        Some(existing) => existing.merge_at(&inner_path, row)?,
                        None => {
                            lower.insert(key, row);
                        }
                    }
                }
                Ok(())
            }
            (Content::Table(_), Content::Text(_)) | (Content::Text(_), Content::Table(_)) => {
                Err(ConfigError::Invalid {
                    key: path.to_owned(),
                    origin: upper.origin,
                    message: format!("is both a value and a table of settings (also set by {})", self.origin),
                })
            }
            (_, content) => {
                self.content = content;
                self.origin = upper.origin;
                Ok(())
            }
        }
    }

    /// Gives every node its dotted path.
    pub(super) fn set_paths(&mut self, path: &str) {
        path.clone_into(&mut self.path);
        match &mut self.content {
            Content::Table(rows) => {
                rows.iter_mut().for_each(|(key, row)| row.set_paths(&child(path, key)));
            }
            Content::Array(rows) => {
                rows.iter_mut()
                    .enumerate()
                    .for_each(|(index, row)| row.set_paths(&format!("{path}[{index}]")));
            }
            Content::String(_)
            | Content::Integer(_)
            | Content::Float(_)
            | Content::Boolean(_)
            | Content::Text(_) => {}
        }
    }
}

pub(super) fn child(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}
