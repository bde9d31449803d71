//! Contexts: pools a person speaks to, by name. One file, private to its owner, because it holds tokens.
//!
//! Which pool a command means: `--url` with a token, else `--context`, else the current context. The file changes under
//! a lock and atomically: two commands at once lose nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use lode_files::{create_private_dir, read_secret_text, replace_secret};
use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

use crate::failure::Kind;

/// Names the file instead of `~/.config/lode/contexts.toml`.
pub const FILE_VARIABLE: &str = "LODE_CONTEXTS";

/// A bearer token: wiped when dropped, never shown by `Debug`.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Token(String);

impl Token {
    /// From the text in a file or variable.
    pub fn new(text: &str) -> Self {
        Token(text.trim().to_owned())
    }

    /// The secret.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(redacted)")
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// One pool.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PoolContext {
    /// The orchestrator's API.
    pub url: String,
    /// Its bearer token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Token>,
    /// The deployment file of the pool's contracts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment: Option<PathBuf>,
    /// An RPC of the chain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rpc_url: Option<String>,
    /// The pool's number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<u64>,
    /// Where `lode dev` keeps it, if it is one of those.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dev: Option<PathBuf>,
}

/// All of a person's contexts.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contexts {
    /// Which one is meant when none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<String>,
    /// By name.
    #[serde(default)]
    pub contexts: BTreeMap<String, PoolContext>,
}

impl Contexts {
    /// Where they are kept.
    pub fn path() -> anyhow::Result<PathBuf> {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        if let Some(path) = set(FILE_VARIABLE) {
            return Ok(path);
        }
        let folder = set("XDG_CONFIG_HOME").or_else(|| set("HOME").map(|home| home.join(".config")));
        folder.map(|folder| folder.join("lode/contexts.toml")).ok_or_else(|| {
            let message = "neither HOME nor XDG_CONFIG_HOME is set, so that there is no place for contexts";
            Kind::Usage.with_remedy(message, format!("set {FILE_VARIABLE} to the path of a file"))
        })
    }

    /// Reads them; a file that is not there holds none.
    pub fn load(path: &Path) -> anyhow::Result<Self> {
        let text = match read_secret_text(path) {
            Ok(text) => text,
            Err(error) if error.is_not_found() => return Ok(Contexts::default()),
            Err(error) => return Err(error.into()),
        };
        toml::from_str(&text).map_err(|error| {
            let message = format!("{} is not a file of contexts: {}", path.display(), error.message());
            Kind::Usage.with_remedy(message, "correct it, or move it away and run `lode context set`")
        })
    }

    /// Reads, changes and writes them as one step.
    pub fn change<T>(path: &Path, change: impl FnOnce(&mut Self) -> anyhow::Result<T>) -> anyhow::Result<T> {
        let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        create_private_dir(folder)?;
        let lock_path = path.with_extension("lock");
        let lock =
            File::create(&lock_path).with_context(|| format!("cannot make {}", lock_path.display()))?;
        lock.lock().with_context(|| format!("cannot lock {}", lock_path.display()))?;
        let mut contexts = Contexts::load(path)?;
        let result = change(&mut contexts)?;
        replace_secret(path, toml::to_string_pretty(&contexts)?.as_bytes())?;
        Ok(result)
    }

    /// The named context, else the current one.
    pub fn choose(&self, name: Option<&str>) -> anyhow::Result<(&str, &PoolContext)> {
        let Some(name) = name.or(self.current.as_deref()) else {
            let message = "no pool is chosen: there is no current context";
            let remedy = "run `lode context set NAME --url URL --token-file FILE`, or `lode dev` for a pool on this machine";
            return Err(Kind::Usage.with_remedy(message, remedy));
        };
        match self.contexts.get_key_value(name) {
            Some((name, context)) => Ok((name, context)),
            None => {
                let known: Vec<&str> = self.contexts.keys().map(String::as_str).collect();
                let message = format!("there is no context {name:?}");
                let remedy = if known.is_empty() {
                    "run `lode context set NAME --url URL --token-file FILE`".to_owned()
                } else {
                    format!("known contexts: {}", known.join(", "))
                };
                Err(Kind::NotFound.with_remedy(message, remedy))
            }
        }
    }

    /// Takes a context away; if it was the current one, none is.
    pub fn remove(&mut self, name: &str) -> bool {
        if self.current.as_deref() == Some(name) {
            self.current = None;
        }
        self.contexts.remove(name).is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn context(url: &str) -> PoolContext {
        PoolContext { url: url.to_owned(), token: Some(Token::new("secret-1\n")), ..PoolContext::default() }
    }

    #[test]
    fn contexts_survive_their_file_which_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lode/contexts.toml");
        assert_eq!(Contexts::load(&path).unwrap(), Contexts::default());
        Contexts::change(&path, |contexts| {
            contexts.contexts.insert("a".to_owned(), context("http://127.0.0.1:1"));
            contexts.current = Some("a".to_owned());
            Ok(())
        })
        .unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let read = Contexts::load(&path).unwrap();
        let (name, chosen) = read.choose(None).unwrap();
        assert_eq!((name, chosen.token.as_ref().map(Token::reveal)), ("a", Some("secret-1")));
        assert!(!format!("{read:?}").contains("secret-1"));
    }

    #[test]
    fn a_failed_change_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("contexts.toml");
        let failed: anyhow::Result<()> = Contexts::change(&path, |contexts| {
            contexts.current = Some("x".to_owned());
            anyhow::bail!("no")
        });
        assert!(failed.is_err());
        assert_eq!(Contexts::load(&path).unwrap(), Contexts::default());
    }

    #[test]
    fn changes_at_the_same_time_lose_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("contexts.toml");
        std::thread::scope(|scope| {
            for number in 0..8 {
                let path = &path;
                scope.spawn(move || {
                    Contexts::change(path, |contexts| {
                        contexts.contexts.insert(format!("c{number}"), context("http://127.0.0.1:1"));
                        Ok(())
                    })
                    .unwrap();
                });
            }
        });
        assert_eq!(Contexts::load(&path).unwrap().contexts.len(), 8);
    }

    #[test]
    fn a_missing_context_is_refused_with_the_known_ones() {
        let mut contexts = Contexts::default();
        assert!(contexts.choose(None).is_err());
        contexts.contexts.insert("home".to_owned(), context("http://127.0.0.1:1"));
        let error = contexts.choose(Some("work")).unwrap_err();
        let (kind, _, remedy) = crate::report::classify(&error);
        assert_eq!(kind, Kind::NotFound);
        assert!(remedy.contains("home"), "{remedy}");
    }

    #[test]
    fn the_current_context_goes_with_its_removal() {
        let mut contexts = Contexts::default();
        contexts.contexts.insert("a".to_owned(), context("http://127.0.0.1:1"));
        contexts.current = Some("a".to_owned());
        assert!(contexts.remove("a"));
        assert_eq!(contexts.current, None);
        assert!(!contexts.remove("a"));
    }
}
