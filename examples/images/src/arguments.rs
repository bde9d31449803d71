//! Command lines of the form `--name VALUE` and `--flag`, each with an environment variable as its fallback.
//!
//! An argument nobody asked for is an error that names it: a typing mistake must not run the default instead.

use std::{collections::BTreeMap, env, str::FromStr};

/// The parsed command line. Take every argument the program knows, then call [`Arguments::finish`].
#[derive(Debug)]
pub struct Arguments {
    given: BTreeMap<String, Option<String>>,
    environment: BTreeMap<String, String>,
}

/// The environment of this process. What is not Unicode is shown with replacement characters, never a crash.
pub fn environment() -> BTreeMap<String, String> {
    let text = |value: std::ffi::OsString| value.to_string_lossy().into_owned();
    env::vars_os().map(|(name, value)| (text(name), text(value))).collect()
}

impl Arguments {
    /// Those of this process.
    pub fn of_process() -> Result<Self, String> {
        let words = env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned());
        Self::parse(words, environment())
    }

    /// Parses `words` (without the program's name). `--name value` and `--name=value` are the same.
    pub fn parse(
        words: impl IntoIterator<Item = String>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, String> {
        let mut given = BTreeMap::new();
        let mut words = words.into_iter().peekable();
        while let Some(word) = words.next() {
            let Some(name) = word.strip_prefix("--") else {
                return Err(format!("unexpected argument {word:?}: arguments start with --"));
            };
            let (name, value) = match name.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (name.to_owned(), words.next_if(|next| !next.starts_with("--"))),
            };
            if given.insert(name.clone(), value).is_some() {
                return Err(format!("--{name} is given twice"));
            }
        }
        Ok(Self { given, environment: environment.into_iter().collect() })
    }

    /// The value of `--name`, else of the environment variable, else `None`.
    pub fn optional<T: FromStr>(&mut self, name: &str, variable: &str) -> Result<Option<T>, String> {
        let (source, text) = match self.given.remove(name) {
            Some(Some(text)) => (format!("--{name}"), text),
            Some(None) => return Err(format!("--{name} needs a value")),
            None => match self.environment.get(variable) {
                Some(text) => (variable.to_owned(), text.clone()),
                None => return Ok(None),
            },
        };
        text.parse().map(Some).map_err(|_| format!("{source}: {text:?} is not a valid value"))
    }

    /// Like [`Arguments::optional`] with a default.
    pub fn value<T: FromStr>(&mut self, name: &str, variable: &str, default: T) -> Result<T, String> {
        Ok(self.optional(name, variable)?.unwrap_or(default))
    }

    /// Whether `--name` was given. A value after it is an error.
    pub fn flag(&mut self, name: &str) -> Result<bool, String> {
        match self.given.remove(name) {
            None => Ok(false),
            Some(None) => Ok(true),
            Some(Some(value)) => Err(format!("--{name} takes no value, but {value:?} follows it")),
        }
    }

    /// Fails when an argument is left that nobody asked for.
    pub fn finish(self) -> Result<(), String> {
        match self.given.keys().next() {
            None => Ok(()),
            Some(name) => Err(format!("unknown argument --{name}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(words: &[&str], environment: &[(&str, &str)]) -> Arguments {
        let words = words.iter().map(|word| (*word).to_owned());
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Arguments::parse(words, environment).unwrap()
    }

    #[test]
    fn an_argument_wins_over_the_environment_and_both_over_the_default() {
        let mut parsed = arguments(&["--limit", "5"], &[("LIMIT", "7"), ("THREADS", "3")]);
        assert_eq!(parsed.value("limit", "LIMIT", 9_u64), Ok(5));
        assert_eq!(parsed.value("threads", "THREADS", 9_u64), Ok(3));
        assert_eq!(parsed.value("sleep", "SLEEP", 9_u64), Ok(9));
    }

    #[test]
    fn an_unknown_argument_is_named() {
        let mut parsed = arguments(&["--limit=5", "--lmit=6"], &[]);
        assert_eq!(parsed.value("limit", "LIMIT", 0_u64), Ok(5));
        assert_eq!(parsed.finish(), Err("unknown argument --lmit".to_owned()));
    }

    #[test]
    fn a_value_that_does_not_parse_names_its_source() {
        let mut parsed = arguments(&["--limit", "many"], &[("THREADS", "few")]);
        assert_eq!(
            parsed.value("limit", "LIMIT", 0_u64),
            Err("--limit: \"many\" is not a valid value".to_owned())
        );
        assert!(parsed.value("threads", "THREADS", 0_u64).unwrap_err().starts_with("THREADS"));
    }

    #[test]
    fn a_flag_takes_no_value_and_a_value_is_never_missing() {
        let mut parsed = arguments(&["--print-env", "--ignore-term", "yes", "--limit"], &[]);
        assert_eq!(parsed.flag("print-env"), Ok(true));
        assert_eq!(parsed.flag("absent"), Ok(false));
        assert!(parsed.flag("ignore-term").is_err());
        assert!(parsed.value("limit", "LIMIT", 0_u64).is_err());
    }
}
